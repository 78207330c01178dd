//! A pool of its own for one test, and its end.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a pool may take to end with all that it runs.
const END: Duration = Duration::from_secs(60);
/// Disk that pools give out: layers take only what is written, so whatever is free here.
const DISK: &str = "200GB";

/// A folder with a state folder, a home and a working folder; whatever pool runs there ends with it.
#[derive(Debug)]
pub struct Pool {
    folder: PathBuf,
    finished: bool,
}

impl Pool {
    /// A place where no pool runs yet.
    ///
    /// # Panics
    /// When the folders cannot be made or `pond` is not built.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("pond-e2e-{name}-{}-{count}", std::process::id()));
        for part in ["home", "work", "state"] {
            std::fs::create_dir_all(folder.join(part)).expect("a folder for the test");
        }
        assert!(binary().is_file(), "{} is not built: run `cargo build -p pond`", binary().display());
        Self { folder, finished: false }
    }

    /// Where its commands run.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Where its state is kept.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A program in this place: only what a fresh login has in its environment, and `pond` on the path.
    #[must_use]
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let own = binary().parent().map(Path::to_owned).unwrap_or_default();
        let path = format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", own.display());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.join("home"))
            .env("USER", "tester")
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("NO_COLOR", "1")
            .env("POND_STATE_DIR", self.state())
            .env("POND_DISK", DISK)
            .current_dir(self.work())
            .stdin(Stdio::null());
        command
    }

    /// `pond` with these arguments.
    #[must_use]
    pub fn pond(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(binary());
        command.args(arguments);
        command
    }

    /// What `pond` prints, which has to succeed.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.pond(arguments).output().expect("pond runs");
        assert!(output.status.success(), "pond {}: {}", arguments.join(" "), shown(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The JSON that `pond ... --json` prints.
    ///
    /// # Panics
    /// When it fails or prints something else.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("pond {}: {error}: {text}", arguments.join(" ")))
    }

    /// The process id of its server, when one runs.
    #[must_use]
    pub fn server(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(self.state().join("server.pid")).ok()?.trim().parse().ok()?;
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        (program.file_name() == binary().file_name()).then_some(pid)
    }

    /// Ends the pool and checks that nothing of it is left.
    ///
    /// # Panics
    /// When something is.
    pub fn finish(mut self) {
        self.finished = true;
        if self.server().is_some() {
            let output = self.pond(&["down", "--yes"]).output().expect("pond runs");
            assert!(output.status.success(), "pond down: {}", shown(&output));
        }
        let mut left = Vec::new();
        let gone = wait_until(END, || {
            left = self.leftovers();
            left.is_empty()
        });
        assert!(gone, "left behind after `pond down`: {left:#?}");
        _ = std::fs::remove_dir_all(&self.folder);
    }

    /// Processes, mounts, control groups, links and tables of the packet filter that belong to this place.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let own = self.folder.to_string_lossy().into_owned();
        let mut left = Vec::new();
        if let Ok(id) = std::fs::read_to_string(self.state().join("pool-id")) {
            left.extend(of_pool(id.trim()));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        left.extend(mounts.lines().filter(|line| line.contains(&own)).map(|line| format!("mount {line}")));
        let naming = self.naming(&["cmdline", "environ", "mountinfo"]).into_iter();
        left.extend(naming.map(|(pid, line)| format!("process {pid} {line}")));
        left
    }

    /// Ids and command lines of processes in whose files of these names this place is.
    fn naming(&self, files: &[&str]) -> Vec<(u32, String)> {
        let own = self.folder.to_string_lossy().into_owned();
        let look = |pid: u32| {
            let file = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let text: Vec<u8> = files.iter().flat_map(|name| file(name)).collect();
            let line = String::from_utf8_lossy(&file("cmdline")).replace('\0', " ");
            String::from_utf8_lossy(&text).contains(&own).then_some((pid, line))
        };
        processes().into_iter().filter_map(look).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // The test has failed: end what runs as kindly as it lets itself be ended, and keep the folder for a look.
        _ = self.pond(&["down", "--yes"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let Some(pid) = self.server() {
            _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        // And those of pools that the test made beside it. Not by their mounts: a mount that was left here is everybody's.
        for (pid, _) in self.naming(&["cmdline", "environ"]) {
            _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// What the pool of this id has in the machine's control groups and network.
fn of_pool(id: &str) -> Vec<String> {
    let entries = |folder: &Path| {
        let listing = std::fs::read_dir(folder).into_iter().flatten().flatten();
        listing.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut left = Vec::new();
    // A hierarchy each where there are several, else one.
    let mut hierarchies = entries(Path::new("/sys/fs/cgroup"));
    hierarchies.push("/sys/fs/cgroup".into());
    for folder in hierarchies.iter().map(|hierarchy| hierarchy.join(format!("pond-{id}"))) {
        if folder.is_dir() {
            let inside: Vec<_> = entries(&folder).into_iter().filter(|path| path.is_dir()).collect();
            left.push(format!("control group {} {inside:?}", folder.display()));
        }
    }
    for link in entries(Path::new("/sys/class/net")) {
        let name = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("pd{id}")) {
            left.push(format!("link {name}"));
        }
    }
    let tables = Command::new("nft").args(["list", "tables"]).output();
    let tables = tables.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    left.extend(tables.lines().filter(|line| line.ends_with(&format!("pond_{id}"))).map(str::to_owned));
    left
}

/// Ids of all processes but this one.
fn processes() -> Vec<u32> {
    let listing = std::fs::read_dir("/proc").expect("/proc");
    let ids = listing.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|&pid| pid != std::process::id()).collect()
}

/// What a program printed, for a message.
#[must_use]
pub fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Looks until something holds or the time is up; says whether it held.
pub fn wait_until(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The `pond` under test: `POND_BIN`, else the one beside this test in the target folder.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("POND_BIN") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().expect("the path of this test");
    // A test stands in target/<profile>/deps, a program of this crate beside `pond` itself.
    let folder = own.parent().expect("a folder");
    let profile = if folder.ends_with("deps") { folder.parent().expect("target/<profile>") } else { folder };
    profile.join("pond")
}
