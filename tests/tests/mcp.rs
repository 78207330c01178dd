//! `pond mcp` through the protocol's own Python SDK, against a real pool.

use pond_e2e::{Pool, is_root, python, skip, transcript::root};

const TEST: &str = "tools by the Model Context Protocol";
/// The SDK; nothing of it is shared with the Rust SDK that `pond` is built with.
const SDK: &str = "mcp==2.3.0";

#[test]
fn programs_use_the_pool_as_far_as_they_may() {
    if !is_root() {
        return skip(TEST, "containers with limits need root");
    }
    let python = match python::environment("mcp-python", &[SDK], SDK) {
        Ok(python) => python,
        Err(why) => return skip(TEST, &why),
    };
    let pool = Pool::new("mcp");
    _ = pool.ok(&["up", "-d"]);
    let mut command = pool.program(&python);
    command.arg(root().join("tests/clients/tools.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("python runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    println!("{said}");
    pool.finish();
}
