//! A compressed snapshot of a screen, as a holder keeps it or while nobody reads the screen.

use crate::holder::CHECKPOINT_MAX;
use crate::screen::{Options, Screen, Snapshot};

/// The longest snapshot with scrollback, in bytes before compression: it has room for more than
/// 10,000 lines that change their colours often. The oldest scrollback is left out beyond it.
const KEPT_MAX: usize = 4 << 20;
/// The longest snapshot without scrollback, in bytes before compression: a screen of the largest
/// size whose every cell has colours of its own takes 45 MB.
const SCREEN_MAX: usize = 64 << 20;
/// The longest compressed snapshot, in bytes: what a holder accepts.
const COMPRESSED_MAX: usize = CHECKPOINT_MAX as usize;

/// Compressed escape sequences that rebuild a screen.
#[derive(Clone, Debug)]
pub(super) struct CompressedScreen {
    bytes: Vec<u8>,
    cols: u16,
    rows: u16,
    /// Whether nothing that the screen shows was left out, see [`CompressedScreen::of`].
    complete: bool,
}

/// The bytes are no compressed snapshot.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a kept screen cannot be read")]
pub(super) struct Unreadable;

impl CompressedScreen {
    /// Compresses a screen. It is complete unless the screen is too large for the holder, see
    /// [`CompressedScreen::is_complete`].
    pub(super) fn of(screen: &Screen) -> Self {
        let (cols, rows) = screen.size();
        let compress = |snapshot: Snapshot| {
            let bytes = lz4_flex::compress_prepend_size(&snapshot.bytes);
            CompressedScreen { bytes, cols, rows, complete: snapshot.complete }
        };
        let snapshot = screen.kept(usize::MAX, KEPT_MAX);
        if snapshot.complete {
            // Half of what the holder accepts, before compression.
            return compress(snapshot);
        }
        let mut limit = SCREEN_MAX;
        loop {
            let whole = compress(screen.kept(0, limit));
            if whole.bytes.len() <= COMPRESSED_MAX || limit <= KEPT_MAX {
                return whole;
            }
            limit /= 2;
        }
    }

    /// A screen on which nothing was ever printed.
    pub(super) fn blank((cols, rows): (u16, u16)) -> Self {
        CompressedScreen { bytes: lz4_flex::compress_prepend_size(b""), cols, rows, complete: true }
    }

    /// Wraps the bytes that a holder or the database has kept.
    pub(super) fn kept(bytes: Vec<u8>, (cols, rows): (u16, u16)) -> Self {
        CompressedScreen { bytes, cols, rows, complete: true }
    }

    /// Whether it has everything that the screen shows. A snapshot that a holder or the database
    /// has kept counts as complete, because nothing more of that screen exists.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn size(&self) -> (u16, u16) {
        (self.cols, self.rows)
    }

    pub(super) fn decompress(&self, options: Options) -> Result<Screen, Unreadable> {
        // The length comes first. A corrupt one must not make us reserve that much memory.
        let (length, _) =
            lz4_flex::block::uncompressed_size(&self.bytes).map_err(|_| Unreadable)?;
        if length > SCREEN_MAX {
            return Err(Unreadable);
        }
        let bytes = lz4_flex::decompress_size_prepended(&self.bytes).map_err(|_| Unreadable)?;
        Ok(Screen::restore(self.cols, self.rows, options, &bytes))
    }
}
