//! What people do with a task: exec, attach, forward, copy.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

mod support;

use pond_core::event::Exit;
use pond_core::frame::Frame;
use pond_core::ids::TaskId;
use pond_core::model::Isolation;
use pond_node::agent::ExecRequest;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use support::{PATIENCE, Pool, change, root, script, task, until};

/// A client of a session.
struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
    output: String,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new(), output: String::new() }
    }

    fn send(&mut self, frame: &Frame) {
        self.stream.write_all(&frame.to_stream()).unwrap();
    }

    /// Takes frames until one that is not output; output is gathered.
    fn last(&mut self) -> Frame {
        loop {
            match self.next() {
                Frame::Stdout(bytes) => self.output.push_str(&String::from_utf8_lossy(&bytes)),
                Frame::Stderr(bytes) => {
                    self.output.push_str(&format!("!{}", String::from_utf8_lossy(&bytes)))
                }
                frame => return frame,
            }
        }
    }

    fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer).unwrap() {
                return frame;
            }
            let mut more = [0_u8; 4096];
            let len = self.stream.read(&mut more).unwrap();
            assert!(len > 0, "the session closed without a last frame; output so far: {}", self.output);
            self.buffer.extend_from_slice(&more[..len]);
        }
    }

    fn wait(&mut self, text: &str) {
        while !self.output.contains(text) {
            match self.next() {
                Frame::Stdout(bytes) => self.output.push_str(&String::from_utf8_lossy(&bytes)),
                frame => panic!("{frame:?} instead of `{text}`; output so far: {}", self.output),
            }
        }
    }
}

fn exec(pool: &Pool, task: TaskId, argv: &[&str], tty: bool) -> Client {
    let argv = argv.iter().map(|&part| part.to_owned()).collect();
    let request = ExecRequest { argv, tty, rows: 24, cols: 80, ..ExecRequest::default() };
    Client::new(pool.agent.exec(task, request).unwrap())
}

fn sleeper(pool: &mut Pool, job: u64) -> TaskId {
    let task = pool.start(change(script(job, "touch /mark; exec sleep 1000"), |run| {
        run.secrets = vec!["TOKEN".to_owned()];
        run.env.insert("COLOUR".to_owned(), "green".to_owned());
    }));
    pool.started(task);
    task
}

#[test]
fn exec_runs_inside_with_the_tasks_environment_and_none_of_its_privileges() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("exec");
    let task = sleeper(&mut pool, 1);
    until("the mark", || {
        let mut client = exec(&pool, task, &["test", "-e", "/mark"], false);
        client.last() == Frame::Exit(0)
    });
    let look =
        "hostname; echo $COLOUR $TOKEN; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; exit 5";
    let mut client = exec(&pool, task, &["sh", "-c", look], false);
    assert_eq!(client.last(), Frame::Exit(5));
    let output = client.output;
    assert!(output.contains("pond-1-0\ngreen s3cret-value\n"), "{output}");
    assert!(output.contains("Seccomp:\t2") && output.contains("NoNewPrivs:\t1"), "{output}");
    assert!(output.contains("CapEff:\t00000000000004fb"), "{output}");
    let mut client = exec(&pool, task, &["no-such-program"], false);
    assert_eq!(client.last(), Frame::Exit(127));
    let mut client = exec(&pool, task, &["/etc/passwd"], false);
    assert_eq!(client.last(), Frame::Exit(126));
}

#[test]
fn exec_takes_input_to_its_end_and_gives_back_every_byte() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("exec-input");
    let task = sleeper(&mut pool, 1);
    let mut client = exec(&pool, task, &["wc", "-c"], false);
    for _ in 0..64 {
        client.send(&Frame::Stdin(vec![b'x'; 16 << 10]));
    }
    client.send(&Frame::StdinEnd);
    assert_eq!(client.last(), Frame::Exit(0));
    assert_eq!(client.output.trim(), "1048576");
    let mut client = exec(&pool, task, &["head", "-c", "5000000", "/dev/zero"], false);
    assert_eq!(client.last(), Frame::Exit(0));
    assert_eq!(client.output.len(), 5_000_000);
}

