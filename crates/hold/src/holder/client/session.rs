//! Sessions as the holder is asked for them and as it tells of them.

use super::checkpoint::Checkpoint;
use super::error::HolderError;
use crate::exit::Exit;
use crate::holder::wire;
use crate::id::SessionId;
use crate::ring::Reader;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The program that is to run in a session, and its terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnSpec {
    /// Program and arguments; the program is looked up in the `PATH` of `env`.
    pub command: Vec<String>,
    /// The program is told that its name begins with `-`: a login shell.
    pub login: bool,
    /// Directory to start in.
    pub cwd: String,
    /// The whole environment. `STAYD_SESSION` is added.
    pub env: Vec<(String, String)>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The ring is to keep all output since the last [`Holder::checkpoint`](super::Holder::checkpoint), from the
    /// beginning until there is one, whatever is acknowledged.
    pub checkpoints: bool,
    /// Where it goes on, if it is not new.
    pub resumed: Option<Resumed>,
}

/// A session whose command is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Bytes of output so far: its offsets count on.
    pub base: u64,
    /// Output that stands before the program's own, at most [`wire::PREFACE_MAX`] bytes.
    pub preface: String,
}

/// A session that the holder holds.
#[derive(Debug)]
pub struct Held {
    /// Its id.
    pub id: SessionId,
    /// Process id of the leader.
    pub pid: i32,
    /// When the leader started: clock ticks after boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// The leader's exit, once it is reaped. Its output may still be under way, see
    /// [`Reader::ended`].
    pub exit: Option<Exit>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The blob that the server left with it, at most [`wire::BLOB_MAX`] bytes.
    pub blob: Vec<u8>,
    /// The last checkpoint, if there is one.
    pub checkpoint: Option<Checkpoint>,
    /// Its output.
    pub ring: Arc<Reader>,
    /// Written to by the holder, never to be read: register it edge-triggered.
    pub wake: OwnedFd,
}

/// A held session that cannot be used, and why.
#[derive(Debug)]
pub struct Unusable {
    /// The holder's entry.
    pub entry: Box<wire::Entry>,
    /// The blob that the server left with it.
    pub blob: Vec<u8>,
    /// The error.
    pub error: HolderError,
}

/// A message that the holder sends unasked. Each is a hint: the state is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A watched session has output.
    Output(SessionId),
    /// A leader has exited and its output is complete.
    Exited(SessionId),
    /// The connection is broken: the holder died, or another server took over. Nothing
    /// follows.
    Gone,
}
