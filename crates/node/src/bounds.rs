//! What of the machine a job may be given: nothing that is in the pool's own folder, and where its project is open to
//! some folders only, what is in them. Asked about a place without links, at the moment it is held or opened.

use crate::ground::Mounted;
use pond_core::model::HostFolder;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ELSEWHERE: &str = "it is not there, or it leads to where its project is not open; name another, or ask an administrator of the pool";

/// The bounds of one job.
pub(crate) struct Bounds {
    /// The pool's own folder, without links, and where its filesystem is mounted a second time: the pool's token lies there.
    pub(crate) states: Vec<PathBuf>,
    /// With whether it may be changed; none: everything.
    open: Option<Vec<(PathBuf, bool)>>,
}

impl Bounds {
    /// `within`: as in [`pond_core::model::RunSpec`].
    ///
    /// # Errors
    /// The pool's own folder is not there.
    pub(crate) fn new(state: &Path, within: Option<&[HostFolder]>) -> io::Result<Self> {
        // A folder that is not there opens nothing.
        let found = |it: &HostFolder| Some((fs::canonicalize(&it.path).ok()?, it.write));
        let open = within.map(|folders| folders.iter().filter_map(found).collect());
        let state = fs::canonicalize(state)?;
        let again = Mounted::again(&Mounted::all(), &state);
        Ok(Self { states: [state].into_iter().chain(again).collect(), open })
    }

    /// Whether a place, without links, may be given to the job, to change it or not.
    ///
    /// # Errors
    /// It may not, and why.
    pub(crate) fn admit(&self, place: &Path, write: bool) -> Result<(), &'static str> {
        if self.states.iter().any(|state| place.starts_with(state)) {
            return Err("it is in the pool's own folder, which no task sees; name another");
        }
        let Some(open) = &self.open else { return Ok(()) };
        if open.iter().any(|(folder, writable)| place.starts_with(folder) && (*writable || !write)) {
            return Ok(());
        }
        Err(ELSEWHERE)
    }

    /// What of a place that cannot be looked at is told: to a bound job not whether there is something.
    pub(crate) fn unseen(&self, why: io::Error) -> io::Error {
        if self.open.is_some() { io::Error::other(ELSEWHERE) } else { why }
    }

    /// Whether the job is bound to some folders.
    pub(crate) const fn is_bound(&self) -> bool {
        self.open.is_some()
    }
}
