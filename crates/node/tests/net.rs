//! Networks of tasks, for real, in a router namespace of each test's own: nothing of the machine is touched.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use pond_core::ids::{GangId, Generation, JobId, TaskId};
use pond_core::model::PortSpec;
use pond_node::net::{Network, Settings, TaskNet, attach, connect, detach, set_up};
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const GEN: Generation = Generation(1);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits for what must not come.
const SILENCE: Duration = Duration::from_millis(700);

/// Runs a test in a network namespace of its own; says why when that is not possible here.
fn in_router(test: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root, so networks of tasks stay untested");
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            #[expect(deprecated, reason = "unsound only with FILES, which is not among these flags")]
            rustix::thread::unshare(UnshareFlags::NEWNET).unwrap();
            ip("link set lo up");
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("`ip` of iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn task(job: u64, rank: u32) -> TaskId {
    JobId(job).gang(0).task(rank)
}

fn links() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    text.lines().skip(2).map(|line| line.split(':').next().unwrap().trim().to_owned()).collect()
}

/// Waits until the links are those there were before: the kernel takes cables down in its own time.
fn gone_again(before: &BTreeSet<String>) {
    let end = Instant::now() + PATIENCE;
    while links() != *before {
        assert!(Instant::now() < end, "{:?} instead of {before:?}", links());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process that only holds a network namespace.
struct Holder(Child);

impl Holder {
    fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "600"]).stdin(Stdio::null()).spawn();
        let holder = Self(child.expect("`unshare` of util-linux"));
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let end = Instant::now() + PATIENCE;
        while std::fs::read_link(format!("/proc/{}/ns/net", holder.pid())).is_ok_and(|theirs| theirs == own) {
            assert!(Instant::now() < end, "unshare did not");
            std::thread::sleep(Duration::from_millis(1));
        }
        holder
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// Runs something inside; sockets it returns stay there.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace =
            rustix::fs::open(format!("/proc/{}/ns/net", self.pid()), flags, Mode::empty()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&namespace),
                    Some(LinkNameSpaceType::Network),
                )
                .unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Answers each connection to the port with a text, until the process of the test ends.
    fn serve(&self, address: IpAddr, port: u16, text: &'static str) {
        let listener = self.inside(|| TcpListener::bind((address, port)).unwrap());
        std::thread::spawn(move || answer(&listener, text));
    }

    fn reach(&self, address: IpAddr, port: u16, patience: Duration) -> Option<String> {
        self.inside(|| ask(address, port, patience))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn answer(listener: &TcpListener, text: &str) {
    while let Ok((mut stream, from)) = listener.accept() {
        drop(write!(stream, "{text} to {}", from.ip()));
    }
}

fn ask(address: IpAddr, port: u16, patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), patience).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

struct Attached {
    net: TaskNet,
    holder: Holder,
}

impl Attached {
    fn new(network: &Network, task: TaskId, size: u32, ports: &[PortSpec]) -> Self {
        let net = network.plan(task, GEN, size, ports).unwrap();
        let holder = Holder::new();
        attach(&net, holder.pid()).unwrap();
        holder.inside(|| set_up(&net)).unwrap();
        Self { net, holder }
    }

    fn address(&self) -> IpAddr {
        self.net.address.unwrap()
    }

    fn end(self, network: &Network, task: TaskId) {
        drop(self.holder);
        detach(&self.net).unwrap();
        detach(&self.net).unwrap();
        network.release(task, GEN);
    }
}

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_task_alone_has_an_address_and_its_ports_are_forwarded() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let before = links();
        let network = Network::open(state.path(), "00000a01").unwrap();
        assert!(network.no_way_out().is_some(), "there is no default route here");
        let port = [PortSpec { container: 8000, host: 0 }];
        let one = Attached::new(&network, task(1, 0), 1, &port);
        one.holder.serve(LOOPBACK, 8000, "loopback");
        one.holder.serve(one.address(), 9000, "address");
        let (inside, host) = one.net.ports[0];
        assert_eq!(inside, 8000);
        assert_eq!(ask(LOOPBACK, host, PATIENCE).as_deref(), Some("loopback to 127.0.0.1"));
        let mut text = String::new();
        connect(&one.net, 9000).unwrap().read_to_string(&mut text).unwrap();
        assert!(text.starts_with("address to"), "{text}");
        assert!(connect(&one.net, 9001).is_err());
        assert_eq!(links(), before, "a task alone without a way out needs no link on the machine");
        let net = one.net.clone();
        one.end(&network, task(1, 0));
        assert!(connect(&net, 8000).is_err());
        assert!(TcpStream::connect((LOOPBACK, host)).is_err(), "the forward ended with the task");
        network.close();
        gone_again(&before);
    });
}

