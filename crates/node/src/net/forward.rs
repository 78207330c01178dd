//! Ports of tasks on the machine's loopback: a listener each, and two copying threads a connection.
//!
//! The host port is bound when the task's place is planned, so that it cannot be lost until the start, and bound
//! again when a restarted server adopts the task.

use super::{NetError, TaskNet, attach};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Connections at once through one forwarded port; further ones are closed.
const MAX_CONNECTIONS: usize = 512;

/// One forwarded port; it ends when this is dropped. Connections that are open run on.
#[derive(Debug)]
pub(super) struct Forward {
    listener: TcpListener,
}

impl Drop for Forward {
    fn drop(&mut self) {
        // wakes the thread that accepts; it fails only on a listener that is closed already
        let _closed_already = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both).is_err();
    }
}

/// Binds a port of the machine's loopback; 0 lets the kernel choose.
pub(super) fn bind(port: u16) -> Result<TcpListener, NetError> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .map_err(|source| NetError::PortTaken { port, source })
}

/// Forwards what comes to the listener to a port of the task.
pub(super) fn start(listener: TcpListener, net: &Arc<TaskNet>, inside: u16) -> Result<Forward, NetError> {
    let step = |why: io::Error| NetError::step("forward port", inside)(why);
    let host_port = listener.local_addr().map_err(step)?.port();
    let accepting = listener.try_clone().map_err(|why| NetError::step("forward port", inside)(why))?;
    let net = Arc::clone(net);
    thread::Builder::new()
        .name(format!("forward {host_port}"))
        .stack_size(64 * 1024)
        .spawn(move || accept(&accepting, &net, inside))
        .map_err(|why| NetError::step("forward port", inside)(why))?;
    Ok(Forward { listener })
}

fn accept(listener: &TcpListener, net: &Arc<TaskNet>, inside: u16) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let outer = match listener.accept() {
            Ok((outer, _)) => outer,
            Err(why) if ends_listening(&why) => return,
            // out of descriptors, or the peer left already: the next one may fare better
            Err(_) => {
                thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (net, counted) = (Arc::clone(net), Arc::clone(&open));
        let spawned =
            thread::Builder::new().name("forwarded".to_owned()).stack_size(128 * 1024).spawn(move || {
                serve(&outer, &net, inside);
                counted.fetch_sub(1, Ordering::Relaxed);
            });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// `shutdown` on a listening socket makes `accept` answer EINVAL.
fn ends_listening(why: &io::Error) -> bool {
    matches!(
        why.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
        Some(rustix::io::Errno::INVAL | rustix::io::Errno::BADF)
    )
}

fn serve(outer: &TcpStream, net: &TaskNet, inside: u16) {
    let Ok(inner) = attach::connect(net, inside) else { return };
    thread::scope(|scope| {
        scope.spawn(|| copy(outer, &inner));
        copy(&inner, outer);
    });
}

/// Copies until one side ends, and passes the end on; the other direction may go on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // whichever way a connection breaks, both sides learn it by its end
    drop(io::copy(&mut from, &mut to));
    drop(to.shutdown(Shutdown::Write));
    drop(from.shutdown(Shutdown::Read));
}
