//! Errands of people in the web page: `tests/browser/journeys.py` in Chromium, against a real pool.

use pond_e2e::{Pool, is_root, skip, transcript::root};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TEST: &str = "the web page in a browser";

/// A Python with what the errands need, made once for each list of packages; or why there is none.
fn python() -> Result<PathBuf, String> {
    let wanted = root().join("tests/browser/requirements.txt");
    let list = std::fs::read_to_string(&wanted).expect("the list of packages");
    let folder = root().join("target/browser");
    let (python, made) = (folder.join("bin/python"), folder.join("made-for.txt"));
    if std::fs::read_to_string(&made).is_ok_and(|text| text == list) && python.is_file() {
        return Ok(python);
    }
    let run = |program: &Path, words: &[&str]| -> Result<(), String> {
        let output = Command::new(program).args(words).stdin(Stdio::null()).output();
        let output = output.map_err(|why| format!("{} cannot be run: {why}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        output.status.success().then_some(()).ok_or_else(|| format!("{}: {last}", words.join(" ")))
    };
    run(Path::new("python3"), &["-m", "venv", "--clear", &folder.to_string_lossy()])?;
    run(&python, &["-m", "pip", "install", "-q", "-r", &wanted.to_string_lossy()])?;
    std::fs::write(&made, list).map_err(|why| why.to_string())?;
    Ok(python)
}

#[test]
fn people_run_their_errands_in_a_browser() {
    if !is_root() {
        return skip(TEST, "containers with limits need root");
    }
    let chromium = Path::new("/usr/bin/chromium");
    if !chromium.is_file() {
        return skip(TEST, "there is no chromium (Debian package chromium)");
    }
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skip(TEST, &why),
    };
    let pool = Pool::new("browser");
    _ = pool.ok(&["up", "-d"]);
    let mut command = pool.program(python);
    command
        .arg(root().join("tests/browser/journeys.py"))
        .env("POND_CHROMIUM", chromium)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if std::env::var_os("POND_UPDATE").is_some() {
        command.env("POND_PICTURES", root().join("docs/pictures"));
    }
    let output = command.output().expect("python runs");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    pool.finish();
}
