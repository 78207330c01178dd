//! Six processes reserve and give back as fast as they can and are killed at random: nothing is given twice, nothing is lost.
//!
//! Each round some processes die by SIGKILL. The others are told to fill the share: greedy to the last granule, so what they
//! hold adds up to exactly the limit if and only if all that the dead held came back and nothing was given twice.
//! 60 rounds; `POND_STORM_ROUNDS=1000` for the full gate.

#![expect(clippy::print_stdout, reason = "child processes talk to the test through it")]

use pond_share::{Charge, GRANULE, Member, Owner, OwnerError, Terms};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

const PROCESSES: usize = 6;
const LIMIT: u64 = 300 << 20;

/// A small generator of numbers; the seed makes a round repeatable as far as processes are.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A child process of this test: see `child`.
struct Hand {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Hand {
    fn start(share: &Path, role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child", "--nocapture"])
            .env("POND_STORM_SHARE", share)
            .env("POND_STORM_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, said }
    }

    fn tell(&mut self, word: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(format!("{word}\n").as_bytes()).expect("listens");
    }

    /// The number in its next line that is ours: the test harness talks too.
    fn hear(&mut self) -> u64 {
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).expect("speaks") > 0, "it died unasked");
            if let Some(number) = line.trim().split("storm:").nth(1) {
                return number.parse().expect("a number");
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

/// Not a test unless it is started by one: a process on the share.
#[test]
fn child() {
    let Some(share) = std::env::var_os("POND_STORM_SHARE") else { return };
    let member = Member::join(Path::new(&share)).expect("joins");
    match std::env::var("POND_STORM_ROLE").expect("a role").as_str() {
        "storm" => storm(member),
        "fork" => fork(member),
        "exec" => exec(member),
        role => panic!("{role}"),
    }
}

/// Churns until told to settle; says when it holds nothing; fills the share when told to and says what it got; and so on.
fn storm(member: &'static Member) {
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    let mut chance = Chance(u64::from(std::process::id()));
    let mut held: Vec<Charge> = Vec::new();
    loop {
        while matches!(lines.try_recv(), Err(TryRecvError::Empty)) {
            if held.len() < 40 && chance.below(2) == 0 {
                held.extend(member.reserve(1 + chance.below(LIMIT / 8)));
            } else if !held.is_empty() {
                member.release(held.swap_remove(chance.below(held.len() as u64) as usize));
            }
        }
        held.drain(..).for_each(|charge| member.release(charge));
        println!("storm:0");
        if lines.recv().is_err() {
            return;
        }
        let got: Vec<Charge> = [LIMIT / 10, 64 * GRANULE, GRANULE]
            .iter()
            .flat_map(|&size| std::iter::from_fn(move || member.reserve(size).ok()))
            .collect();
        held = got;
        println!("storm:{}", held.iter().map(Charge::bytes).sum::<u64>());
        if lines.recv().is_err() {
            return;
        }
    }
}

/// Forks a child that reserves and does not give back, and that tries to give back what is its parent's.
#[expect(unsafe_code, reason = "a fork without exec")]
fn fork(member: &'static Member) {
    let mine = member.reserve(100 << 20).expect("room");
    // SAFETY: the child reserves, releases and ends; none of it takes a lock that another thread could have held.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let reserved = member.reserve(150 << 20).is_ok();
        member.release(mine);
        let refused = member.reserve(100 << 20).is_err();
        // SAFETY: ends the process at once, as a killed one would.
        unsafe { libc::_exit(i32::from(!(reserved && refused))) };
    }
    let mut status = -1;
    // SAFETY: `status` lives long enough.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0, "the child has a slot of its own and leaves its parent's alone");
    let rest = member.reserve(200 << 20).expect("what the child held came back");
    println!("storm:{}", rest.bytes());
    member.release(rest);
    member.release(mine);
    println!("storm:{}", member.used());
}

/// Becomes another program while it holds something.
fn exec(member: &'static Member) {
    member.reserve(100 << 20).expect("room");
    println!("storm:{}", member.used());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("told");
    let failed = Command::new("sh").args(["-c", "echo storm:1; read line"]).exec();
    panic!("{failed}");
}

struct Place {
    _dir: tempfile::TempDir,
    share: PathBuf,
    owner: Owner,
}

fn place() -> Place {
    let dir = tempfile::tempdir().expect("a folder");
    let share = dir.path().join("0");
    let owner = Owner::create(&share, &Terms { device: 0, memory: LIMIT, thousandths: 1000 }).expect("made");
    Place { _dir: dir, share, owner }
}

#[test]
fn killed_at_any_moment_nothing_is_given_twice_and_nothing_is_lost() {
    let rounds = std::env::var("POND_STORM_ROUNDS").map_or(60, |text| text.parse().expect("a number"));
    let place = place();
    let mut chance = Chance(4);
    let mut hands: Vec<Hand> = (0..PROCESSES).map(|_| Hand::start(&place.share, "storm")).collect();
    for round in 0..rounds {
        std::thread::sleep(Duration::from_micros(chance.below(3000)));
        for _ in 0..1 + chance.below(PROCESSES as u64 - 2) {
            let victim = chance.below(hands.len() as u64) as usize;
            hands.swap_remove(victim).kill();
        }
        for hand in &mut hands {
            hand.tell("settle");
        }
        hands.iter_mut().for_each(|hand| assert_eq!(hand.hear(), 0));
        hands.iter_mut().for_each(|hand| hand.tell("fill"));
        let got: Vec<u64> = hands.iter_mut().map(Hand::hear).collect();
        assert_eq!(got.iter().sum::<u64>(), LIMIT, "round {round}: {got:?}");
        let said = place.owner.usage().expect("read");
        assert_eq!(said.memory, LIMIT, "round {round}");
        hands.iter_mut().for_each(|hand| hand.tell("churn"));
        while hands.len() < PROCESSES {
            hands.push(Hand::start(&place.share, "storm"));
        }
    }
    hands.into_iter().for_each(Hand::kill);
    let left = place.owner.usage().expect("read");
    assert_eq!((left.memory, left.processes), (0, 0));
    let mut last = Hand::start(&place.share, "storm");
    last.tell("settle");
    assert_eq!(last.hear(), 0);
    last.tell("fill");
    assert_eq!(last.hear(), LIMIT);
    last.kill();
    println!("storm: {rounds} rounds, {PROCESSES} processes, over-commit 0, leaked 0");
}

#[test]
fn a_forked_child_has_a_slot_of_its_own() {
    let place = place();
    let mut hand = Hand::start(&place.share, "fork");
    assert_eq!((hand.hear(), hand.hear()), (200 << 20, 0));
    hand.kill();
}

#[test]
fn a_process_that_becomes_another_program_holds_nothing() {
    let place = place();
    let mut hand = Hand::start(&place.share, "exec");
    assert_eq!(hand.hear(), 100 << 20);
    assert_eq!(place.owner.usage().expect("read").memory, 100 << 20);
    hand.tell("go");
    assert_eq!(hand.hear(), 1);
    assert_eq!(place.owner.usage().expect("read").memory, 0);
    hand.kill();
}

#[test]
fn a_share_below_its_use_gives_nothing_more_and_takes_nothing_away() {
    let place = place();
    let mut hand = Hand::start(&place.share, "storm");
    hand.tell("settle");
    assert_eq!(hand.hear(), 0);
    hand.tell("fill");
    assert_eq!(hand.hear(), LIMIT);
    place.owner.set_memory(LIMIT / 2);
    assert_eq!(place.owner.usage().expect("read").memory, LIMIT);
    hand.tell("churn");
    hand.tell("settle");
    assert_eq!(hand.hear(), 0);
    hand.tell("fill");
    assert_eq!(hand.hear(), LIMIT / 2);
    hand.kill();
}

#[test]
fn a_ledger_of_nonsense_is_read_without_harm() {
    let place = place();
    let ledger = place.share.with_extension("ledger");
    let kept = std::fs::read(&ledger).expect("there");
    let (length, head) = (kept.len() as u64, &kept[..16]);
    let mut chance = Chance(7);
    for length in [0, 1, 9, 80, length - 1, length] {
        let bytes: Vec<u8> = (0..length).map(|_| chance.below(256) as u8).collect();
        std::fs::write(&ledger, &bytes).expect("written");
        let said = place.owner.usage();
        assert!(matches!(said, Err(OwnerError::Unknown { .. })), "{said:?}");
        // the right head, and nonsense behind it
        let bytes: Vec<u8> = head.iter().copied().chain(bytes.into_iter().skip(head.len())).collect();
        std::fs::write(&ledger, bytes).expect("written");
        let said = place.owner.usage().expect("read");
        assert_eq!((said.memory, said.processes), (0, 0), "nobody holds a lock");
    }
    std::fs::write(&ledger, "nonsense").expect("written");
    assert!(Member::join(&place.share).is_err());
    let again = Owner::open(&place.share).expect("the terms are the node's");
    assert_eq!(again.terms(), Terms { device: 0, memory: LIMIT, thousandths: 1000 });
}
