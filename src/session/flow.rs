//! Decides whether clients hold the program back. The ring's tail follows the furthest-ahead
//! client; where nobody follows, the session itself lets the program run. [`Flow`] decides, and is
//! pure: time and offsets in, what to do out. [`Tail`] looks at a session's output and does it.

use super::handle::SessionHandle;
use std::time::{Duration, Instant};

/// The time for which clients that make no progress may hold a program back.
const STALL_LIMIT: Duration = Duration::from_secs(5);
/// The same for a recorder of a session that is being ended.
const END_STALL_LIMIT: Duration = Duration::from_millis(500);
/// The time for which a session keeps its output for clients that are about to come.
const FIRST_CLIENT_HOLD: Duration = Duration::from_secs(3);
/// The interval at which a busy session is looked at: the grain of `last_activity_at`.
const BUSY_CHECK: Duration = Duration::from_millis(250);

/// The state of a session's output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowInput {
    /// Bytes ever written.
    pub(crate) head: u64,
    /// The clients, or the session in their stead, need nothing before this offset.
    pub(crate) tail: u64,
    /// The ring's size in bytes.
    pub(crate) capacity: u64,
    /// Whether the holder has stopped reading the PTY for want of room.
    pub(crate) blocked: bool,
    /// The offset of the furthest-ahead following client.
    pub(crate) progress: u64,
    /// Attached clients that follow.
    pub(crate) followers: usize,
    /// A recorder may hold the program back, too.
    pub(crate) recorded: bool,
    /// The client that was furthest ahead before a restart is not back yet.
    pub(crate) held: bool,
}

/// The decision: what to do now, and when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowDecision {
    /// There was output since the last look.
    pub(crate) active: bool,
    /// No client holds the program back.
    pub(crate) free: bool,
    /// Let the holder overwrite all before this offset.
    pub(crate) release: Option<u64>,
    /// Ask for a notice at this offset.
    pub(crate) watch_at: Option<u64>,
    /// Look again after this time, notice or not.
    pub(crate) again: Option<Duration>,
}

/// The state between two looks.
#[derive(Debug)]
pub(crate) struct Flow {
    seen: u64,
    /// Since when the holder has been blocked with the tail and the clients' progress at these
    /// offsets.
    blocked: Option<(Instant, (u64, u64))>,
    /// The clients' progress when they were found stalled; cleared by any further progress.
    freed: Option<u64>,
    hold_until: Option<Instant>,
}

impl Flow {
    /// The flow of a session that has just been started.
    pub(crate) fn new(head: u64) -> Self {
        Flow { seen: head, blocked: None, freed: None, hold_until: None }
    }

    /// The flow of a session whose clients are about to come: it was found running, or has been
    /// started for one who will attach.
    pub(crate) fn awaited(head: u64, now: Instant) -> Self {
        Flow { hold_until: Some(now + FIRST_CLIENT_HOLD), ..Flow::new(head) }
    }

    /// Bytes of output that there were at the last look.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether a restored session still waits for its clients.
    pub(crate) fn is_holding(&self) -> bool {
        self.hold_until.is_some()
    }

    pub(crate) fn check(&mut self, now: Instant, input: &FlowInput) -> FlowDecision {
        let active = input.head != self.seen;
        self.seen = input.head;
        if !input.held {
            self.hold_until = None;
        }
        if let Some(left) = self.hold_until.and_then(|until| until.checked_duration_since(now)) {
            let again = Some(left.min(BUSY_CHECK).max(Duration::from_millis(1)));
            return FlowDecision { active, free: false, release: None, watch_at: None, again };
        }
        self.hold_until = None;

        let free = input.followers == 0 || self.is_stalled(now, input);
        let release = (free && input.tail < input.head).then_some(input.head);
        if active {
            // A free program must not wait for the next look.
            let watch_at = free.then_some(input.head + input.capacity / 4);
            return FlowDecision { active, free, release, watch_at, again: Some(BUSY_CHECK) };
        }
        let again = ((!free || input.recorded) && input.blocked).then_some(BUSY_CHECK);
        FlowDecision { active, free, release, watch_at: Some(input.head + 1), again }
    }

