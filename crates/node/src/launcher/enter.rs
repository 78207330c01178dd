//! A command beside a running task: in its namespaces, control groups and limits, without its privileges.
//!
//! Three processes: the one that speaks with the client (outside), one that has joined the groups and entered
//! the namespaces and waits for the command (a process id namespace only takes in children), and the command.

use super::init::{self, Order, Told};
use super::privileges;
use super::spec::LaunchSpec;
use super::sys::{self, Side};
use super::user;
use crate::cgroup::Group;
use crate::folder::{Folder, process_began};
use crate::session::{Session, set_nonblocking};
use crate::tolerate;
use pond_core::event::Exit;
use pond_core::frame::Frame;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, WaitOptions};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::ThreadNameSpaceType;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The first line on the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EnterRequest {
    pub(crate) argv: Vec<String>,
    pub(crate) tty: bool,
    pub(crate) rows: u16,
    pub(crate) cols: u16,
    pub(crate) cwd: Option<String>,
    /// On top of the task's environment; secrets among it.
    pub(crate) env: Vec<(String, String)>,
}

/// Output that waits for the client before no more is taken from the command.
const MOST_WAITING: usize = 1 << 20;
/// How long output may come after the command has ended: something it left behind may hold the pipe open.
const AFTERGLOW: Duration = Duration::from_millis(500);

/// Runs one session; standard input is the client's socket.
pub(crate) fn run(folder: &Folder) -> ExitCode {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::from(70) };
    let stream = UnixStream::from(socket);
    let begun = begin(folder, &stream);
    let mut session = Session::new(stream);
    let last = match begun {
        Ok(mut running) => running.pump(&mut session),
        Err(why) => Frame::Failed(why),
    };
    session.push(&last);
    session.finish();
    ExitCode::SUCCESS
}

/// Opens the task's first process, certain that it is still the same.
///
/// # Errors
/// The task has ended.
pub(crate) fn open_task(folder: &Folder) -> io::Result<OwnedFd> {
    let gone = || io::Error::other("the task is not running");
    let started = folder.started().ok_or_else(gone)?;
    let pid = Pid::from_raw(started.init).ok_or_else(gone)?;
    let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|_gone| gone())?;
    if process_began(started.init) != Some(started.init_began) {
        return Err(gone());
    }
    Ok(fd)
}

/// Reads the order a task was started with.
///
/// # Errors
/// It is not there.
pub(crate) fn read_spec(folder: &Folder) -> io::Result<LaunchSpec> {
    Ok(serde_json::from_slice(&fs::read(folder.launch())?)?)
}

/// Reads the request line, byte by byte: what follows belongs to the session.
fn read_request(mut stream: &UnixStream) -> io::Result<EnterRequest> {
    let mut line = Vec::new();
    let mut byte = [0_u8; 1];
    loop {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(serde_json::from_slice(&line)?);
        }
        line.push(byte[0]);
    }
}

struct Running {
    channel: Option<OwnedFd>,
    master: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    outputs: Vec<(OwnedFd, bool)>,
    size: Winsize,
    ended: Option<Frame>,
    ended_at: Option<Instant>,
}

type Pipe = (OwnedFd, OwnedFd);

fn begin(folder: &Folder, stream: &UnixStream) -> Result<Running, String> {
    let text = |what: &'static str| move |why: io::Error| format!("cannot {what}: {why}");
    let request = read_request(stream).map_err(text("read the request"))?;
    let spec = read_spec(folder).map_err(text("read the task's order"))?;
    let task = open_task(folder).map_err(|why| why.to_string())?;
    tolerate(rustix::process::setsid());
    let pair =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (mine, theirs) = pair.map_err(|why| text("make a socket")(why.into()))?;
    let pipe = || -> Result<Pipe, String> {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|why| text("make a pipe")(why.into()))
    };
    let pipes = if request.tty { None } else { Some((pipe()?, pipe()?, pipe()?)) };
    match sys::fork().map_err(text("start a process"))? {
        Side::Child => {
            drop(mine);
            let given = pipes.map(|((input, _), (_, out), (_, err))| (input, out, err));
            inside(&spec, &request, &task, &theirs, given)
        }
        Side::Parent(_) => {}
    }
    drop(theirs);
    let mut running = Running {
        channel: Some(mine),
        master: None,
        stdin: None,
        outputs: Vec::new(),
        size: Winsize { ws_row: request.rows, ws_col: request.cols, ws_xpixel: 0, ws_ypixel: 0 },
        ended: None,
        ended_at: None,
    };
    if let Some(((_, input), (out, _), (err, _))) = pipes {
        for fd in [&input, &out, &err] {
            set_nonblocking(fd.as_fd()).map_err(text("prepare a pipe"))?;
        }
        running.stdin = Some(input);
        running.outputs = vec![(out, false), (err, true)];
    }
    Ok(running)
}

