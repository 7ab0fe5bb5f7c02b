//! The machine's input, events, and its output, effects.

use super::types::{Deadline, Ending, Exit, Reason, Signals, Status, Timeouts};

/// An event in a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client came.
    Attached,
    /// A client left.
    Detached,
    /// A client uses the session without being attached: it types over HTTP, or waits for
    /// something on its screen.
    Used,
    /// The timer that was armed with this generation fired.
    TimerFired {
        /// The generation of [`Effect::ArmTimer`].
        generation: u64,
    },
    /// A client asked for the session's end.
    KillRequested,
    /// A client asked for this signal through our endpoint: if it ends the leader, that was
    /// asked for.
    SignalRequested(i32),
    /// The leader was reaped and its output is drained.
    LeaderExited(Exit),
    /// The process tree that [`Effect::EndTree`] ended is seen empty.
    TreeEmpty,
    /// The idle timeout was set, in seconds; `None`: never.
    IdleTimeoutChanged(Option<u64>),
    /// The wall clock was set.
    ClockJumped,
    /// The process could not be started.
    SpawnFailed,
    /// The session is held, but could not be made to work again.
    RestoreFailed,
    /// The holder does not hold the session; what was left of its tree has been swept.
    Orphaned,
}

impl Event {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Event::Attached => "attached",
            Event::Detached => "detached",
            Event::Used => "used",
            Event::TimerFired { .. } => "timer_fired",
            Event::KillRequested => "kill_requested",
            Event::SignalRequested(_) => "signal_requested",
            Event::LeaderExited(_) => "leader_exited",
            Event::TreeEmpty => "tree_empty",
            Event::IdleTimeoutChanged(_) => "idle_timeout_changed",
            Event::ClockJumped => "clock_jumped",
            Event::SpawnFailed => "spawn_failed",
            Event::RestoreFailed => "restore_failed",
            Event::Orphaned => "orphaned",
        }
    }
}

/// An action that the executor takes, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The status changed: one row of `transitions` and one log line (REQ-004-008). A
    /// `Save` always follows; both belong in one transaction.
    Record {
        /// `None` for the creation.
        from: Option<Status>,
        /// The new status.
        to: Status,
        /// The cause.
        reason: Reason,
    },
    /// The row of `sessions` changed.
    Save,
    /// Send [`Event::TimerFired`] with this generation once `CLOCK_BOOTTIME` has reached
    /// `boot_ms`. It replaces the timer armed before.
    ArmTimer {
        /// Never used before in this life.
        generation: u64,
        /// `CLOCK_BOOTTIME`, milliseconds.
        boot_ms: u64,
    },
    /// No timer is wanted any more.
    CancelTimer,
    /// Commit the row (it says `ending`), then end the process tree, then send
    /// [`Event::TreeEmpty`].
    EndTree,
    /// Tell clients the new state.
    Announce,
    /// Final: tell clients how it ended, close them, have the holder forget the session.
    Ended,
}

/// An event that the state does not allow. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its end was decided; nobody can attach any more.
    #[error("the session is ending")]
    Ending,
    /// It has ended.
    #[error("the session has ended")]
    Ended,
    /// It cannot happen in this status: the caller is mistaken.
    #[error("{event} cannot happen to a session that is {status}")]
    Illegal {
        /// The status, unchanged.
        status: Status,
        /// The event.
        event: &'static str,
    },
}

/// The part of a session's life that its row, or its blob in the holder, keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleSnapshot {
    /// The status.
    pub status: Status,
    /// The deadline; after a reboot the caller has computed `boot_ms` anew from `at`.
    pub deadline: Option<Deadline>,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// An end that was decided and not completed.
    pub ending: Option<Ending>,
    /// Signals that were asked for.
    pub signals: Signals,
}
