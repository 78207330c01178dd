//! `cargo xtask gates sim`: the simulator against its references, as one table.

use crate::error::Error;
use crate::shell;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What is asked of the gates.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Runs of a size for every change.
    pub quick: bool,
    /// Only these; all when empty.
    pub gates: Vec<u8>,
}

impl Wanted {
    fn has(&self, gate: u8) -> bool {
        self.gates.is_empty() || self.gates.contains(&gate)
    }
}

/// Rows that were printed, and how they went.
#[derive(Default)]
struct Table {
    gate: u8,
    passed: u32,
    failed: Vec<String>,
}

impl Table {
    fn row(&mut self, gate: u8, what: &str, ours: &str, reference: &str, bound: &str, pass: Option<bool>) {
        if self.gate != gate {
            self.gate = gate;
            println!("\nGate {gate}");
        }
        let verdict = match pass {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "    ",
        };
        let against = match (reference, bound) {
            ("", "") => String::new(),
            ("", bound) => format!("  (wanted: {bound})"),
            (reference, "") => format!("  (reference {reference})"),
            (reference, bound) => format!("  (reference {reference}, {bound})"),
        };
        println!("  {verdict}  {what}: {ours}{against}");
        match pass {
            Some(true) => self.passed += 1,
            Some(false) => self.failed.push(format!("gate {gate}: {what}: {ours}{against}")),
            None => {}
        }
    }
}

/// Prints the table; fails when a gate does.
pub fn command(root: &Path, wanted: &Wanted) -> Result<ExitCode, Error> {
    let folder = std::env::var_os("POND_TRACES").map_or_else(|| root.join("../shared/traces"), PathBuf::from);
    let mut table = Table::default();
    let traces = folder.join("expected").is_dir();
    let build = [
        "build",
        "--release",
        "--quiet",
        "--package",
        "pond-sim",
        "--example",
        "gates",
        "--example",
        "speed",
    ];
    shell::output(root, "cargo", &build)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let examples = target.join("release/examples");
    if traces {
        from_traces(&examples, &folder, wanted, &mut table)?;
    } else {
        println!(
            "skipped: gates 1, 2 and 4 and parts of 3 and 5: no traces in {}; set POND_TRACES to their folder",
            folder.display()
        );
    }
    if wanted.has(3) {
        speed(&examples, &folder, traces, wanted.quick, &mut table)?;
    }
    if wanted.has(5) {
        properties(root, wanted.quick, &mut table)?;
    }
    println!("\n{} rows pass, {} fail", table.passed, table.failed.len());
    for line in &table.failed {
        println!("  FAIL  {line}");
    }
    Ok(if table.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gates 1, 2, 4 and 5 of the example, row by row as they come.
fn from_traces(examples: &Path, folder: &Path, wanted: &Wanted, table: &mut Table) -> Result<(), Error> {
    for gate in [1, 2, 4, 5].into_iter().filter(|&gate| wanted.has(gate)) {
        let program = examples.join("gates");
        let mut command = Command::new(&program);
        command.arg(folder).arg(gate.to_string()).args(wanted.quick.then_some("quick"));
        let failed = |source| Error::Program { program: program.display().to_string(), source };
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let row: Value = serde_json::from_str(&line.map_err(failed)?)
                    .map_err(|source| Error::Json { program: "gates".to_owned(), source })?;
                let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
                table.row(
                    gate,
                    &text("what"),
                    &text("ours"),
                    &text("reference"),
                    &text("bound"),
                    row["pass"].as_bool(),
                );
            }
        }
        if !child.wait().map_err(failed)?.success() {
            table.row(gate, "the gate ran to its end", "no", "", "yes", Some(false));
        }
    }
    Ok(())
}

/// What one measured run must stay under.
struct Bound {
    what: &'static str,
    words: &'static [&'static str],
    seconds: f64,
    megabytes: f64,
    needs_traces: bool,
}

