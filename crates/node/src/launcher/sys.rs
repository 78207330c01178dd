//! The system calls that no safe crate offers: the only unsafe code of this crate.
//!
//! Everything here is called by a process with one thread, except [`kill`], [`attach_device_program`] and the
//! loop-device calls, which any thread may use.
#![expect(
    unsafe_code,
    reason = "clone3, execve, seccomp, bpf, signalfd and loop ioctls have no safe binding"
)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Which side of a fork this is.
pub enum Side {
    /// The process that forked, with the child's process id.
    Parent(i32),
    /// The new process.
    Child,
}

fn check(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// The namespaces a container has of its own, as `clone3` flags; that of its mounts it makes itself.
pub const CONTAINER_NAMESPACES: u64 = (libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC) as u64;
/// A network namespace of its own.
pub const NETWORK_NAMESPACE: u64 = libc::CLONE_NEWNET as u64;

/// A user namespace of its own.
pub const USER_NAMESPACE: u64 = libc::CLONE_NEWUSER as u64;

/// `CLONE_INTO_CGROUP`; the libc crate's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// `clone3` without a new stack: like fork, with namespaces, straight into a v2 control group.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    // SAFETY: an all-zero `clone_args` is valid; the size passed is that of the struct.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: the process has one thread, so the child may run any code; no memory is shared (no CLONE_VM).
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<libc::clone_args>())
    })?;
    Ok(match pid {
        0 => Side::Child,
        pid => Side::Parent(pid as i32),
    })
}

/// Which side of a fork this is, when the parent wants to know of the child's end.
pub enum Watched {
    /// The process that forked, with a descriptor that becomes readable when the child ends.
    Parent(OwnedFd),
    /// The new process.
    Child,
}

/// Like [`fork`], with a descriptor of the child that no later process can take the place of.
pub fn fork_watched() -> io::Result<Watched> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: an all-zero `clone_args` is valid; the size passed is that of the struct.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_PIDFD as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // SAFETY: the process has one thread, so the child may run any code; no memory is shared (no CLONE_VM). The
    // kernel writes a new descriptor to `pidfd` in the parent, which nobody else owns.
    unsafe {
        match check(libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            size_of::<libc::clone_args>(),
        ))? {
            0 => Ok(Watched::Child),
            _ => Ok(Watched::Parent(OwnedFd::from_raw_fd(pidfd))),
        }
    }
}

/// Children of this process leave no trace when they end; their own children do again after [`default_signals`].
pub fn forget_children() -> io::Result<()> {
    // SAFETY: an action without a handler has no code to run.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Plain fork.
pub fn fork() -> io::Result<Side> {
    // SAFETY: the process has one thread, so the child may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid)),
    }
}

/// Becomes another program; returns only on failure. `argv` must not be empty.
pub fn execve(path: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let list = |texts: &[CString]| {
        let mut list: Vec<*const libc::c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        list.push(std::ptr::null());
        list
    };
    let (argv, env) = (list(argv), list(env));
    // SAFETY: both lists end in a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Sends a signal to a process (`pid` > 0), a group (`pid` < -1) or every process that can be reached (-1).
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(libc::c_long::from(unsafe { libc::kill(pid, signal) })).map(drop)
}

/// The session of a process; 0 for one from outside of this namespace of processes, and none for one that is gone.
pub fn session(pid: i32) -> Option<i32> {
    // SAFETY: no memory is passed.
    let session = unsafe { libc::getsid(pid) };
    (session >= 0).then_some(session)
}

/// The home of a user as the machine's list of users, or a network's, has it.
pub fn home_of(uid: u32) -> Option<PathBuf> {
    let mut buffer = vec![0_u8; 16 << 10];
    // SAFETY: an all-zero `passwd` is valid: null pointers and numbers.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    let (room, len) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer is as long as is said and outlives what `entry` points into.
    let failed = unsafe { libc::getpwuid_r(uid, &raw mut entry, room, len, &raw mut found) };
    if failed != 0 || found.is_null() || entry.pw_dir.is_null() {
        return None;
    }
    // SAFETY: it ends in a null byte, within the buffer.
    let home = unsafe { CStr::from_ptr(entry.pw_dir) };
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(home.to_bytes())))
}

/// CPU time of all children that were waited for, with theirs, in microseconds.
pub fn children_cpu_us() -> Option<u64> {
    // SAFETY: an all-zero `rusage` is valid, and the kernel writes one.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    (unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut used) } == 0).then_some(())?;
    let us = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    Some(us(used.ru_utime) + us(used.ru_stime))
}

