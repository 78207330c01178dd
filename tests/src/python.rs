//! Pythons with packages, for tests that people's own tools run.

use crate::transcript::root;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Python in `target/NAME` with what `pip install` makes of these words; made anew when `mark` changes.
///
/// # Errors
/// Why there is none: no `python3`, no network.
pub fn environment(name: &str, packages: &[&str], mark: &str) -> Result<PathBuf, String> {
    let folder = root().join("target").join(name);
    let (python, made) = (folder.join("bin/python"), folder.join("made-for.txt"));
    if std::fs::read_to_string(&made).is_ok_and(|text| text == mark) && python.is_file() {
        return Ok(python);
    }
    run(Path::new("python3"), &["-m", "venv", "--clear", &folder.to_string_lossy()])?;
    run(&python, &[&["-m", "pip", "install", "-q"], packages].concat())?;
    std::fs::write(&made, mark).map_err(|why| why.to_string())?;
    Ok(python)
}

/// Runs an installer; the last line it said when it fails.
pub(crate) fn run(program: &Path, words: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|why| format!("{} cannot be run: {why}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or_default();
    output.status.success().then_some(()).ok_or_else(|| format!("{}: {last}", words.join(" ")))
}
