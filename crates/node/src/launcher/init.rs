//! The first process of a task: builds its place, starts `setup` and the command one after the other, reaps
//! whatever is left to it, and tells the launcher.
//!
//! ```text
//! build root ─▶ Ready ─▶ (Go) join groups, drop privileges ─▶ [setup] ─▶ command ─▶ Running ─▶ Exited
//!     └▶ Failed                                                  └▶ Exited (its failure is the task's)
//! ```
//! In a container it is process 1, so its end ends everything there. The command is a child of it, because a
//! process 1 ignores every signal it has no handler for.

use super::privileges;
use super::root;
use super::slurm;
use super::spec::{LaunchSpec, Program};
use super::sys::{self, Side};
use super::user;
use crate::cgroup::DeviceGuard;
use crate::folder::Folder;
use crate::tolerate;
use pond_core::event::Exit;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::{WaitOptions, WaitStatus};
use rustix::pty::OpenptFlags;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// From the first process to the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// The place is built. Comes with the writable layer's folder, when there is one.
    Ready,
    /// The terminal's master side comes with this.
    Terminal,
    /// The first step runs: the task has started.
    Running,
    /// The command, or `setup`, ended: a code or a signal.
    Exited(Exit),
    /// It cannot be started: what, and whether the job is to blame.
    Failed(String, bool),
}

/// From the launcher to the first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The network is there: start.
    Go,
    /// Send this signal to the command's process group; when the command ends, wait for the others too.
    Signal(i32),
    /// Send this signal to the command's process group only.
    SignalOnly(i32),
}

/// What the first process gets from the launcher beside the order.
pub struct Inherited {
    /// Messages to and from the launcher.
    pub channel: OwnedFd,
    /// Files through which to join the control groups.
    pub doors: Vec<fs::File>,
    /// What keeps the group from devices that were not granted, where the v1 groups do not.
    pub guard: Option<DeviceGuard>,
    /// The command's output; `None` when it gets a terminal.
    pub output: Option<(OwnedFd, OwnedFd)>,
    /// Secrets for the environment.
    pub secrets: Vec<(String, String)>,
    /// The mount namespace a container's root is built in; closed by the command's start.
    pub ground: Option<OwnedFd>,
}

/// Sends one message, with a descriptor when there is one.
///
/// # Errors
/// The other side is gone.
pub fn send<T: Serialize>(
    channel: BorrowedFd<'_>,
    message: &T,
    with: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let fds: Vec<BorrowedFd<'_>> = with.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::net::sendmsg(channel, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes one order; `None` when the launcher is gone.
///
/// # Errors
/// The channel is broken.
pub fn receive(channel: BorrowedFd<'_>) -> io::Result<Option<Order>> {
    let mut buffer = [0_u8; 256];
    let (len, _) = rustix::net::recv(channel, &mut buffer[..], RecvFlags::empty())?;
    if len == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&buffer[..len])?))
}

