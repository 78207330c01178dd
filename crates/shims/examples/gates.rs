//! Shares of an OpenCL device, measured: the rows of `cargo xtask gates devices`.
//!
//! `gates [--quick] [DRIVER]`: the share of time that a busy client gets by its own measurement, alone and in pairs (ten seconds,
//! median of five; quick: five seconds, one run), and how soon a launch that waits feels a larger share. Of the machine's first
//! device, or of the first of this driver's library.

#![expect(clippy::print_stdout, reason = "its rows are what it is for")]

#[path = "../tests/bed/mod.rs"]
mod bed;

use bed::{Bed, Client};
use std::process::ExitCode;
use std::time::Instant;

const MEMORY: u64 = 64 << 20;

/// A share of the device that is measured, and what clients do on it: interpreted kernels are to be small.
fn bed(thousandths: u64) -> (Bed, &'static str) {
    match std::env::args().skip(1).find(|word| !word.starts_with("--")) {
        Some(driver) => (Bed::before(&driver, MEMORY, thousandths), "turn"),
        None => (Bed::new(MEMORY, thousandths), "spin"),
    }
}

/// Prints a row, and says whether it holds.
fn row(what: &str, measured: &str, wanted: &str, holds: bool) -> bool {
    println!("  {}  {what}: {measured}  (wanted: {wanted})", if holds { "pass" } else { "FAIL" });
    holds
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// What clients with these shares get side by side, in thousandths of a percent.
fn shares(thousandths: &[u64], span_ms: u64) -> Vec<u64> {
    let beds: Vec<_> = thousandths.iter().map(|&share| bed(share)).collect();
    let client = |(bed, role): &(Bed, &str)| bed.rust(&format!("{role} {span_ms}"));
    let mut clients: Vec<Client> = beds.iter().map(client).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.hear(), "ready"));
    clients.iter_mut().for_each(Client::go);
    let said: Vec<String> = clients.iter_mut().map(Client::hear).collect();
    clients.into_iter().for_each(Client::end);
    let first = |text: &String| text.split(' ').next().and_then(|part| part.parse().ok());
    said.iter().map(|text| first(text).expect("a number")).collect()
}

/// From a larger share to the next launch of a client that waits, microseconds.
fn felt_after_us() -> u64 {
    let (bed, role) = bed(1000);
    let mut client = bed.rust(&format!("{role} 3600000"));
    assert_eq!(client.hear(), "ready");
    client.go();
    let launches = || bed.owner.usage().expect("read").launches;
    let until = |count: u64| {
        while launches() < count {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    };
    until(20);
    bed.owner.set_rate(1);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let before = launches();
    let begin = Instant::now();
    bed.owner.set_rate(1000);
    until(before + 1);
    let felt = begin.elapsed();
    client.kill();
    felt.as_micros() as u64
}

fn main() -> ExitCode {
    if bed::client() {
        return ExitCode::SUCCESS;
    }
    if !bed::has_opencl() {
        return ExitCode::FAILURE;
    }
    let quick = std::env::args().any(|word| word == "--quick");
    let (span_ms, runs) = if quick { (5_000, 1) } else { (10_000, 5) };
    let mut holds = true;
    let alone = shares(&[1000], span_ms)[0];
    println!(
        "        what the whole device gives on this machine now: {}.{:02} %",
        alone / 1000,
        alone % 1000 / 10
    );
    for thousandths in [&[100][..], &[250], &[500], &[300, 700], &[100, 900]] {
        let measured: Vec<Vec<u64>> = (0..runs).map(|_| shares(thousandths, span_ms)).collect();
        let medians: Vec<u64> =
            (0..thousandths.len()).map(|at| median(measured.iter().map(|run| run[at]).collect())).collect();
        let percent = |parts: &[u64]| {
            parts
                .iter()
                .map(|part| format!("{}.{:02} %", part / 1000, part % 1000 / 10))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        let wanted: Vec<u64> = thousandths.iter().map(|share| share * 100).collect();
        let close = medians.iter().zip(&wanted).all(|(got, want)| got.abs_diff(*want) <= 2_000);
        let what =
            if thousandths.len() == 1 { "share of time, alone" } else { "shares of time, two at once" };
        holds &= row(what, &percent(&medians), &format!("{} within 2 points", percent(&wanted)), close);
    }
    let felt = median((0..runs).map(|_| felt_after_us()).collect());
    holds &= row(
        "a larger share is felt after",
        &format!("{} ms", felt / 1000),
        "100 ms, no restart",
        felt <= 100_000,
    );
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
