//! The launcher's own work: start the task, take its output, answer requests, record how it ended, clean up.
//!
//! ```text
//! claimed ─▶ starting ─▶ running ─▶ draining (killed, output taken to its end) ─▶ recorded ─▶ cleaned ─▶ gone
//!               └──────────────────────────────▶ recorded as failed ─────────────────┘
//! ```

use super::control::{self, Answer, Request, shell_code};
use super::family;
use super::init::{self, Inherited, Order, Told};
use super::layer;
use super::spec::{Container, LaunchSpec};
use super::sys::{self, Side};
use crate::cgroup::Group;
use crate::folder::{Ended, Folder, StartFailure, Started, failure, now, process_began};
use crate::logs::{Stream, Writer};
use crate::session::{Session, set_nonblocking};
use crate::tolerate;
use pond_core::event::Exit;
use pond_core::frame::Frame;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::WaitOptions;
use rustix::termios::Winsize;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The exit code that tells the agent that somebody else has this generation.
pub const CLAIMED: u8 = 3;

/// How often the writable layer is measured.
const DISK_EVERY: Duration = Duration::from_secs(2);
/// How long the output may take to end once everything is killed.
const DRAIN: Duration = Duration::from_secs(5);
/// Output kept for those who attach later.
const SCROLLBACK: usize = 16 << 10;

/// Runs a task from its claim to its end. Behind `agent` comes which one, and its secrets; `ground` is the mount
/// namespace that containers are built in.
pub fn run(agent: UnixStream, ground: Option<OwnedFd>) -> ExitCode {
    let Some((folder, secrets)) = read_order(&agent) else { return ExitCode::from(65) };
    let folder = &folder;
    let spec = fs::read(folder.launch()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let Some(spec): Option<LaunchSpec> = spec else { return ExitCode::from(65) };
    let claim = match folder.take_claim() {
        Ok(claim) => claim,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return ExitCode::from(CLAIMED),
        Err(_) => return ExitCode::from(74),
    };
    tolerate(rustix::process::setsid());
    tolerate(rustix::process::set_child_subreaper(Some(rustix::process::getpid())));
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let group = spec.pool.group(&spec.group);
    let at = now();
    let outcome = Keeper::start(folder, &spec, &group, Given { secrets, ground, agent, claim: &claim });
    let (exit, failed) = match outcome {
        Ok(mut keeper) => {
            let ended = keeper.work();
            tolerate(keeper.writer.tell_lost(now().0));
            ended
        }
        Err(failure) => (Exit::Lost, Some(failure)),
    };
    family::end(&group);
    reap_all();
    let started = folder.started().map_or(at, |started| started.at);
    let ended =
        Ended { started, at: now().max(started), exit, failed, used: group.totals().or_else(family::used) };
    let recorded = folder.record_ended(&ended);
    clean(folder, &spec, &group);
    if recorded.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(74) }
}

fn read_order(mut agent: &UnixStream) -> Option<(Folder, Vec<(String, String)>)> {
    let mut text = Vec::new();
    agent.read_to_end(&mut text).ok()?;
    let (folder, secrets): (PathBuf, _) = serde_json::from_slice(&text).ok()?;
    Some((Folder(folder), secrets))
}

/// What a launcher has besides its order.
struct Given<'a> {
    secrets: Vec<(String, String)>,
    ground: Option<OwnedFd>,
    /// Waits for the start.
    agent: UnixStream,
    claim: &'a File,
}