/// Takes one message of a first process, with the descriptor that came with it.
///
/// # Errors
/// The channel is broken.
pub(super) fn receive_told(channel: BorrowedFd<'_>) -> io::Result<Option<(Told, Option<OwnedFd>)>> {
    let mut buffer = [0_u8; 8192];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let got = rustix::net::recvmsg(channel, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes == 0 {
        return Ok(None);
    }
    let fd = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(Some((serde_json::from_slice(&buffer[..got.bytes])?, fd)))
}

/// Runs as the first process; never returns.
pub fn run(folder: &Folder, spec: &LaunchSpec, inherited: Inherited) -> ! {
    let failed = match start(folder, spec, &inherited) {
        Ok(mut init) => {
            init.watch();
            sys::exit_now(0)
        }
        Err(failed) => failed,
    };
    tolerate(send(inherited.channel.as_fd(), &failed, None));
    sys::exit_now(1)
}

fn fault(what: &str, error: &io::Error) -> Told {
    Told::Failed(format!("cannot {what}: {error}"), false)
}

/// Takes the place of a first process: dies with its launcher, is nobody's to look at, and root in a user namespace of its own.
fn stand(spec: &LaunchSpec) -> Result<(), Told> {
    // When the launcher dies, nobody would take the output or tell the end: die with it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|why| fault("watch the launcher", &why.into()))?;
    // Nobody inside may look at this process, whose program is the machine's own `pond`.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|why| fault("hide the launcher", &why.into()))?;
    if spec.is_in_user_namespace() {
        // Root of the namespace around it.
        user::become_root((0, 0)).map_err(|why| fault("become root of a user namespace", &why))?;
        // Those of the mount namespace around it are not its own to take.
        sys::unshare(libc::CLONE_NEWNS).map_err(|why| fault("copy the mounts", &why))?;
    }
    Ok(())
}

fn start<'a>(folder: &Folder, spec: &'a LaunchSpec, inherited: &'a Inherited) -> Result<Init<'a>, Told> {
    stand(spec)?;
    let signals = sys::block_signals().map_err(|why| fault("block signals", &why))?;
    tolerate(rustix::process::setsid());
    // Before the machine's own paths go out of sight.
    let input = spec.stdin.as_ref().map(|path| root::open_input(folder, spec, Path::new(path)));
    let input = input.transpose().map_err(|why| Told::Failed(why.to_string(), !why.job_fault))?;
    let layer = match &spec.container {
        Some(container) => Some(
            root::build(folder, spec, container, inherited.ground.as_ref().map(AsFd::as_fd))
                .map_err(|why| Told::Failed(why.to_string(), !why.job_fault))?,
        ),
        None => None,
    };
    if spec.container.is_none() {
        write_scripts(folder, spec).map_err(|why| fault("write the script", &why))?;
    }
    let scripts = script_dir(folder, spec.container.is_some());
    send(inherited.channel.as_fd(), &Told::Ready, layer.as_ref().map(AsFd::as_fd))
        .map_err(|why| fault("reach the launcher", &why))?;
    drop(layer);
    match receive(inherited.channel.as_fd()) {
        Ok(Some(Order::Go)) => {}
        _ => sys::exit_now(1),
    }
    if let Some(net) = spec.container.as_ref().and_then(|container| container.net.as_ref()) {
        crate::net::set_up(net)
            .map_err(|why| Told::Failed(format!("cannot connect the network: {why}"), true))?;
    }
    for mut door in &inherited.doors {
        door.write_all(b"0").map_err(|why| fault("join the control groups", &why))?;
    }
    if spec.container.is_some() {
        // Not before: the view begins at the groups that this process is in now.
        sys::unshare(libc::CLONE_NEWCGROUP).map_err(|why| fault("hide other control groups", &why))?;
    }
    if let Some(guard) = &inherited.guard {
        guard.attach().map_err(|why| fault("limit the device files", &why))?;
    }
    if spec.container.is_none() {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|why| fault("become a reaper", &why.into()))?;
    }
    let terminal = if spec.tty { Some(open_terminal(inherited)?) } else { None };
    if spec.container.is_some() {
        privileges::drop_all().map_err(|why| fault("drop privileges", &why))?;
    }
    let mut init = Init {
        spec,
        inherited,
        signals,
        terminal,
        input,
        steps: Vec::new(),
        main: 0,
        linger: false,
        running: false,
    };
    init.steps = steps(spec, &scripts);
    init.next_step()?;
    Ok(init)
}

fn open_terminal(inherited: &Inherited) -> Result<OwnedFd, Told> {
    let open = || -> io::Result<OwnedFd> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        send(inherited.channel.as_fd(), &Told::Terminal, Some(master.as_fd()))?;
        Ok(slave)
    };
    open().map_err(|why| fault("open a terminal", &why))
}

/// Where scripts are, inside.
pub(crate) fn script_dir(folder: &Folder, container: bool) -> PathBuf {
    if container { PathBuf::from("/run/pond") } else { folder.0.join("scripts") }
}

/// Scripts to where they are run from; a container's, when its root is `/` already.
pub(super) fn write_scripts(folder: &Folder, spec: &LaunchSpec) -> io::Result<()> {
    let dir = script_dir(folder, spec.container.is_some());
    let mut scripts: Vec<(&str, &str)> = Vec::new();
    scripts.extend(spec.setup.as_deref().map(|text| ("setup", text)));
    if let Program::Script(text) = &spec.command {
        scripts.push(("run", text));
    }
    if !scripts.is_empty() {
        fs::create_dir_all(&dir)?;
    }
    for (name, text) in scripts {
        let path = dir.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755))?;
    }
    if spec.slurm {
        slurm::write(&dir.join(slurm::FOLDER))?;
    }
    Ok(())
}

