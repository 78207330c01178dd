//! Who has which address, bridge and port: planned by the agent before a start, learnt again after a restart.
//!
//! A place is planned (or adopted), lives with its task, and is released. The addresses of all ranks of a gang
//! are taken when the first of them is planned, so that every rank is told the same; they come back when the last
//! planned rank is released.

use super::forward::{self, Forward};
use super::link;
use super::netlink::Socket;
use super::outward::{self, Outward};
use super::{Cable, NetError, TaskNet, attach};
use pond_core::ids::{GangId, Generation, TaskId};
use pond_core::model::PortSpec;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every bridge of every pool has a name that starts so.
pub(super) const LINKS: &str = "pd";
/// What a task's end on the machine starts with; a port and no bridge.
const CABLES: &str = "pv";
/// The machine's own place in the subnet.
const GATEWAY: u32 = 1;

/// How the pool's network is laid out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Network and prefix length (8 to 28); default: a private /16 that the machine does not route elsewhere.
    pub subnet: Option<(Ipv4Addr, u8)>,
    /// Whether tasks may open connections to the outside; default true.
    pub outbound: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { subnet: None, outbound: true }
    }
}

/// The pool's network on this machine. Owned by the agent; the launchers carry out what it planned.
#[derive(Debug)]
pub struct Network {
    id: String,
    notes: PathBuf,
    subnet: (Ipv4Addr, u8),
    outward: Result<Outward, NetError>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    gangs: BTreeMap<(GangId, Generation), Gang>,
    /// Offsets in the subnet that tasks have.
    taken: BTreeSet<u32>,
    /// Numbers of gang bridges.
    bridges: BTreeSet<u32>,
    /// Where the search for a free address goes on: an address just given back rests as long as it can.
    next: u32,
}

#[derive(Debug)]
struct Gang {
    /// Offset of each rank's address.
    ranks: Vec<u32>,
    /// Number of its bridge; none for a task alone.
    bridge: Option<u32>,
    /// Ranks that are planned and not yet released, with their forwarded ports.
    live: BTreeMap<u32, Vec<Forward>>,
}

impl Network {
    /// Probes and makes what all tasks share; `id` is unique to the state folder and names bridges and tables.
    /// What an earlier server left and nobody uses any more is removed.
    ///
    /// # Errors
    /// The machine has no such networks; tasks then share the machine's.
    pub fn open(state: &Path, id: &str) -> Result<Self, NetError> {
        Self::open_with(state, id, &Settings::default())
    }

    /// Like [`Network::open`], laid out otherwise.
    ///
    /// # Errors
    /// The machine has no such networks, or the wanted subnet is no network of that length.
    pub fn open_with(state: &Path, id: &str, settings: &Settings) -> Result<Self, NetError> {
        let notes = state.join("net");
        fs::create_dir_all(&notes).map_err(NetError::step("make", notes.display()))?;
        // tried, not guessed: without the right to make namespaces and links there is no network
        super::namespace::inside_new(|| {
            let up = Socket::route().map(|mut socket| socket.run(vec![link::up(link::LOOPBACK_INDEX)]));
            up?.map_err(|(_, why)| why.into())
        })
        .map_err(NetError::step("make", "a network namespace"))?;
        let subnet = choose_subnet(&notes, id, settings)?;
        let mut network = Self {
            id: id.to_owned(),
            outward: Err(NetError::step("open the way out of", id)(Errno::CANCELED)),
            subnet,
            notes,
            state: Arc::default(),
        };
        network.sweep()?;
        if settings.outbound {
            network.outward = Outward::open(id, &network.links(), network.mac(), subnet);
        }
        if network.outward.is_err() {
            network.close_outward()?;
        }
        Ok(network)
    }

    /// Why tasks cannot open connections to the outside; `None` when they can.
    #[must_use]
    pub fn no_way_out(&self) -> Option<&NetError> {
        self.outward.as_ref().err()
    }

