//! What happens between a person's hands and a job: keys, signals, pipes, and the terminal put back as it was.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod support;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use support::{POND, World, eventually, text};

/// A terminal with `pond` on it, and all it ever showed.
struct Terminal {
    keys: File,
    other_side: File,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn run(world: &World, args: &[&str]) -> Self {
        Self::run_as(world, "xterm", args)
    }

    fn run_as(world: &World, kind: &str, args: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let other_side = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&controller, Winsize { ws_row: 30, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(OwnedFd::from(other_side.try_clone().unwrap()));
        let child = world
            .command(POND)
            .args(args)
            .env("TERM", kind)
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(controller);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, all) = (keys.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = screen.read(&mut buffer) {
                if count == 0 {
                    return;
                }
                all.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { keys, other_side, shown, child }
    }

    fn shown(&self) -> String {
        text(&self.shown.lock().unwrap())
    }

    fn shows(&self, what: &str) {
        eventually(&format!("the terminal shows {what}: {}", self.shown()), || self.shown().contains(what));
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn modes(&self) -> Termios {
        tcgetattr(self.other_side.as_fd()).unwrap()
    }

    fn ends(&mut self) -> Option<i32> {
        let mut status = None;
        eventually(&format!("it ends: {}", self.shown()), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

/// The settings that raw mode changes.
fn modes(termios: &Termios) -> String {
    format!("{:?} {:?} {:?}", termios.input_modes, termios.output_modes, termios.local_modes)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn how() -> &'static str {
    if rustix::process::geteuid().is_root() { "container" } else { "process" }
}

#[test]
fn top_puts_the_terminal_back_however_it_ends() {
    let world = World::with_pool();
    world.pond(0, &["run", "--isolation", how(), "-d", "-n", "busy", "--", "sleep", "1000"]);
    world.until("busy", "running");
    for end in ["q", "\u{3}", "TERM"] {
        let mut terminal = Terminal::run(&world, &["top", "--every", "0.2"]);
        let before = modes(&terminal.modes());
        terminal.shows("by cpu");
        terminal.shows("busy");
        assert_ne!(modes(&terminal.modes()), before);
        terminal.press("m");
        terminal.shows("by memory");
        terminal.press(" ");
        terminal.shows("stopped");
        if end == "TERM" {
            signal(&terminal.child, Signal::TERM)
        } else {
            terminal.press(end)
        }
        assert_eq!(terminal.ends(), Some(0), "{end}");
        assert_eq!(modes(&terminal.modes()), before, "{end}");
        terminal.shows("\u{1b}[?1049l");
    }
    world.pond(0, &["stop", "--now", "busy"]);
}

#[test]
fn top_is_a_table_where_no_page_can_be_drawn() {
    let world = World::with_pool();
    for kind in ["dumb", ""] {
        let mut terminal = Terminal::run_as(&world, kind, &["top"]);
        assert_eq!(terminal.ends(), Some(0));
        terminal.shows("here");
        assert!(!terminal.shown().contains('\u{1b}'), "{:?}", terminal.shown());
    }
}

#[test]
fn exec_gives_a_terminal_of_our_size_and_the_commands_code() {
    let world = World::with_pool();
    world.pond(0, &["run", "--isolation", how(), "-d", "-n", "box", "--", "sleep", "1000"]);
    world.until("box", "running");
    let mut terminal = Terminal::run(&world, &["exec", "box", "--", "sh"]);
    let before = modes(&terminal.modes());
    terminal.press("stty size; echo tty-is-$(tty)\r");
    terminal.shows("30 111");
    terminal.shows("tty-is-/dev/");
    tcsetwinsize(&terminal.keys, Winsize { ws_row: 40, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    signal(&terminal.child, Signal::WINCH);
    // The new size arrives between two looks of the shell.
    eventually("the new size arrives", || {
        terminal.press("stty size\r");
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminal.shown().contains("40 99")
    });
    terminal.press("exit 9\r");
    assert_eq!(terminal.ends(), Some(9));
    assert_eq!(modes(&terminal.modes()), before);
    world.pond(0, &["stop", "--now", "box"]);
}

#[test]
fn run_with_a_terminal_can_be_left_and_come_back_to() {
    let world = World::with_pool();
    let mut terminal = Terminal::run(&world, &["run", "--isolation", how(), "-t", "-n", "shell", "--", "sh"]);
    let before = modes(&terminal.modes());
    terminal.press("echo one-$((1+1))\r");
    terminal.shows("one-2");
    terminal.press("\u{10}\u{11}");
    assert_eq!(terminal.ends(), Some(0));
    assert_eq!(modes(&terminal.modes()), before);
    world.until("shell", "running");
    let mut terminal = Terminal::run(&world, &["attach", "shell"]);
    terminal.press("echo two-$((1+1))\r");
    terminal.shows("two-2");
    terminal.press("exit 4\r");
    assert_eq!(terminal.ends(), Some(4));
    world.pond(4, &["wait", "shell"]);
}

/// Starts `pond` with these and waits until it has printed a line.
fn started(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(POND);
    let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    }
    child
}

#[test]
fn whoever_is_attached_can_be_ended_without_ending_the_job() {
    let world = World::with_pool();
    let script = "while :; do echo tick; sleep 0.1; done";
    world.pond(0, &["run", "--isolation", how(), "-d", "-n", "plain", "--", "sh", "-c", script]);
    world.pond(0, &["run", "--isolation", how(), "-d", "-t", "-n", "screen", "--", "sh"]);
    world.until("plain", "running");
    world.until("screen", "running");
    for end in [Signal::TERM, Signal::HUP] {
        let child = started(&world, &["attach", "plain"]);
        signal(&child, end);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{end:?}");
        let mut terminal = Terminal::run(&world, &["attach", "screen"]);
        terminal.press("echo here-$((1+1))\r");
        terminal.shows("here-2");
        signal(&terminal.child, end);
        assert_eq!(terminal.ends(), Some(0), "{end:?}");
    }
    // What a signal of ours would have done to them they would have done by now.
    world.pond(0, &["exec", "plain", "--", "true"]);
    world.pond(0, &["exec", "screen", "--", "true"]);
    world.until("plain", "running");
    world.until("screen", "running");
    world.pond(0, &["stop", "--now", "plain", "screen"]);
}

#[test]
fn a_second_signal_ends_a_session_that_does_not_answer() {
    let world = World::with_pool();
    world.pond(0, &["run", "--isolation", how(), "-d", "-n", "box", "--", "sleep", "1000"]);
    world.until("box", "running");
    let deaf = ["exec", "-T", "box", "--", "sh", "-c", "trap '' INT; echo ready; sleep 1000"];
    let mut child = started(&world, &deaf);
    signal(&child, Signal::INT);
    // Two at once are one to the kernel, so it is asked until it has heard a second.
    let mut status = None;
    eventually("it ends", || {
        signal(&child, Signal::INT);
        std::thread::sleep(std::time::Duration::from_millis(50));
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert_eq!(status.unwrap().code(), Some(130));
    world.pond(0, &["pause", "box"]);
    world.until("box", "frozen");
    let output = world.sh("pond exec box -- true");
    assert_eq!(text(&output.stderr), "error: job 1 is paused\nnext: `pond resume 1`\n");
    assert_eq!(output.status.code(), Some(1));
    world.pond(0, &["resume", "box"]);
    world.pond(0, &["exec", "box", "--", "true"]);
    world.pond(0, &["stop", "--now", "box"]);
}

/// Where there is no session bus the terminal is asked, by OSC 9.
#[test]
fn the_end_of_a_job_is_shown_on_the_desktop_by_the_terminal() {
    let world = World::with_pool();
    world.pond(0, &["run", "-d", "--isolation", how(), "-n", "train", "--", "sh", "-c", "exit 3"]);
    let mut terminal = Terminal::run(&world, &["wait", "1", "--notify"]);
    assert_eq!(terminal.ends(), Some(3));
    terminal.shows("\u{1b}]9;job 1 train failed: rank 0: exit code 3\u{7}");
    assert!(!terminal.shown().contains("there is no desktop"), "{}", terminal.shown());
    // Its output is no terminal, so there is nowhere to show it.
    let output = world.sh("pond wait 1 --notify");
    assert!(
        text(&output.stderr).contains("there is no desktop to show a message on"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn ctrl_c_asks_once_and_kills_the_second_time() {
    let world = World::with_pool();
    let run = |name: &str, script: &str| {
        let mut command = world.command(POND);
        command.args(["run", "--isolation", how(), "--grace", "300s", "-n", name, "--", "sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        assert_eq!(&first, b"ready\n");
        child
    };
    let polite = run("polite", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    signal(&polite, Signal::INT);
    let output = polite.wait_with_output().unwrap();
    assert!(text(&output.stdout).contains("bye"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(143));

    let stubborn = run("stubborn", "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    signal(&stubborn, Signal::INT);
    world.until("stubborn", "stopping");
    signal(&stubborn, Signal::INT);
    let output = stubborn.wait_with_output().unwrap();
    assert!(output.status.code().is_some_and(|code| code != 0));
    assert!(text(&output.stderr).contains("killing it"), "{}", text(&output.stderr));
}

#[test]
fn a_reader_that_goes_ends_us_quietly() {
    let world = World::with_pool();
    let gone = |line: &str| {
        let output = world.sh(line);
        assert!(!text(&output.stderr).contains("panic"), "{line}: {}", text(&output.stderr));
    };
    gone("pond schema | head -1");
    gone("pond events -f | head -1");
    gone(&format!("pond run --isolation {} -n flood -- yes | head -1", how()));
    world.until("flood", "stopped");
}

#[test]
fn ports_are_forwarded_both_ways() {
    let world = World::with_pool();
    let script = "import socket\ns = socket.create_server(('127.0.0.1', 7000))\nprint('listening', flush=True)\nwhile True:\n    c, _ = s.accept()\n    c.sendall(b'got ' + c.recv(100))\n    c.close()\n";
    world.pond(0, &["run", "--isolation", how(), "-d", "-n", "echo", "--", "python3", "-c", script]);
    eventually("it listens", || world.pond(0, &["logs", "echo"]).contains("listening"));
    let mut forward =
        world.command(POND).args(["forward", "echo", "0:7000"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = [0; 64];
    let count = forward.stdout.as_mut().unwrap().read(&mut told).unwrap();
    let address = text(&told[..count]).split(' ').next().unwrap().to_owned();
    for word in ["one", "two"] {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream.write_all(word.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, format!("got {word}"));
    }
    signal(&forward, Signal::INT);
    assert_eq!(forward.wait().unwrap().code(), Some(0));
    world.pond(0, &["stop", "--now", "echo"]);
}
