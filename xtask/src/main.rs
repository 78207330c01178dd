//! Chores of the repository: `cargo xtask tidy`, `cargo xtask test`, `cargo xtask v2`,
//! `cargo xtask otel`, `cargo xtask bench`, `cargo xtask gates`.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod bench;
mod devices;
mod error;
mod gates;
mod otel;
mod shell;
mod testing;
mod tidy;
mod v2;

use error::Error;
use std::process::ExitCode;

const HELP: &str = "\
Chores of the repository.

  cargo xtask tidy [--update]   text checks of STYLE; --update records counts that fell
  cargo xtask test [FILTER]     everything that can be tested here, and what could not be
  cargo xtask v2 [FILTER]       tests in virtual machines with control groups v2 only, as root and as a user
  cargo xtask leftovers         what a pool on this machine would have left behind, as listed now
  cargo xtask otel              spans by OpenTelemetry, which the everyday build leaves out
  cargo xtask bench             figures for docs/performance.md, from a release build
  cargo xtask gates sim [--quick] [GATE...]
                                the simulator against its references; POND_TRACES names the real traces
  cargo xtask gates devices [--quick]
                                shares of devices against what they promise
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What can be asked for.
enum Chore {
    Tidy { update: bool },
    Test { filter: Option<String> },
    V2 { filter: Option<String> },
    Leftovers,
    Bench,
    Otel,
    Gates(gates::Wanted),
    Devices { quick: bool },
}

impl Chore {
    fn parse(arguments: &[String]) -> Option<Self> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["tidy"] => Some(Self::Tidy { update: false }),
            ["tidy", "--update"] => Some(Self::Tidy { update: true }),
            ["test"] => Some(Self::Test { filter: None }),
            ["test", filter] => Some(Self::Test { filter: Some((*filter).to_owned()) }),
            ["v2"] => Some(Self::V2 { filter: None }),
            ["v2", filter] => Some(Self::V2 { filter: Some((*filter).to_owned()) }),
            ["leftovers"] => Some(Self::Leftovers),
            ["otel"] => Some(Self::Otel),
            ["bench"] => Some(Self::Bench),
            ["gates", "sim", rest @ ..] => {
                let numbers: Vec<&str> = rest.iter().filter(|word| **word != "--quick").copied().collect();
                let gates =
                    numbers.iter().map(|word| word.parse().ok().filter(|gate| (1..=5).contains(gate)));
                let gates: Option<Vec<u8>> = gates.collect();
                gates.map(|gates| Self::Gates(gates::Wanted { quick: numbers.len() < rest.len(), gates }))
            }
            ["gates", "devices"] => Some(Self::Devices { quick: false }),
            ["gates", "devices", "--quick"] => Some(Self::Devices { quick: true }),
            _ => None,
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let root = shell::root()?;
    match Chore::parse(arguments) {
        Some(Chore::Tidy { update }) => tidy::command(&root, update),
        Some(Chore::Test { filter }) => testing::command(&root, filter.as_deref()),
        Some(Chore::V2 { filter }) => v2::command(&root, filter.as_deref()),
        Some(Chore::Leftovers) => Ok(testing::list_leftovers()),
        Some(Chore::Otel) => otel::command(&root),
        Some(Chore::Bench) => bench::command(&root),
        Some(Chore::Gates(wanted)) => gates::command(&root, &wanted),
        Some(Chore::Devices { quick }) => devices::command(&root, quick),
        None => {
            print!("{HELP}");
            Ok(ExitCode::from(64))
        }
    }
}
