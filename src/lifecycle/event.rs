//! The machine's input (events) and output (effects).

use super::types::{Deadline, Ending, Exit, IdleWhen, Reason, Signals, Status, Timeouts};

/// An event in a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A client has attached.
    Attached,
    /// A client has detached.
    Detached,
    /// A client has used the session without being attached: it has typed over HTTP, or waits for
    /// something on the screen.
    Used,
    /// The program works without a client: it has printed, or a command runs in its foreground. It is
    /// known to do so for this long from now, in milliseconds.
    Busy {
        /// Until it is looked at again.
        for_ms: u64,
    },
    /// The timer with this generation has fired.
    TimerFired {
        /// The generation of [`Effect::ArmTimer`].
        generation: u64,
    },
    /// A client has requested the session's end.
    KillRequested,
    /// A client has requested this signal over the API. If the signal ends the leader, that was
    /// intended.
    SignalRequested(i32),
    /// The leader was reaped and all its output is read.
    LeaderExited(Exit),
    /// The process tree that [`Effect::EndTree`] ends is empty.
    TreeEmpty,
    /// The idle timeout was set, in seconds; `None` means never.
    IdleTimeoutChanged(Option<u64>),
    /// Another rule says when the idle timeout runs.
    IdleWhenChanged(IdleWhen),
    /// The wall clock was set.
    ClockJumped,
    /// The process could not be started.
    SpawnFailed,
    /// The holder has the session, but this server could not restore it.
    RestoreFailed,
    /// The holder does not have the session. The rest of its process tree was ended.
    Orphaned,
}

impl Event {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Event::Attached => "attached",
            Event::Detached => "detached",
            Event::Used => "used",
            Event::Busy { .. } => "busy",
            Event::TimerFired { .. } => "timer_fired",
            Event::KillRequested => "kill_requested",
            Event::SignalRequested(_) => "signal_requested",
            Event::LeaderExited(_) => "leader_exited",
            Event::TreeEmpty => "tree_empty",
            Event::IdleTimeoutChanged(_) => "idle_timeout_changed",
            Event::IdleWhenChanged(_) => "idle_when_changed",
            Event::ClockJumped => "clock_jumped",
            Event::SpawnFailed => "spawn_failed",
            Event::RestoreFailed => "restore_failed",
            Event::Orphaned => "orphaned",
        }
    }
}

/// An action for the executor. Effects have to be executed in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Writes the status change: one row of `transitions` and one log line (REQ-004-008). A `Save`
    /// always follows; both belong in one transaction.
    Record {
        /// The status before; `None` for the creation.
        from: Option<Status>,
        /// The new status.
        to: Status,
        /// The cause of the change.
        reason: Reason,
    },
    /// Writes the row of `sessions`, which has changed.
    Save,
    /// Arms a timer that sends [`Event::TimerFired`] with this generation once `CLOCK_BOOTTIME` has
    /// reached `boot_ms`. It replaces the timer armed before.
    ArmTimer {
        /// The timer's generation, never used before for this session.
        generation: u64,
        /// The deadline on `CLOCK_BOOTTIME`, in milliseconds.
        boot_ms: u64,
    },
    /// Cancels the timer.
    CancelTimer,
    /// Commits the row (in which `ending` is set), then ends the process tree, then sends
    /// [`Event::TreeEmpty`].
    EndTree,
    /// Sends clients the new state.
    Announce,
    /// The last effect: sends clients how the session ended, closes them, and has the holder forget
    /// the session.
    Ended,
}

/// Why an event was refused. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The session's end has begun; nobody can attach any more.
    #[error("the session is ending")]
    Ending,
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
    /// The event cannot happen in this status, so that the caller has made a mistake.
    #[error("{event} cannot happen to a session that is {status}")]
    Illegal {
        /// The status, unchanged.
        status: Status,
        /// The event.
        event: &'static str,
    },
}

/// The part of the machine's state that is stored in the session's row, or in its blob in the
/// holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleSnapshot {
    /// The status.
    pub status: Status,
    /// The deadline. After a reboot the caller has recomputed `boot_ms` from `at`.
    pub deadline: Option<Deadline>,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// The reason and time of an end that was begun and is not completed.
    pub ending: Option<Ending>,
    /// The signals that clients have requested.
    pub signals: Signals,
}
