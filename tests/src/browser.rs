//! What tests in a browser need beside Chromium: a Python with Playwright, and packages of npm.

use crate::python::{environment, run};
use crate::transcript::root;
use std::path::{Path, PathBuf};

/// Where Debian's package puts the browser.
pub const CHROMIUM: &str = "/usr/bin/chromium";

/// A Python with what the errands need, made once for each list of packages; or why there is none.
///
/// # Errors
/// Why there is none.
pub fn python() -> Result<PathBuf, String> {
    let wanted = root().join("tests/browser/requirements.txt");
    let list = std::fs::read_to_string(&wanted).expect("the list of packages");
    environment("browser", &["-r", &wanted.to_string_lossy()], &list)
}

/// A folder in which a package of npm is installed, made once for each version; or why there is none.
///
/// # Errors
/// Why there is none.
pub fn package(name: &str, version: &str) -> Result<PathBuf, String> {
    let folder = root().join("target").join(name);
    let wanted = format!("{name}@{version}");
    let made = folder.join("made-for.txt");
    if std::fs::read_to_string(&made).is_ok_and(|text| text == wanted) {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder).map_err(|why| why.to_string())?;
    let there = folder.to_string_lossy();
    run(Path::new("npm"), &["install", "--no-audit", "--no-fund", "--prefix", &there, &wanted])?;
    std::fs::write(&made, wanted).map_err(|why| why.to_string())?;
    Ok(folder)
}
