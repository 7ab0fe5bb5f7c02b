//! Ends a whole tree: asks it to end, then stops it so that nothing can fork away, and kills it.

use super::member::{Member, Tree};
use super::process::{self, is_gone, is_refused};
use super::walk::{Newcomers, Snapshot, Walk};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pidfds held at once while waiting: a large tree must not use up the server's descriptors.
const PIDFDS_MAX: usize = 64;
/// The most walks for a tree that keeps growing while it is being stopped. Each stops everything it
/// finds, so only a tree that forks faster than a walk takes needs more than three.
const FREEZE_WALKS: usize = 16;
/// The walks that must find a tree empty before it counts as empty; the last must be still.
const EMPTY_WALKS: usize = 2;
/// The same if processes keep ending meanwhile, which may be strangers.
const EMPTY_WALKS_MAX: usize = 50;
/// The most quick searches for new processes while a tree is being stopped.
const CHASES: usize = 100;
/// The pause between two walks while processes live for which no descriptor is free.
const BLIND_PAUSE: Duration = Duration::from_millis(20);

/// The time for each step of ending a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// From SIGHUP to SIGTERM with another SIGHUP.
    pub hup: Duration,
    /// From SIGTERM to SIGKILL.
    pub term: Duration,
    /// From the first SIGKILL until the rest is given up: it sleeps in the kernel, or is another
    /// user's.
    pub kill: Duration,
}

impl Default for Grace {
    fn default() -> Self {
        Grace {
            hup: Duration::from_secs(1),
            term: Duration::from_secs(2),
            kill: Duration::from_secs(7),
        }
    }
}

/// The result of ending a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndReport {
    /// Processes that were found in the tree and are gone.
    pub ended: usize,
    /// Processes that still exist; empty if the tree is empty.
    pub left: Vec<Member>,
}

impl Tree {
    /// Ends every member: SIGHUP, SIGTERM, SIGKILL, each for what the previous one has left.
    /// Returns as soon as the tree is empty, at the latest after the whole grace.
    ///
    /// Blocks the calling thread.
    ///
    /// # Errors
    /// /proc could not be read until the end of a grace, so that the remaining members are unknown.
    pub fn end(&self, grace: Grace) -> io::Result<EndReport> {
        let mut termination = Termination { tree: self, known: HashMap::new(), before: None };
        // Stopped processes act on a signal only once they continue. The second SIGHUP is for a
        // shell that takes the first one right before it waits for input: it notices it at the
        // next input or signal, and ignores SIGTERM.
        let left = if termination.ask(&[libc::SIGHUP, libc::SIGCONT], grace.hup)?
            || termination.ask(&[libc::SIGTERM, libc::SIGHUP, libc::SIGCONT], grace.term)?
        {
            Vec::new()
        } else {
            termination.kill(grace.kill)?
        };
        Ok(EndReport { ended: termination.known.len().saturating_sub(left.len()), left })
    }
}

/// The moment after this time.
fn deadline(time: Duration) -> Instant {
    /// A year: a longer time may not fit the clock, and nobody waits so long.
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(time.min(LONGEST)).unwrap_or(now)
}

struct Termination<'a> {
    tree: &'a Tree,
    /// Everything found in the tree so far, pid → start time. It identifies the children of a
    /// member that has died since.
    known: HashMap<i32, u64>,
    /// The snapshot of the last walk.
    before: Option<Arc<Snapshot>>,
}