/// What is run one after the other, the last first.
fn steps(spec: &LaunchSpec, scripts: &Path) -> Vec<Vec<String>> {
    let script = |name: &str, text: &str| {
        let path = scripts.join(name).to_string_lossy().into_owned();
        if text.starts_with("#!") { vec![path] } else { vec!["/bin/sh".to_owned(), "-e".to_owned(), path] }
    };
    let command = match &spec.command {
        Program::Script(text) => script("run", text),
        Program::Argv(argv) => argv.clone(),
    };
    let setup = spec.setup.as_deref().map(|text| script("setup", text));
    [command].into_iter().chain(setup).collect()
}

struct Init<'a> {
    spec: &'a LaunchSpec,
    inherited: &'a Inherited,
    signals: OwnedFd,
    terminal: Option<OwnedFd>,
    /// What the command, not `setup`, reads.
    input: Option<fs::File>,
    /// What is still to run, the last first.
    steps: Vec<Vec<String>>,
    /// The running step; 0 when it has ended.
    main: i32,
    /// Wait for the others once the command has ended.
    linger: bool,
    /// The first step runs, or ran.
    running: bool,
}

impl Init<'_> {
    fn next_step(&mut self) -> Result<(), Told> {
        let Some(argv) = self.steps.pop() else { return Ok(()) };
        let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|why| fault("make a pipe", &why.into()))?;
        match sys::fork().map_err(|why| fault("start a process", &why))? {
            Side::Child => {
                let why = self.become_command(&argv);
                tolerate(rustix::io::write(&writing, why.as_bytes()));
                sys::exit_now(127)
            }
            Side::Parent(pid) => self.main = pid,
        }
        drop(writing);
        let mut why = [0_u8; 1024];
        let len = rustix::io::retry_on_intr(|| rustix::io::read(&reading, &mut why[..])).unwrap_or(0);
        if len > 0 {
            return Err(Told::Failed(String::from_utf8_lossy(&why[..len]).into_owned(), false));
        }
        if !self.running {
            self.running = true;
            tolerate(self.tell(&Told::Running));
        }
        Ok(())
    }

    fn tell(&self, told: &Told) -> io::Result<()> {
        send(self.inherited.channel.as_fd(), told, None)
    }

    /// Becomes the command; returns the reason when it cannot.
    fn become_command(&self, argv: &[String]) -> String {
        let place = || -> io::Result<()> {
            sys::default_signals();
            rustix::process::setsid()?;
            match (&self.terminal, &self.inherited.output) {
                (Some(slave), _) => {
                    rustix::process::ioctl_tiocsctty(slave)?;
                    rustix::stdio::dup2_stdin(slave)?;
                    rustix::stdio::dup2_stdout(slave)?;
                    rustix::stdio::dup2_stderr(slave)?;
                }
                (None, Some((out, err))) => {
                    match self.input.as_ref().filter(|_| self.steps.is_empty()) {
                        Some(input) => rustix::stdio::dup2_stdin(input)?,
                        None => rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?,
                    }
                    rustix::stdio::dup2_stdout(out)?;
                    rustix::stdio::dup2_stderr(err)?;
                }
                (None, None) => {}
            }
            if let Some((uid, gid)) = self.spec.user {
                privileges::become_user(uid, gid, &self.spec.groups)?;
            }
            if self.spec.is_in_user_namespace() {
                user::limit_processes(self.spec.limits.pids)?;
            }
            Ok(())
        };
        if let Err(why) = place() {
            return format!("cannot prepare the command: {why}");
        }
        if let Err(why) = rustix::process::chdir(self.spec.workdir.as_str()) {
            let workdir = &self.spec.workdir;
            return format!("cannot enter the working folder `{workdir}`: {}", io::Error::from(why));
        }
        let env = merged(self.spec.env.iter().chain(&self.inherited.secrets));
        execute(argv, env.iter())
    }

    /// Until the command has ended and, when lingering, everything else too.
    fn watch(&mut self) {
        loop {
            self.reap();
            if self.main == 0 && (!self.linger || !self.has_children()) {
                return;
            }
            let mut fds = [
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&self.inherited.channel, PollFlags::IN),
            ];
            tolerate(rustix::event::poll(&mut fds, None));
            let channel = fds[1].revents();
            let mut ignored = [0_u8; 128];
            while rustix::io::read(&self.signals, &mut ignored[..]).is_ok() {}
            if !channel.is_empty() {
                match receive(self.inherited.channel.as_fd()) {
                    Ok(Some(Order::Signal(signal))) => {
                        self.linger = true;
                        self.signal(signal);
                    }
                    Ok(Some(Order::SignalOnly(signal))) => self.signal(signal),
                    Ok(Some(Order::Go)) => {}
                    Ok(None) | Err(_) => return,
                }
            }
        }
    }

    fn signal(&self, signal: i32) {
        if self.main != 0 {
            // Before its setsid the child has no group of its own yet.
            if sys::kill(-self.main, signal).is_err() {
                tolerate(sys::kill(self.main, signal));
            }
        }
    }

    fn has_children(&self) -> bool {
        !matches!(rustix::process::wait(WaitOptions::NOHANG), Err(rustix::io::Errno::CHILD))
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == self.main {
                self.main = 0;
                self.step_ended(status);
            }
        }
    }

    fn step_ended(&mut self, status: WaitStatus) {
        let more = !self.steps.is_empty() && status.exit_status() == Some(0) && !self.linger;
        if !more {
            tolerate(self.tell(&Told::Exited(ending(status))));
            return;
        }
        if let Err(failed) = self.next_step() {
            tolerate(self.tell(&failed));
            self.main = 0;
        }
    }
}

