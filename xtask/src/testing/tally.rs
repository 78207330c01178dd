//! Runs test commands as they are and adds up what they say about themselves.

use crate::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Sums over all commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that did not run.
    pub ignored: u64,
    /// Commands that failed, for whatever reason.
    pub broken: u64,
}

impl Tally {
    /// Runs one, shows all it prints, and counts.
    pub fn run(&mut self, command: &mut Command) -> Result<(), Error> {
        let shown = format!("{command:?}");
        let fail = |source| Error::Program { program: shown.clone(), source };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(fail)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (said, complained) = std::thread::scope(|scope| {
            let err = scope
                .spawn(move || err.map_or_else(Self::default, |pipe| copy(pipe, &mut std::io::stderr())));
            let said = out.map_or_else(Self::default, |pipe| copy(pipe, &mut std::io::stdout()));
            (said, err.join().unwrap_or_default())
        });
        let status = child.wait().map_err(fail)?;
        self.add(said);
        self.add(complained);
        self.broken += u64::from(!status.success());
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// In the form that `cargo test` uses.
    #[must_use]
    pub fn closing_line(&self, took: Duration) -> String {
        let verdict = if self.failed == 0 && self.broken == 0 { "ok" } else { "FAILED" };
        format!(
            "test result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            self.passed,
            self.failed,
            self.ignored,
            took.as_secs_f64()
        )
    }

    fn read_line(&mut self, line: &str) {
        let line = plain(line);
        // What a failed test had printed is shown once more, indented; only the summary of all tests is indented as well.
        let nextest = line.trim_start().starts_with("Summary");
        if !nextest && !line.starts_with("test result:") {
            return;
        }
        let words: Vec<&str> =
            line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let [number, word] = pair else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match Word::read(word) {
                Some(Word::Passed) => self.passed += number,
                Some(Word::Failed) => self.failed += number,
                Some(Word::Ignored) => self.ignored += number,
                None => {}
            }
        }
    }
}

enum Word {
    Passed,
    Failed,
    Ignored,
}

impl Word {
    fn read(word: &str) -> Option<Self> {
        match word {
            "passed" => Some(Self::Passed),
            "failed" | "timed" => Some(Self::Failed),
            "ignored" | "skipped" => Some(Self::Ignored),
            _ => None,
        }
    }
}

fn copy(pipe: impl Read, to: &mut impl Write) -> Tally {
    let mut tally = Tally::default();
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        _ = to.write_all(&line);
        _ = to.flush();
        tally.read_line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    tally
}

/// Without colour codes.
fn plain(line: &str) -> String {
    let mut inside = false;
    let kept = line.chars().filter(|&letter| {
        let keep = !inside && letter != '\u{1b}';
        inside = if inside { !letter.is_ascii_alphabetic() } else { letter == '\u{1b}' };
        keep
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn adds_up_what_cargo_says() {
        let said = read(&[
            "test tests::a ... ok",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ]);
        assert_eq!(said, Tally { passed: 7, failed: 3, ignored: 1, broken: 0 });
        assert!(
            said.closing_line(Duration::from_secs(2))
                .starts_with("test result: FAILED. 7 passed; 3 failed; 1 ig")
        );
    }

    #[test]
    fn adds_up_what_nextest_says() {
        let line = "\u{1b}[31m     Summary\u{1b}[0m [   0.105s] 9 tests run: 5 passed (1 slow), 3 failed, 1 timed out, 2 skipped";
        let inside = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s";
        assert_eq!(read(&[inside, line]), Tally { passed: 5, failed: 4, ignored: 2, broken: 0 });
    }
}
