//! The control words of each message, as JSON.

use super::confinement::Confinement;
use crate::exit::Exit;
use crate::id::SessionId;
use serde::{Deserialize, Serialize};

/// The major version, which both sides must agree on.
pub const MAJOR: u16 = 1;
/// The minor version, which grows with each addition that the other side may not know.
pub const MINOR: u16 = 2;
/// The first minor version whose shim knows [`Confinement`]. An earlier one would ignore it.
pub const CONFINES: u16 = 1;
/// The first minor version that knows [`Discard`].
pub const DISCARDS: u16 = 2;

/// The first message, about its sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`MAJOR`].
    #[serde(default)]
    pub major: u16,
    /// See [`MINOR`].
    #[serde(default)]
    pub minor: u16,
    /// Process id of the sender.
    #[serde(default)]
    pub pid: i32,
    /// Process id of the holder's guardian; 0 for others, and for holders without one.
    #[serde(default)]
    pub guardian: i32,
    /// Reads and writes of dead holders of which the kernel does not tell whether they were done; of
    /// a holder.
    #[serde(default)]
    pub gaps: u64,
    /// Version of the sender's program, for people.
    #[serde(default)]
    pub version: String,
}

impl Hello {
    /// The message that this process sends.
    #[must_use]
    pub fn ours() -> Self {
        Hello {
            major: MAJOR,
            minor: MINOR,
            pid: nix::unistd::getpid().as_raw(),
            guardian: 0,
            gaps: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Starts a session, unless it is held already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Its id.
    pub id: SessionId,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The ring's capacity in bytes, a power of two.
    pub ring_capacity: u64,
    /// Whether the ring keeps all output since the last checkpoint, or from the beginning until
    /// there is one. Otherwise it does so only after the first checkpoint.
    #[serde(default)]
    pub checkpoints: bool,
    /// Bytes of output that an earlier program of the session has printed, from which offsets
    /// continue.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub base: u64,
    /// Text that stands before the program's own output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub preface: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The program that the shim becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Directory to start in.
    pub cwd: String,
    /// Whether the program is given a name that begins with `-`, as a login shell is.
    #[serde(default)]
    pub login: bool,
    /// What the program may not do.
    #[serde(default, skip_serializing_if = "Confinement::is_empty")]
    pub confinement: Confinement,
}

/// A held session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub id: SessionId,
    /// Process id of the leader.
    pub pid: i32,
    /// Clock ticks after boot (proc_pid_stat(5), field 22).
    #[serde(default)]
    pub start_time: u64,
    /// The leader's exit, once it is reaped.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Columns.
    #[serde(default)]
    pub cols: u16,
    /// Rows.
    #[serde(default)]
    pub rows: u16,
    /// The last checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointMeta>,
    /// The checkpoint's length in bytes; 0 if no descriptor comes with it.
    #[serde(default)]
    pub checkpoint_bytes: u64,
}

/// Stores a checkpoint of the screen, from which a later server continues, in place of the last
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The session.
    pub id: SessionId,
    /// The state that it represents.
    pub checkpoint: CheckpointMeta,
}

/// The state that a checkpoint represents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Bytes of output that the screen has applied. Not before the last checkpoint's and not beyond
    /// head.
    pub offset: u64,
    /// Bytes of answers to queries in that output, which is the offset that the input of
    /// [`REPLIES`](crate::id::ClientKey::REPLIES) had reached.
    #[serde(default)]
    pub replies: u64,
    /// Resizes that the screen has applied. A replay begins with the resize of this number.
    #[serde(default)]
    pub resizes: u64,
    /// Columns of the checkpoint's screen.
    #[serde(default)]
    pub cols: u16,
    /// Rows of the checkpoint's screen.
    #[serde(default)]
    pub rows: u16,
}

/// Requests the next page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The last id of the previous page.
    #[serde(default)]
    pub after: Option<SessionId>,
}

/// The end of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Whether there are sessions after this page.
    #[serde(default)]
    pub more: bool,
}

/// Changes a terminal's size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// The session.
    pub id: SessionId,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// Replaces the processes that hold the sessions by another program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The layouts of the holder's memory that the program knows.
    #[serde(default)]
    pub layouts: Vec<u64>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its id.
    pub id: SessionId,
}

/// Discards old output and frees its memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discard {
    /// The session.
    pub id: SessionId,
    /// The offset before which the output is not needed. What the tail or the checkpoint needs is
    /// kept.
    pub before: u64,
}

/// Signals the foreground process group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The session.
    pub id: SessionId,
    /// Number of the signal, 1 to 64.
    pub signal: i32,
}

/// The holder's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Sessions held, ended ones included.
    #[serde(default)]
    pub sessions: u64,
    /// Orphaned processes that the holder has adopted and reaped.
    #[serde(default)]
    pub orphans_reaped: u64,
    /// Connections refused because of another user or version.
    #[serde(default)]
    pub refused: u64,
    /// Messages that could not be parsed.
    #[serde(default)]
    pub malformed: u64,
    /// Panics of the holder that it has survived.
    #[serde(default)]
    pub panics: u64,
    /// Holders that were replaced since the first one started.
    #[serde(default)]
    pub takeovers: u64,
    /// Reads and writes that a dead holder had done and its successor noted.
    #[serde(default)]
    pub completed: u64,
    /// Reads and writes of a dead holder of which nobody knows whether they were done.
    #[serde(default)]
    pub gaps: u64,
    /// Bytes read or written that the holder has not accounted for, which is always 0; `None` if the
    /// kernel does not count them.
    #[serde(default)]
    pub unaccounted: Option<u64>,
}