#[test]
fn ranks_of_a_gang_reach_each_other_and_nobody_else() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let before = links();
        let network = Network::open(state.path(), "00000a02").unwrap();
        let ranks: Vec<Attached> =
            (0..3).map(|rank| Attached::new(&network, task(1, rank), 3, &[])).collect();
        let others: Vec<Attached> =
            (0..2).map(|rank| Attached::new(&network, task(2, rank), 2, &[])).collect();
        for rank in &ranks {
            assert_eq!(rank.net.hosts, ranks[0].net.hosts, "every rank is told the same");
            rank.holder.serve(ANY, 7000, "rank");
        }
        assert_eq!(ranks[1].net.hosts[2].0, ranks[2].address());
        assert_eq!(ranks[0].net.hosts[2].1, pond_node::hostname(task(1, 2)));
        for from in &ranks {
            for to in &ranks {
                let expected = format!("rank to {}", from.address());
                let expected = if from.address() == to.address() { None } else { Some(expected) };
                let got = from.holder.reach(to.address(), 7000, PATIENCE);
                assert!(expected.is_none() || got == expected, "{got:?} instead of {expected:?}");
            }
        }
        assert_eq!(others[0].holder.reach(ranks[0].address(), 7000, SILENCE), None);
        // the machine itself, too, has no way into a gang's bridge but through the namespace
        assert_eq!(ask(ranks[0].address(), 7000, SILENCE), None);
        for (rank, attached) in (0..).zip(ranks) {
            attached.end(&network, task(1, rank));
        }
        for (rank, attached) in (0..).zip(others) {
            attached.end(&network, task(2, rank));
        }
        let end = Instant::now() + PATIENCE;
        while links().iter().any(|link| link.starts_with("pd")) {
            assert!(Instant::now() < end, "bridges go with the last rank");
            std::thread::sleep(Duration::from_millis(2));
        }
        // sockets of this test still hold the namespaces, and so the cables
        network.close();
        gone_again(&before);
    });
}

/// A machine with a way out to 203.0.113.1, where somebody listens on port 80.
struct Internet {
    outside: Holder,
}

impl Internet {
    fn new() -> Self {
        let outside = Holder::new();
        ip(&format!("link add up0 type veth peer name out0 netns {}", outside.pid()));
        ip("address add 203.0.113.2/24 dev up0");
        ip("link set up0 up");
        ip("route add default via 203.0.113.1");
        outside.inside(|| {
            ip("link set lo up");
            ip("address add 203.0.113.1/24 dev out0");
            ip("link set out0 up");
        });
        outside.serve(ANY, 80, "internet");
        Self { outside }
    }
}

fn forwarding(link: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{link}/forwarding")).unwrap().trim().to_owned()
}

