//! Placed gangs in the orders that the planner asks for.

use crate::model::Class;
use crate::snapshot::{GangOrd, GangRow, PlacedGang};
use crate::units::Timestamp;
use std::collections::BTreeSet;

/// How a running gang is found among those that may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Promise.
    pub class: Class,
    /// Queue by ordinal.
    pub queue: usize,
    /// 0..=1000.
    pub priority: u16,
    /// Which.
    pub gang: GangOrd,
}

/// Where one gang was put, to take it out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    end: Option<Timestamp>,
    since: Timestamp,
    rank: Option<Rank>,
    elastic: bool,
    leaving: bool,
    spare: bool,
}

/// All placed gangs.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// Known ends, soonest first; gangs that are stopping end at zero.
    pub ends: BTreeSet<(Timestamp, GangOrd)>,
    /// Unknown ends, oldest first.
    pub open: BTreeSet<(Timestamp, GangOrd)>,
    /// Those that may be evicted by somebody at some time.
    pub ranks: BTreeSet<Rank>,
    /// Those whose number of ranks may change.
    pub elastic: BTreeSet<GangOrd>,
    /// Those that are stopping or shrinking.
    pub leaving: BTreeSet<GangOrd>,
    /// Those of class `spare` that are not stopping.
    pub spare: BTreeSet<GangOrd>,
}

impl Running {
    /// Puts a gang in.
    pub fn add(&mut self, row: &GangRow, placed: &PlacedGang, gang: GangOrd) -> Entry {
        let evictable = row.preemptible && row.class != Class::Critical && !placed.stopping;
        let rank = Rank { class: row.class, queue: row.queue.0 as usize, priority: row.priority, gang };
        let entry = Entry {
            end: if placed.stopping { Some(Timestamp(0)) } else { placed.expected_end },
            since: placed.since,
            rank: evictable.then_some(rank),
            elastic: row.size.min < row.size.max && !placed.stopping,
            leaving: placed.stopping || placed.shrinking.is_some(),
            spare: row.class == Class::Spare && !placed.stopping,
        };
        match entry.end {
            Some(end) => self.ends.insert((end, gang)),
            None => self.open.insert((entry.since, gang)),
        };
        self.ranks.extend(entry.rank);
        for (is, set) in [
            (entry.elastic, &mut self.elastic),
            (entry.leaving, &mut self.leaving),
            (entry.spare, &mut self.spare),
        ] {
            if is {
                set.insert(gang);
            }
        }
        entry
    }

    /// Takes a gang out.
    pub fn remove(&mut self, entry: &Entry, gang: GangOrd) {
        match entry.end {
            Some(end) => self.ends.remove(&(end, gang)),
            None => self.open.remove(&(entry.since, gang)),
        };
        if let Some(rank) = &entry.rank {
            self.ranks.remove(rank);
        }
        self.elastic.remove(&gang);
        self.leaving.remove(&gang);
        self.spare.remove(&gang);
    }
}
