//! A set of small numbers in two levels of words: 10,000 nodes are 157 words under a summary of 3.

/// A set of numbers below a fixed bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    /// Bit `w` says whether `words[w]` has a bit.
    summary: Vec<u64>,
}

impl Bits {
    /// An empty set of numbers below `bound`.
    pub fn new(bound: usize) -> Self {
        let words = bound.div_ceil(64);
        Self { words: vec![0; words], summary: vec![0; words.div_ceil(64)] }
    }

    /// Puts a number in.
    pub fn set(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
        self.summary[at / 4096] |= 1 << (at / 64 % 64);
    }

    /// Takes a number out.
    pub fn clear(&mut self, at: usize) {
        self.words[at / 64] &= !(1 << (at % 64));
        if self.words[at / 64] == 0 {
            self.summary[at / 4096] &= !(1 << (at / 64 % 64));
        }
    }

    /// Puts in or takes out.
    pub fn put(&mut self, at: usize, is: bool) {
        if is { self.set(at) } else { self.clear(at) }
    }

    /// Whether the number is in.
    pub fn has(&self, at: usize) -> bool {
        self.words.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// Whether nothing is in.
    pub fn is_empty(&self) -> bool {
        self.summary.iter().all(|word| *word == 0)
    }

    /// Takes everything out.
    pub fn wipe(&mut self) {
        self.words.fill(0);
        self.summary.fill(0);
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        ones(&self.summary).flat_map(|w| word_ones(self.words[w]).map(move |b| w * 64 + b as usize))
    }

    /// The first number not below `from` that is in this set, in `other` and, when given, in `third`.
    pub fn common_from(&self, other: &Self, third: Option<&Self>, from: usize) -> Option<usize> {
        let all = |w: usize| self.words[w] & other.words[w] & third.map_or(u64::MAX, |third| third.words[w]);
        let start = from / 64;
        if start >= self.words.len() {
            return None;
        }
        let word = all(start) & (u64::MAX << (from % 64));
        if word != 0 {
            return Some(start * 64 + word.trailing_zeros() as usize);
        }
        let next = start + 1;
        let mut keep = u64::MAX << (next % 64);
        for s in next / 64..self.summary.len() {
            let mut both =
                self.summary[s] & other.summary[s] & keep & third.map_or(u64::MAX, |third| third.summary[s]);
            while both != 0 {
                let w = s * 64 + both.trailing_zeros() as usize;
                let word = all(w);
                if word != 0 {
                    return Some(w * 64 + word.trailing_zeros() as usize);
                }
                both &= both - 1;
            }
            keep = u64::MAX;
        }
        None
    }
}

/// The bits of a word that are set, ascending.
pub fn word_ones(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let at = word.trailing_zeros();
        (word != 0).then(|| {
            word &= word - 1;
            at
        })
    })
}

fn ones(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(w, word)| word_ones(*word).map(move |b| w * 64 + b as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_set(
            ops in prop::collection::vec((0_usize..9000, any::<bool>()), 0..200),
            others in prop::collection::btree_set(0_usize..9000, 0..200),
            from in 0_usize..9000,
        ) {
            let (mut bits, mut set) = (Bits::new(9000), BTreeSet::new());
            for (at, is) in ops {
                bits.put(at, is);
                if is { set.insert(at) } else { set.remove(&at) };
            }
            prop_assert_eq!(bits.is_empty(), set.is_empty());
            prop_assert!(bits.iter().eq(set.iter().copied()));
            let mut other = Bits::new(9000);
            others.iter().for_each(|at| other.set(*at));
            let first = set.intersection(&others).copied().find(|at| *at >= from);
            prop_assert_eq!(bits.common_from(&other, None, from), first);
            prop_assert_eq!(bits.common_from(&bits, Some(&other), from), first);
        }
    }
}
