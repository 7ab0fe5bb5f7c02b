//! A screen as it is kept by a holder, or while nobody looks: a compressed snapshot.

use crate::screen::{Options, Screen};

/// The longest snapshot that is kept, in bytes before compression: more than 10,000 lines
/// that change their colours often. What is beyond it is the oldest scrollback.
const KEPT_MAX: usize = 4 << 20;

/// Compressed escape sequences that rebuild a screen.
#[derive(Clone, Debug)]
pub(super) struct Folded {
    bytes: Vec<u8>,
    cols: u16,
    rows: u16,
}

/// It cannot be unfolded.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a kept screen cannot be read")]
pub(super) struct Unreadable;

impl Folded {
    pub(super) fn of(screen: &Screen) -> Self {
        let snapshot = screen.snapshot(usize::MAX, KEPT_MAX);
        let (cols, rows) = screen.size();
        Folded { bytes: lz4_flex::compress_prepend_size(&snapshot.bytes), cols, rows }
    }

    /// Nothing was ever printed.
    pub(super) fn blank((cols, rows): (u16, u16)) -> Self {
        Folded { bytes: lz4_flex::compress_prepend_size(b""), cols, rows }
    }

    /// From what a holder kept.
    pub(super) fn kept(bytes: Vec<u8>, (cols, rows): (u16, u16)) -> Self {
        Folded { bytes, cols, rows }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn size(&self) -> (u16, u16) {
        (self.cols, self.rows)
    }

    pub(super) fn unfold(&self, options: Options) -> Result<Screen, Unreadable> {
        // The length comes first, and a broken one must not make us reserve it.
        let (length, _) =
            lz4_flex::block::uncompressed_size(&self.bytes).map_err(|_| Unreadable)?;
        if length > KEPT_MAX {
            return Err(Unreadable);
        }
        let bytes = lz4_flex::decompress_size_prepended(&self.bytes).map_err(|_| Unreadable)?;
        Ok(Screen::restore(self.cols, self.rows, options, &bytes))
    }
}
