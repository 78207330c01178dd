//! The state folder: one server at a time, private to its owner, and where clients find the server.
//!
//! `pond.db` (journal and archive) · `token` (of the local administrator, 0600) · `secret.key` (0600) ·
//! `address` (URL, while listening) · `server.pid` (process id; locked while the server lives) · `reserve` (room for a start on a
//! full disk) · `tasks/`.

use crate::room::Room;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and for how long each time, a lock is waited for whose holder is dead already.
const DYING: (u32, Duration) = (100, Duration::from_millis(20));

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another server has it.
    #[error(
        "a server (process {pid}) already uses {dir}; stop it with `pond down` or choose another --state-dir"
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other server, as far as its file says.
        pid: String,
    },
    /// A file of it cannot be made, read or written.
    #[error(
        "cannot {verb} {path}: {source}; check the folder's owner and free space, or choose another --state-dir"
    )]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A state folder, held for this process until it is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Holds the lock: the kernel lets go of it when the process ends, however it ends.
    pid_file: File,
}

/// Takes the lock. A process killed a moment ago is dead before the kernel has let go of all it held.
fn take(file: &File, holder: &str) -> bool {
    // A process on its way out has no command line any more.
    let dead = || fs::read(format!("/proc/{holder}/cmdline")).unwrap_or_default().is_empty();
    for _ in 0..DYING.0 {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if !dead() {
            return false;
        }
        std::thread::sleep(DYING.1);
    }
    false
}

impl StateDir {
    /// Makes the folder if needed and takes it for this process.
    ///
    /// # Errors
    /// When another server holds it, or it cannot be written.
    pub fn lock(path: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("make folder", path))?;
        let path = path.canonicalize().map_err(io("resolve", path))?;
        Room::of(&path).give_up();
        let pid_path = path.join("server.pid");
        let mut pid_file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&pid_path)
            .map_err(io("open", &pid_path))?;
        let mut pid = String::new();
        pid_file.read_to_string(&mut pid).map_err(io("read", &pid_path))?;
        if !take(&pid_file, pid.trim()) {
            return Err(StateError::InUse { dir: path, pid: pid.trim().to_owned() });
        }
        write_over(&mut pid_file, &format!("{}\n", std::process::id())).map_err(io("write", &pid_path))?;
        Ok(Self { path, pid_file })
    }

    /// The folder, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells clients where to find this server.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self, url: &str) -> Result<(), StateError> {
        let (path, text) = (self.path.join("address"), format!("{url}\n"));
        let written = write_whole(&path, text.as_bytes(), 0o644);
        // On a full disk the file that a killed server left has room enough.
        let over = || write_over(&mut OpenOptions::new().write(true).open(&path)?, &text);
        written.or_else(|why| over().map_err(|_full| why))
    }

    /// A private file of random bytes in hexadecimal, made on first use.
    ///
    /// # Errors
    /// When it cannot be read, made, or is not what was once written.
    pub fn random_file(&self, name: &str) -> Result<String, StateError> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().len() == 64 => {
                fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io("protect", &path))?;
                Ok(text.trim().to_owned())
            }
            Ok(_) => Err(StateError::Io {
                verb: "use",
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, "not 64 hexadecimal digits"),
            }),
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let text = random_hex().map_err(io("draw randomness for", &path))?;
                write_whole(&path, format!("{text}\n").as_bytes(), 0o600)?;
                Ok(text)
            }
            Err(source) => Err(StateError::Io { verb: "read", path, source }),
        }
    }
}

impl Drop for StateDir {
    /// Takes back what clients would otherwise follow into the void. The files' content is advice; the lock is not.
    fn drop(&mut self) {
        fs::remove_file(self.path.join("address")).unwrap_or_default();
        // Nobody's id, and the room for the next one.
        write_over(&mut self.pid_file, "\n").unwrap_or_default();
    }
}

/// Thirty-two random bytes in hexadecimal.
///
/// # Errors
/// When the kernel has no randomness.
pub fn random_hex() -> io::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex(&bytes))
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// Puts a text in the place of what a file holds, without giving up the room that it has.
fn write_over(file: &mut File, text: &str) -> io::Result<()> {
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

/// Replaces a file in one step: readers see the old or the new content, never a part.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StateError> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(io("replace", &draft)(why)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)
        .map_err(io("make", &draft))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", &draft))?;
    fs::rename(&draft, path).map_err(io("replace", path))
}

fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { verb, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_never_share_a_folder() {
        let dir = crate::testing::TempDir::new();
        let first = StateDir::lock(dir.path()).unwrap();
        let second = StateDir::lock(dir.path()).unwrap_err();
        assert!(matches!(&second, StateError::InUse { pid, .. } if *pid == std::process::id().to_string()));
        drop(first);
        StateDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn private_files_are_private_and_last() {
        let dir = crate::testing::TempDir::new();
        let state = StateDir::lock(dir.path()).unwrap();
        let token = state.random_file("token").unwrap();
        assert_eq!(token, state.random_file("token").unwrap());
        let mode = fs::metadata(dir.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join("token"), "short").unwrap();
        assert!(state.random_file("token").is_err());
    }

    #[test]
    fn the_address_goes_when_the_server_goes() {
        let dir = crate::testing::TempDir::new();
        // One that a killed server left.
        fs::write(dir.path().join("server.pid"), "4194304\n").unwrap();
        let state = StateDir::lock(dir.path()).unwrap();
        state.publish("http://127.0.0.1:1").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("address")).unwrap(), "http://127.0.0.1:1\n");
        let pid = || fs::read_to_string(dir.path().join("server.pid")).unwrap();
        assert_eq!(pid(), format!("{}\n", std::process::id()));
        drop(state);
        assert!(!dir.path().join("address").exists());
        assert_eq!(pid(), "\n");
    }
}
