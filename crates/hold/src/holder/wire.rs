//! Messages between server and holder: framing only, without I/O.
//!
//! ```text
//! [kind u8][flags u8][json_len u16][request u32][json: control][tail: raw bytes]
//! ```
//!
//! Integers are little-endian. JSON carries what is rare and will be extended: unknown fields are
//! ignored and missing ones have defaults, so that a newer server can use an older holder of the
//! same major version. In an [`ExecSpec`] alone, unknown fields are refused: a program must not run
//! with less confinement than was asked for. Input has a fixed binary tail and no JSON. A reply
//! repeats the request's number; notices have number 0.

mod confinement;
mod control;
mod failure;

use crate::id::{ClientKey, SessionId};
use serde::{Deserialize, Serialize};

pub use confinement::{Account, Confinement, Limits};
pub use control::{
    CONFINES, Checkpoint, CheckpointMeta, DISCARDS, Discard, Entry, ExecSpec, Hello, List, Listed,
    MAJOR, MINOR, Resize, Signal, Spawn, Stats, Target, Upgrade,
};
pub use failure::{Failure, FailureCode};

/// The longest [`Spawn::preface`], in bytes.
pub const PREFACE_MAX: usize = 4 << 10;
/// The longest message in bytes: well below a socket's buffer, so that many fit.
pub const MESSAGE_MAX: usize = 32 << 10;
/// The most input bytes in one message.
pub const INPUT_CHUNK: usize = 16 << 10;
/// The most sessions in one page of a listing. Each has up to three descriptors, and the kernel
/// passes a peer with a low limit no more than 253 that it has not received yet.
pub const PAGE_MAX: usize = 84;
/// The longest checkpoint in bytes. A screen with 10,000 lines of scrollback takes a few hundred
/// bytes a line at worst. Anything larger is a mistake, which the holder would have to store for
/// each session.
pub const CHECKPOINT_MAX: u64 = 8 << 20;
/// The longest blob that is stored with a session, in bytes.
pub const BLOB_MAX: usize = 4 << 10;
/// Bytes before the JSON.
pub const HEADER: usize = 8;
/// Bytes before the keystrokes in an input message's tail.
const INPUT_HEADER: usize = 40;

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// First message either way: [`Hello`].
    Hello = 1,
    /// [`Spawn`], the blob as tail, the [`ExecSpec`] in a memfd. The reply is an [`Entry`].
    Spawn = 2,
    /// [`List`]. The replies are [`Kind::Entry`] messages, then [`Listed`].
    List = 3,
    /// Keystrokes. Has no reply, see the ring's ledger.
    Input = 4,
    /// [`Resize`]. Has no reply, see the ring's resize log.
    Resize = 5,
    /// [`Target`]: there is room in the ring again. Has no reply.
    Resume = 6,
    /// [`Signal`].
    Signal = 7,
    /// [`Target`], with the new blob as tail.
    Blob = 8,
    /// [`Target`]: free an ended session.
    Forget = 9,
    /// [`Checkpoint`], with its bytes in a sealed memfd (none if it has no bytes).
    Checkpoint = 10,
    /// An empty request. The reply is [`Stats`].
    Stats = 11,
    /// As [`Kind::Input`], but the bytes only count as received and are not for the program,
    /// because a client's terminal sends its own messages among the keystrokes.
    Counted = 12,
    /// [`Discard`]: output that nobody needs any more. Has no reply.
    Discard = 13,
    /// [`Upgrade`], with the program in a file, in place of a hello. The reply is a [`Hello`] of the
    /// holder that the program runs.
    Upgrade = 14,

    /// The request was performed.
    Done = 0x40,
    /// One held session: [`Entry`], its blob as tail, its ring, its eventfd and its
    /// checkpoint's bytes, if there are any.
    Entry = 0x41,
    /// A page of a listing is complete: [`Listed`].
    Listed = 0x42,
    /// The request was refused or has failed: [`Failure`].
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
            Blob, Checkpoint, Counted, Discard, Done, Entry, Exited, Failed, Forget, Hello, Input,
            List, Listed, Output, Resize, Resume, Signal, Spawn, Stats, Upgrade,
        };
        let kinds = [
            Hello, Spawn, List, Input, Resize, Resume, Signal, Blob, Forget, Checkpoint, Stats,
            Counted, Discard, Upgrade, Done, Entry, Listed, Failed, Output, Exited,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A parsed message, borrowed from the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// See [`Kind`]. A byte that this side does not know is answered with a [`Failure`].
    pub kind: u8,
    /// Number of the request; 0 in notices.
    pub request: u32,
    /// The control words.
    pub json: &'a [u8],
    /// Raw bytes.
    pub tail: &'a [u8],
}

/// The bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

impl<'a> Message<'a> {
    /// Parses a received packet.
    ///
    /// # Errors
    /// The packet is shorter than its header says.
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
    /// They are not JSON of that type.
    pub fn control<T: Deserialize<'a>>(&self) -> Result<T, Malformed> {
        serde_json::from_slice(self.json).map_err(|_| Malformed)
    }
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Failure::invalid("malformed request")
    }
}

/// Builds a message in `out`, replacing what was there.
///
/// # Errors
/// The message does not fit.
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
    /// The client that types.
    pub key: ClientKey,
    /// The number of bytes of this client before these.
    pub offset: u64,
    /// The bytes, at most [`INPUT_CHUNK`].
    pub bytes: &'a [u8],
}

impl<'a> InputTail<'a> {
    /// Parses the tail of an input message.
    ///
    /// # Errors
    /// The tail is too short.
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

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
