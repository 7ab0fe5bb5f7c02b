//! The control words of each message, as JSON.

use crate::exit::Exit;
use crate::id::SessionId;
use serde::{Deserialize, Serialize};

/// Both sides must agree on it.
pub const MAJOR: u16 = 1;
/// Grows with each addition that the other side may not know.
pub const MINOR: u16 = 0;

/// The speaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`MAJOR`].
    #[serde(default)]
    pub major: u16,
    /// See [`MINOR`].
    #[serde(default)]
    pub minor: u16,
    /// Process id of the speaker.
    #[serde(default)]
    pub pid: i32,
    /// Version of the speaker's program, for people.
    #[serde(default)]
    pub version: String,
}

impl Hello {
    /// This process's own.
    #[must_use]
    pub fn ours() -> Self {
        Hello {
            major: MAJOR,
            minor: MINOR,
            pid: nix::unistd::getpid().as_raw(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Start a session, unless it is held already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Its id.
    pub id: SessionId,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Bytes, a power of two.
    pub ring_capacity: u64,
    /// The ring keeps all output from the last checkpoint on, from the beginning until there
    /// is one. Without it that holds from the first checkpoint on.
    #[serde(default)]
    pub checkpoints: bool,
    /// Bytes of output that an earlier program of the session has printed: offsets count on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub base: u64,
    /// Output that stands before the program's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub preface: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The program that the shim becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Directory to start in.
    pub cwd: String,
    /// Whether the program's own name begins with `-`, as that of login shells.
    #[serde(default)]
    pub login: bool,
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
    /// Its length in bytes; 0: no descriptor comes with it.
    #[serde(default)]
    pub checkpoint_bytes: u64,
}

/// Keep a picture of the screen, from which a later server goes on, in place of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The session.
    pub id: SessionId,
    /// Where it was taken.
    pub checkpoint: CheckpointMeta,
}

/// The state that a checkpoint stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Bytes of output that it has seen. Not before the last checkpoint's and not beyond
    /// head.
    pub offset: u64,
    /// Bytes that were answered to queries in that output: how far the input of
    /// [`REPLIES`](crate::id::ClientKey::REPLIES) had come.
    #[serde(default)]
    pub replies: u64,
    /// Resizes that it has seen: replaying it begins with the resize of this number.
    #[serde(default)]
    pub resizes: u64,
    /// Columns of the screen in it.
    #[serde(default)]
    pub cols: u16,
    /// Rows of the screen in it.
    #[serde(default)]
    pub rows: u16,
}

/// Ask for the next page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The last id of the page before.
    #[serde(default)]
    pub after: Option<SessionId>,
}

/// The end of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// There are sessions after it.
    #[serde(default)]
    pub more: bool,
}

/// Give a terminal another size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// The session.
    pub id: SessionId,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its id.
    pub id: SessionId,
}

/// Signal the foreground process group.
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
    /// Processes that had been left to the holder and were reaped by it.
    #[serde(default)]
    pub orphans_reaped: u64,
    /// Connections refused for a foreign user or version.
    #[serde(default)]
    pub refused: u64,
    /// Messages that made no sense.
    #[serde(default)]
    pub malformed: u64,
    /// Mistakes of the holder's own that it has survived.
    #[serde(default)]
    pub panics: u64,
}
