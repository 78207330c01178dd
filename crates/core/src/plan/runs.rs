//! How far each bucket of waiting gangs has come in one plan. Kept from plan to plan for its memory, empty between them.

use super::solve::Fate;

/// How far a bucket has come.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Gangs before this one were dealt with.
    pub next: usize,
    /// Why the rest waits.
    pub fate: Option<Fate>,
    /// Domains that are known to be too full for one gang of the bucket.
    pub dead: Vec<bool>,
    /// Nobody can be evicted for a gang of the bucket.
    pub no_victims: bool,
}

impl Run {
    /// Forgets which domains are too full: something has left.
    pub fn forget_domains(&mut self) {
        self.dead.clear();
    }
}

/// The buckets that had a turn, found by number.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// Where a bucket stands in `list`, from 1; 0: it had no turn.
    places: Vec<u32>,
    list: Vec<(usize, Run)>,
}

impl Runs {
    /// How far the bucket has come, if it had a turn.
    pub fn get(&self, bucket: usize) -> Option<&Run> {
        let place = *self.places.get(bucket)?;
        self.list.get((place as usize).checked_sub(1)?).map(|(_, run)| run)
    }

    /// How far the bucket has come, from here on.
    pub fn entry(&mut self, bucket: usize) -> &mut Run {
        if self.places.len() <= bucket {
            self.places.resize(bucket + 1, 0);
        }
        if self.places[bucket] == 0 {
            self.list.push((bucket, Run::default()));
            self.places[bucket] = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        }
        &mut self.list[self.places[bucket] as usize - 1].1
    }

    /// Forgets all turns.
    pub fn clear(&mut self) {
        for (bucket, _) in self.list.drain(..) {
            self.places[bucket] = 0;
        }
    }
}
