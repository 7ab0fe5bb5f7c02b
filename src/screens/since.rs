//! What a program has printed since an offset: its output from there on, on an empty screen of its own.
//! The session's screen cannot tell what on it is new.

use super::guard::guarded;
use crate::ring::Reader;
use crate::screen::{Options, Screen, View};
use bytes::BytesMut;

/// Bytes of a screen's cell, and of a line beside its cells.
const CELL: usize = 16;
const LINE: usize = 64;
/// Bytes that an empty screen takes.
const EMPTY: usize = 32 << 10;

/// A screen of the output since an offset.
pub struct ScreenSince {
    screen: Screen,
    scrollback: usize,
    offset: u64,
}

impl ScreenSince {
    /// An empty screen of this size, for the output from `offset` on.
    #[must_use]
    pub fn new((cols, rows): (u16, u16), scrollback: usize, offset: u64) -> Self {
        let screen = Screen::new(cols, rows, Options { scrollback });
        ScreenSince { screen, scrollback, offset }
    }

    /// The most memory that one of this size takes, in bytes.
    #[must_use]
    pub fn memory((cols, rows): (u16, u16), scrollback: usize) -> usize {
        let lines = usize::from(rows).saturating_add(scrollback);
        lines.saturating_mul(usize::from(cols) * CELL + LINE).saturating_add(EMPTY)
    }

    /// The lines of scrollback that fit into so much memory beside a screen of this size.
    #[must_use]
    pub fn lines_in(memory: usize, size: (u16, u16)) -> usize {
        let line = usize::from(size.0) * CELL + LINE;
        memory.saturating_sub(ScreenSince::memory(size, 0)) / line
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        self.screen.size()
    }

    /// The offset up to which output was applied.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the screen another size, and applies the output that there is by now. What the ring has
    /// lost meanwhile is passed over. Takes as long as the emulator needs; `None` if it has failed.
    #[must_use]
    pub fn advance(mut self, ring: &Reader, (cols, rows): (u16, u16)) -> Option<Self> {
        let head = ring.head();
        let mut bytes = BytesMut::new();
        while self.offset < head {
            bytes.clear();
            let most = usize::try_from(head - self.offset).unwrap_or(usize::MAX);
            match ring.read(self.offset, most, &mut bytes) {
                Ok(0) => break,
                Ok(length) => self.offset += length as u64,
                Err(_) => {
                    self.offset = ring.oldest().max(self.offset);
                    continue;
                }
            }
            guarded(|| {
                if self.screen.size() != (cols, rows) {
                    self.screen.resize(cols, rows);
                }
                self.screen.feed_skipping(&bytes, &mut Vec::new(), || false);
            })?;
        }
        Some(self)
    }

    /// The screen with its scrollback; `None` if the emulator has failed.
    #[must_use]
    pub fn view(&self) -> Option<View> {
        guarded(|| self.screen.view(self.scrollback))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_screen_takes_no_more_than_is_said() {
        let size = (200, 50);
        let mut since = ScreenSince::new(size, 100, 0);
        since.screen.feed("x".repeat(200 * 200).as_bytes(), &mut Vec::new());
        let view = since.view().unwrap();
        assert_eq!(view.len(), 150);
        let room = ScreenSince::memory(size, 100);
        assert_eq!(ScreenSince::lines_in(room, size), 100);
        assert!(view.memory() <= ScreenSince::memory(size, 100), "{}", view.memory());
    }
}