/// The second process: joins, enters, starts the command and waits for it. Never returns.
fn inside(
    spec: &LaunchSpec,
    request: &EnterRequest,
    task: &OwnedFd,
    channel: &OwnedFd,
    pipes: Option<(OwnedFd, OwnedFd, OwnedFd)>,
) -> ! {
    let failed = |why: String| -> ! {
        tolerate(init::send(channel.as_fd(), &Told::Failed(why, true), None));
        sys::exit_now(1)
    };
    let enter = || -> io::Result<(OwnedFd, Members)> {
        let signals = sys::block_signals()?;
        let group = spec.pool.group(&spec.group);
        group.join()?;
        // Opened here, because its path is out of sight inside.
        let members = Members::of(&group)?;
        if let Some(container) = &spec.container {
            rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
            let mut spaces = ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::PROCESS_ID
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
                | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
                | ThreadNameSpaceType::CONTROL_GROUP;
            spaces.set(ThreadNameSpaceType::NETWORK, container.net.is_some());
            spaces.set(ThreadNameSpaceType::USER, container.user_namespace);
            sys::setns(task.as_fd(), spaces.bits())?;
        }
        Ok((signals, members))
    };
    let (signals, members) = match enter() {
        Ok(entered) => entered,
        Err(why) => failed(format!("cannot enter the task: {why}")),
    };
    let command = match sys::fork() {
        Ok(Side::Child) => {
            let why = become_command(spec, request, channel, pipes);
            failed(why)
        }
        Ok(Side::Parent(pid)) => pid,
        Err(why) => failed(format!("cannot start a process in the task: {why}")),
    };
    drop(pipes);
    let exit = wait_for(command, members, &signals, channel);
    tolerate(init::send(channel.as_fd(), &Told::Exited(exit), None));
    sys::exit_now(0)
}

/// Waits for the command, passing signals on; when the client is gone, ends it.
fn wait_for(command: i32, members: Members, signals: &OwnedFd, channel: &OwnedFd) -> Exit {
    let Some(pid) = Pid::from_raw(command) else { return Exit::Lost };
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => return init::ending(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Exit::Lost,
        }
        let mut fds = [PollFd::new(signals, PollFlags::IN), PollFd::new(channel, PollFlags::IN)];
        tolerate(rustix::event::poll(&mut fds, None));
        let told = !fds[1].revents().is_empty();
        let mut ignored = [0_u8; 128];
        while rustix::io::read(signals, &mut ignored[..]).is_ok() {}
        if told {
            match init::receive(channel.as_fd()) {
                Ok(Some(Order::Signal(signal) | Order::SignalOnly(signal))) => {
                    tolerate(sys::kill(-command, signal));
                }
                Ok(Some(Order::Go)) => {}
                Ok(None) | Err(_) => {
                    end_session(command, members);
                    sys::exit_now(0)
                }
            }
        }
    }
}

/// Where the processes of a task are listed, with the numbers that the machine knows them by.
enum Members {
    Group(File),
    /// Of the whole machine, where no group holds them.
    All(OwnedFd),
}

impl Members {
    fn of(group: &Group) -> io::Result<Self> {
        Ok(match group.members() {
            Some(file) => Self::Group(file),
            None => Self::All(File::open("/proc")?.into()),
        })
    }

    fn list(self) -> io::Result<Vec<i32>> {
        let mut text = String::new();
        match self {
            Self::Group(mut file) => drop(file.read_to_string(&mut text)?),
            Self::All(proc) => {
                for entry in rustix::fs::Dir::new(proc)? {
                    text.push_str(&entry?.file_name().to_string_lossy());
                    text.push('\n');
                }
            }
        }
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }
}

/// Kills everything of the command's session, jobs in the background of its shell included.
fn end_session(command: i32, members: Members) {
    for pid in members.list().unwrap_or_default() {
        if sys::session(pid) == Some(command) {
            tolerate(sys::kill(pid, libc::SIGKILL));
        }
    }
    tolerate(sys::kill(command, libc::SIGKILL));
}

/// The third process becomes the command; returns why it cannot.
fn become_command(
    spec: &LaunchSpec,
    request: &EnterRequest,
    channel: &OwnedFd,
    pipes: Option<(OwnedFd, OwnedFd, OwnedFd)>,
) -> String {
    let place = || -> io::Result<()> {
        rustix::process::setsid()?;
        match &pipes {
            Some((input, out, err)) => {
                rustix::stdio::dup2_stdin(input)?;
                rustix::stdio::dup2_stdout(out)?;
                rustix::stdio::dup2_stderr(err)?;
            }
            None => terminal(request, channel)?,
        }
        if spec.container.is_some() {
            privileges::drop_all()?;
        }
        if let Some((uid, gid)) = spec.user {
            privileges::become_user(uid, gid, &spec.groups)?;
        }
        if spec.is_in_user_namespace() {
            user::limit_processes(spec.limits.pids)?;
        }
        sys::default_signals();
        Ok(())
    };
    if let Err(why) = place() {
        return format!("cannot prepare the command: {why}");
    }
    let cwd = request.cwd.as_deref().unwrap_or(&spec.workdir);
    if let Err(why) = rustix::process::chdir(cwd) {
        return format!("cannot enter the folder `{cwd}`: {}", io::Error::from(why));
    }
    let term = request.tty.then(|| ("TERM".to_owned(), "xterm-256color".to_owned()));
    let env = init::merged(spec.env.iter().chain(&term).chain(&request.env));
    init::execute(&request.argv, env.iter())
}

