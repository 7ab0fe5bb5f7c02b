//! A fork whose child is not the caller's: nix and libc have no name for it.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::unistd::Pid;

/// Forks this process, which must have one thread. The child has the same parent as the caller, who
/// reaps it and gets its SIGCHLD. Returns the child's pid to the caller and `None` to the child.
pub(super) fn fork_sibling() -> Result<Option<Pid>, Errno> {
    // With CLONE_PARENT the kernel takes the signal from the caller, whose own is SIGCHLD.
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child runs on a copy of this memory, from here on, as after
    // fork(2); the other four arguments are not looked at. The call by-passes fork(3), which
    // releases the locks of other threads in the child: there are none. The copy of the thread's
    // own id that glibc keeps is stale in the child, which only uses it for signals to itself.
    let forked = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    let pid = i32::try_from(Errno::result(forked)?).map_err(|_| Errno::EOVERFLOW)?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}
