//! What a client gets that cannot be continued exactly: the end of what the ring still
//! holds, from the beginning of a line.

use crate::protocol::SNAPSHOT_MAX;
use crate::ring::Reader;
use bytes::{Buf, Bytes, BytesMut};

/// CAN, ST, RIS: ends whatever sequence the client's terminal was in, and resets it.
pub(crate) const RESET: &[u8] = b"\x18\x1b\\\x1bc";

/// Bytes that redraw the terminal as of an offset.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    /// Offset of the first output byte after it.
    pub(crate) offset: u64,
    /// At most [`SNAPSHOT_MAX`] bytes.
    pub(crate) bytes: Bytes,
}

/// Takes what the ring holds before its head now.
pub(crate) fn replay(ring: &Reader) -> Replay {
    loop {
        let offset = ring.head();
        let from = ring.oldest().max(offset.saturating_sub(SNAPSHOT_MAX as u64));
        let mut bytes = BytesMut::with_capacity((offset.saturating_sub(from)) as usize);
        // Overtaken in the meantime: the holder has written more than a ring can hold
        // beyond what we copied, so there is a newer end to take.
        let Ok(length) = ring.read(from, offset.saturating_sub(from) as usize, &mut bytes) else {
            continue;
        };
        if from > 0 {
            let line = bytes.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            bytes.advance(line);
        }
        return Replay { offset: from + length as u64, bytes: bytes.freeze() };
    }
}