#[test]
fn tasks_reach_the_outside_behind_the_machines_address_and_nothing_else() {
    in_router(|| {
        let internet = Internet::new();
        let state = tempfile::tempdir().unwrap();
        let before = links();
        assert_eq!(forwarding("up0"), "0");
        let network = Network::open(state.path(), "00000a03").unwrap();
        if let Some(why) = network.no_way_out() {
            eprintln!("skipped: this kernel gives no way out ({why}), so masquerade stays untested");
            return;
        }
        let machine = TcpListener::bind((ANY, 2222)).unwrap();
        std::thread::spawn(move || answer(&machine, "machine"));
        let alone = Attached::new(&network, task(1, 0), 1, &[]);
        let stranger = Attached::new(&network, task(2, 0), 1, &[]);
        let gang: Vec<Attached> = (0..2).map(|rank| Attached::new(&network, task(3, rank), 2, &[])).collect();
        let server: IpAddr = Ipv4Addr::new(203, 0, 113, 1).into();
        for attached in [&alone, &stranger, &gang[0], &gang[1]] {
            attached.holder.serve(ANY, 7000, "task");
            let got = attached.holder.reach(server, 80, PATIENCE);
            assert_eq!(got.as_deref(), Some("internet to 203.0.113.2"));
        }
        assert!(gang[0].holder.reach(gang[1].address(), 7000, PATIENCE).is_some());
        for (from, to) in [(&alone, &stranger), (&alone, &gang[0]), (&gang[0], &alone)] {
            assert_eq!(from.holder.reach(to.address(), 7000, SILENCE), None, "between strangers");
        }
        let gateway = IpAddr::V4(alone.net.cable.as_ref().unwrap().gateway.unwrap());
        for machine in [gateway, Ipv4Addr::new(203, 0, 113, 2).into()] {
            assert_eq!(alone.holder.reach(machine, 2222, SILENCE), None, "to the machine");
            assert_eq!(gang[0].holder.reach(machine, 2222, SILENCE), None, "to the machine");
        }
        assert_eq!(ask(LOOPBACK, 2222, PATIENCE).as_deref(), Some("machine to 127.0.0.1"));
        internet.outside.inside(|| ip("route add 10.0.0.0/8 via 203.0.113.2"));
        assert_eq!(internet.outside.reach(alone.address(), 7000, SILENCE), None, "from outside");
        alone.end(&network, task(1, 0));
        stranger.end(&network, task(2, 0));
        for (rank, attached) in (0..).zip(gang) {
            attached.end(&network, task(3, rank));
        }
        network.close();
        assert_eq!(links(), before);
        assert_eq!(forwarding("up0"), "0", "put back");
    });
}

/// A bridge exists before it is up and has its address: who comes in between, or after one that was killed there, does
/// the rest.
#[test]
fn a_bridge_that_is_half_made_is_finished() {
    in_router(|| {
        let _internet = Internet::new();
        let state = tempfile::tempdir().unwrap();
        let network = Network::open(state.path(), "00000a0a").unwrap();
        if let Some(why) = network.no_way_out() {
            eprintln!("skipped: this kernel gives no way out ({why}), so half-made bridges stay untested");
            return;
        }
        for (id, size) in [(task(1, 0), 1), (task(2, 0), 2)] {
            let plan = network.plan(id, GEN, size, &[]).unwrap();
            let cable = plan.cable.as_ref().unwrap();
            ip(&format!("link add {} type bridge", cable.bridge));
            let half = Attached::new(&network, id, size, &[]);
            let got = half.holder.reach(Ipv4Addr::new(203, 0, 113, 1).into(), 80, PATIENCE);
            assert_eq!(got.as_deref(), Some("internet to 203.0.113.2"));
            half.end(&network, id);
        }
        network.close();
    });
}

#[test]
fn ranks_that_start_at_once_are_all_connected() {
    in_router(|| {
        let _internet = Internet::new();
        let state = tempfile::tempdir().unwrap();
        let network = Network::open(state.path(), "00000a07").unwrap();
        if let Some(why) = network.no_way_out() {
            eprintln!("skipped: this kernel gives no way out ({why}), so routes to ranks stay untested");
            return;
        }
        let holders: Vec<Holder> = (0..4).map(|_| Holder::new()).collect();
        for job in 1..=25 {
            let nets: Vec<TaskNet> =
                (0..4).map(|rank| network.plan(task(job, rank), GEN, 4, &[]).unwrap()).collect();
            let together = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for (net, holder) in nets.iter().zip(&holders) {
                    scope.spawn(|| {
                        together.wait();
                        attach(net, holder.pid()).unwrap();
                    });
                }
            });
            for (net, holder) in nets.iter().zip(&holders) {
                holder.inside(|| ip("link delete eth0"));
                detach(net).unwrap();
            }
            for rank in 0..4 {
                network.release(task(job, rank), GEN);
            }
        }
        network.close();
    });
}

