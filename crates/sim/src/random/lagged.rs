//! The generator of Go's `math/rand`, for replaying what others drew with it.
//!
//! An additive lagged Fibonacci generator: y(k) = y(k − 607) + y(k − 273) mod 2^63 (Mitchell and Moore 1958; Knuth,
//! TAOCP 2, 3.2.2). A seed fills the register from a small multiplicative generator, each word xored with one
//! of 607 constants. Those constants are the register of the same generator, seeded with 1, after 7.8 · 10^12
//! steps. They are computed here: step N is a linear form of the first 607 values, whose coefficients are
//! those of x^N mod (x^607 − x^334 − 1), found by squaring.
//!
//! Where not to use it: for anything new; it is here because published experiments were drawn from it.

const LENGTH: usize = 607;
const TAP: usize = 273;
/// Steps after which the register became the table of constants.
const STEPS: u64 = 7_800_000_000_000;
const MASK: u64 = (1 << 63) - 1;

/// The generator. Equal to `rand.New(rand.NewSource(seed))`, call for call.
#[derive(Clone, Debug)]
pub struct Lagged {
    register: Vec<u64>,
    feed: usize,
}

/// The next state of the seeding generator, x · 48271 mod (2^31 − 1).
const fn seeding(x: u64) -> u64 {
    x * 48_271 % ((1 << 31) - 1)
}

/// 607 words from a small seed; each is three states, shifted over one another.
fn words(seed: u64, shift: u32) -> Vec<u64> {
    let mut x = (0..20).fold(seed, |x, _| seeding(x));
    let mut word = || {
        [2 * shift, shift, 0].into_iter().fold(0, |word, by| {
            x = seeding(x);
            word ^ (x << by)
        })
    };
    (0..LENGTH).map(|_| word()).collect()
}

/// `a · b mod (x^607 − x^334 − 1)`, coefficients mod 2^64.
fn product(a: &[u64], b: &[u64]) -> Vec<u64> {
    let mut wide = vec![0_u64; 2 * LENGTH - 1];
    for (i, x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
        for (j, y) in b.iter().enumerate() {
            wide[i + j] = wide[i + j].wrapping_add(x.wrapping_mul(*y));
        }
    }
    for at in (LENGTH..wide.len()).rev() {
        let high = wide[at];
        wide[at - TAP] = wide[at - TAP].wrapping_add(high);
        wide[at - LENGTH] = wide[at - LENGTH].wrapping_add(high);
    }
    wide.truncate(LENGTH);
    wide
}

/// The register position of the value that step `k` writes; steps below 0 are the seed's words.
const fn position(k: u64) -> usize {
    const FIRST: u64 = (LENGTH - TAP - 1) as u64;
    (FIRST + LENGTH as u64 - k % LENGTH as u64) as usize % LENGTH
}

/// The register after [`STEPS`] steps from seed 1.
fn constants() -> Vec<u64> {
    let seed = words(1, 10);
    // Value i of the sequence stands where step i − 607 would have written it.
    let mut values: Vec<u64> = (0..LENGTH as u64).map(|i| seed[position(i)]).collect();
    for i in LENGTH..2 * LENGTH - 1 {
        values.push(values[i - LENGTH].wrapping_add(values[i - TAP]));
    }
    let mut power = vec![0_u64; LENGTH];
    power[0] = 1;
    for bit in (0..u64::BITS - STEPS.leading_zeros()).rev() {
        power = product(&power, &power);
        if STEPS >> bit & 1 == 1 {
            power.rotate_right(1);
            // x^607 = x^334 + 1; the 1 is already in place.
            power[LENGTH - TAP] = power[LENGTH - TAP].wrapping_add(power[0]);
        }
    }
    let mut register = vec![0; LENGTH];
    for (i, ahead) in values.windows(LENGTH).enumerate() {
        let value = power.iter().zip(ahead).fold(0_u64, |sum, (c, v)| sum.wrapping_add(c.wrapping_mul(*v)));
        register[position(STEPS + i as u64)] = value;
    }
    register
}

/// Makes generators: the constants are computed once.
#[derive(Clone, Debug)]
pub struct Seeder {
    constants: Vec<u64>,
}

impl Default for Seeder {
    fn default() -> Self {
        Self { constants: constants() }
    }
}

impl Seeder {
    /// The generator of a seed from 1 to 2^31 − 2.
    #[must_use]
    pub fn seeded(&self, seed: u32) -> Lagged {
        let words = words(u64::from(seed), 20).into_iter().zip(&self.constants);
        Lagged {
            register: words.map(|(word, constant)| (word ^ constant) & MASK).collect(),
            feed: LENGTH - TAP,
        }
    }
}

impl Lagged {
    /// The next 63 bits (`Int63`).
    pub fn bits(&mut self) -> u64 {
        self.feed = (self.feed + LENGTH - 1) % LENGTH;
        let tap = (self.feed + TAP) % LENGTH;
        self.register[self.feed] = self.register[self.feed].wrapping_add(self.register[tap]) & MASK;
        self.register[self.feed]
    }

    /// A number in `0..bound`, by remainder (`Intn`); 0 when `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let mut draw = || (self.bits() >> 32) as u32;
        if bound.is_power_of_two() {
            return draw() & (bound - 1);
        }
        let Some(rest) = (1_u32 << 31).checked_rem(bound) else { return 0 };
        loop {
            let value = draw();
            if value < (1 << 31) - rest {
                return value % bound;
            }
        }
    }

    /// A number in `0..bound`, by product, as `Shuffle` draws it.
    fn scaled(&mut self, bound: u32) -> u32 {
        loop {
            let wide = (self.bits() >> 31) * u64::from(bound);
            let low = wide as u32;
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return (wide >> 32) as u32;
            }
        }
    }

    /// Puts fewer than 2^31 `items` into a random order (`Shuffle`).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for (end, bound) in (1..items.len()).zip(2_u32..).collect::<Vec<_>>().into_iter().rev() {
            items.swap(end, self.scaled(bound) as usize);
        }
    }

    /// A random order of `0..count` (`Perm`).
    pub fn permutation(&mut self, count: u32) -> Vec<u32> {
        let mut order = Vec::with_capacity(count as usize);
        for at in 0..count {
            let from = self.below(at + 1) as usize;
            order.push(at);
            order[at as usize] = order[from];
            order[from] = at;
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_what_go_draws() {
        let seeder = Seeder::default();
        let mut one = seeder.seeded(1);
        // The first numbers of seed 1, as printed by many a Go program.
        assert_eq!(one.bits(), 5_577_006_791_947_779_410);
        assert_eq!(one.bits(), 8_674_665_223_082_153_551);
        assert_eq!(one.bits(), 6_129_484_611_666_145_821);
        let mut dice = seeder.seeded(1);
        let drawn: Vec<u32> = (0..10).map(|_| dice.below(100)).collect();
        assert_eq!(drawn, [81, 87, 47, 59, 81, 18, 25, 40, 56, 0]);
    }
}
