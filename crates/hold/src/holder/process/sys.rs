//! Deaths and signals by number. nix has no names for the real-time signals: its `waitid` answers
//! `EINVAL` for a child that one of them has ended, and its `kill` cannot send them. Forking.
#![allow(unsafe_code)]

use crate::exit::Exit;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A child that has exited, with its exit; `None` if there is none. It is not reaped, so that its
/// exit is not lost if this process dies (waitid(2)).
pub(super) fn exited_child() -> Option<(Pid, Exit)> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes one structure of ours, which outlives the call; zeroes are a valid
    // value of it should there be no child.
    let (result, info) = unsafe {
        let result = libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags);
        (result, info.assume_init())
    };
    if result != 0 {
        return None;
    }
    // SAFETY: waitid has filled in the fields of a child, or none of them: 0 is no process.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid <= 0 {
        return None;
    }
    let exit = match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        _ => Exit::Signal(status),
    };
    Some((Pid::from_raw(pid), exit))
}

/// Reaps a child that has exited.
pub(super) fn reap(child: Pid) {
    let status = std::ptr::null_mut();
    // SAFETY: without a place for it the kernel writes no status.
    while Errno::result(unsafe { libc::waitpid(child.as_raw(), status, libc::WNOHANG) })
        == Err(Errno::EINTR)
    {}
}

/// Sends a signal to a process (kill(2)). The number 0 only tests whether it exists.
pub(super) fn kill(process: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: kill takes two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(process.as_raw(), signal) }).map(drop)
}

/// Sends a signal to a process group (killpg(3)).
pub(super) fn kill_group(group: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: killpg takes two integers and touches no memory of ours.
    Errno::result(unsafe { libc::killpg(group.as_raw(), signal) }).map(drop)
}

/// Starts a copy of this process that shares its table of descriptors: what either opens or closes
/// is open or closed for both, and stays so when one of them dies. Returns the child's pid, and
/// `None` in the child. Call it in a process with a single thread.
pub(super) fn fork_sharing_descriptors() -> Result<Option<Pid>, Errno> {
    let flags = libc::c_long::from(libc::CLONE_FILES | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of all memory and goes on from
    // here. There is one thread, so no lock of another is left taken in it. No pointers are passed,
    // and zeroes mean the same on machines that order the arguments differently, but for s390,
    // where the flags come second.
    let pid = unsafe {
        if cfg!(target_arch = "s390x") {
            libc::syscall(libc::SYS_clone, 0_u64, flags, 0_u64, 0_u64, 0_u64)
        } else {
            libc::syscall(libc::SYS_clone, flags, 0_u64, 0_u64, 0_u64, 0_u64)
        }
    };
    let pid = i32::try_from(Errno::result(pid)?).unwrap_or(0);
    Ok((pid > 0).then(|| Pid::from_raw(pid)))
}

/// Ends the sharing of descriptors with other processes: this one keeps copies of all.
pub(super) fn unshare_descriptors() -> Result<(), Errno> {
    // SAFETY: the table of descriptors stays as it is.
    Errno::result(unsafe { libc::unshare(libc::CLONE_FILES) }).map(drop)
}

/// Becomes the program of this descriptor; returns only if that fails.
pub(super) fn execute(program: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |all: &[CString]| -> Vec<*const libc::c_char> {
        all.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    let (fd, flags) = (libc::c_long::from(program.as_raw_fd()), libc::AT_EMPTY_PATH);
    let path = c"".as_ptr();
    // SAFETY: both lists end with a null pointer, and their strings live through the call.
    unsafe { libc::syscall(libc::SYS_execveat, fd, path, args.as_ptr(), env.as_ptr(), flags) };
    Errno::last()
}

/// The answer of `PIDFD_GET_INFO`, in its first version (linux/pidfd.h).
#[repr(C)]
#[derive(Default)]
struct ProcessInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    status: i32,
}

/// Asks for the status of a process that somebody has reaped.
const INFO_EXIT: u64 = 1 << 3;

nix::ioctl_readwrite!(
    /// See linux/pidfd.h; since Linux 6.13, with the exit since 6.15.
    process_info,
    0xff,
    11,
    ProcessInfo
);

/// How the process of a pidfd has ended, once somebody has reaped it. `None` before that, and if the
/// kernel is too old to tell.
pub(super) fn exit_of(process: BorrowedFd<'_>) -> Option<Exit> {
    let mut info = ProcessInfo { mask: INFO_EXIT, ..ProcessInfo::default() };
    // SAFETY: the kernel writes one structure of ours, of the size that the request's number says.
    unsafe { process_info(process.as_raw_fd(), &raw mut info) }.ok()?;
    (info.mask & INFO_EXIT != 0).then(|| Exit::of_status(info.status))
}
