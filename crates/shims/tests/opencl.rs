//! The library before a real driver (PoCL where there is no device): memory is capped, time is kept, sizes are told,
//! and programs run as they do without it. Each row by clients that know nothing of each other.

mod bed;
#[path = "opencl/intel.rs"]
mod intel;
#[path = "opencl/oclgrind.rs"]
mod oclgrind;

use bed::{Bed, Client, PIECE, has_opencl, skipped};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// Not a test unless it is started by one: the client in Rust.
#[test]
fn client() {
    bed::client();
}

/// A Python with pyopencl and tinygrad, if the test command made one.
fn python() -> Option<PathBuf> {
    let asked = std::env::var_os("POND_OPENCL_PYTHON").map(PathBuf::from);
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/opencl-python/bin/python");
    asked.or(Some(made)).filter(|path| path.exists())
}

/// The client in Python.
fn python_client(bed: &Bed, python: &Path, role: &str) -> Client {
    let mut command = bed.command(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/client.py"));
    Client::start(command, role)
}

/// Runs a role with each client there is.
fn with_each_client(role: &str, memory: u64, check: impl Fn(&Bed, Client)) {
    if !has_opencl() {
        return;
    }
    let bed = Bed::new(memory, 1000);
    let client = bed.rust(role);
    check(&bed, client);
    match python() {
        Some(python) => {
            let bed = Bed::new(memory, 1000);
            let client = python_client(&bed, &python, role);
            check(&bed, client);
        }
        None => skipped("OpenCL shares with pyopencl: `cargo xtask test` makes its Python"),
    }
}

#[test]
fn memory_ends_exactly_at_the_share_with_a_clean_error() {
    with_each_client(&format!("fill {}", 16 * MIB), 512 * MIB, |bed, mut client| {
        assert_eq!(client.hear(), format!("{} -4", 512 * MIB));
        let said = bed.owner.usage().expect("read");
        assert_eq!((said.memory, said.processes), (512 * MIB, 1));
        assert!(said.refused >= 1);
        client.go();
        assert_eq!(client.hear(), "Ok(false)", "one given back, one more and no second");
        client.go();
        client.end();
        assert_eq!(bed.owner.usage().expect("read").memory, 0);
    });
}

#[test]
fn every_way_to_allocate_is_counted_and_given_back() {
    with_each_client("rows", 512 * MIB, |bed, mut client| {
        let mut ways = BTreeMap::new();
        for _ in 0..4 {
            let way = client.hear();
            assert_eq!(bed.owner.usage().expect("read").memory, PIECE as u64, "{way}");
            client.go();
            let refused = client.hear();
            assert_eq!(bed.owner.usage().expect("read").memory, 0, "{way}");
            client.go();
            let last = way == "shared";
            ways.insert(way, refused);
            if last {
                break;
            }
        }
        let shared = ways.remove("shared").expect("the last");
        assert!(shared.starts_with("Err"), "{shared}");
        assert!(ways.len() >= 2 && ways.values().all(|refused| refused == "Err(-4)"), "{ways:?}");
        client.end();
    });
}

#[test]
fn a_device_says_the_size_of_the_share() {
    with_each_client("sizes", 512 * MIB, |_, mut client| {
        assert_eq!(client.hear(), format!("{0} {0}", 512 * MIB));
        client.end();
    });
}

/// Six processes race for the whole of a share in pieces; who comes when one was killed gets what that one held.
fn race(bed: &Bed, whole: u64, piece: u64) {
    let fill = || bed.rust(&format!("fill {piece}"));
    let got = |client: &mut Client| -> u64 {
        let said = client.hear();
        said.strip_suffix(" -4").expect("out of memory").parse().expect("a number")
    };
    let mut clients: Vec<Client> = (0..6).map(|_| fill()).collect();
    let sums: Vec<u64> = clients.iter_mut().map(got).collect();
    assert_eq!(sums.iter().sum::<u64>(), whole, "{sums:?}");
    clients.remove(0).kill();
    let mut next = fill();
    assert_eq!(got(&mut next), sums[0], "what the killed one held");
    next.kill();
    clients.into_iter().for_each(Client::kill);
}

#[test]
fn six_racing_processes_get_exactly_the_share_and_a_killed_one_gives_back() {
    if !has_opencl() {
        return;
    }
    race(&Bed::new(300 * MIB, 1000), 300 * MIB, 4 * MIB);
}

#[test]
fn time_is_charged_as_measured_and_never_runs_ahead() {
    if !has_opencl() {
        return;
    }
    let bed = Bed::new(64 * MIB, 100);
    let begin = std::time::Instant::now();
    let mut client = bed.rust("spin 1500");
    assert_eq!(client.hear(), "ready");
    client.go();
    let said = client.hear();
    let elapsed = begin.elapsed().as_nanos() as u64;
    let numbers: Vec<u64> = said.split(' ').map(|part| part.parse().expect("a number")).collect();
    let ledger = bed.owner.usage().expect("read");
    assert_eq!(ledger.launches, numbers[1] + 1, "the first was before the client counted");
    assert!(ledger.busy_ns >= numbers[2], "{ledger:?} {said}");
    assert!(ledger.throttled_ns > 0);
    // One launch may run ahead, and what was saved up may be used.
    let longest = ledger.busy_ns / ledger.launches * 20;
    assert!(ledger.busy_ns <= elapsed / 10 + pond_share::pace::BURST_NS + longest, "{ledger:?} in {elapsed}");
    client.end();
}

#[test]
fn a_share_that_is_raised_is_felt_by_a_launch_that_waits() {
    if !has_opencl() {
        return;
    }
    // At a thousandth each launch would wait seconds; the client ends only because the share is raised.
    let bed = Bed::new(64 * MIB, 1);
    let mut client = bed.rust("spin 3600000");
    assert_eq!(client.hear(), "ready");
    client.go();
    while bed.owner.usage().expect("read").launches < 2 {
        bed.owner.set_rate(1000);
        std::thread::yield_now();
    }
    let slow = bed.owner.usage().expect("read").launches;
    bed.owner.set_rate(1000);
    while bed.owner.usage().expect("read").launches < slow + 20 {
        std::thread::yield_now();
    }
    client.kill();
}

#[test]
fn what_waits_for_an_event_that_is_set_later_does_not_block_its_own_thread() {
    if !has_opencl() {
        return;
    }
    let bed = Bed::new(64 * MIB, 500);
    let mut client = bed.rust("held");
    assert_eq!(client.hear(), "done");
    client.end();
}

/// Kernels of one queue run one after the other, so all of them ran for no longer than the client waited for them.
fn what_ran_unseen_is_charged_as_it_ran(bed: &Bed) {
    let mut client = bed.rust("let_go");
    let most_ns: u64 = client.hear().parse().expect("a number");
    while bed.owner.usage().expect("read").launches < 8 {
        std::thread::yield_now();
    }
    let ledger = bed.owner.usage().expect("read");
    assert!(ledger.busy_ns <= most_ns, "{ledger:?} in {most_ns}");
    client.go();
    client.end();
}

#[test]
fn what_a_program_keeps_no_event_of_is_charged_as_it_ran() {
    if !has_opencl() {
        return;
    }
    what_ran_unseen_is_charged_as_it_ran(&Bed::new(64 * MIB, 1000));
}

#[test]
fn a_context_by_type_has_the_devices_of_the_share() {
    if !has_opencl() {
        return;
    }
    let bed = Bed::new(64 * MIB, 500);
    let mut client = bed.rust("types");
    assert_eq!(client.hear(), "true");
    client.end();
}

#[test]
fn a_share_that_cannot_be_joined_shows_no_device() {
    if !has_opencl() {
        return;
    }
    let bed = Bed::new(64 * MIB, 500);
    std::fs::write(bed.folder().join("0.ledger"), "nonsense").expect("written");
    let mut client = bed.rust("platforms");
    assert_eq!(client.hear(), "0");
    client.end();
}

#[test]
fn every_command_that_moves_data_still_moves_it() {
    let Some(python) = python().filter(|_| has_opencl()) else { return };
    let bed = Bed::new(64 * MIB, 900);
    let mut client = python_client(&bed, &python, "copies");
    assert_eq!(client.hear(), "done");
    client.end();
    let ledger = bed.owner.usage().expect("read");
    assert!(ledger.launches >= 15 && ledger.memory == 0, "{ledger:?}");
}

/// What a training in tinygrad prints of so many steps.
fn losses(mut command: std::process::Command, steps: usize) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bed/train.py");
    let cache = tempfile::tempdir().expect("a folder");
    command
        .arg(&script)
        .env("STEPS", steps.to_string())
        .env("DEV", "CL")
        .env("TRAINING", "1")
        .env("CACHEDB", cache.path().join("cache.db"));
    let done = command.output().expect("runs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && text.matches("loss").count() == steps, "{text}{said}");
    text
}

#[test]
fn training_gives_the_same_losses_under_a_share_as_without() {
    let Some(python) = python().filter(|_| has_opencl()) else { return };
    let bed = Bed::new(256 * MIB, 300);
    let under = losses(bed.command(&python), 12);
    assert_eq!(under, losses(std::process::Command::new(&python), 12));
    assert!(bed.owner.usage().expect("read").launches > 12);
}
