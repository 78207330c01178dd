//! What a gap on a shared device is worth, given the shares that are expected.
//!
//! Cutting stock (Gilmore and Gomory, Operations Research 1961): how many devices do the expected shares need when they are
//! combined as well as can be? The dual prices of that linear program say what part of a device a share is worth,
//! and a gap is worth the best set of shares that fits into it. Taking a share into a gap loses what the
//! gap was worth, less what is left and less the share: nothing where an efficient combination stays
//! possible. So 650 and 350 belong together, 470 goes to 470, and the 190 beside 810 is worth next to
//! nothing unless shares that small are as frequent.
//!
//! Solved by column generation: the basis holds one combination per share, the best new one is a knapsack. Plain
//! arithmetic in a fixed order, so the same shares give the same bits; what leaves is whole thousandths.
//! Where not to use it: devices that nobody shares, where every gap is whole.

/// Thousandths of a whole device.
const WHOLE: usize = 1000;
/// Shares that are priced: the most frequent ones; the others are worth what those are that fit in their place.
const PRICED: usize = 48;
/// Below this a gain is rounding.
const GAIN: f64 = 1e-9;

/// Worth of every gap from 0 to 1000 thousandths of a device, in thousandths of a whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapWorth(Vec<u16>);

impl Default for GapWorth {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl GapWorth {
    /// From the expected shares, in thousandths of a device below 1000, with their weights. Nothing expected: no gap is worth anything.
    pub fn of(shares: &[(u32, u64)]) -> Self {
        let mut priced: Vec<(usize, f64)> = shares
            .iter()
            .filter(|(share, weight)| (1..1000).contains(share) && *weight > 0)
            .map(|(share, weight)| (*share as usize, *weight as f64))
            .collect();
        priced.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        priced.truncate(PRICED);
        let total: f64 = priced.iter().map(|(_, weight)| weight).sum();
        let sizes: Vec<usize> = priced.iter().map(|(share, _)| *share).collect();
        let worth = priced_out(&sizes, priced.iter().map(|(_, weight)| weight / total).collect());
        let whole = worth[WHOLE].max(GAIN);
        Self(worth.into_iter().map(|part| (part / whole * 1000.0).round() as u16).collect())
    }

    /// What is lost when a share is taken from a gap that suffices, in thousandths of a device.
    pub fn loss(&self, gap: u32, share: u32) -> u32 {
        let worth = |at: u32| u32::from(self.0[(at as usize).min(WHOLE)]);
        worth(gap).saturating_sub(worth(gap.saturating_sub(share)) + worth(share))
    }
}

/// Worth of every gap under the dual prices.
fn priced_out(sizes: &[usize], mut used: Vec<f64>) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(sizes.len());
    for (at, size) in sizes.iter().enumerate() {
        let copies = (WHOLE / size) as f64;
        used[at] /= copies;
        rows.push((0..sizes.len()).map(|column| if column == at { 1.0 / copies } else { 0.0 }).collect());
    }
    // Each round takes in a better combination; far fewer than this are needed, and stopping early only costs quality.
    for _ in 0..20 * sizes.len() {
        let (worth, combination) = best_fills(sizes, &prices(&rows));
        if worth[WHOLE] <= 1.0 + GAIN || !exchange(&mut rows, &mut used, &combination) {
            return worth;
        }
    }
    best_fills(sizes, &prices(&rows)).0
}

/// Each combination in the basis counts one device, so a price is the sum of its column.
fn prices(rows: &[Vec<f64>]) -> Vec<f64> {
    (0..rows.len()).map(|column| rows.iter().map(|row| row[column]).sum()).collect()
}

/// The best fill of every gap, and how often each share is in the best fill of a whole device.
fn best_fills(sizes: &[usize], prices: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut best = vec![0.0_f64; WHOLE + 1];
    let mut last: Vec<Option<usize>> = vec![None; WHOLE + 1];
    for gap in 1..=WHOLE {
        best[gap] = best[gap - 1];
        for (at, size) in sizes.iter().enumerate().filter(|(_, size)| **size <= gap) {
            let with = best[gap - size] + prices[at];
            if with > best[gap] + GAIN {
                (best[gap], last[gap]) = (with, Some(at));
            }
        }
    }
    let mut combination = vec![0.0; sizes.len()];
    let mut gap = WHOLE;
    while gap > 0 {
        match last[gap] {
            Some(at) => {
                combination[at] += 1.0;
                gap -= sizes[at];
            }
            None => gap -= 1,
        }
    }
    (best, combination)
}

/// Puts a combination into the basis for the one that runs out first; false when none does.
fn exchange(rows: &mut [Vec<f64>], used: &mut [f64], combination: &[f64]) -> bool {
    let along: Vec<f64> =
        rows.iter().map(|row| row.iter().zip(combination).map(|(a, b)| a * b).sum()).collect();
    let leaving = (0..rows.len())
        .filter(|at| along[*at] > GAIN)
        .min_by(|a, b| (used[*a] / along[*a]).total_cmp(&(used[*b] / along[*b])).then(a.cmp(b)));
    let Some(leaving) = leaving else { return false };
    let step = used[leaving] / along[leaving];
    let pivot: Vec<f64> = rows[leaving].iter().map(|value| value / along[leaving]).collect();
    for (at, row) in rows.iter_mut().enumerate().filter(|(at, _)| *at != leaving) {
        used[at] -= step * along[at];
        row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= along[at] * pivot);
    }
    rows[leaving] = pivot;
    used[leaving] = step;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_combine_lose_nothing() {
        let worth = GapWorth::of(&[(650, 10), (350, 10), (470, 30)]);
        assert_eq!(worth.loss(350, 350), 0);
        assert_eq!(worth.loss(1000, 650), 0);
        assert_eq!(worth.loss(530, 470), 0);
        assert!(worth.loss(530, 350) > 100, "a place for 470 is taken by 350");
        assert!(worth.loss(1000, 350) < 10, "650 is expected as well");
    }

    #[test]
    fn a_gap_for_which_nothing_comes_is_worth_nothing() {
        let worth = GapWorth::of(&[(810, 100), (160, 1)]);
        assert_eq!(worth.loss(190, 160), 0);
        assert_eq!(GapWorth::of(&[]).loss(1000, 500), 0);
    }

    #[test]
    fn as_many_devices_as_the_program_needs() {
        // 3 · 400 on two devices is one combination of two: 1.5 devices; 600 joins each 400 for free.
        let worth = GapWorth::of(&[(400, 3), (600, 1)]);
        assert_eq!((worth.0[400], worth.0[600], worth.0[1000]), (500, 500, 1000));
    }
}
