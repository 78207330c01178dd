//! The library before a second real driver, of OpenCL 1.2 and by other authors than PoCL: Oclgrind, which interprets kernels.
//!
//! Left out is what waits for an event that the program sets later: Oclgrind's own `clFlush` returns when all is done, so the
//! library's flush before it holds a launch back would wait for the program that waits for it; so does the driver without the library.

use super::bed::{Bed, Client, PIECE, has_opencl, skipped};
use super::{MIB, losses, python, python_client, race};
use pond_share::{Owner, Terms};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Where Debian has it; nothing in `/etc/OpenCL/vendors` names it.
const DRIVER: &str = "/usr/lib/oclgrind/liboclgrind-rt-icd.so";

fn is_there() -> bool {
    let there = Path::new(DRIVER).exists();
    if !there {
        skipped("OpenCL shares on Oclgrind: it is not here (Debian: oclgrind)");
    }
    there
}

/// Runs a role with each client there is, on a share of so much memory and the whole time.
fn with_each_client(role: &str, memory: u64, check: impl Fn(&Bed, Client)) {
    if !is_there() {
        return;
    }
    let bed = Bed::before(DRIVER, memory, 1000);
    let client = bed.rust(role);
    check(&bed, client);
    if let Some(python) = python() {
        let bed = Bed::before(DRIVER, memory, 1000);
        let client = python_client(&bed, &python, role);
        check(&bed, client);
    }
}

#[test]
fn its_device_is_found() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("one.icd"), DRIVER).expect("written");
    let listed =
        Command::new(env!("CARGO_BIN_EXE_pond-opencl-list")).arg(folder.path()).output().expect("runs");
    // It says that it is of every type; a CPU's cores are given out already, so that counts first.
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "0\t134217728\tcpu\tOclgrind Simulator\n");
}

#[test]
fn loaders_are_shown_the_devices_of_two_drivers() {
    if !is_there() || !has_opencl() {
        return;
    }
    let bed = Bed::new(64 * MIB, 1000);
    std::fs::write(bed.folder().join("drivers/zzz.icd"), DRIVER).expect("written");
    let terms = Terms { device: 1 << 32, memory: 64 * MIB, thousandths: 1000 };
    let _second = Owner::create(&bed.folder().join("1"), &terms).expect("made");
    let mut client = bed.rust("platforms");
    assert_eq!(client.hear(), "2");
    client.end();
}

#[test]
fn memory_ends_exactly_at_the_share_with_a_clean_error() {
    with_each_client(&format!("fill {}", 4 * MIB), 64 * MIB, |bed, mut client| {
        assert_eq!(client.hear(), format!("{} -4", 64 * MIB));
        let said = bed.owner.usage().expect("read");
        assert_eq!((said.memory, said.processes), (64 * MIB, 1));
        client.go();
        assert_eq!(client.hear(), "Ok(false)", "one given back, one more and no second");
        client.go();
        client.end();
        assert_eq!(bed.owner.usage().expect("read").memory, 0);
    });
}

#[test]
fn both_ways_to_allocate_are_counted_and_given_back() {
    with_each_client("rows 2", 64 * MIB, |bed, mut client| {
        for way in ["buffer", "image"] {
            assert_eq!(client.hear(), way);
            assert_eq!(bed.owner.usage().expect("read").memory, PIECE as u64, "{way}");
            client.go();
            assert_eq!(client.hear(), "Err(-4)", "{way}");
            assert_eq!(bed.owner.usage().expect("read").memory, 0, "{way}");
            client.go();
        }
        client.end();
    });
}

#[test]
fn its_device_says_the_size_of_the_share() {
    with_each_client("sizes", 64 * MIB, |_, mut client| {
        assert_eq!(client.hear(), format!("{0} {0}", 64 * MIB));
        client.end();
    });
}

#[test]
fn six_racing_processes_get_exactly_the_share_and_a_killed_one_gives_back() {
    if !is_there() {
        return;
    }
    race(&Bed::before(DRIVER, 60 * MIB, 1000), 60 * MIB, MIB);
}

#[test]
fn time_is_charged_by_its_own_events_and_never_runs_ahead() {
    if !is_there() {
        return;
    }
    let bed = Bed::before(DRIVER, 64 * MIB, 250);
    let begin = Instant::now();
    let mut client = bed.rust("turn 1500");
    assert_eq!(client.hear(), "ready");
    client.go();
    let said = client.hear();
    let elapsed = begin.elapsed().as_nanos() as u64;
    let numbers: Vec<u64> = said.split(' ').map(|part| part.parse().expect("a number")).collect();
    let ledger = bed.owner.usage().expect("read");
    assert_eq!(ledger.launches, numbers[1] + 1, "the first was before the client counted");
    assert!(ledger.busy_ns >= numbers[2] && ledger.throttled_ns > 0, "{ledger:?} {said}");
    let longest = ledger.busy_ns / ledger.launches * 20;
    assert!(ledger.busy_ns <= elapsed / 4 + pond_share::pace::BURST_NS + longest, "{ledger:?} in {elapsed}");
    client.end();
}

#[test]
fn every_command_that_moves_data_still_moves_it() {
    let Some(python) = python().filter(|_| is_there()) else { return };
    let bed = Bed::before(DRIVER, 64 * MIB, 900);
    let mut client = python_client(&bed, &python, "copies");
    assert_eq!(client.hear(), "done");
    client.end();
    let ledger = bed.owner.usage().expect("read");
    assert!(ledger.launches >= 15 && ledger.memory == 0, "{ledger:?}");
}

#[test]
fn training_gives_the_same_losses_under_a_share_as_without() {
    let Some(python) = python().filter(|_| is_there()) else { return };
    let bed = Bed::before(DRIVER, 64 * MIB, 700);
    let under = losses(bed.command(&python), 2);
    let mut bare = Command::new(&python);
    bare.env("OCL_ICD_VENDORS", bed.folder().join("drivers"));
    assert_eq!(under, losses(bare, 2));
    assert!(bed.owner.usage().expect("read").launches > 12);
}
