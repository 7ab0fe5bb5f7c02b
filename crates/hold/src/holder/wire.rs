//! Messages between server and holder: pure framing, no I/O.
//!
//! ```text
//! [kind u8][flags u8][json_len u16][request u32][json: control][tail: raw bytes]
//! ```
//!
//! Integers are little-endian. JSON carries what is rare and will grow: unknown fields are
//! ignored and missing ones have defaults, so that a newer server can talk to an older
//! holder of the same major version. Input has a fixed binary tail and no JSON. A reply
//! repeats the request's number; notices have number 0.

use crate::exit::Exit;
use crate::id::{ClientKey, SessionId};
use serde::{Deserialize, Serialize};

/// Both sides must agree on it.
pub const MAJOR: u16 = 1;
/// Grows with each addition that the other side may not know.
pub const MINOR: u16 = 2;
/// The first minor version whose holders take checkpoints.
pub const CHECKPOINTS_SINCE: u16 = 1;
/// The first minor version whose holders start a session behind earlier output.
pub const BASES_SINCE: u16 = 2;
/// The longest [`Spawn::preface`], in bytes.
pub const PREFACE_MAX: usize = 4 << 10;
/// The longest message in bytes: well below a socket's buffer, so that many fit.
pub const MESSAGE_MAX: usize = 32 << 10;
/// Input bytes in one message.
pub const INPUT_CHUNK: usize = 16 << 10;
/// Sessions in one page of a listing: up to three descriptors each, and the kernel passes no
/// more than 253 that were not received yet by a peer with a low limit.
pub const PAGE_MAX: usize = 84;
/// The longest checkpoint in bytes. A screen with 10,000 lines of scrollback takes a few
/// hundred bytes a line at worst; what is larger is a mistake that the holder would have to
/// carry for each of its sessions.
pub const CHECKPOINT_MAX: u64 = 8 << 20;
/// Bytes before the JSON.
pub const HEADER: usize = 8;
/// Bytes before the keystrokes in an input message's tail.
const INPUT_HEADER: usize = 40;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First message either way: [`Hello`].
    Hello = 1,
    /// [`Spawn`], the blob as tail, the [`ExecSpec`] in a memfd; answered by an [`Entry`].
    Spawn = 2,
    /// [`List`]; answered by [`Kind::Entry`] messages, then [`Listed`].
    List = 3,
    /// Keystrokes; not answered, see the ring's ledger.
    Input = 4,
    /// [`Resize`]; not answered, see the ring's resize log.
    Resize = 5,
    /// [`Target`]: there is room in the ring again. Not answered.
    Resume = 6,
    /// [`Signal`].
    Signal = 7,
    /// [`Target`], the new blob as tail.
    Blob = 8,
    /// [`Target`]: free an ended session.
    Forget = 9,
    /// [`Checkpoint`], its bytes in a sealed memfd (none: it has no bytes).
    Checkpoint = 10,
    /// Nothing; answered by [`Stats`].
    Stats = 11,
    /// As [`Kind::Input`], but the bytes only count: they are not for the program. What a
    /// client's terminal says by itself stands among its keystrokes.
    Counted = 12,

    /// It was done.
    Done = 0x40,
    /// One held session: [`Entry`], its blob as tail, its ring, its eventfd and its
    /// checkpoint's bytes, if there are any.
    Entry = 0x41,
    /// A page of a listing is complete: [`Listed`].
    Listed = 0x42,
    /// It was not done: [`Failure`].
    Failed = 0x43,

    /// A watched session has output: [`Target`].
    Output = 0x80,
    /// A session's leader has exited and its output is complete: [`Target`].
    Exited = 0x81,
}

