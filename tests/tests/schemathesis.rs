//! Requests made up from the API's document by schemathesis, against a real pool: no error of the server, and no answer that the
//! document does not describe.

use pond_e2e::{Api, Pool, is_root, python, skip, transcript::root, wait_until};
use std::time::Duration;

const TEST: &str = "requests made up from the API's document";
const PACKAGE: &str = "schemathesis==4.32.5";

/// Ends the pool, or becomes a stream that only the client ends.
const LEFT_OUT: &str = "/(shutdown|exec|attach|forward)$";

#[test]
fn no_request_makes_the_server_stumble() {
    if !is_root() {
        return skip(TEST, "containers with limits need root");
    }
    let python = match python::environment("schemathesis-python", &[PACKAGE], PACKAGE) {
        Ok(python) => python,
        Err(why) => return skip(TEST, &why),
    };
    let pool = Pool::new("schemathesis");
    _ = pool.ok(&["up", "-d"]);
    _ = pool.ok(&["run", "-d", "--name", "over", "--", "echo", "done"]);
    _ = pool.ok(&["wait", "over"]);
    _ = pool.ok(&["run", "-d", "--name", "runs", "--memory", "64MB", "--cpu", "0.1", "--", "sleep", "600"]);
    let runs = || pool.json(&["ps", "--state", "running"]).as_array().is_some_and(|jobs| !jobs.is_empty());
    assert!(wait_until(Duration::from_secs(60), runs), "the job does not start");
    let node = pool.json(&["node", "ls"])[0]["name"].as_str().expect("a node").to_owned();
    let user = pool.json(&["ps", "-a"])[0]["user"].as_str().expect("a user").to_owned();

    let api = Api::of(&pool).expect("it serves");
    let mut command = pool.program(python.with_file_name("schemathesis"));
    command.args(["run", &format!("{}/api/v1/openapi.json", api.url())]);
    command.args(["--header", &format!("Authorization: Bearer {}", api.token())]);
    command.args([
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--max-examples",
        "8",
        "--generation-deterministic",
    ]);
    command.args(["--checks", "not_a_server_error,content_type_conformance,response_schema_conformance"]);
    command.args(["--exclude-path-regex", LEFT_OUT, "--request-timeout", "20", "--continue-on-failure"]);
    command.args(["--warnings", "off", "--no-color"]);
    command.env("PYTHONPATH", root().join("tests/schemathesis")).env("SCHEMATHESIS_HOOKS", "hooks");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs([("POND_JOBS", "1,2"), ("POND_NODE", &node), ("POND_USER", &user)]);
    let output = command.output().expect("schemathesis runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    println!("{said}");
    pool.finish();
}
