//! Sessions, as requested from the holder and as described by it.

use super::checkpoint::Checkpoint;
use super::error::HolderError;
use crate::exit::Exit;
use crate::holder::wire;
use crate::id::SessionId;
use crate::ring::Reader;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The program to run in a session, and its terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnSpec {
    /// Program and arguments; the program is looked up in the `PATH` of `env`.
    pub command: Vec<String>,
    /// Whether the program is given a name that begins with `-`, as a login shell is.
    pub login: bool,
    /// Directory to start in.
    pub cwd: String,
    /// The whole environment. `STAYD_SESSION` is added.
    pub env: Vec<(String, String)>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Whether the ring keeps all output since the last
    /// [`Holder::checkpoint`](super::Holder::checkpoint), or from the beginning until there is one,
    /// whatever is acknowledged.
    pub checkpoints: bool,
    /// Where an earlier program's output ended, if there was one.
    pub resumed: Option<Resumed>,
    /// What the program may not do.
    pub confinement: wire::Confinement,
}

/// A session whose command is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Bytes of output so far. The new program's offsets continue from here.
    pub base: u64,
    /// Text that stands before the program's own output, at most [`wire::PREFACE_MAX`] bytes.
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
    /// The leader's exit, once it is reaped. Its output may still be arriving, see
    /// [`Reader::ended`].
    pub exit: Option<Exit>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The blob that the server has stored with it, at most [`wire::BLOB_MAX`] bytes.
    pub blob: Vec<u8>,
    /// The last checkpoint, if there is one.
    pub checkpoint: Option<Checkpoint>,
    /// Its output.
    pub ring: Arc<Reader>,
    /// The eventfd that the holder writes to. Do not read it; register it edge-triggered.
    pub wake: OwnedFd,
}

/// A held session that cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// The holder's entry.
    pub entry: Box<wire::Entry>,
    /// The blob that the server has stored with it.
    pub blob: Vec<u8>,
    /// Why it cannot be used.
    pub error: HolderError,
}

/// A message that the holder sends without a request. Each is a hint: the state is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A watched session has output.
    Output(SessionId),
    /// A leader has exited and its output is complete.
    Exited(SessionId),
    /// A holder has died, and another one with this process id has taken its place. The connection,
    /// the sessions and their rings are as they were.
    TakenOver {
        /// Process id of the new holder.
        pid: i32,
        /// Reads and writes of the dead one of which the kernel does not tell whether they were
        /// done: 0 unless it does not count. The output of the session says so.
        gaps: u64,
    },
    /// The connection is broken: the holder died, or another server took over. This is the last
    /// notice.
    Gone,
}
