//! Room on the disk of the state folder: what is kept back, so that a full disk can be made free again.
//!
//! - The ends of the database and of its log have room that was taken beforehand, which no task can fill ([`hold`]).
//! - When less than a little is left, only what ends or removes something is taken in ([`Room::is_short`]).
//! - A file, `reserve`, that only a start on a full disk gives up: a database that was closed needs room to be opened, and so do
//!   the files by which the server is found.
//!
//! Sizes go by that of the filesystem, so a small one is not eaten up by what is kept back.

use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What is kept back at most, bytes, and the part of the filesystem that it is.
const MOST: u64 = 8 << 20;
const PART: u64 = 64;
/// Name of the file that a start gives up.
const RESERVE: &str = "reserve";

/// Bytes of the filesystem, and those that this process may still write.
fn space(dir: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    // Part of some filesystems is root's alone.
    let free = if rustix::process::geteuid().is_root() { stat.f_bfree } else { stat.f_bavail };
    Some((stat.f_blocks.saturating_mul(stat.f_frsize), free.saturating_mul(stat.f_frsize)))
}

/// The disk of a state folder.
#[derive(Clone, Debug)]
pub struct Room {
    dir: PathBuf,
    kept: u64,
}

impl Room {
    /// That of this folder, which is there.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let kept = space(dir).map_or(0, |(size, _)| (size / PART).min(MOST));
        Self { dir: dir.to_owned(), kept }
    }

    /// The same, with the reserve laid by.
    #[must_use]
    pub fn laid_by(dir: &Path) -> Self {
        let room = Self::of(dir);
        room.lay_by();
        room
    }

    /// What is kept back in each of the places, bytes.
    #[must_use]
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    /// Whether so little is left that it must be made free before anything new begins.
    #[must_use]
    pub fn is_short(&self) -> bool {
        space(&self.dir).is_some_and(|(_, free)| free < self.kept / 4)
    }

    /// What is said then.
    #[must_use]
    pub fn message(&self) -> String {
        format!(
            "the disk of {} is full; free space there, or stop and remove jobs that fill it",
            self.dir.display()
        )
    }

    /// Gives up the reserve where a start would have no room without it.
    pub fn give_up(&self) {
        if self.is_short() {
            fs::remove_file(self.dir.join(RESERVE)).unwrap_or_default();
        }
    }

    /// Lays the reserve by again where there is plenty of room. It is of use, not needed: a failure leaves nothing behind.
    fn lay_by(&self) {
        let path = self.dir.join(RESERVE);
        let plenty = space(&self.dir).is_some_and(|(_, free)| free > self.kept.saturating_mul(4));
        if !plenty || path.exists() {
            return;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let laid = file.and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, self.kept)?));
        if laid.is_err() {
            fs::remove_file(&path).unwrap_or_default();
        }
    }
}

/// Takes so much room beyond the end of a file, or from its start on where that is more; its size stays. Some filesystems cannot.
pub fn hold(file: &File, bytes: u64) {
    let end = file.metadata().map_or(0, |meta| meta.len());
    fallocate(file, FallocateFlags::KEEP_SIZE, 0, end.saturating_add(bytes)).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_there_when_it_is_written_and_not_before() {
        use std::io::Write as _;
        use std::os::unix::fs::MetadataExt as _;
        let dir = crate::testing::TempDir::new();
        let path = dir.path().join("file");
        let mut file = File::create(&path).unwrap();
        hold(&file, 1 << 20);
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), 0);
        assert!(meta.blocks() * 512 >= 1 << 20, "the test's disk holds nothing back: {}", meta.blocks());
        file.write_all(b"text").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
    }

    #[test]
    fn the_reserve_is_laid_by_once_and_given_up_only_in_need() {
        let dir = crate::testing::TempDir::new();
        let room = Room::of(dir.path());
        assert!(room.kept() > 0 && room.kept() <= MOST);
        room.lay_by();
        let reserve = dir.path().join(RESERVE);
        assert_eq!(fs::metadata(&reserve).unwrap().len(), room.kept());
        room.lay_by();
        room.give_up();
        assert!(reserve.exists() && !room.is_short());
        // As if there were next to nothing.
        Room { kept: u64::MAX, ..room }.give_up();
        assert!(!reserve.exists());
    }
}
