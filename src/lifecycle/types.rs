//! The words for a session's life, spelled alike in rows, logs and JSON.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

pub use stayd_hold::Exit;

/// The stage of a session's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The process runs; nobody has attached yet.
    Running,
    /// At least one client is attached.
    Active,
    /// The last client has left.
    Idle,
    /// Ended on request, or by itself with exit code 0.
    Terminated,
    /// Could not be started or restored, exited with another code, or was ended by a signal that
    /// nobody requested.
    Error,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Status; 5] =
        [Status::Running, Status::Active, Status::Idle, Status::Terminated, Status::Error];

    /// The word in rows, logs and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "RUNNING",
            Status::Active => "ACTIVE",
            Status::Idle => "IDLE",
            Status::Terminated => "TERMINATED",
            Status::Error => "ERROR",
        }
    }

    /// Whether the session has not ended yet.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Status::Running | Status::Active | Status::Idle)
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The leader exited.
    Exited,
    /// A signal ended the leader.
    Signaled,
    /// An administrator killed it.
    Killed,
    /// No client came back in time.
    IdleTimeout,
    /// No client ever came.
    FirstAttachTimeout,
    /// It could not be started.
    SpawnFailed,
    /// The holder did not have it when the server started.
    Orphaned,
    /// It could not be restored.
    RestoreFailed,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [EndReason; 8] = [
        EndReason::Exited,
        EndReason::Signaled,
        EndReason::Killed,
        EndReason::IdleTimeout,
        EndReason::FirstAttachTimeout,
        EndReason::SpawnFailed,
        EndReason::Orphaned,
        EndReason::RestoreFailed,
    ];

    /// Whether the program ended by itself, and was not ended on purpose.
    #[must_use]
    pub fn is_by_itself(self) -> bool {
        matches!(self, EndReason::Exited | EndReason::Signaled)
    }

    /// The word in rows, logs and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Exited => "exited",
            EndReason::Signaled => "signaled",
            EndReason::Killed => "killed",
            EndReason::IdleTimeout => "idle_timeout",
            EndReason::FirstAttachTimeout => "first_attach_timeout",
            EndReason::SpawnFailed => "spawn_failed",
            EndReason::Orphaned => "orphaned",
            EndReason::RestoreFailed => "restore_failed",
        }
    }
}

/// The cause of a change of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The session was created.
    Created,
    /// A client has attached.
    Attached,
    /// The last client has detached.
    Detached,
    /// Its command was started again.
    Restarted,
    /// The session ended.
    End(EndReason),
}

impl Reason {
    /// The word in rows and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Created => "created",
            Reason::Attached => "attached",
            Reason::Detached => "detached",
            Reason::Restarted => "restarted",
            Reason::End(reason) => reason.as_str(),
        }
    }
}

/// A text that is not one of the expected words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {text:?}")]
pub struct UnknownWord {
    what: &'static str,
    text: String,
}

impl UnknownWord {
    /// `what` names the kind of word that was expected; `text` was found.
    #[must_use]
    pub fn new(what: &'static str, text: &str) -> Self {
        UnknownWord { what, text: text.to_owned() }
    }
}

impl FromStr for Status {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Status::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| UnknownWord::new("status", text))
    }
}

impl FromStr for EndReason {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = EndReason::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.ok_or_else(|| UnknownWord::new("end reason", text))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, for people; it may jump.
    pub wall: DateTime<Utc>,
    /// `CLOCK_BOOTTIME` in milliseconds, by which timers run. It only goes forward, also while the
    /// machine sleeps, and starts at 0 at every boot.
    pub boot_ms: u64,
}

/// The moment at which a session is destroyed unless somebody attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// `CLOCK_BOOTTIME` in milliseconds. This decides.
    pub boot_ms: u64,
    /// The same moment on the wall clock, which clients see as `destroy_at`.
    pub at: DateTime<Utc>,
}

/// What counts as idle: when the countdown of a session runs that its last client has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleWhen {
    /// Nobody is attached.
    #[default]
    Detached,
    /// Nobody is attached, and the program neither prints nor runs a command in the foreground: each
    /// time it does, the countdown begins anew.
    DetachedAndQuiet,
}

impl IdleWhen {
    /// Every one.
    pub const ALL: [IdleWhen; 2] = [IdleWhen::Detached, IdleWhen::DetachedAndQuiet];

    /// The word in rows, settings and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            IdleWhen::Detached => "detached",
            IdleWhen::DetachedAndQuiet => "detached_and_quiet",
        }
    }
}

impl FromStr for IdleWhen {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = IdleWhen::ALL.into_iter().find(|when| when.as_str() == text);
        found.ok_or_else(|| UnknownWord::new("kind of idleness", text))
    }
}

/// The times for which a session waits for clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Seconds from the last client's detaching to destruction; `None` means never.
    pub idle_s: Option<u64>,
    /// Seconds in which the first client must attach; `None` means no limit.
    pub first_attach_s: Option<u64>,
    /// When the idle timeout runs.
    #[serde(default)]
    pub idle_when: IdleWhen,
}

/// The reason and time of an end that was begun; the process tree is still being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The end reason that the session will have.
    pub reason: EndReason,
    /// When the end was begun.
    pub since: DateTime<Utc>,
}

/// The end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The reason.
    pub reason: EndReason,
    /// The leader's exit, if it ran and its exit is known.
    pub exit: Option<Exit>,
    /// The time.
    pub at: DateTime<Utc>,
}

/// A set of signal numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signals(u64);

impl Signals {
    /// Adds a signal. Linux has 64, counted from 1; other numbers are ignored.
    pub fn add(&mut self, signal: i32) {
        self.0 |= Self::bit(signal);
    }

    /// Whether the set has this signal.
    #[must_use]
    pub fn contains(self, signal: i32) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    fn bit(signal: i32) -> u64 {
        u32::try_from(signal.saturating_sub(1)).ok().and_then(|n| 1_u64.checked_shl(n)).unwrap_or(0)
    }
}