fn reap_all() {
    let end = Instant::now() + DRAIN;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
            Ok(None) if Instant::now() > end => return,
            Ok(None) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Removes everything but the task's folder. Its scripts and its socket stay in there until the purge: a name that
/// goes costs the disk more than one that stays.
fn clean(folder: &Folder, spec: &LaunchSpec, group: &Group) {
    if let Some(net) = spec.container.as_ref().and_then(|container| container.net.as_ref()) {
        tolerate(crate::net::detach(net));
    }
    tolerate(group.remove());
    if let Some(container) = spec.container.as_ref().filter(|container| container.user_namespace) {
        layer::tidy(folder, !container.lowers.is_empty());
    }
}

struct Output {
    fd: OwnedFd,
    stream: Stream,
}

struct Keeper<'a> {
    folder: &'a Folder,
    spec: &'a LaunchSpec,
    group: &'a Group,
    secrets: Vec<(String, String)>,
    init: i32,
    channel: Option<OwnedFd>,
    /// Waits for the start.
    agent: Option<UnixStream>,
    outputs: Vec<Output>,
    master: Option<OwnedFd>,
    layer: Option<OwnedFd>,
    listener: Option<UnixListener>,
    /// Connections whose request has not come in whole yet.
    callers: Vec<(UnixStream, Vec<u8>)>,
    sessions: Vec<Session>,
    scrollback: Vec<u8>,
    writer: Writer,
    running: bool,
    /// How the command ended.
    status: Option<Exit>,
    failed: Option<StartFailure>,
    kill_at: Option<Instant>,
    disk_check: Instant,
    disk_full: bool,
    /// Bytes of output that may be taken now, and since when they have been counted.
    allowance: u64,
    counted: Instant,
}

/// Where the command writes; none when it has a terminal.
type Writing = Option<(OwnedFd, OwnedFd)>;

/// The ends from which the command's output is taken, and those it writes to.
fn output_pipes() -> Result<(Vec<Output>, Writing), StartFailure> {
    let pipe = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|why| failure("make a pipe", &why))
    };
    let ((out, out_write), (err, err_write)) = (pipe()?, pipe()?);
    let outputs = vec![Output { fd: out, stream: Stream::Out }, Output { fd: err, stream: Stream::Err }];
    Ok((outputs, Some((out_write, err_write))))
}

impl<'a> Keeper<'a> {
    fn start(
        folder: &'a Folder,
        spec: &'a LaunchSpec,
        group: &'a Group,
        given: Given<'_>,
    ) -> Result<Self, StartFailure> {
        let Given { secrets, ground, agent, claim } = given;
        let writer = Writer::new(&folder.0, spec.logs.file_bytes, spec.logs.files);
        group.create(&spec.limits).map_err(|why| failure("set the limits", &why))?;
        let (mine, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|why| failure("make a socket", &why))?;
        let (outputs, output) = if spec.tty { (Vec::new(), None) } else { output_pipes()? };
        let doors = group.doors().map_err(|why| failure("open the control groups", &why))?;
        let v2 = group.v2_door().map_err(|why| failure("open the control group", &why))?;
        let guard = group
            .device_guard(&spec.limits.devices)
            .map_err(|why| failure("limit the device files", &why))?;
        let inherited = Inherited { channel: theirs, doors, guard, output, secrets, ground };
        let flags = spec.container.as_ref().map_or(0, Container::namespaces);
        let side = sys::clone3(flags, v2.as_ref().map(File::as_fd));
        let init = match side.map_err(|why| failure("start a process", &why))? {
            Side::Child => {
                // The lock on the claim belongs to the launcher alone: this copy must not outlive it.
                sys::close(claim.as_fd());
                drop((mine, agent));
                init::run(folder, spec, inherited)
            }
            Side::Parent(pid) => pid,
        };
        let Inherited { secrets, .. } = inherited;
        let now = Instant::now();
        let mut keeper = Self {
            folder,
            spec,
            group,
            secrets,
            init,
            channel: Some(mine),
            agent: Some(agent),
            outputs,
            master: None,
            layer: None,
            listener: None,
            callers: Vec::new(),
            sessions: Vec::new(),
            scrollback: Vec::new(),
            writer,
            running: false,
            status: None,
            failed: None,
            kill_at: None,
            disk_check: now,
            disk_full: false,
            allowance: spec.logs.bytes_per_second,
            counted: now,
        };
        keeper.prepare().inspect_err(|failed| keeper.say(&failed.message))?;
        Ok(keeper)
    }

