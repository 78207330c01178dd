//! Chance from a seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), one generator per purpose.

pub mod lagged;

/// A generator. Same seed and purpose, same numbers.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator for one purpose under a root seed.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a of the purpose keeps generators of one seed apart.
        let named = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { state: seed ^ named }
    }

    /// The generator for one purpose and one item of it: a job, a node. What one item draws does not depend on
    /// how much others drew before, so that the same node fails at the same moments under every policy.
    #[must_use]
    pub fn of(seed: u64, purpose: &str, item: u64) -> Self {
        let mut root = Self::new(seed, purpose);
        let mixed = root.bits();
        Self { state: mixed ^ item.wrapping_mul(0xd6e8_feb8_6659_fd93) }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, every one as likely to within `bound / 2^64`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.bits()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number in `(0, 1]`, in steps of 2^-53.
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// True in so many of a thousand cases.
    pub fn thousandths(&mut self, chance: u64) -> bool {
        (self.below(1000) as u64) < chance
    }

    /// A number of the standard normal distribution (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A number of the Weibull distribution with scale 1; `shape` 1 is the exponential distribution.
    pub fn weibull(&mut self, shape: f64) -> f64 {
        (-self.unit().ln()).powf(1.0 / shape)
    }

    /// Puts `items` into a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers_and_purposes_differ() {
        let mut a = Random::new(1, "ties");
        let mut b = Random::new(1, "ties");
        let mut c = Random::new(1, "order");
        let first: Vec<u64> = (0..4).map(|_| a.bits()).collect();
        assert_eq!(first, (0..4).map(|_| b.bits()).collect::<Vec<_>>());
        assert_ne!(first, (0..4).map(|_| c.bits()).collect::<Vec<_>>());
        assert!((0..1000).all(|_| a.below(3) < 3));
    }

    #[test]
    fn items_are_independent_of_each_other() {
        let mut first = Random::of(1, "failures", 1);
        let untouched = Random::of(1, "failures", 2).bits();
        first.bits();
        assert_eq!(Random::of(1, "failures", 2).bits(), untouched);
        assert_ne!(Random::of(1, "failures", 1).bits(), untouched);
    }

    #[test]
    fn distributions_have_their_means() {
        let mut chance = Random::new(7, "means");
        let mean = |draw: &mut dyn FnMut() -> f64| (0..20_000).map(|_| draw()).sum::<f64>() / 20_000.0;
        assert!(mean(&mut || chance.normal()).abs() < 0.03);
        assert!((mean(&mut || chance.weibull(1.0)) - 1.0).abs() < 0.03);
        // The mean of Weibull with shape 2 and scale 1 is the gamma function at 1.5: 0.8862.
        assert!((mean(&mut || chance.weibull(2.0)) - 0.886_2).abs() < 0.02);
        assert!((mean(&mut || chance.unit()) - 0.5).abs() < 0.01);
    }
}
