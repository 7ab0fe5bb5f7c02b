//! What a session showed last, kept after its end.

use super::compressed::{CompressedScreen, Unreadable};
use crate::screen::{Options, Screen};

/// Lines of scrollback that are shown again: as many as any settings can have kept.
const LINES: usize = 100_000;

/// A terminal's screen and scrollback at the end of its session's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastScreen {
    /// Bytes of output that it shows.
    pub offset: u64,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Compressed escape sequences that rebuild it.
    pub bytes: Vec<u8>,
}

impl LastScreen {
    pub(super) fn of(offset: u64, folded: CompressedScreen) -> Self {
        let (cols, rows) = folded.size();
        LastScreen { offset, cols, rows, bytes: folded.into_bytes() }
    }

    pub(super) fn restore(self) -> Result<Screen, Unreadable> {
        CompressedScreen::kept(self.bytes, (self.cols, self.rows))
            .unfold(Options { scrollback: LINES })
    }
}