    /// What the launcher does while the first process builds the root.
    fn prepare(&mut self) -> Result<(), StartFailure> {
        for output in &self.outputs {
            set_nonblocking(output.fd.as_fd()).map_err(|why| failure("prepare a pipe", &why))?;
        }
        if let Some(net) = self.spec.container.as_ref().and_then(|container| container.net.as_ref()) {
            crate::net::attach(net, self.init).map_err(|why| self.unattached(&why))?;
        }
        self.listener = Some(control::listen(self.folder).map_err(|why| failure("open the socket", &why))?);
        Ok(())
    }

    /// The first process may be gone for a reason of its own, which is the one to tell.
    fn unattached(&self, why: &dyn std::fmt::Display) -> StartFailure {
        match self.channel.as_ref().and_then(|channel| init::receive_told(channel.as_fd()).ok()?) {
            Some((Told::Failed(message, node_fault), _)) => StartFailure { message, node_fault },
            _ => failure("connect the network", why),
        }
    }

    /// Works until the task has ended and its output is taken.
    fn work(&mut self) -> (Exit, Option<StartFailure>) {
        while self.channel.is_some() {
            self.turn();
        }
        let status = self.reap_init();
        family::end(self.group);
        let end = Instant::now() + DRAIN;
        while !(self.outputs.is_empty() && self.master.is_none()) && Instant::now() < end {
            self.kill_at = Some(end);
            if !self.turn() {
                break;
            }
        }
        self.check_disk();
        let exit = self.exit(status);
        for session in &mut self.sessions {
            session.push(&Frame::Exit(shell_code(exit)));
            session.finish();
        }
        (exit, self.failed.take())
    }

    fn first(&self) -> family::First {
        (self.init, process_began(self.init), self.spec.container.is_some())
    }

    fn reap_init(&mut self) -> Exit {
        let Some(pid) = rustix::process::Pid::from_raw(self.init) else { return Exit::Lost };
        tolerate(sys::kill(self.init, libc::SIGKILL));
        let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
        let status = ended.ok().flatten().map_or(Exit::Lost, |(_, status)| init::ending(status));
        self.status.unwrap_or(status)
    }

