//! The way out: the pool's table in nf_tables, and forwarding on the links that need it.

use super::netlink::Socket;
use super::nft::{self, Rules};
use super::{NetError, link};
use rustix::io::Errno;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where pools note that they made a link forward; of one boot, and shared by all pools of a machine.
const NOTES: &str = "/run/pond";

/// The way out, opened; what it changed on the machine is noted in a file and put back when the last pool closes.
#[derive(Debug)]
pub(super) struct Outward {
    /// Largest packet of the link that leads out.
    pub mtu: u32,
}

impl Outward {
    /// Opens the way out. `Err` names what is missing; tasks then have none.
    pub(super) fn open(
        id: &str,
        links: &str,
        mac: [u8; 6],
        subnet: (Ipv4Addr, u8),
    ) -> Result<Self, NetError> {
        let uplink = uplink().ok_or(Errno::NETUNREACH).map_err(NetError::step("find", "a default route"))?;
        let table = table_name(id);
        let note = note()?;
        let before = fs::read_to_string(&note).unwrap_or_default();
        let was_off = before.lines().any(|line| line == uplink) || !forwards(&uplink)?;
        let mut socket = Socket::netfilter().map_err(NetError::step("open", "nf_tables"))?;
        let rules = Rules {
            table: &table,
            links,
            all_links: super::network::LINKS,
            mac,
            subnet: subnet.0,
            prefix: subnet.1,
            guarded: was_off.then_some(uplink.as_str()),
        };
        nft::install(&mut socket, &rules)
            .map_err(|(_, why)| NetError::step("install the table", &table)(why))?;
        if was_off {
            // noted before it is done: what a killed server changed is put back later
            fs::create_dir_all(NOTES).map_err(NetError::step("make", NOTES))?;
            fs::write(&note, format!("{uplink}\n")).map_err(NetError::step("write", note.display()))?;
            set_forwarding(&uplink, true)?;
        }
        Ok(Self { mtu: mtu_of(&uplink) })
    }
}

/// Lets a bridge hand packets on. Interface by interface: the machine's own setting stays.
pub(super) fn set_forwarding(name: &str, on: bool) -> Result<(), NetError> {
    let path = setting(name);
    fs::write(&path, if on { "1" } else { "0" }).map_err(NetError::step("write", path))
}

/// Closes the way out of one pool; with the last one the machine is as it was. Twice is once.
pub(super) fn close(id: &str, others: bool) -> Result<(), NetError> {
    let note = note()?;
    if !others && note.exists() {
        for uplink in fs::read_to_string(&note).unwrap_or_default().lines() {
            // the link may be gone; what it was set to is gone with it
            if Path::new(&setting(uplink)).exists() {
                set_forwarding(uplink, false)?;
            }
        }
        fs::remove_file(&note).map_err(NetError::step("remove", note.display()))?;
    }
    let table = table_name(id);
    let mut socket = match Socket::netfilter() {
        Ok(socket) => socket,
        // no netfilter, no table
        Err(Errno::PROTONOSUPPORT) => return Ok(()),
        Err(why) => return Err(NetError::step("open", "nf_tables")(why)),
    };
    match nft::remove(&mut socket, &table) {
        // neither privilege nor nf_tables: nothing of this pool can be there
        Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(why) => Err(NetError::step("remove the table", table)(why)),
    }
}

/// One file a network namespace: what is set in one does not hold in another.
fn note() -> Result<PathBuf, NetError> {
    let namespace = fs::File::open("/proc/thread-self/ns/net")
        .map_err(NetError::step("open", "the network namespace"))?;
    let identity = super::namespace::identity(&namespace)
        .map_err(NetError::step("identify", "the network namespace"))?;
    Ok(Path::new(NOTES).join(format!("forwarding-{identity}")))
}

fn table_name(id: &str) -> String {
    format!("pond_{id}")
}

fn setting(name: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{name}/forwarding")
}

fn forwards(name: &str) -> Result<bool, NetError> {
    let path = setting(name);
    let text = fs::read_to_string(&path).map_err(NetError::step("read", path))?;
    Ok(text.trim() != "0")
}

/// A route of this thread's network namespace: link, network, mask.
pub(super) fn routes() -> Vec<(String, u32, u32)> {
    // the address columns are the kernel's own bytes, printed as one number of this machine
    let number =
        |text: &str| u32::from_str_radix(text, 16).ok().map(|raw| u32::from_be_bytes(raw.to_ne_bytes()));
    let text = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some(((*fields.first()?).to_owned(), number(fields.get(1)?)?, number(fields.get(7)?)?))
    };
    text.lines().skip(1).filter_map(route).collect()
}

pub(super) fn uplink() -> Option<String> {
    routes().into_iter().find(|&(_, network, mask)| network == 0 && mask == 0).map(|(link, _, _)| link)
}

fn mtu_of(name: &str) -> u32 {
    let links = Socket::route().and_then(|mut socket| link::list(&mut socket)).unwrap_or_default();
    links.iter().find(|link| link.name == name).map_or(1500, |link| link.mtu.clamp(576, 65_535))
}
