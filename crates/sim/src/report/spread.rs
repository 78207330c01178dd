//! The mean and the quantiles of a list of integers.

/// How values are spread. All fields are in the unit of the values, and 0 without any.
///
/// The quantile `q` of `n` values is the smallest of them that at least `q·n` of them do not exceed: the value at
/// place `⌈q·n⌉` in ascending order, counted from 1 (the inverse of the empirical distribution; type 1 of Hyndman
/// and Fan, "Sample quantiles in statistical packages", 1996). It is always one of the values; nothing is
/// interpolated. The mean is rounded down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Spread {
    /// Values.
    pub count: u64,
    /// Their mean, rounded down.
    pub mean: u64,
    /// The quantile 0.5.
    pub p50: u64,
    /// The quantile 0.99.
    pub p99: u64,
    /// The quantile 0.999.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    /// The spread of these values.
    #[must_use]
    pub fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let count = values.len() as u64;
        let sum: u128 = values.iter().map(|&value| u128::from(value)).sum();
        let at = |per_mille: u64| quantile(&values, per_mille);
        Self {
            count,
            // A mean is no larger than the largest value.
            mean: u64::try_from(sum / u128::from(count.max(1))).unwrap_or(u64::MAX),
            p50: at(500),
            p99: at(990),
            p999: at(999),
            max: values.last().copied().unwrap_or(0),
        }
    }
}

/// Where the quantile `per_mille / 1000` of `count` values stands in ascending order, counted from 0.
pub(super) const fn rank(count: u64, per_mille: u64) -> u64 {
    count.saturating_mul(per_mille).div_ceil(1000).saturating_sub(1)
}

/// The quantile `per_mille / 1000` of ascending values, 0 without any.
pub(super) fn quantile(ascending: &[u64], per_mille: u64) -> u64 {
    let place = rank(ascending.len() as u64, per_mille);
    usize::try_from(place).ok().and_then(|place| ascending.get(place)).copied().unwrap_or(0)
}