#[test]
fn exec_with_a_terminal_knows_its_size_and_ends_with_its_client() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("exec-tty");
    let task = sleeper(&mut pool, 1);
    let mut client = exec(&pool, task, &["sh"], true);
    client.send(&Frame::Stdin(b"tty; stty size\n".to_vec()));
    client.wait("/dev/pts/0");
    client.wait("24 80");
    client.send(&Frame::Resize { rows: 40, cols: 132 });
    client.send(&Frame::Stdin(b"stty size\n".to_vec()));
    client.wait("40 132");
    client.send(&Frame::Stdin(b"sleep 987654 & echo up\n".to_vec()));
    client.wait("up");
    drop(client);
    until("the session's shell to be gone", || {
        let mut client = exec(&pool, task, &["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], false);
        client.last();
        !client.output.contains("sleep 987654")
    });
}

#[test]
fn a_terminal_task_can_be_attached_left_and_attached_again() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("attach");
    let task =
        pool.start(change(script(1, "#!/bin/sh\nread line; echo got $line; read line; exit 4"), |run| {
            run.tty = true;
        }));
    pool.started(task);
    let mut first = Client::new(pool.agent.attach(task).unwrap());
    first.send(&Frame::Stdin(b"one\n".to_vec()));
    first.wait("got one");
    drop(first);
    let mut second = Client::new(pool.agent.attach(task).unwrap());
    second.wait("got one");
    second.send(&Frame::Stdin(b"two\n".to_vec()));
    assert_eq!(second.last(), Frame::Exit(4));
    assert_eq!(pool.exited(task), Exit::Code(4));
}

#[test]
fn files_go_in_and_out_of_running_and_ended_tasks_and_never_past_their_root() {
    if !root() {
        return;
    }
    let mut pool = Pool::open("copy");
    let outside = pool.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let text = format!(
        "mkdir /data; echo hi > /data/a; ln -s {} /data/way; ln -s /etc/shadow /data/s; echo made; sleep 1000",
        outside.display()
    );
    let task = pool.start(script(1, &text));
    pool.started(task);
    let listing = |pool: &Pool, path: &str| -> Vec<String> {
        let mut tar = tar::Archive::new(pool.agent.copy_out(task, path).unwrap());
        tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    };
    pool.wait_output(task, "made");
    // What is not there inside is a link that leads nowhere, and comes as one.
    let mut link = tar::Archive::new(pool.agent.copy_out(task, "/data/s").unwrap());
    let kinds: Vec<tar::EntryType> =
        link.entries().unwrap().map(|entry| entry.unwrap().header().entry_type()).collect();
    assert_eq!(kinds, [tar::EntryType::Symlink]);
    let names = listing(&pool, "/data");
    assert!(names.contains(&"data/a".to_owned()) && names.contains(&"data/way".to_owned()), "{names:?}");
    // A link that leads to a folder of the machine leads to the container's own folder of that name.
    pool.agent.copy_in(task, "/data/way", false, archive("evil", b"x").as_slice()).unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    // As a name for what comes it stays a link, and what comes goes into that folder; a link to a file is written through.
    pool.agent.copy_in(task, "/data/way", true, archive("too", b"x").as_slice()).unwrap();
    pool.agent.copy_in(task, "/data/a2", true, archive("a", b"renamed").as_slice()).unwrap();
    let mut client =
        exec(&pool, task, &["sh", "-c", "cd /data; ln -s a2 l; test -L way && cat way/too"], false);
    assert_eq!((client.last(), client.output.as_str()), (Frame::Exit(0), "x"));
    pool.agent.copy_in(task, "/data/l", true, archive("a", b"through").as_slice()).unwrap();
    let mut client = exec(&pool, task, &["sh", "-c", "cd /data; test -L l && cat a2"], false);
    assert_eq!((client.last(), client.output.as_str()), (Frame::Exit(0), "through"));
    let escape = archive("../../../../../../evil-pond-test", b"x");
    drop(pool.agent.copy_in(task, "/data", false, escape.as_slice()));
    assert!(!std::path::Path::new("/evil-pond-test").exists());
    let missing = pool.agent.copy_out(task, "/no/such").unwrap_err();
    assert!(missing.to_string().contains("/no/such"));
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    let strange = pool.agent.copy_out("99".parse().unwrap(), "/data").unwrap_err();
    assert_eq!(strange.kind(), std::io::ErrorKind::NotConnected);
    pool.stop(task, 0);
    pool.exited(task);
    pool.agent.copy_in(task, "/data/later", false, archive("b", b"after the end").as_slice()).unwrap();
    let names = listing(&pool, "/data");
    assert!(names.contains(&"data/later/b".to_owned()) && names.contains(&"data/a".to_owned()), "{names:?}");
    assert!(pool.agent.copy_out(task, "/etc/shadow").is_err());
}

