//! Work inside another network namespace, on a thread of its own that ends with it.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Opens the network namespace of a process.
pub(super) fn of_process(pid: i32) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/{pid}/ns/net");
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A number no two living namespaces share.
pub(super) fn identity(namespace: impl AsFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(namespace)?.st_ino)
}

/// Runs `work` inside a network namespace. The caller's own threads stay where they are.
pub(super) fn inside<T: Send>(
    namespace: impl AsFd + Sync,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    on_thread(|| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Runs `work` inside a new, empty network namespace, which ends with it unless something keeps it.
pub(super) fn inside_new<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    on_thread(|| {
        #[expect(deprecated, reason = "unsound only with FILES, which is not among these flags")]
        rustix::thread::unshare(UnshareFlags::NEWNET)?;
        work()
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the thread in the namespace panicked")))
    })
}