    /// Plans one task's place. Every rank of a gang of `size` gets the same `hosts`, whichever is asked first;
    /// names come from [`crate::hostname`]. Asking again gives the same place.
    ///
    /// # Errors
    /// No address or port is left.
    pub fn plan(
        &self,
        task: TaskId,
        generation: Generation,
        size: u32,
        ports: &[PortSpec],
    ) -> Result<TaskNet, NetError> {
        let size = size.max(task.rank.saturating_add(1));
        let (ranks, bridge) = {
            let mut state = self.lock();
            self.allocate(&mut state, (task.gang, generation), size)?
        };
        let mut net = self.place(task, generation, &ranks, bridge);
        let mut bound = Vec::new();
        // an earlier plan of the same place may hold the ports
        drop(
            self.lock().gangs.get_mut(&(task.gang, generation)).and_then(|gang| gang.live.remove(&task.rank)),
        );
        for port in ports {
            let listener = forward::bind(port.host);
            let listener = listener.inspect_err(|_taken| self.release(task, generation))?;
            let host = listener.local_addr().map_or(port.host, |address| address.port());
            net.ports.push((port.container, host));
            bound.push((listener, port.container));
        }
        self.keep(task, generation, &net, bound)?;
        Ok(net)
    }

    /// Tells again what a running task has, after a restart of the server: its addresses are taken, its ports
    /// forwarded again. A port that somebody else took meanwhile is not.
    pub fn adopt(&self, task: TaskId, generation: Generation, net: &TaskNet) {
        let ranks: Vec<u32> = net.hosts.iter().filter_map(|(address, _)| self.offset(*address)).collect();
        let bridge = net.cable.as_ref().and_then(|cable| self.bridge_number(&cable.bridge));
        {
            let mut state = self.lock();
            state.taken.extend(&ranks);
            state.bridges.extend(bridge);
            let gang = state.gangs.entry((task.gang, generation));
            gang.or_insert_with(|| Gang { ranks, bridge, live: BTreeMap::new() })
                .live
                .insert(task.rank, Vec::new());
        }
        let listeners = net
            .ports
            .iter()
            .filter_map(|&(inside, host)| Some((forward::bind(host).ok()?, inside)))
            .collect();
        // without its forwards the task still runs; its ports are the lesser loss
        drop(self.keep(task, generation, net, listeners));
    }

    /// Takes a place back once the task has ended. The bridge of a gang goes with its last rank.
    pub fn release(&self, task: TaskId, generation: Generation) {
        let key = (task.gang, generation);
        let mut state = self.lock();
        let Some(gang) = state.gangs.get_mut(&key) else { return };
        let forwards = gang.live.remove(&task.rank);
        let emptied = gang.live.is_empty();
        let mut bridge = None;
        if emptied && let Some(gone) = state.gangs.remove(&key) {
            for offset in &gone.ranks {
                state.taken.remove(offset);
            }
            bridge = gone.bridge;
        }
        drop(state);
        drop(forwards);
        if let Some(number) = bridge {
            self.remove_bridge(number);
        }
    }

    /// Removes everything the pool has in the machine's network. The tasks are gone by then.
    pub fn close(&self) {
        let gangs = std::mem::take(&mut *self.lock());
        drop(gangs);
        // first the folder, then the links: a launcher that is late finds it gone, see `attach`
        crate::tolerate(fs::remove_dir_all(&self.notes));
        // nobody is left to tell; what stays is swept by the next opening
        crate::tolerate(self.remove_links(|_ports| true));
        crate::tolerate(self.close_outward());
    }

    // ---- places ----

    fn allocate(
        &self,
        state: &mut State,
        key: (GangId, Generation),
        size: u32,
    ) -> Result<(Vec<u32>, Option<u32>), NetError> {
        let known = state.gangs.get(&key).map(|gang| (gang.ranks.clone(), gang.bridge));
        let (mut ranks, mut bridge) = known.unwrap_or_default();
        let wanted = usize::try_from(size).map_err(|_too_large| NetError::TooLarge { size })?;
        let last = self.last_offset();
        if wanted.saturating_sub(ranks.len()) > (last as usize).saturating_sub(state.taken.len() + 1) {
            return Err(match state.taken.is_empty() {
                true => NetError::TooLarge { size },
                false => NetError::NoAddress { subnet: format!("{}/{}", self.subnet.0, self.subnet.1) },
            });
        }
        // terminates: there are enough free offsets, and each is passed once a round
        while ranks.len() < wanted {
            state.next =
                if state.next <= GATEWAY || state.next >= last { GATEWAY + 1 } else { state.next + 1 };
            if state.taken.insert(state.next) {
                ranks.push(state.next);
            }
        }
        if wanted > 1 && bridge.is_none() {
            // a number of four hexadecimal digits; there are never more gangs than addresses in use
            bridge = (0..=0xffff).find(|number| !state.bridges.contains(number));
            state.bridges.extend(bridge);
        }
        let gang = state.gangs.entry(key).or_insert_with(|| Gang {
            ranks: Vec::new(),
            bridge,
            live: BTreeMap::new(),
        });
        gang.ranks.clone_from(&ranks);
        gang.bridge = bridge;
        Ok((ranks, bridge))
    }

