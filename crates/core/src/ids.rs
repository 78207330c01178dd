//! Names of things. Every order in the core ends in one of these, so every order is total.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A job as submitted: counts up from 1 for the life of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

/// A gang: one element of an array job, or the only one (index 0) of a plain job.
///
/// The unit that is queued, placed, preempted and retried. A plain one-process job is a gang of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GangId {
    /// The job it belongs to.
    pub job: JobId,
    /// The array index.
    pub index: u32,
}

/// A task: one rank of a gang. Prints as `12`, `12.3` (rank 3), `12[7]` (array index 7) or `12[7].3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The gang it is a rank of.
    pub gang: GangId,
    /// The rank, from 0.
    pub rank: u32,
}

/// Fencing number of one placement of a gang: grows by one each time the gang is placed.
///
/// A message that carries an older generation is counted and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

// Shared text: names stand in every event, effect and decision, and are copied far more often than made.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A machine's name, unique in the pool.
    NodeName
);
name!(
    /// A queue's full path in the tree, parts joined by `/`: `research/nlp`. The root is the empty path.
    QueuePath
);
name!(
    /// Who asked.
    UserName
);

impl QueuePath {
    /// Whether it is the other queue, or below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(other.as_str());
        other.0.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl JobId {
    /// The gang with this array index.
    #[must_use]
    pub const fn gang(self, index: u32) -> GangId {
        GangId { job: self, index }
    }
}

impl GangId {
    /// The task with this rank.
    #[must_use]
    pub const fn task(self, rank: u32) -> TaskId {
        TaskId { gang: self, rank }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for GangId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            0 => write!(f, "{}", self.job),
            index => write!(f, "{}[{index}]", self.job),
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rank {
            0 => write!(f, "{}", self.gang),
            rank => write!(f, "{}.{rank}", self.gang),
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// A text that is not a task id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id; write a job (12), an array element (12[7]) or a rank (12.3, 12[7].3)")]
pub struct IdError(pub String);

impl FromStr for TaskId {
    type Err = IdError;
    /// Reads what [`TaskId`]'s `Display` writes; a missing index or rank is 0.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError(text.to_owned());
        let (rest, rank) = match text.rsplit_once('.') {
            Some((rest, rank)) => (rest, rank.parse().map_err(|_why| wrong())?),
            None => (text, 0),
        };
        let (job, index) = match rest.strip_suffix(']') {
            Some(open) => {
                let (job, index) = open.split_once('[').ok_or_else(wrong)?;
                (job, index.parse().map_err(|_why| wrong())?)
            }
            None => (rest, 0),
        };
        let job = JobId(job.parse().map_err(|_why| wrong())?);
        Ok(job.gang(index).task(rank))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        for text in ["12", "12.3", "12[7]", "12[7].3"] {
            assert_eq!(text.parse::<TaskId>().unwrap().to_string(), text);
        }
        assert!("12[".parse::<TaskId>().is_err());
        assert!("".parse::<TaskId>().is_err());
    }
}
