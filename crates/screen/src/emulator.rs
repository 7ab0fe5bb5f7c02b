//! The screen, which is a parser and a terminal in one.

use crate::event::Event;
use crate::modes::Modes;
use crate::parser::Parser;
use crate::plain::PlainRun;
use crate::skip::Cut;
use crate::snapshot::{self, Reader, Snapshot};
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

/// What [`Screen::feed_to_run`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The number of bytes applied.
    pub bytes: usize,
    /// The length of the plain run behind them, if one was left.
    pub run: Option<usize>,
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
        screen.terminal.reads_snapshot = true;
        screen.feed(snapshot, &mut Vec::new());
        screen.terminal.reads_snapshot = false;
        screen.terminal.set_columns(size(cols, rows).0);
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
        enough: impl FnMut() -> bool,
    ) -> usize {
        self.apply(bytes, out, false, enough).bytes
    }

    /// As [`Screen::feed_skipping`], but a [plain run](PlainRun) at the end that may go on is left
    /// to the caller, who may [skip](Screen::skip) most of it once it is long, and feeds what is
    /// left when somebody needs the screen. It has no events.
    pub fn feed_to_run(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<Event>,
        enough: impl FnMut() -> bool,
    ) -> Applied {
        self.apply(bytes, out, true, enough)
    }

    /// Skips as much of a plain run as makes no difference once all of it is applied. Until then the
    /// screen [shows what was skipped](Screen::shows_skipped): it may be kept in a snapshot and
    /// restored. `run` is what [`Screen::feed_to_run`] has left, or the end of it unless it
    /// `is_whole`: that is enough if it says what the pen is. Returns how much of `run` was skipped,
    /// with all that is before it; `None` if nothing was, also because more than `left_max` bytes
    /// would be left.
    pub fn skip(&mut self, run: &[u8], is_whole: bool, left_max: usize) -> Option<usize> {
        let can_be_kept = self.is_plain() && snapshot::keeps_saved_cursor(&self.terminal);
        if can_be_kept { self.skip_plain(run, is_whole, left_max) } else { None }
    }

    /// Whether the screen or its scrollback lacks lines, because they were skipped and what follows
    /// them was not applied yet.
    pub fn shows_skipped(&self) -> bool {
        self.terminal.primary.skipped.is_any()
    }

    fn skip_plain(&mut self, run: &[u8], is_whole: bool, left_max: usize) -> Option<usize> {
        let (rows, scrollback) = (self.terminal.rows, self.terminal.scrollback);
        let cut = Cut::of(run, is_whole, rows, scrollback)?;
        if run.len() - cut.length > left_max {
            return None;
        }
        for pen in cut.pens {
            // Renditions have no events.
            self.feed(&run[pen], &mut Vec::new());
        }
        self.terminal.primary.empty();
        Some(cut.length)
    }

    fn apply(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<Event>,
        leave_run: bool,
        mut enough: impl FnMut() -> bool,
    ) -> Applied {
        let (mut at, mut fed) = (0, 0);
        while at < bytes.len() {
            let mut end = at;
            if self.is_plain() {
                let run = PlainRun::of(&bytes[at..]);
                if leave_run && run.may_go_on {
                    return Applied { bytes: at, run: Some(run.length) };
                }
                end += run.length;
                at += self.skip_plain(&bytes[at..end], true, usize::MAX).unwrap_or(0);
            }
            // The emulator finds the end of what else there is: if that is not before the next
            // line, the terminal is not in a plain state there.
            let line = memchr::memchr(b'\n', &bytes[end..]);
            end = line.map_or(bytes.len(), |line| end + line + 1);
            for piece in bytes[at..end].chunks(PIECE) {
                self.feed(piece, out);
                at += piece.len();
                fed += piece.len();
                if fed >= PIECE {
                    fed = 0;
                    if enough() {
                        return Applied { bytes: at, run: None };
                    }
                }
            }
        }
        Applied { bytes: at, run: None }
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
        snapshot::take(&self.terminal, &self.parser, Reader::Terminal, scrollback, limit)
    }

    /// As [`Screen::snapshot`], for [`Screen::restore`] alone: it also has what a narrower alternate
    /// screen hides beyond its edge, and a wider one shows again.
    pub fn kept(&self, scrollback: usize, limit: usize) -> Snapshot {
        snapshot::take(&self.terminal, &self.parser, Reader::Screen, scrollback, limit)
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
