//! A client in a process of its own: it says a line, and waits for one where its role says so.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Adds a line to what the test command says was left out.
pub fn skipped(what: &str) {
    eprintln!("skipped: {what}");
    if let Some(file) = std::env::var_os("POND_SKIPPED_FILE") {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
        opened.and_then(|mut file| writeln!(file, "{what}")).expect("the list of what was skipped");
    }
}

/// A running client: it says a line, and waits for one where its role says so.
pub struct Client {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Client {
    /// Starts a program as one.
    pub fn start(mut command: Command, role: &str) -> Self {
        command.env("POND_CLIENT_ROLE", role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, said }
    }

    /// Its next word; others may write to the same place.
    pub fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.said.read_line(&mut line).expect("text") > 0, "the client ended unasked");
            if let Some(word) = line.trim().split("client:").nth(1) {
                return word.to_owned();
            }
        }
    }

    /// Lets it go on.
    pub fn go(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"go\n").expect("listens");
    }

    /// Waits until it has ended well.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("waited").success());
    }

    /// Ends it as the kernel would.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

/// What a client says.
pub fn say(word: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("client:{word}\n").as_bytes()).and_then(|()| out.flush()).expect("heard");
}

/// Where a client waits to be let go on.
pub fn wait() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("told");
}