/// An environment in which each name stands once, with its last value.
pub fn merged<'a>(env: impl Iterator<Item = &'a (String, String)>) -> BTreeMap<String, String> {
    env.cloned().collect()
}

/// How a process ended.
pub fn ending(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Lost,
    }
}

/// Becomes `argv`, looked up in the environment's `PATH`. When it cannot, it says so where the program's own errors would go, and ends
/// as a shell does: 127 when there is no such program, 126 when there is and it cannot be executed.
pub fn execute<'a>(argv: &[String], env: impl Iterator<Item = (&'a String, &'a String)> + Clone) -> ! {
    let (why, code) = try_execute(argv, env);
    tolerate(writeln!(io::stderr(), "pond: cannot execute {why}"));
    sys::exit_now(code)
}

fn try_execute<'a>(
    argv: &[String],
    env: impl Iterator<Item = (&'a String, &'a String)> + Clone,
) -> (String, i32) {
    let Some(program) = argv.first() else { return ("nothing: the command is empty".to_owned(), 126) };
    let path = env.clone().find(|(name, _)| *name == "PATH");
    let path = path.map_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", |(_, path)| path);
    let c_string = |text: &str| CString::new(text).ok();
    let c_argv: Option<Vec<CString>> = argv.iter().map(|part| c_string(part)).collect();
    let c_env: Vec<CString> = env.filter_map(|(name, value)| c_string(&format!("{name}={value}"))).collect();
    let Some(c_argv) = c_argv else { return (format!("`{program}`: an argument has a zero byte"), 126) };
    let candidates: Vec<String> = if program.contains('/') {
        vec![program.clone()]
    } else {
        path.split(':').filter(|dir| !dir.is_empty()).map(|dir| format!("{dir}/{program}")).collect()
    };
    let (mut why, mut there) = (io::Error::from_raw_os_error(libc::ENOENT), false);
    for candidate in candidates {
        let Some(file) = c_string(&candidate) else { continue };
        let error = sys::execve(&file, &c_argv, &c_env);
        let exists = Path::new(&candidate).exists();
        if error.kind() != io::ErrorKind::NotFound || exists {
            (why, there) = (error, exists);
        }
    }
    match why.kind() {
        io::ErrorKind::NotFound if there => {
            (format!("`{program}`: what its first line names, or its loader, is not in the task's root"), 127)
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            (format!("`{program}`: no such program in the task's root; check the command and its PATH"), 127)
        }
        _ => (format!("`{program}`: {why}"), 126),
    }
}
