//! Replaces the pair by another program, while the sessions go on.
//!
//! 1. The holder checks that the program knows this layout of the memory, records it, and leaves its
//!    loop: nothing changes from here on.
//! 2. The guardian executes the program, and is the same process and the same parent afterwards.
//! 3. That program starts a holder, and ends the old one.
//!
//! There are always two processes that have all descriptors. If the guardian dies, or the program
//! does not start, the old holder goes on as the guardian of another.

use super::{reaping, sys};
use crate::holder::shared::{Kept, SharedState, kept};
use crate::tree::pidfd;
use nix::errno::Errno;
use nix::fcntl::FdFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{fstat, stat};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// The flag of `stayd hold` that continues what another program has held.
pub(super) const CONTINUE: &str = "--continue";

/// Records what an upgrade needs. Returns false if one is under way.
pub(super) fn prepare(shared: &SharedState, program: OwnedFd, upgrader: OwnedFd) -> bool {
    let header = shared.header();
    if header.upgrading.load(Relaxed) != 0 {
        return false;
    }
    Kept::record(&header.fds.program, program);
    Kept::record(&header.fds.upgrader, upgrader);
    header.retired.store(0, Release);
    header.upgrading.store(reaping::own_pid(), Release);
    true
}

/// Whether this holder stands by. The signal that says so may be pending when it has died, and
/// another holder is there.
pub(super) fn stands_by(shared: &SharedState, holder: Pid) -> bool {
    shared.header().upgrading.load(Relaxed) == u64::from(holder.as_raw().cast_unsigned())
}

/// What the old holder does once it has left its loop: it is there in case the guardian dies. Returns
/// if this process is to be the guardian; otherwise somebody ends it.
pub(super) fn stand_by(shared: &SharedState) {
    let header = shared.header();
    let guardian = i32::try_from(header.guardian.load(Relaxed)).unwrap_or(0);
    let _ = kill(Pid::from_raw(guardian), Signal::SIGUSR1);
    if let Some(process) = kept::borrow(&header.fds.guardian) {
        wait_for_end(&[process]);
    }
    // The guardian has decided before it died: its holder goes on, or this process does.
    if header.retired.load(Relaxed) == reaping::own_pid() {
        std::process::exit(0);
    }
    header.upgrading.store(0, Release);
}

/// Becomes the other program, as the guardian; returns if that fails.
pub(super) fn execute(shared: &SharedState) {
    let fds = &shared.header().fds;
    let (Some(program), Some(memory)) = (kept::borrow(&fds.program), kept::borrow(&fds.memory))
    else {
        return;
    };
    // The holder that stands by shares the descriptors, and keeps them as they are.
    let ready =
        sys::unshare_descriptors().and_then(|()| kept::close_on_exec(shared, FdFlag::empty()));
    if ready.is_ok() {
        let word = |text: &str| CString::new(text).unwrap_or_default();
        let number = word(&memory.as_raw_fd().to_string());
        let args = [word("stayd"), word("hold"), word(CONTINUE), number];
        let pairs = std::env::vars_os();
        let pairs = pairs.map(|(name, value)| [name.as_bytes(), value.as_bytes()].join(&b'='));
        let env: Vec<CString> = pairs.filter_map(|pair| CString::new(pair).ok()).collect();
        sys::execute(program, &args, &env);
        let _ = kept::close_on_exec(shared, FdFlag::FD_CLOEXEC);
    }
    shared.header().upgrading.store(0, Release);
}

/// What the new holder does first: it waits for the end of the old one, which the guardian brings
/// about. Returns false if it is the old one that goes on.
pub(super) fn await_predecessor(shared: &SharedState, holder: Pid) -> bool {
    let header = shared.header();
    let guardian = kept::borrow(&header.fds.guardian);
    let Ok(predecessor) = pidfd::open(holder.as_raw()) else { return true };
    loop {
        let mut all = vec![predecessor.as_fd()];
        all.extend(guardian);
        wait_for_end(&all);
        if pidfd::is_over(predecessor.as_fd()) {
            return true;
        }
        if header.retired.load(Relaxed) != u64::from(holder.as_raw().cast_unsigned()) {
            return false;
        }
        // The guardian has decided, and died before it could do it, or while it did.
        let _ = pidfd::send(predecessor.as_fd(), libc::SIGKILL);
    }
}

/// Decides that the new holder goes on, and ends the old one.
pub(super) fn retire(shared: &SharedState, holder: Pid) {
    let pid = u64::try_from(holder.as_raw()).unwrap_or(0);
    shared.header().retired.store(pid, Release);
    let _ = kill(holder, Signal::SIGKILL);
}

/// Waits until one of these processes has ended.
fn wait_for_end(processes: &[std::os::fd::BorrowedFd<'_>]) {
    let mut fds: Vec<PollFd<'_>> =
        processes.iter().map(|process| PollFd::new(*process, PollFlags::POLLIN)).collect();
    while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
}

/// Whoever has asked for an upgrade, and whether this is the program that was asked for. Both are
/// forgotten; the connection is the caller's to close.
pub(super) fn upgrader(shared: &Arc<SharedState>) -> Option<(Kept, bool)> {
    let header = shared.header();
    let upgrader = Kept::of(&header.fds.upgrader)?;
    header.upgrading.store(0, Release);
    let same = match (kept::borrow(&header.fds.program).map(fstat), stat("/proc/self/exe")) {
        (Some(Ok(wanted)), Ok(ours)) => {
            (wanted.st_dev, wanted.st_ino) == (ours.st_dev, ours.st_ino)
        }
        _ => false,
    };
    if let Some(program) = Kept::of(&header.fds.program) {
        program.forget(&header.fds.program);
    }
    header.fds.upgrader.store(0, Release);
    Some((upgrader, same))
}