    fn place(&self, task: TaskId, generation: Generation, ranks: &[u32], bridge: Option<u32>) -> TaskNet {
        let hosts: Vec<(IpAddr, String)> = ranks
            .iter()
            .zip(0..)
            .map(|(&offset, rank)| (self.address(offset).into(), crate::hostname(task.gang.task(rank))))
            .collect();
        let own = ranks.get(task.rank as usize).copied().unwrap_or_default();
        let gateway = self.outward.is_ok().then(|| self.address(GATEWAY));
        let cable = (bridge.is_some() || gateway.is_some()).then(|| Cable {
            name: format!("{CABLES}{}{own:05x}", self.id),
            bridge: bridge.map_or_else(|| self.links(), |number| self.bridge_name(number)),
            mac: self.mac(),
            subnet: self.subnet,
            gateway,
            isolated: bridge.is_none(),
            mtu: self.outward.as_ref().map_or(1500, |outward| outward.mtu),
        });
        let GangId { job, index } = task.gang;
        TaskNet {
            address: Some(self.address(own).into()),
            hosts,
            ports: Vec::new(),
            cable,
            note: self.notes.join(format!("{job}-{index}-{}-{}", task.rank, generation.0)),
        }
    }

    /// Starts the forwards of a place and keeps them until it is released.
    fn keep(
        &self,
        task: TaskId,
        generation: Generation,
        net: &TaskNet,
        listeners: Vec<(std::net::TcpListener, u16)>,
    ) -> Result<(), NetError> {
        let shared = Arc::new(net.clone());
        let start = |(listener, inside)| forward::start(listener, &shared, inside);
        let forwards = listeners.into_iter().map(start).collect::<Result<Vec<_>, _>>();
        let forwards = forwards.inspect_err(|_failed| self.release(task, generation))?;
        if let Some(gang) = self.lock().gangs.get_mut(&(task.gang, generation)) {
            gang.live.insert(task.rank, forwards);
        }
        Ok(())
    }

    // ---- names and numbers ----

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool's own bridge; those of gangs add a number.
    fn links(&self) -> String {
        format!("{LINKS}{}", self.id)
    }

    fn bridge_name(&self, number: u32) -> String {
        format!("{LINKS}{}g{number:04x}", self.id)
    }

    fn bridge_number(&self, name: &str) -> Option<u32> {
        let number = name.strip_prefix(&format!("{LINKS}{}g", self.id))?;
        u32::from_str_radix(number, 16).ok()
    }

