//! What the launcher does for one task: the cable, the address, the routes; and entering them later.

use super::link::{self, INSIDE, LOOPBACK_INDEX, Via};
use super::namespace;
use super::netlink::{Request, Socket};
use super::{Cable, NetError, TaskNet};
use rustix::io::Errno;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// How long a connection to a task's port may take to be accepted.
const CONNECT: Duration = Duration::from_secs(5);

/// Plugs a cable into the network namespace of process `pid`, which carries on with [`set_up`]. Called by the
/// launcher; may wait.
///
/// # Errors
/// The step that failed; what was made stays for [`detach`].
pub fn attach(net: &TaskNet, pid: i32) -> Result<(), NetError> {
    let namespace =
        namespace::of_process(pid).map_err(NetError::step("open the network namespace of", pid))?;
    if let (Some(cable), Some(IpAddr::V4(address))) = (&net.cable, net.address) {
        plug_in(cable, address, namespace.as_fd())?;
        refuse_after_close(net, cable)?;
    }
    if !net.note.as_os_str().is_empty() {
        let identity =
            namespace::identity(&namespace).map_err(NetError::step("identify the network of", pid))?;
        std::fs::write(&net.note, format!("{pid} {identity}\n"))
            .map_err(NetError::step("write", net.note.display()))?;
    }
    Ok(())
}

/// Undoes [`attach`]; called once the task's processes are gone, also by a restarted server. Twice is once.
///
/// # Errors
/// Something could not be removed.
pub fn detach(net: &TaskNet) -> Result<(), NetError> {
    if !net.note.as_os_str().is_empty()
        && let Err(why) = std::fs::remove_file(&net.note)
        && why.kind() != io::ErrorKind::NotFound
    {
        return Err(NetError::step("remove", net.note.display())(why));
    }
    let Some(cable) = &net.cable else { return Ok(()) };
    let mut socket = Socket::route().map_err(NetError::step("open", "netlink"))?;
    if let (Some(_), Some(IpAddr::V4(address)), false) = (cable.gateway, net.address, cable.isolated)
        && let Some(bridge) =
            link::index_of(&cable.bridge).map_err(NetError::step("look for", &cable.bridge))?
    {
        match socket.run(vec![link::delete_route(address, 32, bridge)]) {
            Ok(()) | Err((_, Errno::SRCH)) => {}
            Err((_, why)) => return Err(NetError::step("remove the route to", address)(why)),
        }
    }
    // The cable goes with the namespace, in the kernel's own time. Removing it here would take the lock on all
    // links of the machine for some ten milliseconds, and the next start would wait for it.
    Ok(())
}

/// A pool that closes removes the folder of notes before it looks for links: whoever still finds the folder after
/// making a link will have that link removed by the pool; who does not removes it.
fn refuse_after_close(net: &TaskNet, cable: &Cable) -> Result<(), NetError> {
    if net.note.parent().is_none_or(Path::exists) {
        return Ok(());
    }
    let mut socket = Socket::route().map_err(NetError::step("open", "netlink"))?;
    for name in [&cable.name, &cable.bridge] {
        match socket.run(vec![link::delete(name)]) {
            Ok(()) | Err((_, Errno::NODEV)) => {}
            Err((_, why)) => return Err(NetError::step("remove", name)(why)),
        }
    }
    Err(NetError::Closed)
}

fn plug_in(cable: &Cable, address: Ipv4Addr, namespace: BorrowedFd<'_>) -> Result<(), NetError> {
    let mut socket = Socket::route().map_err(NetError::step("open", "netlink"))?;
    // The bridge may go between two steps, when another rank's end empties it: then once more from its making. What
    // goes twice is taken away by somebody else.
    let mut again = 2;
    loop {
        match plug_in_once(&mut socket, cable, address, namespace) {
            Err(NetError::Step { source, .. }) if again > 0 && is_gone(&source) => again -= 1,
            done => return done,
        }
    }
}

/// A link, or a setting of it, that was there a step before; `EINVAL` is how a bridge that is gone is refused as the
/// place of a new cable.
fn is_gone(why: &io::Error) -> bool {
    Errno::from_io_error(why).is_some_and(|why| [Errno::NODEV, Errno::NOENT, Errno::INVAL].contains(&why))
}

fn plug_in_once(
    socket: &mut Socket,
    cable: &Cable,
    address: Ipv4Addr,
    namespace: BorrowedFd<'_>,
) -> Result<(), NetError> {
    let bridge = ensure_bridge(socket, cable)?;
    let make = |socket: &mut Socket| {
        socket.run(vec![
            link::new_veth(&cable.name, bridge, cable.mtu, namespace),
            link::port_up(&cable.name, cable.isolated),
        ])
    };
    let mut made = make(socket);
    if let Err((0, Errno::EXIST)) = made {
        // left by an attempt that was cut short: the number is this task's alone
        match socket.run(vec![link::delete(&cable.name)]) {
            Ok(()) | Err((_, Errno::NODEV)) => made = make(socket),
            Err((_, why)) => return Err(NetError::step("remove", &cable.name)(why)),
        }
    }
    made.map_err(|(_, why)| NetError::step("make the link", &cable.name)(why))?;
    if cable.isolated || cable.gateway.is_none() {
        return Ok(());
    }
    let route = link::add_route(address, 32, bridge, &Via::Link);
    socket.run(vec![route]).map_err(|(_, why)| NetError::step("route to", address)(why))
}

