//! The library before a modelled driver: memory is capped, time is kept, sizes are told, and programs run as they do
//! without it. Each row by clients that know nothing of each other.

#![cfg(target_arch = "x86_64")]

mod bed;
mod gates;
mod names;

use bed::{Bed, CONTEXT, Client, PIECE, python};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{Acquire, Release};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Not a test unless it is started by one: the client in Rust.
#[test]
fn client() {
    bed::client();
}

/// Runs a role with each client there is.
fn with_each_client(role: &str, memory: u64, check: impl Fn(&Bed, Client)) {
    let bed = Bed::new(memory, 1000);
    let client = bed.rust(role);
    check(&bed, client);
    let Some(python) = python() else { return };
    let bed = Bed::new(memory, 1000);
    let client = bed.python(&python, role);
    check(&bed, client);
}

#[test]
fn memory_ends_exactly_at_the_share_with_a_clean_error() {
    with_each_client(&format!("fill {}", 16 * MIB), 512 * MIB + CONTEXT, |bed, mut client| {
        assert_eq!(client.hear(), format!("{} 2", 512 * MIB));
        let said = bed.owner.usage().expect("read");
        assert_eq!((said.memory, said.processes), (512 * MIB + CONTEXT, 1));
        assert_eq!(bed.on_device(), said.memory, "the ledger and the device agree");
        assert!(said.refused >= 1);
        client.go();
        assert_eq!(client.hear(), "true Err(2)", "one given back, one more and no second");
        client.go();
        client.end();
        assert_eq!((bed.held(), bed.on_device()), (0, 0));
    });
}

#[test]
fn every_way_to_allocate_is_counted_and_given_back() {
    with_each_client("rows", 512 * MIB, |bed, mut client| {
        let mut ways = BTreeMap::new();
        loop {
            let way = client.hear();
            if way == "end" {
                break;
            }
            // A pool takes 32 MiB of the modelled device at a time.
            let taken = if way == "ordered" { 32 * MIB } else { PIECE };
            assert_eq!(bed.held(), CONTEXT + taken, "{way}");
            assert_eq!(bed.on_device(), CONTEXT + taken, "{way}");
            client.go();
            ways.insert(way.clone(), client.hear());
            assert_eq!(bed.held(), CONTEXT, "{way}");
            assert_eq!(bed.on_device(), CONTEXT, "{way}");
            client.go();
        }
        assert_eq!(ways.len(), 6);
        assert!(ways.values().all(|refused| refused == "Err(2)"), "{ways:?}");
        client.end();
    });
}

#[test]
fn sizes_and_processes_are_those_of_the_share() {
    with_each_client("sizes", GIB, |_, mut client| {
        let free = GIB - CONTEXT;
        assert_eq!(client.hear(), format!("{free} {GIB} {GIB} {GIB} {CONTEXT}"));
        assert_eq!(client.hear(), format!("true:{CONTEXT}"), "itself and nobody else");
        client.end();
    });
}

#[test]
fn pools_end_at_the_share_and_what_they_keep_counts_until_it_is_needed() {
    with_each_client(&format!("pool {}", 64 * MIB), 2 * GIB + CONTEXT, |bed, mut client| {
        assert_eq!(client.hear(), format!("{} 2", 2 * GIB));
        assert_eq!(bed.on_device(), 2 * GIB + CONTEXT);
        client.go();
        assert_eq!(client.hear(), "kept");
        assert_eq!(bed.held(), 2 * GIB + CONTEXT, "the pool keeps what was freed");
        client.go();
        assert_eq!(client.hear(), "true", "and gives it back for other memory");
        assert_eq!((bed.held(), bed.on_device()), (128 * MIB + CONTEXT, 128 * MIB + CONTEXT));
        client.go();
        client.end();
    });
}

#[test]
fn a_share_smaller_than_what_a_pool_takes_at_once_is_never_passed() {
    let bed = Bed::new(40 * MIB + CONTEXT, 1000);
    let mut client = bed.rust(&format!("pool {}", 4 * MIB));
    // The modelled pool takes 32 MiB at a time: a second piece would be over the share.
    assert_eq!(client.hear(), format!("{} 2", 32 * MIB));
    assert_eq!(bed.on_device(), 32 * MIB + CONTEXT);
    client.kill();
}

#[test]
fn memory_of_graphs_counts_from_when_they_are_executable_until_the_driver_gives_it_back() {
    with_each_client("graph", GIB, |bed, mut client| {
        let steps = [
            ("captured", CONTEXT, CONTEXT),
            ("executable", CONTEXT + PIECE, CONTEXT),
            ("ran", CONTEXT + PIECE, CONTEXT + PIECE),
            ("kept", CONTEXT + PIECE, CONTEXT + PIECE),
            ("trimmed", CONTEXT, CONTEXT),
        ];
        for (step, held, on_device) in steps {
            assert_eq!(client.hear(), step);
            assert_eq!((bed.held(), bed.on_device()), (held, on_device), "{step}");
            client.go();
        }
        client.end();
        let said = bed.owner.usage().expect("read");
        assert_eq!(said.launches, 5, "the kernel of the capture was no launch");
        assert!((1_000_000..3_000_000).contains(&said.busy_ns), "{said:?}");
    });
}

