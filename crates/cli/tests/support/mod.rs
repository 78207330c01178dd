//! A pool of its own for a test, gone without a trace afterwards; and pages: commands with what they must print.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The program under test.
pub const POND: &str = env!("CARGO_BIN_EXE_pond");

/// A folder with a state folder, a work folder and links for Slurm's commands; with or without a pool.
pub struct World {
    pub base: PathBuf,
}

impl World {
    /// Without a pool yet.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("pond-cli-{}-{number}", std::process::id()));
        for folder in ["bin", "work", "home"] {
            fs::create_dir_all(base.join(folder)).unwrap();
        }
        for name in ["pond", "sbatch", "srun", "squeue", "scancel", "sinfo", "sacct", "scontrol", "seff"] {
            std::os::unix::fs::symlink(POND, base.join("bin").join(name)).unwrap();
        }
        Self { base }
    }

    /// With a pool.
    pub fn with_pool() -> Self {
        let world = Self::new();
        let up = world.sh("pond up -d --node-name here");
        assert!(up.status.success(), "{}", text(&up.stderr));
        world
    }

    pub fn state(&self) -> PathBuf {
        self.base.join("state")
    }

    pub fn work(&self) -> PathBuf {
        self.base.join("work")
    }

    /// A command with the environment of this world.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = format!(
            "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            self.base.join("bin").display()
        );
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.base.join("home"))
            .env("POND_STATE_DIR", self.state())
            .env("POND_DISK", "200GB") // whatever is free here
            .env("HOW", if rustix::process::geteuid().is_root() { "container" } else { "process" })
            .env("BASE", &self.base)
            .env("USER", "me")
            .current_dir(self.work())
            .stdin(Stdio::null());
        command
    }

    /// Runs a line of shell.
    pub fn sh(&self, line: &str) -> Output {
        self.command("sh").arg("-c").arg(line).output().unwrap()
    }

    /// Runs `pond`; what it printed, if it ended with this code.
    pub fn pond(&self, code: i32, args: &[&str]) -> String {
        let output = self.command(POND).args(args).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Waits until `pond status JOB --json` shows this state.
    pub fn until(&self, job: &str, state: &str) {
        let wanted = format!("\"state\": \"{state}\"");
        eventually(&format!("{job} is {state}"), || {
            self.pond(0, &["status", job, "--json"]).contains(&wanted)
        });
    }

    /// Runs a page against this world.
    pub fn page(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages").join(name);
        let page = fs::read_to_string(&path).unwrap();
        let mut shown = String::new();
        let mut wrong = Vec::new();
        for block in page.split_inclusive("\n\n") {
            let (told, expected) = match block.split_once('\n') {
                Some((first, rest)) if first.starts_with("$ ") => (first, rest.trim_end_matches('\n')),
                _ => {
                    shown.push_str(block);
                    continue;
                }
            };
            let output = self.sh(&format!("{{ {}; }} 2>&1", told.trim_start_matches("$ ")));
            let mut got = text(&output.stdout).trim_end().to_owned();
            if let Some(code) = output.status.code().filter(|&code| code != 0) {
                got.push_str(&format!("\n[{code}]"));
            }
            let got = got.trim_start_matches('\n');
            if !alike(expected, got) {
                wrong.push(format!("{told}\n--- expected\n{expected}\n--- got\n{got}\n"));
            }
            shown.push_str(&format!("{told}\n{got}\n\n"));
        }
        if std::env::var_os("POND_PAGES").is_some_and(|mode| mode == "show") {
            fs::write(format!("{}.shown", path.display()), &shown).unwrap();
        }
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let down = self.sh("pond down -y");
        if !down.status.success() && !std::thread::panicking() {
            panic!("pond down: {}", text(&down.stderr));
        }
        drop(fs::remove_dir_all(&self.base));
    }
}

/// Lines are alike when `[..]` stands for any text in a line and a line `...` for any lines.
fn alike(expected: &str, got: &str) -> bool {
    let (expected, got): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    lines_alike(&expected, &got)
}

fn lines_alike(expected: &[&str], got: &[&str]) -> bool {
    match (expected, got) {
        ([], []) => true,
        (["...", rest @ ..], _) => (0..=got.len()).any(|skip| lines_alike(rest, &got[skip..])),
        ([line, rest @ ..], [other, others @ ..]) => line_alike(line, other) && lines_alike(rest, others),
        _ => false,
    }
}

fn line_alike(expected: &str, got: &str) -> bool {
    let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let (expected, got) = (squeeze(expected), squeeze(got));
    let mut parts = expected.split("[..]");
    let Some(mut rest) = parts.next().and_then(|first| got.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last.is_some_and(|last| got.ends_with(last))
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Polls until it is so; a test that waits longer than a minute has failed.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