const fn venus(what: &'static str, words: &'static [&'static str], seconds: f64) -> Bound {
    Bound { what, words, seconds, megabytes: 4096.0, needs_traces: true }
}

const fn openb(what: &'static str, words: &'static [&'static str]) -> Bound {
    Bound { what, words, seconds: 2.0, megabytes: 4096.0, needs_traces: true }
}

const BOUNDS: [Bound; 9] = [
    venus("Venus, 99,707 jobs, FIFO", &["venus", "84", "fifo", "none"], 1.0),
    venus("Venus, 99,707 jobs, SJF", &["venus", "84", "sjf", "none"], 1.0),
    venus("Venus, 99,707 jobs, QSSF", &["venus", "84", "qssf", "none"], 1.0),
    venus("Venus, 99,707 jobs, bucketed LAS", &["venus", "84", "las", "greedy"], 5.0),
    venus("Venus, 99,707 jobs, Tiresias", &["venus", "84", "tiresias", "greedy"], 5.0),
    openb("openb, 1,213 nodes, one run of FGD by the experiment's rules", &["openb"]),
    openb("the same under FGD through the planner, a plan a pod", &["openb", "fgd"]),
    openb("the same under ours through the planner", &["openb", "gaps"]),
    Bound {
        what: "a month of 1,000,000 jobs on 10,000 nodes, full planner",
        words: &["month"],
        seconds: 120.0,
        megabytes: 4096.0,
        needs_traces: false,
    },
];

/// Gate 3: CPU seconds of one thread and memory, each run in a process of its own; then what an event costs while more and
/// more jobs run.
fn speed(examples: &Path, folder: &Path, traces: bool, quick: bool, table: &mut Table) -> Result<(), Error> {
    for bound in BOUNDS.iter().filter(|bound| traces || !bound.needs_traces) {
        let mut words = bound.words.to_vec();
        let (mut what, mut seconds) = (bound.what.to_owned(), bound.seconds);
        if quick && bound.words == ["month"] {
            words = vec!["month", "20000", "200"];
            "a month of 20,000 jobs on 200 nodes, full planner".clone_into(&mut what);
            // In proportion to the jobs.
            seconds *= 0.02;
        }
        let figures = measured(examples, folder, &words)?;
        let Some(figures) = figures.first() else {
            table.row(3, &what, "no figure", "", "a figure", Some(false));
            continue;
        };
        let pass = figures.seconds < seconds && figures.megabytes < bound.megabytes;
        let ours = format!("{:.2} s of CPU, {:.0} MB", figures.seconds, figures.megabytes);
        table.row(3, &what, &ours, "", &format!("under {seconds} s and {} MB", bound.megabytes), Some(pass));
    }
    let most = if quick { 10_000 } else { 1_000_000 };
    let mut costs = Vec::new();
    for running in [1_000_u64, 10_000, 100_000, 1_000_000].into_iter().filter(|&running| running <= most) {
        let figures = measured(examples, folder, &["curve", &running.to_string()])?;
        let Some(cost) = figures.last().and_then(|figures| figures.micros_an_event) else { continue };
        table.row(
            3,
            &format!("cost of an event while {running} jobs run"),
            &format!("{cost:.1} µs"),
            "",
            "",
            None,
        );
        costs.push(cost);
    }
    if let (Some(first), Some(last)) = (costs.first(), costs.last()) {
        // Caches are missed more often in a larger pool; anything in proportion to what runs would be a thousandfold.
        let ours = format!("{:.1} times", last / first.max(0.001));
        table.row(
            3,
            "the last of these over the first",
            &ours,
            "",
            "under 4 times",
            Some(last / first < 4.0),
        );
    }
    Ok(())
}

/// What a run of the speed example says of itself.
struct Figures {
    seconds: f64,
    megabytes: f64,
    micros_an_event: Option<f64>,
}

fn measured(examples: &Path, folder: &Path, words: &[&str]) -> Result<Vec<Figures>, Error> {
    let program = examples.join("speed");
    let output = Command::new(&program)
        .args(words)
        .env("POND_TRACES", folder)
        .stderr(Stdio::null())
        .output()
        .map_err(|source| Error::Program { program: program.display().to_string(), source })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The number before each unit.
    let before = |line: &str, unit: &str| -> Option<f64> {
        line.split(unit)
            .next()
            .filter(|head| head.len() < line.len())?
            .split_whitespace()
            .last()?
            .parse()
            .ok()
    };
    let figures = text.lines().filter_map(|line| {
        Some(Figures {
            seconds: before(line, " s of CPU")?,
            megabytes: before(line, " MB")?,
            micros_an_event: before(line, " µs/event"),
        })
    });
    Ok(figures.collect())
}

/// Gate 5: small pools by chance.
fn properties(root: &Path, quick: bool, table: &mut Table) -> Result<(), Error> {
    let cases = if quick { "64" } else { "1000" };
    let status = Command::new("cargo")
        .args(["test", "--release", "--quiet", "--package", "pond-sim", "--test", "any_pool"])
        .env("POND_GATE_CASES", cases)
        .current_dir(root)
        .stdout(Stdio::null())
        .status()
        .map_err(|source| Error::Program { program: "cargo test".to_owned(), source })?;
    let what = format!(
        "{cases} pools by chance, with faults: no violation, no task lost or doubled, the meter balances"
    );
    let ours = if status.success() { "all hold" } else { "broken; run the test to see the smallest case" };
    table.row(5, &what, ours, "", "all", Some(status.success()));
    Ok(())
}
