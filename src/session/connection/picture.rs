//! A client that cannot be continued exactly gets a picture of the terminal, at a known offset.

use super::super::handle::SessionHandle;
use crate::protocol::SNAPSHOT_MAX;
use crate::ring::Reader;
use crate::screens::Inspection;
use bytes::{Buf, Bytes, BytesMut};
use std::sync::Arc;

/// CAN, ST, RIS: ends whatever sequence the client's terminal was in, and resets it.
pub(crate) const RESET: &[u8] = b"\x18\x1b\\\x1bc";

/// Bounds a picture of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Lines of scrollback.
    pub scrollback: usize,
    /// Bytes in all; the oldest scrollback is left out first.
    pub limit: usize,
}

/// A picture, and what it was drawn for.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// Offset of the first output byte after it.
    pub(super) offset: u64,
    /// They redraw the terminal as of that offset, after a reset.
    pub(super) bytes: Bytes,
    /// Changes of size before it.
    pub(super) resizes: u64,
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// They show all that the screen shows.
    pub(super) complete: bool,
}

/// Draws the terminal as it is after all output of this moment; where it has no screen any
/// more, its output is the picture.
pub(super) async fn draw(handle: Arc<SessionHandle>, picture: Picture) -> Drawn {
    let look = handle
        .screen()
        .inspect(move |screen| (screen.snapshot(picture.scrollback, picture.limit), screen.size()));
    if let Some(Inspection { offset, resizes, seen: (snapshot, size) }) = look.await {
        let Inspection { offset, seen, .. } =
            Inspection { offset, resizes, seen: snapshot }.whole(handle.ring());
        let complete = seen.complete;
        return Drawn { offset, bytes: seen.bytes.into(), resizes, size, complete };
    }
    let resizes = handle.ring().resize_count();
    let view = handle.view();
    let (offset, bytes) = end(handle.ring());
    let size = (view.cols, view.rows);
    Drawn { offset, bytes, resizes, size, complete: false }
}

/// The end of what the ring holds before its head now, from the beginning of a line.
fn end(ring: &Reader) -> (u64, Bytes) {
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
        return (from + length as u64, bytes.freeze());
    }
}