    fn is_stalled(&mut self, now: Instant, input: &FlowInput) -> bool {
        if self.freed.is_some_and(|then| input.progress <= then) {
            return true;
        }
        self.freed = None;
        // Where everything was let go, nobody is held back.
        if !input.blocked || input.tail >= input.head {
            self.blocked = None;
            return false;
        }
        match self.blocked {
            // The tail alone does not tell: it is ahead of a client that came after a free run.
            Some((since, stand)) if stand == (input.tail, input.progress) => {
                if now.duration_since(since) >= STALL_LIMIT {
                    self.blocked = None;
                    self.freed = Some(input.progress);
                }
            }
            _ => self.blocked = Some((now, (input.tail, input.progress))),
        }
        self.freed.is_some()
    }
}

/// Where a session stands when its actor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The holder has just spawned it.
    Spawned,
    /// The same, and whoever asked for it is about to attach: output beyond the ring waits for
    /// that client as for those of a restored session.
    Awaited,
    /// The holder held it while there was no server, also past its end: then what is left of it
    /// is completed.
    Restored,
}

/// The tail of a session's ring, looked after.
#[derive(Debug)]
pub(super) struct Tail {
    flow: Flow,
    /// The program waits for room in the ring.
    stalled: bool,
}

/// The state at the ring's tail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tended {
    /// There was output since the last look.
    pub(super) active: bool,
    /// Look again after this time, notice or not.
    pub(super) again: Option<Duration>,
    /// The notice that was asked for is due already: there is that much output.
    pub(super) noticed: bool,
}

impl Tail {
    /// The tail of a session that has just arrived. Where clients are about to come, the tail is
    /// held for them, unless it is over.
    pub(super) fn of(handle: &SessionHandle, arrival: Arrival, over: bool) -> Self {
        if arrival != Arrival::Spawned && !over {
            handle.hold();
        }
        let ring = handle.ring();
        let flow = match arrival {
            Arrival::Spawned => Flow::new(ring.base()),
            Arrival::Awaited => Flow::awaited(ring.base(), Instant::now()),
            Arrival::Restored => Flow::awaited(ring.head(), Instant::now()),
        };
        Tail { flow, stalled: false }
    }

