//! Tries what networks of tasks need, in namespaces that end with the trial.

use super::netlink::Socket;
use super::nft::{self, Rules};
use super::{link, namespace, outward};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// What came of it.
pub(crate) struct Trial {
    /// A bridge, a cable into another namespace, an isolated port.
    pub links: io::Result<()>,
    /// The pool's table in nf_tables.
    pub table: io::Result<()>,
    /// The link of the machine's default route.
    pub uplink: Option<String>,
}

/// Tries networks; the machine's own is only looked at.
pub(crate) fn trial() -> Trial {
    let uplink = outward::uplink();
    let own_namespace = || std::fs::File::open("/proc/thread-self/ns/net");
    let links = namespace::inside_new(own_namespace)
        .and_then(|other| namespace::inside_new(|| try_links(other.as_fd())));
    let table = namespace::inside_new(|| {
        let rules = Rules {
            table: "pond_trial",
            links: "pdtrial",
            all_links: super::network::LINKS,
            mac: [2, 0, 0, 0, 0, 1],
            subnet: Ipv4Addr::new(10, 0, 0, 0),
            prefix: 16,
            guarded: Some("lo"),
        };
        let mut socket = Socket::netfilter()?;
        nft::install(&mut socket, &rules).map_err(|(_, why)| io::Error::from(why))
    });
    Trial { links, table, uplink }
}

fn try_links(other: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    let mut socket = Socket::route()?;
    let mut run = |requests| socket.run(requests).map_err(|(_, why)| io::Error::from(why));
    run(vec![link::new_bridge("pdtrial", [2, 0, 0, 0, 0, 1], 1500), link::up_without_ipv6("pdtrial")])?;
    let index = |name| link::index_of(name)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
    run(vec![link::new_veth("pvtrial", index("pdtrial")?, 1500, other), link::port_up("pvtrial", true)])
}
