//! The change from one file of a recording to the next.

use crate::protocol::SNAPSHOT_MAX;
use crate::ring::Reader;
use crate::screen::Snapshot;
use crate::screens::{Inspection, ScreenReader};
use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::time::{Duration, Instant};

/// The longest that a full file waits for the snapshot with which the next one begins. Nothing is
/// read from the ring meanwhile.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(2);

type Inspected = Inspection<(Snapshot, (u16, u16))>;

/// The beginning of the next file.
pub(super) struct NextFile {
    /// Bytes of output before the file.
    pub(super) offset: u64,
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// The screen as of `offset`, as output; `None` if there is no screen.
    pub(super) snapshot: Option<Vec<u8>>,
}

/// The progress of the change to the next file.
pub(super) enum Rotation {
    /// The file is not full.
    No,
    /// A snapshot was requested at this moment.
    AwaitsSnapshot(Instant, BoxFuture<'static, Option<Inspected>>),
    /// The file continues up to the next one's offset.
    Until(NextFile),
}

impl Rotation {
    /// Requests a snapshot of at most `limit` bytes.
    pub(super) fn start(screen: &ScreenReader, limit: usize) -> Self {
        let inspected = screen.inspect(move |screen| (screen.snapshot(0, limit), screen.size()));
        Rotation::AwaitsSnapshot(Instant::now(), inspected.boxed())
    }

    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self, Rotation::No)
    }

    /// Takes the snapshot if it has come; true if it has not. `written` and `size` are the
    /// recording's present offset and size. With `ends`, because the session has ended, the file no
    /// longer changes: the rest, a ring at most, still goes into this one.
    pub(super) fn awaits_snapshot(
        &mut self,
        ends: bool,
        ring: &Reader,
        written: u64,
        size: (u16, u16),
    ) -> bool {
        let Rotation::AwaitsSnapshot(since, inspected) = self else { return false };
        let inspected = match inspected.now_or_never() {
            Some(inspected) => inspected,
            None if ends => {
                *self = Rotation::No;
                return false;
            }
            None if since.elapsed() < SNAPSHOT_LIMIT => return true,
            None => None,
        };
        let next = inspected.and_then(|inspected| next_file(inspected, ring, written));
        *self = Rotation::Until(next.unwrap_or(NextFile { offset: written, size, snapshot: None }));
        false
    }

    /// The offset at which the file ends, once it is known.
    pub(super) fn stop(&self) -> Option<u64> {
        match self {
            Rotation::Until(next) => Some(next.offset),
            Rotation::No | Rotation::AwaitsSnapshot(..) => None,
        }
    }
}

/// Finds an offset for the next file at which the snapshot fits; `None` if there is none.
fn next_file(inspected: Inspected, ring: &Reader, written: u64) -> Option<NextFile> {
    let Inspection { offset, resizes, seen: (snapshot, size) } = inspected;
    let Inspection { offset, seen, .. } =
        Inspection { offset, resizes, seen: snapshot }.whole(ring);
    if seen.partial > 0 {
        return None;
    }
    let mut snapshot = seen.bytes;
    let Some(behind) = written.checked_sub(offset).filter(|&behind| behind > 0) else {
        return Some(NextFile { offset, size, snapshot: Some(snapshot) });
    };
    // A slow emulator has left the screen behind the recording. The output that the screen has not
    // applied yet is still in the ring.
    let mut since = BytesMut::new();
    let resized = ring.resizes_since(resizes);
    let length = usize::try_from(behind).unwrap_or(usize::MAX);
    let read = ring.read(offset, length, &mut since).ok()?;
    if read != length || !resized.is_empty() || length > SNAPSHOT_MAX {
        return None;
    }
    snapshot.extend_from_slice(&since);
    Some(NextFile { offset: written, size, snapshot: Some(snapshot) })
}
