//! The Python client: made from the API's document as it is, and used against a real pool.

use pond_e2e::{Pool, is_root, python, skip, transcript::root};
use std::path::{Path, PathBuf};

const TEST: &str = "the Python client";

/// Every file of a folder, by path, with what is in it.
fn content(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push((path, text));
        }
    }
    found.sort();
    found
}

#[test]
fn the_client_does_what_people_want_of_it() {
    if !is_root() {
        return skip(TEST, "containers with limits need root");
    }
    let client = root().join("clients/python");
    let mut mark = content(&client.join("src/millpond"));
    mark.extend(std::fs::read_to_string(client.join("pyproject.toml")).map(|text| (client.clone(), text)));
    let python =
        match python::environment("python-client", &[&client.to_string_lossy()], &format!("{mark:?}")) {
            Ok(python) => python,
            Err(why) => return skip(TEST, &why),
        };
    let pool = Pool::new("python-client");
    _ = pool.ok(&["up", "-d"]);
    let run = |script: &str, words: &[&str]| {
        let mut command = pool.program(&python);
        command.arg(client.join(script)).args(words).env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.output().expect("python runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {said}");
        println!("{said}");
    };
    run("generate.py", &["--check"]);
    run("tests/run.py", &[]);
    pool.finish();
}
