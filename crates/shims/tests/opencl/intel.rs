//! The library before a third real driver: Intel's, whose device is the CPU, of OpenCL 3.1. Unlike the others it does not tell a
//! loader by name what stands in its table, and answers nothing about an event that the program let go.

use super::bed::{Bed, PIECE, skipped};
use super::{MIB, python, python_client, race, what_ran_unseen_is_charged_as_it_ran};
use std::path::Path;

/// Where `POND_MORE_DRIVERS=1 cargo xtask test` puts it; nothing in `/etc/OpenCL/vendors` names it.
fn driver() -> Option<String> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/intel-python/lib/libintelocl.so");
    if !place.exists() {
        skipped(
            "OpenCL shares on Intel's driver: `POND_MORE_DRIVERS=1 cargo xtask test` fetches it (PyPI: intel-opencl-rt, 280 MB)",
        );
    }
    place.exists().then(|| place.to_string_lossy().into_owned())
}

#[test]
fn loaders_are_shown_its_platform_and_memory_ends_at_the_share() {
    let Some(driver) = driver() else { return };
    let check = |bed: &Bed, mut client: super::Client| {
        assert_eq!(client.hear(), format!("{} -4", 64 * MIB));
        assert_eq!(bed.owner.usage().expect("read").memory, 64 * MIB);
        client.go();
        assert_eq!(client.hear(), "Ok(false)", "one given back, one more and no second");
        client.go();
        client.end();
    };
    let role = format!("fill {PIECE}");
    let bed = Bed::before(&driver, 64 * MIB, 1000);
    check(&bed, bed.rust(&role));
    if let Some(python) = python() {
        let bed = Bed::before(&driver, 64 * MIB, 1000);
        check(&bed, python_client(&bed, &python, &role));
    }
}

#[test]
fn six_racing_processes_get_exactly_the_share_and_a_killed_one_gives_back() {
    let Some(driver) = driver() else { return };
    race(&Bed::before(&driver, 60 * MIB, 1000), 60 * MIB, MIB);
}

#[test]
fn what_a_program_keeps_no_event_of_is_charged_as_it_ran() {
    let Some(driver) = driver() else { return };
    what_ran_unseen_is_charged_as_it_ran(&Bed::before(&driver, 64 * MIB, 1000));
}

#[test]
fn every_command_that_moves_data_still_moves_it() {
    let Some((driver, python)) = driver().zip(python()) else { return };
    let bed = Bed::before(&driver, 64 * MIB, 900);
    let mut client = python_client(&bed, &python, "copies");
    assert_eq!(client.hear(), "done");
    client.end();
    let ledger = bed.owner.usage().expect("read");
    assert!(ledger.launches >= 15 && ledger.memory == 0, "{ledger:?}");
}
