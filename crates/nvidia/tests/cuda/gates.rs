//! What the library costs and how well it keeps time, measured: the rows of `cargo xtask gates devices`. Not run with
//! the tests, for they speak of time.

use crate::bed::{Bed, CONTEXT, Client};

const MEMORY: u64 = 1 << 30;

/// Says a row, and whether it holds.
fn row(what: &str, measured: &str, wanted: &str, holds: bool) -> bool {
    eprintln!("  {}  {what}: {measured}  (wanted: {wanted})", if holds { "pass" } else { "FAIL" });
    holds
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn quick() -> bool {
    std::env::var_os("POND_GATES_QUICK").is_some()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(' ').map(|part| part.parse().expect("a number")).collect()
}

/// A launch, an allocation with its end, the same from a pool: before the model and before the library, in turns.
#[test]
#[ignore = "measures: run by `cargo xtask gates devices`"]
fn cost() {
    let bed = Bed::new(MEMORY, 1000);
    let mut added = [const { Vec::new() }; 3];
    let mut bare_ps = [0; 3];
    for _ in 0..if quick() { 3 } else { 9 } {
        let measure = |mut client: Client| {
            let said = numbers(&client.hear());
            client.end();
            said
        };
        let bare = measure(bed.bare_rust("cost"));
        let ours = measure(bed.rust("cost"));
        for at in 0..3 {
            added[at].push(ours[at].saturating_sub(bare[at]));
            bare_ps[at] = bare[at];
        }
    }
    let ns = |ps: u64| format!("{}.{} ns", ps / 1000, ps % 1000 / 100);
    let mut holds = true;
    for (at, what, most_ps) in [
        (0, "added to a launch", 20_000),
        (1, "added to an allocation and its end", 500_000),
        (2, "added to one from a pool", 500_000),
    ] {
        let ps = median(added[at].clone());
        let measured = format!("{}, beside {} without", ns(ps), ns(bare_ps[at]));
        holds &= row(what, &measured, &format!("at most {}", ns(most_ps)), ps <= most_ps);
    }
    assert!(holds);
}

/// What clients with these shares get side by side, in thousandths of a percent, with kernels of so many µs.
fn shares(thousandths: &[u64], span_ms: u64, us: u64) -> Vec<u64> {
    let first = Bed::new(MEMORY, thousandths[0]);
    let others: Vec<Bed> = thousandths[1..].iter().map(|&share| first.another(MEMORY, share)).collect();
    let beds = || std::iter::once(&first).chain(&others);
    let mut clients: Vec<Client> = beds().map(|bed| bed.rust(&format!("spin {span_ms} {us}"))).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.hear(), "ready"));
    clients.iter_mut().for_each(Client::go);
    let said: Vec<u64> = clients.iter_mut().map(|client| numbers(&client.hear())[0]).collect();
    clients.into_iter().for_each(Client::end);
    said
}

/// The share of time that busy clients get, alone and in pairs, with short kernels and long ones.
#[test]
#[ignore = "measures: run by `cargo xtask gates devices`"]
fn time() {
    let (span_ms, runs) = if quick() { (3_000, 1) } else { (10_000, 3) };
    let mut holds = true;
    for us in [20, 1000] {
        for thousandths in [&[100][..], &[250], &[500], &[300, 700], &[100, 900]] {
            let measured: Vec<Vec<u64>> = (0..runs).map(|_| shares(thousandths, span_ms, us)).collect();
            let medians: Vec<u64> = (0..thousandths.len())
                .map(|at| median(measured.iter().map(|run| run[at]).collect()))
                .collect();
            let percent = |parts: &[u64]| {
                let one = |part: &u64| format!("{}.{:02} %", part / 1000, part % 1000 / 10);
                parts.iter().map(one).collect::<Vec<_>>().join(" and ")
            };
            let wanted: Vec<u64> = thousandths.iter().map(|share| share * 100).collect();
            let close = medians.iter().zip(&wanted).all(|(got, want)| got.abs_diff(*want) <= 2_000);
            let what = format!("share of time with kernels of {us} µs");
            holds &= row(&what, &percent(&medians), &format!("{} within 2 points", percent(&wanted)), close);
        }
    }
    assert!(holds);
}

/// From a larger share to the next launch of a client that waits.
#[test]
#[ignore = "measures: run by `cargo xtask gates devices`"]
fn resize() {
    let bed = Bed::new(MEMORY, 1000);
    let mut client = bed.rust("spin 3600000 1000");
    assert_eq!(client.hear(), "ready");
    client.go();
    let launches = || bed.owner.usage().expect("read").launches;
    let until = |count: u64| {
        while launches() < count {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    };
    until(100);
    bed.owner.set_rate(1);
    // Until what was on its way has run: then it waits.
    let mut before = launches();
    loop {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = launches();
        if now == before {
            break;
        }
        before = now;
    }
    let begin = std::time::Instant::now();
    bed.owner.set_rate(1000);
    until(before + 1);
    let felt = begin.elapsed();
    client.kill();
    let measured = format!("{} ms", felt.as_millis());
    assert!(row("a larger share is felt after", &measured, "100 ms, no restart", felt.as_millis() <= 100));
}

/// Processes that race for a share and are killed: what they hold together, by the device's own account.
#[test]
#[ignore = "measures: run by `cargo xtask gates devices`"]
fn storm() {
    const PIECE: u64 = 4 << 20;
    let share = (64 << 20) + 4 * CONTEXT;
    let bed = Bed::new(share, 1000);
    let rounds = if quick() { 30 } else { 250 };
    let (mut over, mut short) = (0, 0);
    for round in 0..rounds {
        let mut clients: Vec<Client> = (0..4).map(|_| bed.rust(&format!("race {PIECE}"))).collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.hear(), "ready"));
        clients.iter_mut().for_each(Client::go);
        // One is killed while the others race: another one each time.
        clients.remove(round % 4).kill();
        let got: u64 = clients.iter_mut().map(|client| numbers(&client.hear())[0]).sum();
        let held = bed.on_device();
        over += u64::from(held > share);
        short += u64::from(got + 3 * CONTEXT > share);
        clients.into_iter().for_each(Client::kill);
        assert_eq!((bed.on_device(), bed.held()), (0, 0), "round {round}");
    }
    let measured = format!("{over} times over, {short} times told more");
    let what = format!("four processes race for a share in {rounds} rounds, one is killed");
    assert!(row(&what, &measured, "0", over + short == 0));
}
