//! Placed gangs in the orders that the planner asks for.

use super::forecast::When;
use super::lodgers::Lodgers;
use crate::model::Class;
use crate::plan::policy::order::Standing;
use crate::snapshot::{GangOrd, GangRow, PlacedGang};
use crate::units::{Millis, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// How a running gang is found among those that may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evictable {
    /// Promise.
    pub class: Class,
    /// Its line: its queue by ordinal, or 0 when all are one.
    pub line: usize,
    /// 0..=1000.
    pub priority: u16,
    /// Its level under the order policy, or more.
    pub level: u32,
    /// Which.
    pub gang: GangOrd,
}

/// Where one gang was put, to take it out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    leaves: When,
    overdue: Option<Timestamp>,
    evictable: Option<Evictable>,
    until: Timestamp,
    elastic: bool,
    leaving: bool,
    frozen: bool,
    lodges: bool,
}

impl Entry {
    /// When it is expected to leave.
    pub const fn leaves(&self) -> When {
        self.leaves
    }
}

/// When a gang is expected to leave. Who is overdue gets a quarter of its span more, at least a second, as often as it takes:
/// a function of the moment that changes only when that has passed too.
fn leaves(placed: &PlacedGang, now: Timestamp) -> When {
    if placed.stopping {
        return When::Soon;
    }
    let Some(mut end) = placed.expected_end else { return When::Unknown(placed.since) };
    // Ends: the span grows by a quarter each time.
    while end <= now {
        end = end.after(Millis((end.since(placed.since).0 / 4).max(1000)));
    }
    When::At(end)
}

/// All placed gangs.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// Known ends, soonest first, those left out who are stopping: at that moment another is expected.
    ends: BTreeSet<(Timestamp, GangOrd)>,
    /// Those that may be evicted by somebody at some time.
    pub evictable: BTreeSet<Evictable>,
    /// When the level of one of those changes, by the level it has.
    changes: BTreeMap<u32, BTreeSet<(Timestamp, GangOrd)>>,
    /// Those whose number of ranks may change.
    pub elastic: BTreeSet<GangOrd>,
    /// Those that are stopping or shrinking.
    pub leaving: BTreeSet<GangOrd>,
    /// Those of class `spare` that are not stopping.
    pub lodgers: Lodgers,
    /// Those of them that are frozen.
    pub frozen: BTreeSet<GangOrd>,
}

impl Running {
    /// Puts a gang in.
    pub fn add(
        &mut self,
        row: &GangRow,
        placed: &PlacedGang,
        gang: GangOrd,
        line: usize,
        standing: Standing,
        now: Timestamp,
    ) -> Entry {
        let leaves = leaves(placed, now);
        let lodges = row.class == Class::Spare && !placed.stopping;
        let may_go = row.preemptible && row.class != Class::Critical && !placed.stopping;
        let evictable =
            Evictable { class: row.class, line, priority: row.priority, level: standing.bound, gang };
        let entry = Entry {
            leaves,
            overdue: if let When::At(end) = leaves { Some(end) } else { None },
            evictable: may_go.then_some(evictable),
            until: if may_go { standing.until } else { Timestamp::NEVER },
            elastic: row.size.min < row.size.max && !placed.stopping,
            leaving: placed.stopping || placed.shrinking.is_some(),
            frozen: lodges && placed.frozen.is_some(),
            lodges,
        };
        self.ends.extend(entry.overdue.map(|end| (end, gang)));
        self.evictable.extend(entry.evictable);
        if entry.until != Timestamp::NEVER {
            self.changes.entry(standing.bound).or_default().insert((entry.until, gang));
        }
        for (is, set) in [
            (entry.elastic, &mut self.elastic),
            (entry.leaving, &mut self.leaving),
            (entry.frozen, &mut self.frozen),
        ] {
            if is {
                set.insert(gang);
            }
        }
        if lodges {
            self.lodgers.add(gang, placed);
        }
        entry
    }

    /// Takes a gang out.
    pub fn remove(&mut self, entry: &Entry, gang: GangOrd) {
        if let Some(end) = entry.overdue {
            self.ends.remove(&(end, gang));
        }
        if let Some(evictable) = &entry.evictable {
            self.evictable.remove(evictable);
            if let Some(changes) = self.changes.get_mut(&evictable.level) {
                changes.remove(&(entry.until, gang));
            }
        }
        for (is, set) in [
            (entry.elastic, &mut self.elastic),
            (entry.leaving, &mut self.leaving),
            (entry.frozen, &mut self.frozen),
        ] {
            if is {
                set.remove(&gang);
            }
        }
        if entry.lodges {
            self.lodgers.remove(gang);
        }
    }

    /// From which priority on a waiting gang of this class and line may find somebody to evict by class, priority or level:
    /// everybody, those above the lowest that runs, or nobody.
    pub fn least_evictable(&self, class: Class, line: usize, by_level: bool) -> Option<Bound<u16>> {
        let at = |class, line| Evictable { class, line, priority: 0, level: 0, gang: GangOrd(0) };
        let first = self.evictable.first()?;
        if first.class < class {
            return Some(Bound::Unbounded);
        }
        let own = if (first.class, first.line) == (class, line) {
            first
        } else {
            self.evictable.range(at(class, line)..at(class, line + 1)).next()?
        };
        Some(if by_level { Bound::Unbounded } else { Bound::Excluded(own.priority) })
    }

    /// Those who have not ended though they were expected to, and those whose level has changed by now.
    pub fn due(&self, now: Timestamp) -> Vec<GangOrd> {
        let late = self.ends.range(..=(now, GangOrd(u32::MAX))).map(|(_, gang)| *gang);
        let due = |changes: &BTreeSet<(Timestamp, GangOrd)>| -> Vec<GangOrd> {
            changes.range(..=(now, GangOrd(u32::MAX))).map(|(_, gang)| *gang).collect()
        };
        late.chain(self.changes.values().flat_map(due)).collect()
    }

    /// Levels at which somebody's level changes or changed.
    #[cfg(test)]
    pub fn levels(&self) -> usize {
        self.changes.len()
    }

    /// When the next level changes; [`Timestamp::NEVER`] when none does.
    pub fn next_change(&self) -> Timestamp {
        let firsts = self.changes.values().filter_map(BTreeSet::first);
        firsts.map(|(at, _)| *at).min().unwrap_or(Timestamp::NEVER)
    }
}
