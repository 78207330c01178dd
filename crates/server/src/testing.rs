//! What this crate's own tests need.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder of its own, removed when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

static COUNT: AtomicU64 = AtomicU64::new(0);

impl TempDir {
    /// A new one under the system's folder for temporary files.
    pub fn new() -> Self {
        Self::under(&std::env::temp_dir())
    }

    /// A new one in memory where there is such a place: no disk has to follow thousands of commits.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        match memory.is_dir() {
            true => Self::under(memory),
            false => Self::new(),
        }
    }

    fn under(folder: &Path) -> Self {
        let name = format!("pond-server-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}