    fn exit(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Code(0) => exit,
            _ if self.group.oom_kills() > 0 => Exit::OutOfMemory,
            _ if self.disk_full => Exit::OutOfDisk,
            _ => exit,
        }
    }

    /// Waits for something and deals with it. False when there was nothing to wait for.
    fn turn(&mut self) -> bool {
        let paused = self.refill();
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let outputs: usize = if paused { 0 } else { self.outputs.len() };
        fds.extend(self.outputs[..outputs].iter().map(|output| PollFd::new(&output.fd, PollFlags::IN)));
        let master = self.master.as_ref().filter(|_| !paused);
        let writing = self.sessions.iter().any(Session::has_input);
        let flags = if writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        fds.extend(master.map(|master| PollFd::new(master, flags)));
        let masters = usize::from(master.is_some());
        fds.extend(self.channel.as_ref().map(|channel| PollFd::new(channel, PollFlags::IN)));
        let channels = usize::from(self.channel.is_some());
        fds.extend(self.listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN)));
        fds.extend(self.callers.iter().map(|(caller, _)| PollFd::new(caller, PollFlags::IN)));
        fds.extend(self.sessions.iter().map(Session::poll));
        let timeout = self.timeout(paused);
        tolerate(rustix::event::poll(&mut fds, timeout.as_ref()));
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut ready = ready.into_iter();
        let outputs: Vec<bool> = ready.by_ref().take(outputs).collect();
        let master = ready.by_ref().take(masters).any(|ready| ready);
        let channel = ready.by_ref().take(channels).any(|ready| ready);
        self.take_outputs(&outputs);
        if master {
            self.take_terminal();
        }
        if channel {
            self.listen_to_init();
        }
        self.serve_callers();
        self.serve_sessions();
        self.timers();
        true
    }

    fn timeout(&self, paused: bool) -> Option<rustix::time::Timespec> {
        let now = Instant::now();
        let mut next: Option<Duration> = self.kill_at.map(|at| at.saturating_duration_since(now));
        let mut sooner = |span: Duration| next = Some(next.map_or(span, |other| other.min(span)));
        if paused {
            sooner(Duration::from_millis(20));
        }
        if self.disk_limit() > 0 {
            sooner((self.disk_check + DISK_EVERY).saturating_duration_since(now));
        }
        // One millisecond more, so that a timer is due when the wait is over.
        next.and_then(|span| rustix::time::Timespec::try_from(span + Duration::from_millis(1)).ok())
    }

    fn disk_limit(&self) -> u64 {
        self.spec.container.as_ref().map_or(0, |container| container.disk)
    }

    fn timers(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| now >= at) {
            self.kill_at = None;
            self.kill();
        }
        if self.disk_limit() > 0 && now >= self.disk_check + DISK_EVERY {
            self.disk_check = now;
            self.check_disk();
        }
    }

    /// Whether the layer is full, or, where nothing enforces its size, over it.
    fn check_disk(&mut self) {
        let limit = self.disk_limit();
        if limit == 0 {
            return;
        }
        if self.folder.layer_image().exists() {
            let space = self.layer.as_ref().and_then(|layer| rustix::fs::fstatvfs(layer).ok());
            // Or has no place for one more file.
            self.disk_full = space.is_some_and(|space| {
                space.f_bavail * space.f_frsize < layer::leftover(limit)
                    || (space.f_files > 0 && space.f_ffree == 0)
            });
        } else if crate::folder::tree_bytes(&layer::place(self.folder)) > limit {
            self.disk_full = true;
            self.kill();
        }
    }

    fn kill(&self) {
        self.group.kill();
        tolerate(sys::kill(self.init, libc::SIGKILL));
    }

    /// Refills the output allowance; true while the task must wait.
    fn refill(&mut self) -> bool {
        let rate = self.spec.logs.bytes_per_second;
        let now = Instant::now();
        let passed = u64::try_from(now.duration_since(self.counted).as_micros()).unwrap_or(u64::MAX);
        let refill = rate.saturating_mul(passed) / 1_000_000;
        if refill > 0 {
            self.allowance = self.allowance.saturating_add(refill).min(rate);
            self.counted = now;
        }
        self.allowance == 0
    }

    fn take_outputs(&mut self, ready: &[bool]) {
        let mut closed = Vec::new();
        for (place, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            let mut buffer = [0_u8; 64 << 10];
            let Output { fd, stream } = &self.outputs[place];
            let stream = *stream;
            match rustix::io::read(fd, &mut buffer[..]) {
                Ok(0) => closed.push(place),
                Ok(len) => self.took(stream, &buffer[..len]),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(_) => closed.push(place),
            }
        }
        for place in closed.into_iter().rev() {
            self.outputs.remove(place);
        }
    }

    fn take_terminal(&mut self) {
        let Some(master) = &self.master else { return };
        for session in &mut self.sessions {
            session.feed(master.as_fd());
        }
        let mut buffer = [0_u8; 16 << 10];
        match rustix::io::read(master, &mut buffer[..]) {
            Ok(len) if len > 0 => self.took(Stream::Out, &buffer[..len]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // EIO: the last process that had the terminal open is gone.
            Ok(_) | Err(_) => {
                if self.channel.is_none() || self.running {
                    self.master = None;
                }
            }
        }
    }

    fn took(&mut self, stream: Stream, bytes: &[u8]) {
        self.allowance = self.allowance.saturating_sub(bytes.len() as u64);
        // A full disk loses output; it must not stop the task.
        tolerate(self.writer.write(now().0, stream, bytes));
        if self.spec.tty {
            self.scrollback.extend_from_slice(bytes);
            let extra = self.scrollback.len().saturating_sub(SCROLLBACK);
            self.scrollback.drain(..extra);
        }
        let frame = match stream {
            Stream::Out => Frame::Stdout(bytes.to_vec()),
            Stream::Err => Frame::Stderr(bytes.to_vec()),
        };
        for session in &mut self.sessions {
            session.push(&frame);
        }
    }

    fn listen_to_init(&mut self) {
        let Some(channel) = &self.channel else { return };
        let (told, fd) = match init::receive_told(channel.as_fd()) {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) => {
                self.channel = None;
                return;
            }
        };
        match told {
            Told::Ready => {
                self.layer = fd;
                tolerate(init::send(channel.as_fd(), &Order::Go, None));
            }
            Told::Terminal => {
                self.master = fd.filter(|fd| set_nonblocking(fd.as_fd()).is_ok());
            }
            Told::Running => self.started(),
            Told::Exited(exit) => self.status = Some(exit),
            Told::Failed(message, node_fault) => self.could_not(message, node_fault),
        }
    }

    fn say(&mut self, message: &str) {
        self.took(Stream::Err, format!("pond: {message}\n").as_bytes());
    }

    fn could_not(&mut self, message: String, node_fault: bool) {
        self.say(&message);
        if self.running {
            self.status = Some(Exit::Code(127));
        } else {
            self.failed = Some(StartFailure { message, node_fault });
        }
    }

    fn started(&mut self) {
        self.running = true;
        let started = Started {
            at: now(),
            launcher: rustix::process::getpid().as_raw_nonzero().get(),
            init: self.init,
            init_began: self.first().1.unwrap_or(0),
        };
        tolerate(self.folder.record_started(&started));
        // When the agent is gone, nobody waits for this line.
        if let Some(mut agent) = self.agent.take() {
            tolerate(agent.write_all(b"started\n"));
        }
    }

    fn serve_callers(&mut self) {
        while let Some(Ok((caller, _))) = self.listener.as_ref().map(UnixListener::accept) {
            if caller.set_nonblocking(true).is_ok() {
                self.callers.push((caller, Vec::new()));
            }
        }
        for (mut caller, mut text) in std::mem::take(&mut self.callers) {
            let mut byte = [0_u8; 1];
            let open = loop {
                // Byte by byte: what follows the line belongs to the session.
                match caller.read(&mut byte) {
                    Ok(0) => break false,
                    Ok(_) if byte[0] == b'\n' => {
                        self.answer(caller.try_clone().ok(), &text);
                        break false;
                    }
                    Ok(_) => text.push(byte[0]),
                    Err(error) => break error.kind() == io::ErrorKind::WouldBlock && text.len() < 4096,
                }
            };
            if open {
                self.callers.push((caller, text));
            }
        }
    }

    fn answer(&mut self, caller: Option<UnixStream>, text: &[u8]) {
        let (Some(mut caller), Ok(request)) = (caller, serde_json::from_slice(text)) else { return };
        let answer = match request {
            Request::Signal(signal) => {
                self.order(Order::SignalOnly(signal));
                Answer::Done
            }
            Request::Stop { signal, grace_ms } => {
                self.stop(signal, grace_ms);
                Answer::Done
            }
            Request::Secrets => Answer::Secrets(self.secrets.clone()),
            Request::Attach => {
                let mut session = Session::new(caller);
                if !self.scrollback.is_empty() {
                    session.push(&Frame::Stdout(self.scrollback.clone()));
                }
                self.sessions.push(session);
                return;
            }
        };
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        tolerate(caller.write_all(&line));
    }

    fn order(&self, order: Order) {
        if let Some(channel) = &self.channel {
            tolerate(init::send(channel.as_fd(), &order, None));
        }
    }

    fn stop(&mut self, signal: i32, grace_ms: u64) {
        let at = Instant::now() + Duration::from_millis(grace_ms);
        if grace_ms > 0 {
            tolerate(family::freeze(self.group, false, || Some(self.first())));
            self.order(Order::Signal(signal));
        }
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
    }

    fn serve_sessions(&mut self) {
        let mut asked = Vec::new();
        for session in &mut self.sessions {
            asked.extend(session.serve());
        }
        self.sessions.retain(|session| !session.closed());
        for frame in asked {
            match frame {
                Frame::Resize { rows, cols } => {
                    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
                    if let Some(master) = &self.master {
                        tolerate(rustix::termios::tcsetwinsize(master, size));
                    }
                }
                Frame::Signal(signal) => self.order(Order::SignalOnly(signal)),
                _ => {}
            }
        }
        if let Some(master) = &self.master {
            for session in &mut self.sessions {
                session.feed(master.as_fd());
            }
        } else {
            for session in &mut self.sessions {
                session.forget_input();
            }
        }
    }
}
