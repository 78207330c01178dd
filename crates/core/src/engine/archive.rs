//! How archived jobs ended: two bits a job, so that a later job may still depend on one.

use crate::ids::JobId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Every job that the engine once had and forgot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// 32 jobs a word: bit 2n says that the job is here, bit 2n+1 that it succeeded.
    words: BTreeMap<u64, u64>,
}

const fn place(job: JobId) -> (u64, u32) {
    (job.0 / 32, (job.0 % 32) as u32 * 2)
}

impl Archive {
    /// Adds a job.
    pub fn add(&mut self, job: JobId, succeeded: bool) {
        let (word, bit) = place(job);
        *self.words.entry(word).or_default() |= (1 | u64::from(succeeded) << 1) << bit;
    }

    /// Whether a job here succeeded; `None` when it is not here.
    pub fn succeeded(&self, job: JobId) -> Option<bool> {
        let (word, bit) = place(job);
        let bits = self.words.get(&word)? >> bit & 3;
        (bits & 1 == 1).then_some(bits >> 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_remembered_one_by_one() {
        let mut archive = Archive::default();
        archive.add(JobId(31), true);
        archive.add(JobId(32), false);
        assert_eq!(archive.succeeded(JobId(31)), Some(true));
        assert_eq!(archive.succeeded(JobId(32)), Some(false));
        assert_eq!(archive.succeeded(JobId(33)), None);
    }
}