#[test]
fn every_way_to_launch_is_counted_as_long_as_it_took() {
    with_each_client("launches", GIB, |bed, mut client| {
        assert_eq!(client.hear(), "launched");
        client.end();
        let said = bed.owner.usage().expect("read");
        assert_eq!(said.launches, 24, "{said:?}");
        assert_eq!(bed.machine.devices[0].launches.load(Acquire), 24);
        // Two streams take turns, so a kernel's interval may have another's in it.
        assert!((12_000_000..24_000_000).contains(&said.busy_ns), "{said:?}");
    });
}

#[test]
fn a_program_over_a_safe_interface_computes_as_without() {
    let bed = Bed::new(GIB, 500);
    for mut client in [bed.rust("safe"), bed.bare_rust("safe")] {
        assert_eq!(client.hear(), "true");
        client.end();
    }
    assert_eq!(bed.owner.usage().expect("read").launches, 1);
}

#[test]
fn six_racing_processes_get_exactly_the_share_and_a_killed_one_gives_back() {
    let share = 300 * MIB + 6 * CONTEXT;
    let bed = Bed::new(share, 1000);
    let mut clients: Vec<Client> = (0..6).map(|_| bed.rust(&format!("race {}", 4 * MIB))).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.hear(), "ready"));
    clients.iter_mut().for_each(Client::go);
    let got = |client: &mut Client| -> u64 {
        let said = client.hear();
        let (bytes, code) = said.split_once(' ').expect("bytes and a code");
        assert_eq!(code, "2");
        bytes.parse().expect("a number")
    };
    let sums: Vec<u64> = clients.iter_mut().map(got).collect();
    assert_eq!(sums.iter().sum::<u64>() + 6 * CONTEXT, share, "{sums:?}");
    let first = sums[0];
    clients.remove(0).kill();
    let mut next = bed.rust(&format!("fill {}", 4 * MIB));
    assert_eq!(got(&mut next), first, "what the killed one held");
    assert_eq!(bed.on_device(), share);
    next.kill();
    clients.into_iter().for_each(Client::kill);
}

#[test]
fn two_shares_of_one_device_do_not_see_each_other() {
    let bed = Bed::new(GIB, 500);
    let other = bed.another(64 * MIB + CONTEXT, 500);
    let mut big = bed.rust(&format!("fill {}", 16 * MIB));
    assert_eq!(big.hear(), format!("{} 2", 1008 * MIB - CONTEXT + 16 * MIB - CONTEXT % (16 * MIB)));
    let mut small = other.rust(&format!("fill {}", 16 * MIB));
    assert_eq!(small.hear(), format!("{} 2", 64 * MIB));
    let mut third = other.rust("start");
    assert_eq!(third.hear(), "0");
    third.end();
    assert_eq!(bed.on_device(), GIB + 64 * MIB + CONTEXT);
    big.kill();
    small.kill();
}

#[test]
fn a_share_changes_while_it_is_used() {
    let bed = Bed::new(64 * MIB + CONTEXT, 1000);
    let mut client = bed.rust(&format!("fill {}", 16 * MIB));
    assert_eq!(client.hear(), format!("{} 2", 64 * MIB));
    bed.owner.set_memory(96 * MIB + CONTEXT);
    client.go();
    assert!(client.hear().starts_with("true Ok"), "one in place of the one given back, and one more");
    assert_eq!(bed.held(), 80 * MIB + CONTEXT);
    client.kill();
}

#[test]
fn time_is_charged_as_measured_and_never_runs_ahead() {
    for us in [5, 2000] {
        let bed = Bed::new(GIB, 100);
        let begin = std::time::Instant::now();
        let mut client = bed.rust(&format!("spin 1500 {us}"));
        assert_eq!(client.hear(), "ready");
        client.go();
        let said = client.hear();
        let elapsed = begin.elapsed().as_nanos() as u64;
        client.end();
        let ledger = bed.owner.usage().expect("read");
        let device = &bed.machine.devices[0];
        let really = device.busy.load(Acquire);
        // What was saved up, a part taken at once and what was unknown before the first measurement.
        let ahead = pond_share::pace::BURST_NS + 1_000_000 + 8 * us * 1000;
        assert!(really <= elapsed / 10 + ahead, "{really} in {elapsed}: {said}");
        assert!(ledger.throttled_ns > 0, "{ledger:?}");
        // Launches after the last that was measured are charged and not told yet.
        assert!(ledger.busy_ns.abs_diff(really) <= really / 10 + 128 * us * 1000, "{ledger:?} of {really}");
    }
}

