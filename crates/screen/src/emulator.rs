//! The screen, which is a parser and a terminal in one.

use crate::event::Event;
use crate::modes::Modes;
use crate::parser::Parser;
use crate::skip::{self, Step};
use crate::snapshot::{self, Snapshot};
use crate::terminal::Terminal;
use crate::view::View;

/// The least columns of a terminal, so that a wide character has room.
const COLS_MIN: u16 = 2;
/// Bytes between two sweeps of tables that may have grown.
const SLICE: usize = 64 * 1024;
/// Bytes between two questions whether to stop: even if each byte belongs to a sequence that fills
/// the screen, they take milliseconds.
const PIECE: usize = 4 * 1024;

/// The options of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The number of scrollback lines that are kept.
    pub scrollback: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { scrollback: 1000 }
    }
}

/// The position of the cursor, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Column.
    pub x: u16,
    /// Line of the screen.
    pub y: u16,
    /// Whether the next character goes to the next line; `x` is the last column then.
    pub wraps: bool,
}

/// The state of a terminal, with everything that it shows.
#[derive(Debug)]
pub struct Screen {
    parser: Parser,
    terminal: Terminal,
}

impl Screen {
    /// An empty screen of at least 2 columns and 1 line.
    pub fn new(cols: u16, rows: u16, options: Options) -> Screen {
        let (cols, rows) = size(cols, rows);
        Screen { parser: Parser::new(), terminal: Terminal::new(cols, rows, options.scrollback) }
    }

    /// The screen of which `snapshot` was taken, at the same size.
    pub fn restore(cols: u16, rows: u16, options: Options, snapshot: &[u8]) -> Screen {
        let mut screen = Screen::new(cols, rows, options);
        screen.feed(snapshot, &mut Vec::new());
        screen
    }

    /// Applies output of the program. The events in it are appended to `out`, in order. Bells
    /// in a row are one event, and so are replies in a row.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<Event>) {
        for slice in bytes.chunks(SLICE) {
            self.parser.feed(slice, &mut self.terminal);
            self.terminal.sweep();
            for event in self.terminal.events.drain(..) {
                match (out.last_mut(), event) {
                    (Some(Event::Bell), Event::Bell) => {}
                    (Some(Event::Reply(before)), Event::Reply(more)) => before.extend(more),
                    (_, event) => out.push(event),
                }
            }
        }
    }

    /// As `feed`, but faster: text that has left screen and scrollback by the end of `bytes` is not
    /// emulated. The result is the same to the last cell. Between pieces `enough` says whether to
    /// stop. Returns the number of bytes applied.
    pub fn feed_skipping(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<Event>,
        mut enough: impl FnMut() -> bool,
    ) -> usize {
        for step in skip::plan(bytes, self.terminal.rows, self.terminal.scrollback) {
            let range = match step {
                Step::Pass { bytes: passed, pens, bell } if self.is_plain() => {
                    if bell && out.last() != Some(&Event::Bell) {
                        out.push(Event::Bell);
                    }
                    for pen in pens {
                        self.feed(&bytes[pen], out);
                    }
                    self.terminal.primary.empty();
                    if enough() {
                        return passed.end;
                    }
                    continue;
                }
                Step::Pass { bytes: range, .. } | Step::Feed(range) => range,
            };
            let mut at = range.start;
            for piece in bytes[range].chunks(PIECE) {
                self.feed(piece, out);
                at += piece.len();
                if enough() {
                    return at;
                }
            }
        }
        bytes.len()
    }

    fn is_plain(&self) -> bool {
        let between = self.parser.unfinished().is_empty() && self.parser.partial().is_empty();
        between && self.terminal.is_plain()
    }

    /// Changes the screen's size. Lines of the primary screen are wrapped again.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        let (cols, rows) = size(cols, rows);
        self.terminal.resize(cols, rows);
    }

    /// A snapshot of the screen with at most `scrollback` lines above it, in at most `limit` bytes:
    /// the oldest lines are left out first. The few hundred bytes of modes, title and changed
    /// colours are written whatever the limit.
    pub fn snapshot(&self, scrollback: usize, limit: usize) -> Snapshot {
        snapshot::take(&self.terminal, &self.parser, scrollback, limit)
    }

    /// The content of the screen, with at most `scrollback` lines above it.
    pub fn view(&self, scrollback: usize) -> View {
        View::new(&self.terminal, scrollback)
    }

    /// Columns and lines.
    pub fn size(&self) -> (u16, u16) {
        (self.terminal.cols as u16, self.terminal.rows as u16)
    }

    /// The title, empty when there is none.
    pub fn title(&self) -> &str {
        &self.terminal.title
    }

    /// The position of the cursor.
    pub fn cursor(&self) -> Cursor {
        let buffer = self.terminal.shown();
        let x = buffer.x.min(buffer.cols - 1);
        Cursor { x: x as u16, y: buffer.y as u16, wraps: buffer.x >= buffer.cols }
    }

    /// The modes that are set.
    pub fn modes(&self) -> &Modes {
        &self.terminal.modes
    }

    /// Whether the alternate screen is shown.
    pub fn is_alternate(&self) -> bool {
        self.terminal.on_alternate
    }

    /// The numbers of clusters, attributes and links that are kept.
    #[cfg(test)]
    pub(super) fn table_sizes(&self) -> [usize; 3] {
        let terminal = &self.terminal;
        [terminal.clusters.len(), terminal.exts.len(), terminal.links.len()]
    }

    /// The number of scrollback lines.
    pub fn scrollback(&self) -> usize {
        self.terminal.primary.base
    }
}

fn size(cols: u16, rows: u16) -> (usize, usize) {
    (usize::from(cols.max(COLS_MIN)), usize::from(rows.max(1)))
}