fn terminal(request: &EnterRequest, channel: &OwnedFd) -> io::Result<()> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let size = Winsize { ws_row: request.rows, ws_col: request.cols, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&slave, size)?;
    init::send(channel.as_fd(), &Told::Terminal, Some(master.as_fd()))?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    rustix::stdio::dup2_stdin(&slave)?;
    rustix::stdio::dup2_stdout(&slave)?;
    rustix::stdio::dup2_stderr(&slave)?;
    Ok(())
}

impl Running {
    /// Carries bytes until the command has ended and its output is taken, or the client is gone.
    fn pump(&mut self, session: &mut Session) -> Frame {
        loop {
            let outputs_over = self.outputs.is_empty() && self.master.is_none();
            let late = self.ended_at.is_some_and(|at| at.elapsed() > AFTERGLOW);
            if let Some(last) = self.ended.take_if(|_| outputs_over || late) {
                return last;
            }
            if session.closed() || (self.channel.is_none() && self.ended.is_none()) {
                return Frame::Failed("the session was cut off".to_owned());
            }
            self.turn(session);
        }
    }

    fn turn(&mut self, session: &mut Session) {
        let taking = session.waiting() < MOST_WAITING;
        let input = if session.has_input() { PollFlags::OUT } else { PollFlags::empty() };
        let output = if taking { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = vec![session.poll()];
        fds.extend(self.channel.as_ref().map(|channel| PollFd::new(channel, PollFlags::IN)));
        fds.extend(self.master.as_ref().map(|master| PollFd::new(master, input | output)));
        fds.extend(
            self.stdin.as_ref().filter(|_| session.has_input()).map(|stdin| PollFd::new(stdin, input)),
        );
        if taking {
            fds.extend(self.outputs.iter().map(|(fd, _)| PollFd::new(fd, PollFlags::IN)));
        }
        let limit = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let timeout = self.ended_at.is_some().then_some(&limit);
        tolerate(rustix::event::poll(&mut fds, timeout));
        drop(fds);
        for frame in session.serve() {
            self.asked(&frame);
        }
        self.feed(session);
        if taking {
            self.take(session);
        }
        self.listen();
    }

    fn asked(&mut self, frame: &Frame) {
        match frame {
            Frame::Resize { rows, cols } => {
                self.size.ws_row = *rows;
                self.size.ws_col = *cols;
                if let Some(master) = &self.master {
                    tolerate(rustix::termios::tcsetwinsize(master, self.size));
                }
            }
            Frame::Signal(signal) => {
                if let Some(channel) = &self.channel {
                    tolerate(init::send(channel.as_fd(), &Order::Signal(*signal), None));
                }
            }
            _ => {}
        }
    }

    fn feed(&mut self, session: &mut Session) {
        if let Some(fd) = self.master.as_ref().or(self.stdin.as_ref()) {
            session.feed(fd.as_fd());
        } else if self.ended.is_some() {
            session.forget_input();
        }
        if session.input_over() {
            self.stdin = None;
        }
    }

    fn take(&mut self, session: &mut Session) {
        let mut buffer = [0_u8; 16 << 10];
        self.outputs.retain(|(fd, error)| match rustix::io::read(fd, &mut buffer[..]) {
            Ok(0) => false,
            Ok(len) => {
                let bytes = buffer[..len].to_vec();
                session.push(&if *error { Frame::Stderr(bytes) } else { Frame::Stdout(bytes) });
                true
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
            Err(_) => false,
        });
        let Some(master) = &self.master else { return };
        match rustix::io::read(master, &mut buffer[..]) {
            Ok(len) if len > 0 => session.push(&Frame::Stdout(buffer[..len].to_vec())),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // EIO while the command has not opened its terminal, and once it has closed it.
            Ok(_) | Err(_) => {
                if self.ended.is_some() {
                    self.master = None;
                }
            }
        }
    }

    fn listen(&mut self) {
        let Some(channel) = &self.channel else { return };
        let mut fds = [PollFd::new(channel, PollFlags::IN)];
        let none = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if !rustix::event::poll(&mut fds, Some(&none)).is_ok_and(|ready| ready > 0) {
            return;
        }
        match init::receive_told(channel.as_fd()) {
            Ok(Some((Told::Terminal, fd))) => {
                self.master = fd.filter(|fd| set_nonblocking(fd.as_fd()).is_ok());
            }
            Ok(Some((Told::Exited(exit), _))) => {
                self.ended.get_or_insert(Frame::Exit(super::control::shell_code(exit)));
                self.ended_at = Some(Instant::now());
            }
            Ok(Some((Told::Failed(why, _), _))) => {
                self.ended = Some(Frame::Failed(why));
                self.ended_at = Some(Instant::now());
            }
            Ok(Some((Told::Ready | Told::Running, _))) => {}
            Ok(None) | Err(_) => self.channel = None,
        }
    }
}
