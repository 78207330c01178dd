//! Nodes that changed, in order, for many readers: each remembers how far it has read and reads on from there.
//!
//! The log is bounded. A reader for whom it does not reach back far enough looks at all nodes, which is then no more
//! work than reading would have been; one that reads at every plan never does, however long the pool runs.

/// The log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: Vec<u32>,
    /// Entries that were dropped.
    dropped: u64,
}

impl Log {
    /// Adds a node of a pool of so many nodes.
    pub fn push(&mut self, node: usize, nodes: usize) {
        // Beyond this a reader looks at all nodes faster. The newer half stays: nobody has read its end yet.
        let most = nodes + 64;
        if self.entries.len() >= 2 * most {
            self.entries.drain(..most);
            self.dropped += most as u64;
        }
        self.entries.push(u32::try_from(node).unwrap_or(u32::MAX));
    }

    /// How many entries there were, from the very first.
    pub const fn end(&self) -> u64 {
        self.dropped + self.entries.len() as u64
    }

    /// Entries that are still there.
    #[cfg(test)]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where the entry of this number stands, if it is still there.
    fn place(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number.checked_sub(self.dropped)?).ok()?;
        (place <= self.entries.len()).then_some(place)
    }

    /// The nodes that came after so many entries, with doubles; `None` when that is not known any more.
    pub fn since(&self, read: u64) -> Option<&[u32]> {
        self.place(read).map(|place| &self.entries[place..])
    }

    /// One entry, by its number from the very first, which must be there.
    pub fn at(&self, number: u64) -> usize {
        self.place(number).map_or(usize::MAX, |place| self.entries[place] as usize)
    }

    /// Takes back the entries that came after so many; `None` when that is not known any more.
    pub fn take_back(&mut self, to: u64) -> Option<Vec<u32>> {
        let place = self.place(to)?;
        Some(self.entries.split_off(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_on_never_starts_anew_and_the_log_stays_short() {
        let (mut log, mut read) = (Log::default(), 0);
        // Plans of a pool of 100 nodes, each of which changes more nodes than the one before and fewer than there are.
        for plan in 0..10_000 {
            for node in 0..plan % 100 {
                log.push(node, 100);
            }
            let new = log.since(read).expect("the log reaches back to the plan before");
            assert!(new.iter().copied().eq(0..(plan % 100) as u32));
            read = log.end();
            assert!(log.len() <= 2 * (100 + 64));
        }
    }

    #[test]
    fn who_stays_away_learns_that_something_is_missing() {
        let mut log = Log::default();
        (0..10).for_each(|node| log.push(node, 10));
        let read = log.end();
        (0..1000).for_each(|turn| log.push(turn % 10, 10));
        assert_eq!(log.since(read), None);
        let here = log.end();
        log.push(7, 10);
        assert_eq!(log.take_back(here), Some(vec![7]));
        assert_eq!((log.end(), log.since(here)), (here, Some(&[][..])));
    }
}
