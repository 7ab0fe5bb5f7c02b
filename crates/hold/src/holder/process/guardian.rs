//! Guardian and holder. Starting, taking over and recovering are one path: a guardian finishes what
//! a dead holder has left unfinished, and starts a holder that continues what the shared state says,
//! which at first is nothing.
//!
//! ```text
//!  guardian ── parent of ──► holder ── parent of ──► the leaders that it has started
//!      └── parent of the leaders of dead holders (PR_SET_CHILD_SUBREAPER)
//! ```
//!
//! - The holder dies: the guardian reads from the zombie how much it had read and written, completes
//!   its last operation, and starts another holder.
//! - The guardian dies: the holder becomes the guardian, and starts another holder. So the parent of
//!   a holder is always a guardian, and most leaders keep their parent.
//!
//! Both share one table of descriptors, so a guardian has every descriptor that a holder has opened,
//! and need not be told. It reads and writes nothing that a holder accounts for.

use super::event_loop::{EventLoop, Outcome};
use super::reaping::{own_pid, reap, slot_led_by};
use super::{pid_file, recovery, sys, upgrade};
use crate::exit::Exit;
use crate::holder::paths::{GUARDIAN_FILE, PID_FILE};
use crate::holder::shared::{Kept, SharedState, account, kept};
use crate::tree::pidfd;
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, write};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};

/// The pause before another attempt to start a holder, when there are too many processes or there
/// is too little memory: no event tells that there is room.
const RETRY: Duration = Duration::from_millis(100);
/// A holder that has lived no longer, and that nobody has killed, may have died of what the next one
/// will die of, too.
const SHORT: Duration = Duration::from_millis(50);
/// So many of them one after the other are no coincidence, and the machine needs its time for other
/// things.
const SHORT_LIVES: u32 = 3;

/// Runs until everything has ended; the exit code. `tell` is called once a holder runs: with true
/// for the first, and with false whenever this process has become the guardian. `predecessor` is the
/// holder of another program, which this one replaces.
pub(super) fn run(
    shared: &Arc<SharedState>,
    mut predecessor: Option<Pid>,
    tell: impl Fn(bool),
) -> i32 {
    let mut short_lives = 0_u32;
    loop {
        let header = shared.header();
        let first = header.holder.load(Relaxed) == 0;
        let is_new = header.guardian.load(Relaxed) != own_pid();
        if is_new {
            become_guardian(shared);
        }
        let started = Instant::now();
        let predecessor = predecessor.take();
        match sys::fork_sharing_descriptors() {
            Ok(None) => {
                if predecessor.is_some_and(|old| !upgrade::await_predecessor(shared, old)) {
                    return 0;
                }
                match hold(shared) {
                    Ok(Outcome::Ended) => return finish(shared),
                    Ok(Outcome::Orphaned) => {}
                    Ok(Outcome::Replaced) => upgrade::stand_by(shared),
                    // The guardian starts another.
                    Err(_) => return 1,
                }
            }
            Ok(Some(holder)) => {
                if let Some(old) = predecessor {
                    upgrade::retire(shared, old);
                }
                let exit = guard(shared, holder, || {
                    if first || is_new {
                        tell(first);
                    }
                });
                if header.ended.load(Relaxed) != 0 {
                    return finish(shared);
                }
                recovery::recover(shared);
                sys::reap(holder);
                header.stats.takeovers.fetch_add(1, Relaxed);
                let is_short = exit != Exit::Signal(libc::SIGKILL) && started.elapsed() < SHORT;
                short_lives = if is_short { short_lives.saturating_add(1) } else { 0 };
            }
            Err(_) => short_lives = SHORT_LIVES,
        }
        if short_lives >= SHORT_LIVES {
            std::thread::sleep(RETRY);
        }
    }
}

/// This process becomes the guardian: at the start, or after the death of the one before it, whose
/// descriptors it closes.
fn become_guardian(shared: &SharedState) {
    let header = shared.header();
    if header.guardian.load(Relaxed) != 0 {
        header.stats.takeovers.fetch_add(1, Relaxed);
        recovery::sweep(shared);
    }
    header.guardian.store(own_pid(), Release);
    let word = &header.fds.guardian;
    let before = Kept::of(word);
    match pidfd::open(std::process::id().cast_signed()) {
        Ok(process) => drop(Kept::record(word, process)),
        // Without it the next holder does not learn of this process's death.
        Err(_) => word.store(0, Release),
    }
    before.into_iter().for_each(Kept::close);
    // Orphans come to this process.
    let _ = set_child_subreaper(true);
    if let Some(directory) = kept::borrow(&header.fds.directory) {
        // People and `stayd stop` look for it; everything else works without.
        let _ = pid_file::write(directory, GUARDIAN_FILE);
    }
}

/// Waits for the holder's death, which it returns, and meanwhile reaps orphans and the leaders of
/// dead holders. `ready` is called once the holder runs.
fn guard(shared: &Arc<SharedState>, holder: Pid, ready: impl Fn()) -> Exit {
    let mut wanted = SigSet::empty();
    for signal in
        [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGUSR2]
    {
        wanted.add(signal);
    }
    loop {
        let mut noted = false;
        let leads = |pid| slot_led_by(shared, pid);
        if let Some(exit) = reap(shared, Some(holder), leads, |_| noted = true) {
            return exit;
        }
        if noted && let Some(poke) = kept::borrow(&shared.header().fds.poke) {
            // A full counter wakes the holder as well.
            let _ = write(poke, &1u64.to_ne_bytes());
        }
        match wanted.wait() {
            Ok(Signal::SIGTERM | Signal::SIGINT) => {
                // A holder that is dead by now leaves it to the next.
                shared.header().ending.store(1, Release);
                let _ = kill(holder, Signal::SIGTERM);
            }
            Ok(Signal::SIGUSR1) if upgrade::stands_by(shared, holder) => {
                upgrade::execute(shared);
                // It has not become the program: the holder, which stands by, is replaced by one
                // that goes on.
                let _ = kill(holder, Signal::SIGKILL);
            }
            Ok(Signal::SIGUSR2) => ready(),
            // The kernel merges SIGCHLDs, so one stands for any number.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Is the holder.
fn hold(shared: &Arc<SharedState>) -> Result<Outcome, Errno> {
    let header = shared.header();
    account::open(shared);
    header.holder.store(own_pid(), Release);
    set_child_subreaper(true)?;
    let mut watched = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        watched.add(signal);
    }
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut event_loop = EventLoop::restore(shared, signals)?;
    if let Some(directory) = kept::borrow(&header.fds.directory) {
        // As that of the guardian.
        let _ = pid_file::write(directory, PID_FILE);
        account::recount(shared);
    }
    // The guardian tells others.
    let guardian = i32::try_from(header.guardian.load(Relaxed)).unwrap_or(0);
    let _ = kill(Pid::from_raw(guardian), Signal::SIGUSR2);
    let outcome = event_loop.run();
    if outcome == Outcome::Ended {
        header.ended.store(1, Release);
    }
    Ok(outcome)
}

/// Everything has ended.
fn finish(shared: &SharedState) -> i32 {
    if let Some(directory) = kept::borrow(&shared.header().fds.directory) {
        pid_file::clean_up(directory);
    }
    0
}
