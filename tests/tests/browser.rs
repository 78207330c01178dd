//! Errands of people in the web page: `tests/browser/journeys.py` in Chromium, against a real pool.

use pond_e2e::browser::{CHROMIUM, python};
use pond_e2e::{Pool, is_root, skip, transcript::root};
use std::path::Path;

const TEST: &str = "the web page in a browser";

/// Four devices on two NUMA nodes; the last is never well.
const DEVICES: &str = r#"
device = [
    {name = "acme0", kind = "npu", model = "Acme Two", memory = "16GB", files = ["/dev/null"], numa = 0},
    {name = "acme1", kind = "npu", model = "Acme Two", memory = "16GB", files = ["/dev/null"], numa = 0},
    {name = "acme2", kind = "npu", model = "Acme Two", memory = "16GB", files = ["/dev/null"], numa = 1},
    {name = "acme3", kind = "npu", model = "Acme Two", memory = "16GB", probe = ["sh", "-c", "exit 2"], numa = 1},
]
"#;

#[test]
fn people_run_their_errands_in_a_browser() {
    if !is_root() {
        return skip(TEST, "containers with limits need root");
    }
    let chromium = Path::new(CHROMIUM);
    if !chromium.is_file() {
        return skip(TEST, "there is no chromium (Debian package chromium)");
    }
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skip(TEST, &why),
    };
    let pool = Pool::new("browser");
    std::fs::write(pool.state().join("devices.toml"), DEVICES).expect("written");
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
