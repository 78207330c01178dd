//! Requests about links, addresses and routes. Numbers are those of `linux/if_link.h` and `linux/rtnetlink.h`.

use super::netlink::{CREATE, EXCLUSIVE, REPLACE, Request, Socket, attributes};
use rustix::io::Errno;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const DEL_ROUTE: u16 = 25;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;
const INET6: u16 = 10;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;

fn ifinfo(family: u8, index: u32, up: bool) -> Vec<u8> {
    let flags = if up { IFF_UP } else { 0 };
    let mut head = vec![family, 0, 0, 0];
    head.extend_from_slice(&index.to_ne_bytes());
    head.extend_from_slice(&flags.to_ne_bytes());
    head.extend_from_slice(&flags.to_ne_bytes());
    head
}

/// A bridge, still down, with a fixed MAC address: that of a bridge else changes with its ports.
pub(super) fn new_bridge(name: &str, mac: [u8; 6], mtu: u32) -> Request {
    Request::new(NEW_LINK, CREATE | EXCLUSIVE, &ifinfo(0, 0, false))
        .put_text(IFLA_IFNAME, name)
        .put_u32(IFLA_MTU, mtu)
        .put(IFLA_ADDRESS, &mac)
        .nest(IFLA_LINKINFO, |r| r.put_text(IFLA_INFO_KIND, "bridge"))
}

/// A pair of cable ends, still down: `name` here, on a bridge; [`INSIDE`] in another network namespace.
pub(super) fn new_veth(name: &str, bridge: u32, mtu: u32, into: BorrowedFd<'_>) -> Request {
    let target = u32::try_from(into.as_raw_fd()).unwrap_or(0);
    Request::new(NEW_LINK, CREATE | EXCLUSIVE, &ifinfo(0, 0, false))
        .put_text(IFLA_IFNAME, name)
        .put_u32(IFLA_MTU, mtu)
        .put_u32(IFLA_MASTER, bridge)
        .nest(IFLA_LINKINFO, |r| {
            r.put_text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |r| {
                r.nest(VETH_INFO_PEER, |r| {
                    r.raw(&ifinfo(0, 0, false))
                        .put_text(IFLA_IFNAME, INSIDE)
                        .put_u32(IFLA_MTU, mtu)
                        .put_u32(IFLA_NET_NS_FD, target)
                })
            })
        })
}

/// The name of a task's link in its own namespace.
pub(super) const INSIDE: &str = "eth0";
/// The index of the loopback in every namespace.
pub(super) const LOOPBACK_INDEX: u32 = 1;

pub(super) fn up(index: u32) -> Request {
    Request::new(NEW_LINK, 0, &ifinfo(0, index, true))
}

/// Up, and without an IPv6 address of its own: the machine must not be reachable over IPv6 by accident.
pub(super) fn up_without_ipv6(name: &str) -> Request {
    without_ipv6(Request::new(NEW_LINK, 0, &ifinfo(0, 0, true)).put_text(IFLA_IFNAME, name))
}

/// The same for a port of a bridge, which reaches the bridge itself and no other such port when it is isolated.
pub(super) fn port_up(name: &str, isolated: bool) -> Request {
    let port = without_ipv6(Request::new(NEW_LINK, 0, &ifinfo(0, 0, true)).put_text(IFLA_IFNAME, name));
    port.nest(IFLA_LINKINFO, |r| {
        r.put_text(IFLA_INFO_SLAVE_KIND, "bridge")
            .nest(IFLA_INFO_SLAVE_DATA, |r| r.put(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)]))
    })
}

fn without_ipv6(request: Request) -> Request {
    request.nest(IFLA_AF_SPEC, |r| r.nest(INET6, |r| r.put(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE])))
}

pub(super) fn delete(name: &str) -> Request {
    Request::new(DEL_LINK, 0, &ifinfo(0, 0, false)).put_text(IFLA_IFNAME, name)
}

pub(super) fn add_address(index: u32, address: Ipv4Addr, prefix: u8) -> Request {
    let mut head = vec![AF_INET, prefix, 0, 0];
    head.extend_from_slice(&index.to_ne_bytes());
    Request::new(NEW_ADDRESS, CREATE | REPLACE, &head).put(2, &address.octets()).put(1, &address.octets())
}

/// Where a route leads.
pub(super) enum Via {
    /// Whoever answers on the link.
    Link,
    /// A neighbour on the link, whether or not its address is known to be there.
    Gateway(Ipv4Addr),
}

fn route(kind: u16, flags: u16, to: Ipv4Addr, prefix: u8, index: u32, via: &Via) -> Request {
    const MAIN: u8 = 254;
    const BOOT: u8 = 3;
    const UNICAST: u8 = 1;
    const ONLINK: u32 = 4;
    const SCOPE_LINK: u8 = 253;
    let (scope, on_link) = match via {
        Via::Link => (SCOPE_LINK, 0),
        Via::Gateway(_) => (0, ONLINK),
    };
    let mut head = vec![AF_INET, prefix, 0, 0, MAIN, BOOT, scope, UNICAST];
    head.extend_from_slice(&on_link.to_ne_bytes());
    let mut request = Request::new(kind, flags, &head);
    if prefix > 0 {
        request = request.put(1, &to.octets());
    }
    if let Via::Gateway(gateway) = via {
        request = request.put(5, &gateway.octets());
    }
    request.put_u32(4, index)
}

pub(super) fn add_route(to: Ipv4Addr, prefix: u8, index: u32, via: &Via) -> Request {
    route(NEW_ROUTE, CREATE | REPLACE, to, prefix, index, via)
}

pub(super) fn delete_route(to: Ipv4Addr, prefix: u8, index: u32) -> Request {
    route(DEL_ROUTE, 0, to, prefix, index, &Via::Link)
}

/// A link as the kernel lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
    pub mtu: u32,
    /// Whether it was set up: nothing can be routed over it before.
    pub up: bool,
}

/// The link of that name; `None` when there is none.
pub(super) fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>, Errno> {
    let mut found = None;
    let request = Request::new(GET_LINK, 0, &ifinfo(0, 0, false)).put_text(IFLA_IFNAME, name);
    match socket.ask(request, |body| found = read(body)) {
        Ok(()) => Ok(found),
        Err(Errno::NODEV) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Every link of this thread's network namespace.
pub(super) fn list(socket: &mut Socket) -> Result<Vec<Link>, Errno> {
    let mut links = Vec::new();
    socket.dump(GET_LINK, &ifinfo(0, 0, false), |body| links.extend(read(body)))?;
    Ok(links)
}

fn read(body: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let flags = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?);
    let mut link = Link { index, name: String::new(), master: None, mtu: 1500, up: flags & IFF_UP != 0 };
    for (kind, value) in attributes(body.get(16..)?) {
        let number = || value.try_into().ok().map(u32::from_ne_bytes);
        match kind {
            IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            IFLA_MASTER => link.master = number(),
            IFLA_MTU => link.mtu = number().unwrap_or(link.mtu),
            _ => {}
        }
    }
    Some(link)
}

/// The index of a link by its name; `None` when there is none.
pub(super) fn index_of(name: &str) -> Result<Option<u32>, Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    match netdevice::name_to_index(&socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(why) => Err(why),
    }
}
