//! The last screen of a session, kept after its end.

use super::compressed::{CompressedScreen, Unreadable};
use crate::screen::{Options, Screen};

/// The most lines of scrollback that any settings allow.
const LINES: usize = 100_000;

/// A terminal's screen and scrollback at the end of its session's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastScreen {
    /// Bytes of output that the screen has applied.
    pub offset: u64,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Compressed escape sequences that rebuild the screen.
    pub bytes: Vec<u8>,
}

impl LastScreen {
    pub(super) fn of(offset: u64, screen: CompressedScreen) -> Self {
        let (cols, rows) = screen.size();
        LastScreen { offset, cols, rows, bytes: screen.into_bytes() }
    }

    pub(super) fn decompress(self) -> Result<Screen, Unreadable> {
        CompressedScreen::kept(self.bytes, (self.cols, self.rows))
            .decompress(Options { scrollback: LINES })
    }
}