#[test]
fn archives_into_a_task_reach_nothing_outside_and_say_what_is_refused() {
    if !root() {
        return;
    }
    use tar::EntryType::{Regular, Symlink};
    let mut pool = Pool::open("copy-hostile");
    let outside = pool.dir.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let victim = outside.join("victim");
    std::fs::write(&victim, "as it was").unwrap();
    let (away, victim_path) = (outside.display().to_string(), victim.display().to_string());
    let task = pool.start(script(1, "mkdir /data; echo made; exec sleep 1000"));
    pool.started(task);
    pool.wait_output(task, "made");
    let sent = hostile(&away, &victim_path);
    for (entries, refusal) in &sent {
        let mut tar = tar::Builder::new(Vec::new());
        for (kind, name, to) in entries {
            let header = header(*kind, name, to, 4, 4);
            let bytes: &[u8] = if *kind == Regular { b"evil" } else { b"" };
            tar.append(&header, bytes).unwrap();
        }
        let copied = pool.agent.copy_in(task, "/data", false, tar.into_inner().unwrap().as_slice());
        match copied {
            Ok(()) => assert!(refusal.is_empty(), "{entries:?} was taken"),
            Err(why) => {
                let why = why.to_string();
                assert!(!refusal.is_empty() && why.contains(refusal), "{entries:?}: {why}");
            }
        }
    }
    // One that says it is longer than it is, one cut off in its head, one that is none.
    let mut short = archive("long", b"short");
    short[..512].copy_from_slice(header(Regular, "long", "", 1 << 40, 5).as_bytes());
    let torn = archive("torn", b"x")[..300].to_vec();
    for bytes in [short, torn, vec![b'x'; 4096]] {
        assert!(pool.agent.copy_in(task, "/data", false, bytes.as_slice()).is_err());
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "as it was");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&std::fs::metadata(&victim).unwrap()), 1);
    assert!(!std::path::Path::new("/evil-pond-test").exists());
    pool.agent.copy_in(task, "/data", false, archive("good", b"x").as_slice()).unwrap();
    let mut tar = tar::Archive::new(pool.agent.copy_out(task, "/data").unwrap());
    let kinds: std::collections::BTreeMap<String, tar::EntryType> = tar
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path().unwrap().display().to_string(), entry.header().entry_type())
        })
        .collect();
    for (name, kind) in [("good", Regular), ("same", Regular), ("twice", Symlink)] {
        assert_eq!(kinds.get(&format!("data/{name}")), Some(&kind), "{kinds:?}");
    }
    assert!(
        !["data/zero", "data/disk", "data/pipe", "data/hard"].iter().any(|name| kinds.contains_key(*name)),
        "{kinds:?}"
    );
}

/// Entries of an archive: kind, name, where a link leads.
type Entries = Vec<(tar::EntryType, String, String)>;

