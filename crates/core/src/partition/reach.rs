//! The reachable-set search: of the places where a part may stand, the one that leaves most of the future open.
//!
//! A configuration is a set of parts that stand together. From what stands on a device, those configurations can still be
//! reached that contain it; the place is taken from which most can be, so that a part is put where it is least in others'
//! way. Counting reachable configurations to choose a place is Saraha, Li, Porter and Pande, "Managing Multi Instance GPUs
//! for High Throughput and Energy Savings" (arXiv 2508.18556, 2025); ours counts sets of parts instead of sequences of
//! states, and takes as the first measure how many more parts of the same profile fit, so that a gang whose tasks are
//! alike gets as many as can stand there. Both are exact: all states of a device, a few hundred, are enumerated once.
//!
//! No choice of place can be right for every future: one slice at 4 or 5 keeps a double-memory slice possible at
//! 6, one at 6 keeps two slices possible at 4, and nobody has both. What holds is said by the tests: where a place exists one is found.
//!
//! Where not to use it: where parts may be moved while they are used, any start will do.

use super::{Layout, Occupied, Part, Profile};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

/// A layout with all its states.
#[derive(Clone, Debug)]
pub struct Reach {
    layout: Layout,
    /// For each state: configurations that can be reached from it by parts without media engines, itself included.
    futures: BTreeMap<Occupied, u64>,
}

// All of it follows from the layout.
impl PartialEq for Reach {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout
    }
}

impl Eq for Reach {}

impl PartialOrd for Reach {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Reach {
    fn cmp(&self, other: &Self) -> Ordering {
        self.layout.cmp(&other.layout)
    }
}

impl Reach {
    /// Enumerates all states that can be reached from an empty device.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        let parts: Vec<Part> = layout.parts().collect();
        let mut reach = Self { layout: layout.clone(), futures: BTreeMap::new() };
        let plain: Vec<Part> =
            layout.parts().filter(|part| layout.profile_of(*part).is_some_and(|of| !of.media)).collect();
        let mut memo = BTreeMap::new();
        let mut open = vec![Occupied::NOTHING];
        while let Some(taken) = open.pop() {
            if reach.futures.contains_key(&taken) {
                continue;
            }
            reach.futures.insert(taken, count(layout, &plain, taken, 0, &mut memo));
            open.extend(
                parts.iter().filter(|part| layout.fits(taken, **part)).map(|part| layout.with(taken, *part)),
            );
        }
        reach
    }

    /// The layout it is of.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of states.
    #[must_use]
    pub fn states(&self) -> usize {
        self.futures.len()
    }

    /// Configurations that can be reached from a state, itself included, media engines left aside; 0 for a state that does not exist.
    #[must_use]
    pub fn futures(&self, taken: Occupied) -> u64 {
        self.futures.get(&taken).copied().unwrap_or(0)
    }

    /// Where a part of this profile stands best; `None` when it has no place.
    #[must_use]
    pub fn place(&self, taken: Occupied, profile: u8) -> Option<Part> {
        let starts = &self.layout.profiles.get(usize::from(profile))?.starts;
        let free = starts.iter().map(|start| Part { profile, start: *start });
        free.filter(|part| self.layout.fits(taken, *part)).max_by_key(|part| {
            let then = self.layout.with(taken, *part);
            (self.layout.copies(then, profile), self.futures(then), Reverse(part.start))
        })
    }

    /// The most of something that parts which stand together have.
    #[must_use]
    pub fn most(&self, of: impl Fn(&Profile) -> u64) -> u64 {
        let mut most: BTreeMap<Occupied, u64> = BTreeMap::new();
        // A state with more in it has the larger number, so what follows is known before what leads to it.
        for taken in self.futures.keys().rev() {
            let mut best = 0;
            for part in self.layout.parts().filter(|part| self.layout.fits(*taken, *part)) {
                let then = most.get(&self.layout.with(*taken, part)).copied().unwrap_or(0);
                let own = self.layout.profile_of(part).map_or(0, &of);
                best = best.max(then.saturating_add(own));
            }
            most.insert(*taken, best);
        }
        most.get(&Occupied::NOTHING).copied().unwrap_or(0)
    }
}

/// Sets of parts from the `from`th on that can stand beside what does, the empty one included.
fn count(
    layout: &Layout,
    parts: &[Part],
    taken: Occupied,
    from: usize,
    memo: &mut BTreeMap<(Occupied, usize), u64>,
) -> u64 {
    if let Some(known) = memo.get(&(taken, from)) {
        return *known;
    }
    let mut sum: u64 = 1;
    for at in from..parts.len() {
        if layout.fits(taken, parts[at]) {
            let with = layout.with(taken, parts[at]);
            sum = sum.saturating_add(count(layout, parts, with, at + 1, memo));
        }
    }
    memo.insert((taken, from), sum);
    sum
}