impl Termination<'_> {
    /// The remaining members. While /proc cannot be read, tries again until the deadline.
    fn walk(&mut self, deadline: Instant) -> io::Result<Vec<Member>> {
        let mut empty = 0_usize;
        loop {
            match self.walk_once() {
                // /proc is not read at one instant, so a chain of processes that each fork the next
                // and exit can slip past a walk. But the walk then is not still.
                Ok(Walk { members, still }) => {
                    empty = empty.saturating_add(1);
                    if !members.is_empty()
                        || empty >= EMPTY_WALKS_MAX
                        || (empty >= EMPTY_WALKS && still)
                    {
                        return Ok(members);
                    }
                }
                Err(_) if Instant::now() < deadline => std::thread::sleep(BLIND_PAUSE),
                Err(error) => return Err(error),
            }
        }
    }

    fn walk_once(&mut self) -> io::Result<Walk> {
        let snapshot = Snapshot::shared()?;
        let mut walk = snapshot.members(self.tree, &self.known)?;
        let before = self.before.replace(snapshot.clone());
        walk.still &= before.is_some_and(|before| snapshot.missed_nobody_new(&before));
        self.know(&walk.members);
        Ok(walk)
    }

    fn know(&mut self, members: &[Member]) {
        self.known.extend(members.iter().map(|member| (member.pid, member.start_time)));
    }

    /// Sends the signals to each member once. Returns whether the tree was empty in time.
    fn ask(&mut self, signals: &[i32], time: Duration) -> io::Result<bool> {
        let deadline = deadline(time);
        let mut asked = HashSet::new();
        loop {
            let members = self.walk(deadline)?;
            if members.is_empty() {
                return Ok(true);
            }
            for member in &members {
                if !asked.contains(member) && signals.iter().all(|&signal| settled(member, signal))
                {
                    asked.insert(*member);
                }
            }
            if !wait_until_gone(&members, deadline) {
                return Ok(false);
            }
        }
    }

    /// Kills until nothing is left that can be killed. Returns the rest.
    fn kill(&mut self, time: Duration) -> io::Result<Vec<Member>> {
        let deadline = deadline(time);
        loop {
            let mut members = self.freeze(deadline)?;
            // The leader is last: until then its children can be found by parentage.
            members.retain(|member| !member.signal(libc::SIGKILL).is_err_and(|e| is_refused(&e)));
            if members.is_empty() || !wait_until_gone(&members, deadline) {
                return self.walk(deadline);
            }
        }
    }

    /// Stops every member, so that none can fork while its tree is killed. A process with a pending
    /// SIGSTOP cannot fork either, so a walk that finds no new member is complete.
    fn freeze(&mut self, deadline: Instant) -> io::Result<Vec<Member>> {
        let mut stopped = HashSet::new();
        for _ in 1..FREEZE_WALKS {
            let members = self.walk(deadline)?;
            if members.iter().all(|member| stopped.contains(member)) {
                return Ok(members);
            }
            for member in &members {
                if !stopped.contains(member) && settled(member, libc::SIGSTOP) {
                    stopped.insert(*member);
                }
            }
            self.chase(&mut stopped)?;
        }
        self.walk(deadline)
    }

    /// Stops processes that live for less than a walk takes: each forks the next and ends.
    fn chase(&mut self, stopped: &mut HashSet<Member>) -> io::Result<()> {
        let mut newcomers = Newcomers::default();
        for _ in 0..CHASES {
            let mut caught = Vec::new();
            let come = newcomers.each(self.tree, |member| {
                if !stopped.contains(&member) && member.signal(libc::SIGSTOP).is_ok() {
                    caught.push(member);
                }
            })?;
            self.know(&caught);
            stopped.extend(caught);
            if come == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Sends a signal. Returns false if no descriptor was free, so that it should be tried again.
fn settled(member: &Member, signal: i32) -> bool {
    member.signal(signal).map_or_else(|error| is_gone(&error) || is_refused(&error), |()| true)
}

/// Waits until all of them are gone. Returns false if the deadline came first.
fn wait_until_gone(members: &[Member], deadline: Instant) -> bool {
    for some in members.chunks(PIDFDS_MAX) {
        let mut processes = Vec::new();
        for member in some {
            match process::open_verified(member.pid, member.start_time) {
                Ok(process) => processes.push(process),
                Err(error) if is_gone(&error) => {}
                Err(_) => {
                    // There is no free descriptor to wait on: the caller's next walk finds out.
                    std::thread::sleep(BLIND_PAUSE);
                    return Instant::now() < deadline;
                }
            }
        }
        if !poll_until_gone(processes, deadline) {
            return false;
        }
    }
    Instant::now() < deadline
}

fn poll_until_gone(mut processes: Vec<OwnedFd>, deadline: Instant) -> bool {
    while !processes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last wait does not spin through its last millisecond.
        let timeout = PollTimeout::try_from(left.as_micros().div_ceil(1_000));
        let mut fds: Vec<PollFd<'_>> =
            processes.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        // An interrupted poll has no result.
        let _ = poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX));
        let gone: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let mut gone = gone.into_iter();
        processes.retain(|_| !gone.next().unwrap_or(false));
        if left.is_zero() {
            break;
        }
    }
    processes.is_empty()
}