/// What is sent, and what the refusal says; nothing where it is taken as it should be.
fn hostile(away: &str, victim: &str) -> Vec<(Entries, &'static str)> {
    use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let up = "../../../../../../../../";
    let file = |name: &str| (Regular, name.to_owned(), String::new());
    let link = |kind, name: &str, to: &str| (kind, name.to_owned(), to.to_owned());
    vec![
        (vec![file("../evil-pond-test")], "`../evil-pond-test` in the archive leads out"),
        (vec![file(&format!("{up}evil-pond-test"))], "leads out"),
        (vec![file("/evil-pond-test")], "`/evil-pond-test` in the archive leads out"),
        (vec![file("a/../../../evil-pond-test")], "leads out"),
        (vec![link(Directory, "../evil-pond-test", "")], "leads out"),
        (vec![link(Link, "hard", victim)], "`hard` in the archive is a hard link to something outside"),
        (vec![link(Link, "hard", &format!("{up}etc/shadow"))], "is a hard link"),
        (vec![link(Char, "zero", "")], "`zero` in the archive is a device"),
        (vec![link(Block, "disk", "")], "`disk` in the archive is a device"),
        (vec![link(Fifo, "pipe", "")], "`pipe` in the archive is a device"),
        (vec![link(Symlink, "way", away), file("way/evil")], "way/evil"),
        (vec![link(Symlink, "up", up), file("up/evil-pond-test")], "up/evil-pond-test"),
        // A link in the place of a file is replaced, not followed.
        (vec![link(Symlink, "twice", victim), file("twice")], ""),
        (
            vec![link(Symlink, "twice", victim), link(Link, "hard", "twice")],
            "`hard` in the archive: failed to unpack",
        ),
        (vec![file("same"), file("same")], ""),
    ]
}

/// A head of an archive as no well-behaved program writes it.
fn header(kind: tar::EntryType, name: &str, to: &str, size: u64, regular: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
    header.set_entry_type(kind);
    header.set_size(if kind == tar::EntryType::Regular { size.max(regular) } else { 0 });
    header.set_mode(0o644);
    if matches!(kind, tar::EntryType::Char | tar::EntryType::Block) {
        header.set_device_major(1).unwrap();
        header.set_device_minor(5).unwrap();
    }
    header.set_cksum();
    header
}

fn archive(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, bytes).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn a_port_inside_is_reached_from_outside() {
    let python = std::process::Command::new("python3").arg("-V").output();
    if !root() || python.is_err() {
        eprintln!("skipped: needs root and python3, so forwarding stays untested");
        return;
    }
    let mut pool = Pool::open("connect");
    let server = "import socket\ns = socket.create_server(('127.0.0.1', 8080))\nprint('up', flush=True)\nwhile True:\n  c = s.accept()[0]\n  c.sendall(b'hello ' + c.recv(100))\n  c.close()\n";
    let task = pool.start(change(script(1, ""), |run| {
        run.command = pond_core::model::Command::Argv(vec!["python3".into(), "-c".into(), server.into()]);
    }));
    pool.started(task);
    pool.wait_output(task, "up");
    let mut stream = pool.agent.connect(task, 8080).unwrap();
    stream.write_all(b"you").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello you");
    assert!(pool.agent.connect(task, 8081).is_err());
}

#[test]
fn sessions_work_on_the_process_back_end_too() {
    let mut pool = Pool::open("exec-process");
    let task =
        pool.start(change(script(1, "echo up; exec sleep 1000"), |run| run.isolation = Isolation::Process));
    pool.started(task);
    let mut client = exec(&pool, task, &["sh", "-c", "echo $POND_JOB_ID"], false);
    assert_eq!(client.last(), Frame::Exit(0));
    assert_eq!(client.output, "1\n");
    pool.stop(task, 0);
    assert_eq!(pool.exited(task), Exit::Signal(9));
    assert!(pool.agent.exec(support::task(1), ExecRequest::default()).is_err());
    assert!(pool.agent.exec(task_of(99), ExecRequest::default()).is_err());
}

fn task_of(job: u64) -> TaskId {
    task(job)
}
