//! Logging in through a real identity provider on the loopback: npm's `oidc-provider`, and `tests/browser/provider.py` in Chromium.

use pond_e2e::browser::{CHROMIUM, package, python};
use pond_e2e::{Pool, is_root, skip, transcript::root};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

const TEST: &str = "logging in through an identity provider";

/// Ends a process with the test, however that ends.
struct Ended(Child, Option<BufReader<ChildStdout>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        drop(self.0.wait());
    }
}

/// A port that is free now.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

/// The provider, once it listens.
fn provider(folder: &Path, port: u16, pool: &str, owner: &str) -> Ended {
    let mut child = Command::new("node")
        .arg(root().join("tests/browser/provider.mjs"))
        .args([&port.to_string(), pool])
        .env("POND_OWNER", owner)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("node runs");
    let mut said = BufReader::new(child.stdout.take().expect("its output"));
    let mut child = Ended(child, None);
    let mut line = String::new();
    said.read_line(&mut line).expect("its first line");
    assert_eq!(line, "ready\n", "the provider does not start");
    // It may go on talking.
    child.1 = Some(said);
    child
}

#[test]
fn people_log_in_through_their_provider() {
    if !is_root() {
        return skip(TEST, "the pool's containers need root");
    }
    if !Path::new(CHROMIUM).is_file() {
        return skip(TEST, "there is no chromium (Debian package chromium)");
    }
    let found = python().and_then(|python| Ok((python, package("oidc-provider", "9.13.3")?)));
    let (python, folder) = match found {
        Ok(found) => found,
        Err(why) => return skip(TEST, &why),
    };
    let pool = Pool::new("oidc");
    let (own, theirs) = (port(), port());
    let (url, issuer) = (format!("http://127.0.0.1:{own}"), format!("http://127.0.0.1:{theirs}"));
    let settings = format!(
        "issuer = '{issuer}'\nclient_id = 'pond'\nclient_secret = 'not a secret in a test'\npool = '{url}'\n\
         [[groups]]\ngroup = 'ml'\nproject = 'lab'\nrole = 'member'\n\
         [[groups]]\ngroup = 'leads'\nproject = 'lab'\nrole = 'admin'\n"
    );
    let file = pool.work().join("oidc.toml");
    std::fs::write(&file, settings).expect("the provider's file");
    let up = ["up", "-d", "--listen", &url["http://".len()..], "--oidc", "oidc.toml"];
    // It holds a secret, so nobody else may read it.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    let refused = pool.pond(&up).output().expect("pond runs");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("chmod 600"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    _ = pool.ok(&up);
    let who = pool.json(&["user", "list"]);
    assert_eq!(who, serde_json::json!([]), "a provider that is down keeps no pool from starting");
    let owner = String::from_utf8_lossy(&Command::new("id").arg("-un").output().expect("id").stdout)
        .trim()
        .to_owned();
    for project in ["lab", "other"] {
        _ = pool.ok(&["project", "add", project]);
    }
    let provider = provider(&folder, theirs, &url, &owner);
    let output = pool
        .program(python)
        .arg(root().join("tests/browser/provider.py"))
        .env("POND_CHROMIUM", CHROMIUM)
        .env("POND_URL", &url)
        .env("POND_PROVIDER", &issuer)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python runs");
    drop(provider);
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    pool.finish();
}