    /// Looks after the ring's tail and `last_activity_at`, for so many clients that follow.
    /// Nothing may hold up the drain of a session that `ends`.
    pub(super) fn check(&mut self, handle: &SessionHandle, followers: usize, ends: bool) -> Tended {
        let ring = handle.ring();
        let input = FlowInput {
            head: ring.head(),
            tail: handle.released(),
            capacity: ring.capacity(),
            blocked: ring.blocked(),
            progress: handle.progress(),
            followers: if ends { 0 } else { followers },
            recorded: handle.recording().is_some(),
            held: handle.is_held(),
        };
        if input.blocked && !self.stalled {
            handle.metrics().stalls.inc();
        }
        self.stalled = input.blocked;
        let seen = self.flow.seen();
        let tending = self.flow.check(Instant::now(), &input);
        if !self.flow.is_holding() {
            handle.let_go();
        }
        if tending.active {
            handle.touch(chrono::Utc::now());
            handle.nudge();
            handle.metrics().output.inc_by(input.head.saturating_sub(seen));
        }
        if let Some(recorded) = handle.recording() {
            recorded.set_free(tending.free);
        }
        if let Some(offset) = tending.release {
            handle.release(offset);
        }
        if let Some(recorded) = handle.recording().filter(|_| input.blocked) {
            recorded.check_stall(if ends { END_STALL_LIMIT } else { STALL_LIMIT });
        }
        // Register, then look again.
        let noticed = tending.watch_at.is_some_and(|at| {
            ring.request_watch(at);
            ring.head() >= at
        });
        Tended { active: tending.active, again: tending.again, noticed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn input(head: u64, tail: u64, followers: usize) -> FlowInput {
        let blocked = head - tail >= 2 * MIB - (64 << 10);
        let (progress, recorded, held) = (tail, false, false);
        FlowInput { head, tail, capacity: 2 * MIB, blocked, progress, followers, recorded, held }
    }

    #[test]
    fn a_quiet_session_waits_for_its_next_byte_without_a_timer() {
        let tending = Flow::new(7).check(Instant::now(), &input(7, 7, 0));
        assert_eq!(
            tending,
            FlowDecision {
                active: false,
                free: true,
                release: None,
                watch_at: Some(8),
                again: None
            }
        );
    }

    #[test]
    fn nobody_attached_holds_nothing_back() {
        let tending = Flow::new(0).check(Instant::now(), &input(MIB, 0, 0));
        assert_eq!(tending.release, Some(MIB));
        assert_eq!(tending.watch_at, Some(MIB + MIB / 2));
    }

    #[test]
    fn a_follower_holds_back_for_five_seconds_without_progress() {
        let (start, mut flow) = (Instant::now(), Flow::new(0));
        let full = input(2 * MIB, 0, 1);
        assert_eq!(flow.check(start, &full).release, None);
        let almost = flow.check(start + Duration::from_millis(4900), &full);
        assert_eq!((almost.release, almost.again), (None, Some(BUSY_CHECK)));
        let after = flow.check(start + Duration::from_secs(5), &full);
        assert_eq!(after.release, Some(2 * MIB));
        // Still stalled: the program runs on …
        let later = input(4 * MIB, 2 * MIB, 1);
        let later = FlowInput { progress: 0, ..later };
        assert_eq!(flow.check(start + Duration::from_secs(6), &later).release, Some(4 * MIB));
        // … until the client makes progress again.
        let back = FlowInput { progress: 4 * MIB, ..input(6 * MIB, 4 * MIB, 1) };
        assert_eq!(flow.check(start + Duration::from_secs(7), &back).release, None);
    }

    #[test]
    fn a_recorder_that_holds_back_is_looked_after_and_no_clients_fault() {
        let (start, mut flow) = (Instant::now(), Flow::new(2 * MIB));
        let waits = FlowInput { tail: 2 * MIB, recorded: true, ..input(2 * MIB, 0, 1) };
        for seconds in [0, 6] {
            let tending = flow.check(start + Duration::from_secs(seconds), &waits);
            assert_eq!((tending.release, tending.again), (None, Some(BUSY_CHECK)));
        }
        let alone = FlowInput { followers: 0, ..waits };
        assert_eq!(flow.check(start, &alone).again, Some(BUSY_CHECK));
    }

    /// The program was free until the client came, so that the tail is ahead of it.
    #[test]
    fn a_client_behind_the_tail_holds_back_while_it_acknowledges() {
        let start = Instant::now();
        let mut flow = Flow::new(0);
        for second in 0..12 {
            let behind = FlowInput { progress: second, ..input(3 * MIB, MIB, 1) };
            assert!(!flow.check(start + Duration::from_secs(second), &behind).free, "{second}");
        }
        let silent = FlowInput { progress: 11, ..input(3 * MIB, MIB, 1) };
        assert!(flow.check(start + Duration::from_secs(17), &silent).free);
    }

    #[test]
    fn progress_starts_the_five_seconds_anew() {
        let (start, mut flow) = (Instant::now(), Flow::new(0));
        flow.check(start, &input(2 * MIB, 0, 1));
        flow.check(start + Duration::from_secs(4), &input(2 * MIB + 1000, 1000, 1));
        let tending = flow.check(start + Duration::from_secs(8), &input(2 * MIB + 1000, 1000, 1));
        assert_eq!(tending.release, None);
    }

    #[test]
    fn a_restored_session_waits_three_seconds_for_the_client_that_was_furthest_ahead() {
        let start = Instant::now();
        for followers in [0, 1] {
            let mut flow = Flow::awaited(0, start);
            let full = FlowInput { held: true, ..input(2 * MIB, 0, followers) };
            let held = flow.check(start + Duration::from_secs(2), &full);
            assert_eq!((held.release, held.again.is_some()), (None, true));
            assert!(flow.is_holding());
            let late = flow.check(start + Duration::from_millis(3100), &full);
            assert_eq!(late.release, (followers == 0).then_some(2 * MIB));
            assert!(!flow.is_holding());
        }
        let mut flow = Flow::awaited(0, start);
        flow.check(start, &input(MIB, 0, 1));
        assert!(!flow.is_holding(), "it is back");
    }
}