#[test]
fn a_larger_share_is_felt_by_a_launch_that_waits() {
    // At five thousandths each launch waits a second; the client ends only because the share is raised.
    let bed = Bed::new(GIB, 5);
    let mut client = bed.rust("spin 3600000 5000");
    assert_eq!(client.hear(), "ready");
    client.go();
    let until = |count: u64| {
        while bed.owner.usage().expect("read").launches < count {
            std::thread::yield_now();
        }
    };
    until(2);
    bed.owner.set_rate(1000);
    let slow = bed.owner.usage().expect("read").launches;
    until(slow + 20);
    client.kill();
}

#[test]
fn a_context_that_ends_gives_back_all_it_had_and_a_launch_in_another_is_counted() {
    let bed = Bed::new(GIB, 1000);
    let mut client = bed.rust("contexts");
    assert_eq!(client.hear(), "launched");
    assert_eq!((bed.held(), bed.on_device()), (2 * CONTEXT + PIECE, 2 * CONTEXT + PIECE));
    let said = bed.owner.usage().expect("read");
    assert_eq!(said.launches, 6);
    // A device that waits for the first kernel is not told from one that runs it.
    assert!((3_000_000..6_000_000).contains(&said.busy_ns), "{said:?}");
    client.go();
    assert_eq!(client.hear(), "destroyed");
    assert_eq!((bed.held(), bed.on_device()), (CONTEXT, CONTEXT));
    client.go();
    client.end();
}

#[test]
fn a_newer_function_that_may_take_of_a_share_is_not_given_out() {
    let bed = Bed::new(GIB, 1000);
    for (mut client, allocates) in [(bed.bare_rust("newer"), "0 true"), (bed.rust("newer"), "500 false")] {
        assert_eq!(client.hear(), format!("cuMemAllocNewer {allocates}"));
        assert_eq!(client.hear(), "cuQueryNewer 0 true");
        client.end();
    }
}

#[test]
fn what_a_child_does_after_a_fork_leaves_its_parents_memory_alone() {
    let bed = Bed::new(GIB, 1000);
    let mut client = bed.rust("forks");
    assert_eq!(client.hear(), "held");
    client.go();
    assert_eq!(client.hear(), "3", "CUDA cannot be used there, share or not");
    assert_eq!(bed.held(), CONTEXT + PIECE);
    client.go();
    assert_eq!(client.hear(), "freed");
    assert_eq!(bed.held(), CONTEXT);
    client.go();
    client.end();
    assert_eq!(bed.held(), 0);
}

#[test]
fn a_device_without_a_share_or_a_share_that_cannot_be_joined_starts_nothing() {
    with_each_client("start", GIB, |_, mut client| {
        assert_eq!(client.hear(), "0");
        client.end();
    });
    let starts = |spoil: &dyn Fn(&Bed)| {
        let bed = Bed::new(GIB, 1000);
        spoil(&bed);
        let mut client = bed.rust("start");
        let said = client.hear();
        client.end();
        said
    };
    assert_eq!(
        starts(&|bed| std::fs::write(bed.folder().join("0.ledger"), "nonsense").expect("written")),
        "100"
    );
    assert_eq!(starts(&|bed| std::fs::remove_file(bed.folder().join("0.terms")).expect("removed")), "100");
    let two = |bed: &Bed| bed.machine.count.store(2, Release);
    assert_eq!(starts(&two), "100", "a second device can be seen and has no share");
    let gone = |bed: &Bed| std::fs::remove_file(bed.folder().join("driver/libcuda.so.1")).expect("removed");
    assert_eq!(starts(&gone), "100", "without a driver there is no device");
}

#[test]
fn an_error_of_the_device_reaches_the_program_and_gives_back_what_was_reserved() {
    let bed = Bed::new(64 * MIB + CONTEXT, 1000);
    let mut client = bed.rust(&format!("fill {}", 16 * MIB));
    assert_eq!(client.hear(), format!("{} 2", 64 * MIB));
    bed.machine.devices[0].sick.store(214, Release);
    client.go();
    assert_eq!(client.hear(), "false Err(214)", "an ECC error, as the driver says it");
    assert_eq!(bed.held(), 48 * MIB + CONTEXT);
    client.kill();
    let bed = Bed::new(GIB, 1000);
    // Not the context, which is the first.
    let mut client = bed.rust(&format!("fill {}", 16 * MIB));
    client.hear();
    bed.machine.devices[0].refuse.store(2, Release);
    let before = bed.held();
    client.go();
    assert_eq!(client.hear(), "false Err(2)");
    assert_eq!(bed.held(), before - 16 * MIB);
    client.kill();
}