#[test]
fn a_restarted_server_finds_everything_again_and_sweeps_the_rest() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let before = links();
        let id = "00000a04";
        let first = Network::open(state.path(), id).unwrap();
        let port = [PortSpec { container: 8000, host: 0 }];
        let zero = Attached::new(&first, task(1, 0), 2, &port);
        zero.holder.serve(LOOPBACK, 8000, "zero");
        let gone = Attached::new(&first, task(9, 0), 2, &[]);
        let gone_bridge = gone.net.cable.clone().unwrap().bridge;
        drop(gone.holder); // killed with its launcher: nobody detaches
        drop(first); // killed: nothing is closed

        let end = Instant::now() + PATIENCE;
        let second = loop {
            // the kernel takes a moment to take down the dead namespace's cable
            let second = Network::open(state.path(), id).unwrap();
            if !links().contains(&gone_bridge) {
                break second;
            }
            assert!(Instant::now() < end, "{gone_bridge} stays");
        };
        second.adopt(task(1, 0), GEN, &zero.net);
        let host = zero.net.ports[0].1;
        assert_eq!(ask(LOOPBACK, host, PATIENCE).as_deref(), Some("zero to 127.0.0.1"));
        let one = Attached::new(&second, task(1, 1), 2, &[]);
        assert_eq!(one.net.hosts, zero.net.hosts);
        one.holder.serve(ANY, 7000, "one");
        assert!(zero.holder.reach(one.address(), 7000, PATIENCE).is_some(), "the bridge was kept");
        let other = second.plan(task(5, 0), GEN, 1, &[]).unwrap();
        assert!(!zero.net.hosts.iter().any(|(address, _)| Some(*address) == other.address));
        zero.end(&second, task(1, 0));
        one.end(&second, task(1, 1));
        second.release(task(5, 0), GEN);
        second.close();
        gone_again(&before);
    });
}

#[test]
fn who_comes_after_the_close_leaves_nothing() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let before = links();
        let network = Network::open(state.path(), "00000a0a").unwrap();
        let net = network.plan(task(1, 0), GEN, 2, &[]).unwrap();
        let holder = Holder::new();
        network.close();
        let why = attach(&net, holder.pid()).unwrap_err();
        assert!(why.to_string().contains("closed while"), "{why}");
        gone_again(&before);
    });
}

#[test]
fn a_taken_port_is_refused_and_takes_nothing() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let network = Network::open(state.path(), "00000a05").unwrap();
        let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let why = network.plan(task(1, 0), GEN, 1, &[PortSpec { container: 80, host: port }]).unwrap_err();
        assert!(why.to_string().contains(&format!("port {port} of this machine is taken")), "{why}");
        drop(taken);
        let net = network.plan(task(1, 0), GEN, 1, &[PortSpec { container: 80, host: port }]).unwrap();
        assert_eq!(net.ports, [(80, port)]);
        network.close();
    });
}

#[test]
fn the_subnet_avoids_what_the_machine_routes_elsewhere() {
    in_router(|| {
        ip("link add far type veth peer name far1");
        ip("link set far up");
        // all of 10/8 but one /16
        for second in 0..=255 {
            if second != 201 {
                ip(&format!("route add 10.{second}.0.0/16 dev far"));
            }
        }
        let state = tempfile::tempdir().unwrap();
        let network = Network::open(state.path(), "00000a06").unwrap();
        let address = network.plan(task(1, 0), GEN, 1, &[]).unwrap().address.unwrap();
        assert!(address.to_string().starts_with("10.201."), "{address}");
        network.close();
    });
}