    /// Locally administered, and the same for every bridge of the pool: no two of them meet.
    fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = seed(&self.id).to_be_bytes();
        [0x02, 0x50, a, b, c, d]
    }

    fn address(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.subnet.0).wrapping_add(offset))
    }

    fn offset(&self, address: IpAddr) -> Option<u32> {
        let IpAddr::V4(address) = address else { return None };
        u32::from(address)
            .checked_sub(u32::from(self.subnet.0))
            .filter(|&offset| offset <= self.last_offset())
    }

    /// The last address before the broadcast one, at most what five hexadecimal digits name.
    fn last_offset(&self) -> u32 {
        let hosts = u32::MAX.checked_shr(u32::from(self.subnet.1)).unwrap_or(0);
        hosts.saturating_sub(1).min(0xf_ffff)
    }

    // ---- sweeping ----

    /// Removes notes of tasks that are gone and bridges without a port.
    fn sweep(&self) -> Result<(), NetError> {
        let read = fs::read_dir(&self.notes).map_err(NetError::step("read", self.notes.display()))?;
        for path in read.flatten().map(|entry| entry.path()) {
            let is_note = path.file_name().is_some_and(|name| name != SUBNET_FILE);
            if is_note && !attach::is_current(&path) {
                fs::remove_file(&path).map_err(NetError::step("remove", path.display()))?;
            }
        }
        self.remove_links(|ports| ports == 0)
    }

    /// Removes the pool's bridges for which `goes` says so, told how many ports they have.
    fn remove_links(&self, goes: impl Fn(usize) -> bool) -> Result<(), NetError> {
        let mut socket = Socket::route().map_err(NetError::step("open", "netlink"))?;
        let links = link::list(&mut socket).map_err(NetError::step("list", "links"))?;
        let ours = self.links();
        let cables = format!("{CABLES}{}", self.id);
        let bridges = links
            .iter()
            .filter(|link| link.name.starts_with(&ours))
            .filter(|bridge| goes(links.iter().filter(|port| port.master == Some(bridge.index)).count()));
        let loose = links
            .iter()
            .filter(|link| link.name.starts_with(&cables) && goes(usize::from(link.master.is_some())));
        for gone in bridges.chain(loose) {
            match socket.run(vec![link::delete(&gone.name)]) {
                Ok(()) | Err((_, Errno::NODEV)) => {}
                Err((_, why)) => return Err(NetError::step("remove", &gone.name)(why)),
            }
        }
        Ok(())
    }

    /// Removing a bridge waits for the kernel's readers: ten milliseconds and more that no report of an end should wait
    /// for. A thread of its own does it.
    fn remove_bridge(&self, number: u32) {
        let name = self.bridge_name(number);
        let state = Arc::clone(&self.state);
        let remove = move || {
            let socket = Socket::route().map_err(|why| (0, why));
            let removed = socket.and_then(|mut socket| socket.run(vec![link::delete(&name)]));
            // a bridge that stays is swept at the next opening; until then its number stays taken
            if matches!(removed, Ok(()) | Err((_, Errno::NODEV))) {
                state.lock().unwrap_or_else(PoisonError::into_inner).bridges.remove(&number);
            }
        };
        crate::tolerate(std::thread::Builder::new().name("remove bridge".to_owned()).spawn(remove));
    }

    fn close_outward(&self) -> Result<(), NetError> {
        let ours = self.links();
        let links = Socket::route().and_then(|mut socket| link::list(&mut socket));
        let links = links.map_err(NetError::step("list", "links"))?;
        let is_other =
            |name: &str| name.starts_with(LINKS) && name.len() >= ours.len() && !name.starts_with(&ours);
        outward::close(&self.id, links.iter().any(|link| is_other(&link.name)))
    }
}

/// Holds the subnet over restarts: running tasks have addresses of it.
const SUBNET_FILE: &str = "subnet";

fn choose_subnet(notes: &Path, id: &str, settings: &Settings) -> Result<(Ipv4Addr, u8), NetError> {
    if let Some((network, prefix)) = settings.subnet {
        let fits = (8..=28).contains(&prefix) && u32::from(network) & (u32::MAX >> prefix) == 0;
        return if fits {
            Ok((network, prefix))
        } else {
            Err(NetError::step("use as a subnet", format!("{network}/{prefix}"))(Errno::INVAL))
        };
    }
    let file = notes.join(SUBNET_FILE);
    let kept = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<Ipv4Addr>().ok());
    if let Some(kept) = kept {
        return Ok((kept, 16));
    }
    // a /16 of 10.128.0.0/9, else of 172.16.0.0/12; begun at a place of the pool's own, so that two pools differ
    let candidates: Vec<u32> = (128..=255).map(|second| 0x0a00_0000 | second << 16).collect();
    let begin = seed(id) as usize % candidates.len();
    let fallback = (16..32).map(|second| 0xac00_0000 | second << 16);
    let routes = outward::routes();
    let free = |network: &u32| {
        let overlaps = |route: u32, mask: u32| {
            let common = mask & 0xffff_0000;
            mask != 0 && route & common == network & common
        };
        !routes.iter().any(|&(_, route, mask)| overlaps(route, mask))
    };
    let found = candidates[begin..].iter().chain(&candidates[..begin]).copied().chain(fallback).find(free);
    let network = Ipv4Addr::from(found.ok_or(NetError::NoSubnet)?);
    fs::write(&file, format!("{network}\n")).map_err(NetError::step("write", file.display()))?;
    Ok((network, 16))
}

/// A number of the pool's own: the first bytes of a digest of its id.
fn seed(id: &str) -> u32 {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(id.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}