impl Kind {
    /// The kind that `byte` means, if any.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{
            Blob, Checkpoint, Counted, Done, Entry, Exited, Failed, Forget, Hello, Input, List,
            Listed, Output, Resize, Resume, Signal, Spawn, Stats,
        };
        let kinds = [
            Hello, Spawn, List, Input, Resize, Resume, Signal, Blob, Forget, Checkpoint, Stats,
            Counted, Done, Entry, Listed, Failed, Output, Exited,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A message taken apart, borrowed from the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// See [`Kind`]; a byte that this side does not know is answered with a [`Failure`].
    pub kind: u8,
    /// Number of the request, 0 in notices.
    pub request: u32,
    /// Control words.
    pub json: &'a [u8],
    /// Raw bytes.
    pub tail: &'a [u8],
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

impl<'a> Message<'a> {
    /// Takes a received packet apart.
    ///
    /// # Errors
    /// It is shorter than it says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Malformed)?;
        let [kind, _flags, l0, l1, r0, r1, r2, r3] = *header;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let (json, tail) = rest.split_at_checked(length).ok_or(Malformed)?;
        Ok(Message { kind, request: u32::from_le_bytes([r0, r1, r2, r3]), json, tail })
    }

    /// The control words.
    ///
    /// # Errors
    /// They are not JSON of that shape.
    pub fn control<T: Deserialize<'a>>(&self) -> Result<T, Malformed> {
        serde_json::from_slice(self.json).map_err(|_| Malformed)
    }
}

/// Builds a message in `out`, replacing what was there.
///
/// # Errors
/// The control words do not fit.
pub fn encode<T: Serialize>(
    out: &mut Vec<u8>,
    kind: Kind,
    request: u32,
    control: Option<&T>,
    tail: &[u8],
) -> Result<(), Malformed> {
    out.clear();
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    out.extend_from_slice(&request.to_le_bytes());
    if let Some(control) = control {
        serde_json::to_writer(&mut *out, control).map_err(|_| Malformed)?;
        let length = u16::try_from(out.len().saturating_sub(HEADER)).map_err(|_| Malformed)?;
        if let Some(field) = out.get_mut(2..4) {
            field.copy_from_slice(&length.to_le_bytes());
        }
    }
    out.extend_from_slice(tail);
    if out.len() > MESSAGE_MAX { Err(Malformed) } else { Ok(()) }
}

/// Keystrokes of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputTail<'a> {
    /// The session.
    pub id: SessionId,
    /// Who types.
    pub key: ClientKey,
    /// Bytes of this client before these.
    pub offset: u64,
    /// At most [`INPUT_CHUNK`].
    pub bytes: &'a [u8],
}

impl<'a> InputTail<'a> {
    /// Takes the tail of an input message apart.
    ///
    /// # Errors
    /// It is too short.
    pub fn parse(tail: &'a [u8]) -> Result<Self, Malformed> {
        let (header, bytes) = tail.split_at_checked(INPUT_HEADER).ok_or(Malformed)?;
        let (id, rest) = header.split_first_chunk::<16>().ok_or(Malformed)?;
        let (key, offset) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
        let offset = offset.first_chunk::<8>().ok_or(Malformed)?;
        Ok(InputTail {
            id: SessionId::from_bytes(*id),
            key: ClientKey::from_bytes(*key),
            offset: u64::from_le_bytes(*offset),
            bytes,
        })
    }

    /// The whole message, [`Kind::Input`] or [`Kind::Counted`].
    #[must_use]
    pub fn encode(&self, kind: Kind) -> Vec<u8> {
        let length = HEADER.saturating_add(INPUT_HEADER).saturating_add(self.bytes.len());
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&[kind as u8, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.id.to_bytes());
        out.extend_from_slice(&self.key.to_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(self.bytes);
        out
    }
}

/// Who speaks.
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

/// What the shim becomes.
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
    /// How the leader ended, once reaped.
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
    /// How many bytes it has; 0: no descriptor comes with it.
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

/// What a checkpoint stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Bytes of output that it has seen. Not before the last checkpoint's and not beyond
    /// head.
    pub offset: u64,
    /// Bytes that were answered to queries in that output: how far the input of
    /// [`ClientKey::REPLIES`] had come.
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

/// What the holder counts.
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

/// Why something was not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure; machines match on it.
    #[serde(default)]
    pub code: FailureCode,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// The step of a spawn that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Its errno.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The holder's own major version, if that is what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<u16>,
}

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// A message that this holder does not know, or cannot read.
    Invalid,
    /// Another major version.
    Version,
    /// No such session.
    NotFound,
    /// The session is still running.
    Live,
    /// The session has ended.
    Ended,
    /// A limit of the system was reached.
    Limit,
    /// A step of a spawn failed.
    Step,
    /// The holder is ending.
    Closing,
    /// Anything else, and codes of a newer holder.
    #[default]
    #[serde(other)]
    Other,
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
