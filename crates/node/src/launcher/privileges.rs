//! What a task may not do: dropped capabilities, no new privileges, the default seccomp profile.

use super::sys::{self, Instruction};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;

/// What stays: enough for package managers, `su` to a service user and low ports; not for raw sockets, device
/// nodes, mounts, tracing others or changing the machine.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// Gives up everything but [`KEPT`], for this process and all it will start, and installs the seccomp profile.
///
/// # Errors
/// A step the kernel refused; the caller must not go on.
pub fn drop_all() -> io::Result<()> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if KEPT.contains(one) {
            continue;
        }
        // Past the kernel's last capability the answer is EINVAL.
        if rustix::thread::remove_capability_from_bounding_set(one) == Err(rustix::io::Errno::INVAL) {
            break;
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)?;
    sys::install_filter(&profile())
}

/// Becomes this user with these further groups; capabilities of root go with it.
///
/// # Errors
/// The ids are not valid here.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    if uid == u32::MAX || gid == u32::MAX {
        // To the kernel this means to stay who one is.
        return Err(io::Error::other("an id of 4294967295 is nobody's"));
    }
    let (uid, gid) = (rustix::process::Uid::from_raw(uid), rustix::process::Gid::from_raw(gid));
    let groups: Vec<_> = groups.iter().map(|&group| rustix::process::Gid::from_raw(group)).collect();
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// System calls refused with EPERM: those Docker's default profile refuses to a container without extra
/// capabilities. They manage the machine (modules, clocks, swap, kexec, quotas), make or change namespaces and
/// mounts, or reach parts of the kernel with a poor record (bpf, userfaultfd, keyrings, io_uring).
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
];

/// The newest call this profile was written against (`mseal`); later ones do not exist as far as a task can tell.
const NEWEST: libc::c_long = 462;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

const ALLOW: u32 = 0x7FFF_0000;
const KILL: u32 = 0x8000_0000;
const fn errno(number: i32) -> u32 {
    0x0005_0000 | number as u32
}

/// Namespace flags of `clone`: a task makes no namespaces.
const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Address families with nothing for a task behind them and a record of bugs: VSOCK reaches the hypervisor.
const VSOCK: u32 = libc::AF_VSOCK as u32;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
/// Low half of the first argument on a little-endian machine.
const FIRST_ARGUMENT_AT: u32 = 16;

const fn op(code: u16, when_true: u8, when_false: u8, operand: u32) -> Instruction {
    Instruction { code, when_true, when_false, operand }
}

/// The filter: other architectures die; calls newer than the profile, 32-bit style calls and `clone3` (whose
/// flags a filter cannot see) do not exist; the refused ones are not permitted; the rest is allowed. The
/// kernel turns the verdicts that depend on the number alone into a bitmap, so its length costs nothing.
fn profile() -> Vec<Instruction> {
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut filter = vec![
        op(LOAD, 0, 0, ARCHITECTURE_AT),
        op(JUMP_EQUAL, 1, 0, ARCHITECTURE),
        op(RETURN, 0, 0, KILL),
        op(LOAD, 0, 0, NUMBER_AT),
        op(JUMP_GREATER, 0, 1, number(NEWEST)),
        op(RETURN, 0, 0, errno(libc::ENOSYS)),
        op(JUMP_EQUAL, 0, 1, number(libc::SYS_clone3)),
        op(RETURN, 0, 0, errno(libc::ENOSYS)),
    ];
    for &call in REFUSED {
        filter.push(op(JUMP_EQUAL, 0, 1, number(call)));
        filter.push(op(RETURN, 0, 0, errno(libc::EPERM)));
    }
    filter.extend([
        op(JUMP_EQUAL, 0, 4, number(libc::SYS_clone)),
        op(LOAD, 0, 0, FIRST_ARGUMENT_AT),
        op(JUMP_ANY_BIT, 0, 1, NAMESPACE_FLAGS),
        op(RETURN, 0, 0, errno(libc::EPERM)),
        op(RETURN, 0, 0, ALLOW),
        op(JUMP_EQUAL, 0, 3, number(libc::SYS_socket)),
        op(LOAD, 0, 0, FIRST_ARGUMENT_AT),
        op(JUMP_EQUAL, 0, 1, VSOCK),
        op(RETURN, 0, 0, errno(libc::EAFNOSUPPORT)),
        op(RETURN, 0, 0, ALLOW),
    ]);
    filter
}
