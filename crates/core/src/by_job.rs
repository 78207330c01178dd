//! Values by job. Jobs' ids count up and most that live are near each other, so a value is found by its place and not by a search.

use crate::ids::JobId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Ids on one page. A job that lives on alone among a page's keeps 256 bytes busy.
const PAGE: u64 = 32;

type Page<T> = [Option<T>; PAGE as usize];

/// A map from jobs to values, in the order of ids.
///
/// A look-up is a division where every page between the first and the wanted one is there, a search among pages otherwise.
/// Give it values the size of a pointer: a page has room for all of its ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ByJob<T> {
    /// Ascending; none of them is empty.
    pages: Vec<(u64, Box<Page<T>>)>,
}

impl<T> Default for ByJob<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

const fn place(job: JobId) -> (u64, usize) {
    (job.0 / PAGE, (job.0 % PAGE) as usize)
}

impl<T> ByJob<T> {
    /// Where a page is, or belongs.
    fn find(&self, page: u64) -> Result<usize, usize> {
        let Some((first, _)) = self.pages.first() else { return Err(0) };
        let guess = usize::try_from(page.wrapping_sub(*first)).unwrap_or(usize::MAX);
        match self.pages.get(guess) {
            Some((there, _)) if *there == page => Ok(guess),
            _ => self.pages.binary_search_by_key(&page, |(there, _)| *there),
        }
    }

    /// The value of a job.
    pub fn get(&self, job: &JobId) -> Option<&T> {
        let (page, at) = place(*job);
        self.pages[self.find(page).ok()?].1[at].as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, job: &JobId) -> Option<&mut T> {
        let (page, at) = place(*job);
        let found = self.find(page).ok()?;
        self.pages[found].1[at].as_mut()
    }

    /// Whether a job has a value.
    pub fn contains_key(&self, job: &JobId) -> bool {
        self.get(job).is_some()
    }

    /// Gives a job a value in place of the one it had.
    pub fn insert(&mut self, job: JobId, value: T) -> Option<T> {
        let (page, at) = place(job);
        let found = self.find(page).unwrap_or_else(|new| {
            self.pages.insert(new, (page, Box::new([const { None }; PAGE as usize])));
            new
        });
        self.pages[found].1[at].replace(value)
    }

    /// Takes a job's value out.
    pub fn remove(&mut self, job: &JobId) -> Option<T> {
        let (page, at) = place(*job);
        let found = self.find(page).ok()?;
        let value = self.pages[found].1[at].take();
        if self.pages[found].1.iter().all(Option::is_none) {
            self.pages.remove(found);
        }
        value
    }

    /// The values, in the order of their jobs.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.pages.iter().flat_map(|(_, page)| page.iter().flatten())
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flat_map(|(_, page)| page.iter_mut().flatten())
    }

    /// Jobs and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (JobId, &T)> {
        self.pages.iter().flat_map(|(page, values)| {
            let ids = (0..PAGE).map(move |at| JobId(page * PAGE + at));
            ids.zip(values.iter()).filter_map(|(id, value)| Some((id, value.as_ref()?)))
        })
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (JobId, &mut T)> {
        self.pages.iter_mut().flat_map(|(page, values)| {
            let page = *page;
            let ids = (0..PAGE).map(move |at| JobId(page * PAGE + at));
            ids.zip(values.iter_mut()).filter_map(|(id, value)| Some((id, value.as_mut()?)))
        })
    }
}

impl<T> FromIterator<(JobId, T)> for ByJob<T> {
    fn from_iter<I: IntoIterator<Item = (JobId, T)>>(values: I) -> Self {
        let mut all = Self::default();
        for (job, value) in values {
            all.insert(job, value);
        }
        all
    }
}

impl<T: Serialize> Serialize for ByJob<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByJob<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_map(
            steps in prop::collection::vec((prop_oneof![0_u64..200, Just(u64::MAX), 1_u64 << 40..1 << 41], any::<bool>()), 0..300),
        ) {
            let (mut own, mut map) = (ByJob::default(), BTreeMap::new());
            for (step, (id, add)) in steps.into_iter().enumerate() {
                let job = JobId(id);
                if add {
                    prop_assert_eq!(own.insert(job, step), map.insert(job, step));
                } else {
                    prop_assert_eq!(own.remove(&job), map.remove(&job));
                }
                prop_assert_eq!(own.get(&job), map.get(&job));
            }
            prop_assert!(own.iter().eq(map.iter().map(|(job, value)| (*job, value))));
            prop_assert!(own.values().rev().eq(map.values().rev()));
            let text = serde_json::to_string(&own).expect("it can be written");
            prop_assert_eq!(&text, &serde_json::to_string(&map).expect("it can be written"));
            prop_assert_eq!(serde_json::from_str::<ByJob<usize>>(&text).expect("it can be read"), own);
        }
    }
}