#[test]
fn a_small_subnet_runs_out_with_a_reason() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let subnet = Some((Ipv4Addr::new(10, 9, 0, 0), 28));
        let settings = Settings { subnet, ..Settings::default() };
        let network = Network::open_with(state.path(), "00000a07", &settings).unwrap();
        for job in 0..13 {
            network.plan(task(job, 0), GEN, 1, &[]).unwrap();
        }
        let why = network.plan(task(99, 0), GEN, 1, &[]).unwrap_err();
        assert!(why.to_string().contains("all addresses of 10.9.0.0/28 are taken"), "{why}");
        network.release(task(3, 0), GEN);
        network.plan(task(99, 0), GEN, 1, &[]).unwrap();
        network.close();
    });
}

#[test]
fn connecting_is_quick() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let closed = Network::open(state.path(), "00000a08").unwrap();
        let _internet = Internet::new();
        let open = Network::open(&state.path().join("open"), "00000a18").unwrap();
        for (network, size, what) in [
            (&closed, 1, "alone"),
            (&open, 1, "alone with a way out"),
            (&closed, 2, "in a gang"),
            (&open, 2, "in a gang with a way out"),
        ] {
            let mut times = Vec::new();
            for job in 0..40 {
                let holder = Holder::new();
                let begin = Instant::now();
                let net = network.plan(task(job, 0), GEN, size, &[]).unwrap();
                attach(&net, holder.pid()).unwrap();
                holder.inside(|| set_up(&net)).unwrap();
                times.push(begin.elapsed());
                Attached { net, holder }.end(network, task(job, 0));
            }
            times.sort();
            println!("plan + attach {what}: median {:?}, worst {:?}", times[20], times[39]);
        }
        closed.close();
        open.close();
    });
}

#[derive(Clone, Debug)]
enum Step {
    Plan { job: u64, rank: u32, size: u32 },
    Release { job: u64, rank: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let plan = (0..6_u64, 0..4_u32, 1..5_u32).prop_map(|(job, rank, size)| Step::Plan { job, rank, size });
    let release = (0..6_u64, 0..4_u32).prop_map(|(job, rank)| Step::Release { job, rank });
    proptest::collection::vec(prop_oneof![3 => plan, 2 => release], 1..60)
}

/// Addresses are never shared, and a gang's ranks agree, whatever the order of plans, releases and restarts.
#[test]
fn addresses_are_never_shared() {
    in_router(|| {
        let state = tempfile::tempdir().unwrap();
        let subnet = Some((Ipv4Addr::new(10, 9, 0, 0), 27));
        let settings = Settings { subnet, ..Settings::default() };
        let network = Network::open_with(state.path(), "00000a09", &settings).unwrap();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 64,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        runner
            .run(&steps(), |steps| {
                let mut live: BTreeMap<TaskId, TaskNet> = BTreeMap::new();
                for step in steps {
                    match step {
                        Step::Plan { job, rank, size } => {
                            let Ok(net) = network.plan(task(job, rank), GEN, size, &[]) else { continue };
                            prop_assert_eq!(&net, &network.plan(task(job, rank), GEN, size, &[]).unwrap());
                            live.insert(task(job, rank), net);
                        }
                        Step::Release { job, rank } => {
                            network.release(task(job, rank), GEN);
                            live.remove(&task(job, rank));
                        }
                    }
                    check(&live)?;
                }
                for task in live.keys() {
                    network.release(*task, GEN);
                }
                Ok(())
            })
            .unwrap();
        network.close();
    });
}

fn check(live: &BTreeMap<TaskId, TaskNet>) -> Result<(), TestCaseError> {
    let mut owners: BTreeMap<IpAddr, (GangId, u32)> = BTreeMap::new();
    for (task, net) in live {
        prop_assert_eq!(net.address, Some(net.hosts[task.rank as usize].0));
        for (rank, (address, _)) in (0..).zip(&net.hosts) {
            let owner = *owners.entry(*address).or_insert((task.gang, rank));
            prop_assert_eq!(owner, (task.gang, rank), "{} has two owners", address);
        }
    }
    Ok(())
}