/// Blocks every signal and returns a descriptor on which SIGCHLD is read; the mask is inherited by children.
pub fn block_signals() -> io::Result<OwnedFd> {
    // SAFETY: the sets are initialised by sigfillset and sigemptyset before use; the descriptor is new.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        check(libc::c_long::from(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const set,
            std::ptr::null_mut(),
        )))?;
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(libc::c_long::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Every signal unblocked and at its default action, as a new program expects.
pub fn default_signals() {
    // SAFETY: the set is initialised before use; setting default actions has no handler to run.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Leaves at once, without running destructors that belong to the process this one was forked from.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` is always allowed.
    unsafe { libc::_exit(code) }
}

/// Gives this process namespaces of its own.
pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: namespaces only; no memory is shared or unshared (no CLONE_VM, no CLONE_FILES).
    check(libc::c_long::from(unsafe { libc::unshare(flags) })).map(drop)
}

/// One classic BPF instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when true.
    pub when_true: u8,
    /// Instructions to skip when false.
    pub when_false: u8,
    /// Operand.
    pub operand: u32,
}

#[repr(C)]
struct Program {
    len: libc::c_ushort,
    filter: *const Instruction,
}

/// Installs a seccomp filter for this process and all it will start. Needs `no_new_privs`.
pub fn install_filter(filter: &[Instruction]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(filter.len()).map_err(io::Error::other)?;
    let program = Program { len, filter: filter.as_ptr() };
    // SAFETY: `Program` and `Instruction` have the layout of sock_fprog and sock_filter; the kernel copies
    // and verifies the filter.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program))
    })
    .map(drop)
}

/// One instruction of an eBPF program: `bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct BpfInstruction {
    /// Operation.
    pub code: u8,
    /// Destination in the low half, source in the high one.
    pub registers: u8,
    /// Of a memory access or a jump.
    pub offset: i16,
    /// Operand.
    pub value: i32,
}

impl BpfInstruction {
    /// The instruction of these parts.
    pub const fn new(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Self {
        Self { code, registers: to | from << 4, offset, value }
    }
}

/// The part of `bpf_attr` that loading a program reads.
#[repr(C)]
struct BpfLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `bpf_attr` that attaching reads.
#[repr(C)]
struct BpfAttach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// Loads a program that is asked about device files and attaches it to a v2 control group, which keeps it in
/// place of the one attached before. Groups below can attach none of their own.
pub fn attach_device_program(group: &File, instructions: &[BpfInstruction]) -> io::Result<()> {
    let mut load = BpfLoad {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        licence: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `BpfLoad` has the layout of the start of bpf_attr, its size is passed, and both pointers outlive the
    // call; the kernel copies and verifies the program. The descriptor it answers with is nobody else's.
    let program = unsafe {
        let fd = check(libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            std::ptr::from_mut(&mut load),
            size_of::<BpfLoad>(),
        ))?;
        OwnedFd::from_raw_fd(fd as i32)
    };
    let mut attach = BpfAttach {
        target: group.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: `BpfAttach` has the layout of the start of bpf_attr, and its size is passed.
    check(unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, std::ptr::from_mut(&mut attach), size_of::<BpfAttach>())
    })
    .map(drop)
}

/// Sets attributes on a mount and all below it: read-only, no set-uid programs, no device files.
pub fn mount_setattr(tree: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    // SAFETY: an all-zero `mount_attr` is valid.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = set;
    // SAFETY: the path is an empty C string, the struct outlives the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            std::ptr::from_mut(&mut attr),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// The number of a loop device that is free now; somebody else may take it first.
pub fn loop_free(control: &File) -> io::Result<i32> {
    // SAFETY: this ioctl takes no argument.
    check(libc::c_long::from(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }))
        .map(|number| number as i32)
}

/// Puts `image` behind a loop device, which frees itself when the last user is gone.
pub fn loop_configure(device: &File, image: &File) -> io::Result<()> {
    // SAFETY: an all-zero `LoopConfig` is valid.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = image.as_raw_fd() as u32;
    config.block_size = 4096;
    config.info.flags = LO_FLAGS_AUTOCLEAR;
    // SAFETY: `LoopConfig` has the layout of the kernel's loop_config and outlives the call.
    check(libc::c_long::from(unsafe {
        libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, std::ptr::from_mut(&mut config))
    }))
    .map(drop)
}

/// Closes one descriptor of a process that was just forked and will not use it again.
pub fn close(fd: BorrowedFd<'_>) {
    // SAFETY: the caller is a forked child that runs to its exec or exit without dropping the owner.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Closes everything but the standard streams: what the process was started with and knows nothing of. Its caller has
/// opened nothing yet.
pub fn close_inherited() {
    // SAFETY: no memory is involved, and nothing in this process owns any of these descriptors. A kernel that does not
    // know the call leaves them open.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Enters these namespaces of the process behind a pidfd, or the one behind a descriptor of its own. A thread of
/// many may enter a network only.
pub fn setns(fd: BorrowedFd<'_>, spaces: u32) -> io::Result<()> {
    // SAFETY: no memory is involved; the kernel refuses what a process with threads may not do.
    check(libc::c_long::from(unsafe { libc::setns(fd.as_raw_fd(), spaces as libc::c_int) })).map(drop)
}