/// The index of the cable's bridge, which is made when it is missing.
///
/// Being up is the last thing a bridge gets: who finds one that is not, left so by another rank that is in the midst of
/// it or was killed there, does the rest too. Every step may be done twice.
pub(super) fn ensure_bridge(socket: &mut Socket, cable: &Cable) -> Result<u32, NetError> {
    let step = |step| NetError::step(step, &cable.bridge);
    let mut bridge = link::find(socket, &cable.bridge).map_err(step("look for"))?;
    if bridge.is_none() {
        match socket.run(vec![link::new_bridge(&cable.bridge, cable.mac, cable.mtu)]) {
            // another rank was quicker
            Ok(()) | Err((_, Errno::EXIST)) => {}
            Err((_, why)) => return Err(step("make the bridge")(why)),
        }
        bridge = link::find(socket, &cable.bridge).map_err(step("look for"))?;
    }
    let bridge = bridge.ok_or(Errno::NODEV).map_err(step("look for"))?;
    if bridge.up {
        return Ok(bridge.index);
    }
    if let Some(gateway) = cable.gateway {
        // on a gang's bridge only the routes to its ranks lead there, on the pool's bridge the whole subnet
        let prefix = if cable.isolated { cable.subnet.1 } else { 32 };
        let address = link::add_address(bridge.index, gateway, prefix);
        socket.run(vec![address]).map_err(|(_, why)| step("give an address to the bridge")(why))?;
        super::outward::set_forwarding(&cable.bridge, true)?;
    }
    let up = link::up_without_ipv6(&cable.bridge);
    socket.run(vec![up]).map_err(|(_, why)| step("set up the bridge")(why))?;
    Ok(bridge.index)
}

/// Sets up the network namespace of the calling thread, which [`attach`] has connected: by the task's first
/// process, while it still may.
///
/// # Errors
/// The step that failed.
pub fn set_up(net: &TaskNet) -> Result<(), NetError> {
    let step = |step| NetError::step(step, INSIDE);
    let mut requests: Vec<Request> = vec![link::up(LOOPBACK_INDEX)];
    match (&net.cable, net.address) {
        (Some(cable), Some(IpAddr::V4(address))) => {
            let (network, prefix) = cable.subnet;
            let index = link::index_of(INSIDE).and_then(|index| index.ok_or(Errno::NODEV));
            let index = index.map_err(step("look for"))?;
            requests.push(link::up_without_ipv6(INSIDE));
            requests.push(link::add_address(index, address, 32));
            if !cable.isolated {
                requests.push(link::add_route(network, prefix, index, &Via::Link));
            }
            if let Some(gateway) = cable.gateway {
                requests.push(link::add_route(Ipv4Addr::UNSPECIFIED, 0, index, &Via::Gateway(gateway)));
            }
        }
        (None, Some(IpAddr::V4(address))) => requests.push(link::add_address(LOOPBACK_INDEX, address, 32)),
        _ => {}
    }
    let mut socket = Socket::route().map_err(NetError::step("open", "netlink"))?;
    socket.run(requests).map_err(|(_, why)| step("set up")(why))
}

/// Connects to a port of a running task, from inside its network namespace: also to what listens on its
/// loopback only.
///
/// # Errors
/// The task is not connected yet or is gone, or nothing listens on the port.
pub fn connect(net: &TaskNet, port: u16) -> io::Result<TcpStream> {
    let namespace = noted(&net.note)?;
    let address = net.address;
    namespace::inside(&namespace, move || {
        let loopback = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), CONNECT);
        match (loopback, address) {
            (Err(why), Some(address)) if why.kind() == io::ErrorKind::ConnectionRefused => {
                TcpStream::connect_timeout(&SocketAddr::from((address, port)), CONNECT)
            }
            (connected, _) => connected,
        }
    })
}

/// Opens the namespace that [`attach`] noted, if it is still that one: process ids come again.
fn noted(note: &Path) -> io::Result<OwnedFd> {
    let gone = || io::Error::new(io::ErrorKind::NotConnected, "the task has no network now");
    let text = std::fs::read_to_string(note).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => gone(),
        _ => why,
    })?;
    let (pid, identity) = text.trim().split_once(' ').ok_or_else(gone)?;
    let pid: i32 = pid.parse().map_err(|_broken| gone())?;
    let namespace = namespace::of_process(pid).map_err(|_ended| gone())?;
    let same = identity.parse() == Ok(namespace::identity(&namespace)?);
    if same { Ok(namespace) } else { Err(gone()) }
}

/// Whether the task that a note is about still has its network.
pub(super) fn is_current(note: &Path) -> bool {
    noted(note).is_ok()
}
