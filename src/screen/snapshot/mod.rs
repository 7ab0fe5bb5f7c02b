//! A screen as escape sequences: written to a freshly reset terminal of the same size they
//! bring it to the same state, and ask it nothing.
//!
//! Order: what a reset may have left, the primary screen's lines with those that scrolled
//! off, its tabs, saved cursor and margins; the alternate screen likewise, if it is shown;
//! character sets and modes; pen and cursor; the beginning of a sequence that the program has
//! not finished.

mod lines;
mod pen;
mod state;
mod writer;

use super::parser::Parser;
use super::terminal::Terminal;
use writer::Writer;

/// A screen, written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Escape sequences and text.
    pub bytes: Vec<u8>,
    /// How many of `bytes`, at their end, are the beginning of a UTF-8 character. xterm.js 6
    /// loses some characters that come in two writes (second byte 0x80), so a server does
    /// better to cut them off and to send the output from that many bytes earlier.
    pub partial: usize,
    /// Lines of scrollback that are in it.
    pub scrollback: usize,
}

/// How much of the screen there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Everything,
    /// Text without attributes.
    Text,
    /// Nothing but modes and cursor.
    Blank,
}

/// The snapshot of a terminal with at most `scrollback` lines that scrolled off, in at most
/// `limit` bytes: the oldest lines go first, and if the screen alone is too much (it is
/// thousands of columns of colours), then its attributes, then its text.
pub(super) fn take(
    terminal: &Terminal,
    parser: &Parser,
    scrollback: usize,
    limit: usize,
) -> Snapshot {
    let mut lines = scrollback.min(terminal.primary.base);
    let mut detail = Detail::Everything;
    loop {
        let (mut bytes, starts) = write(terminal, lines, detail);
        bytes.extend_from_slice(parser.unfinished());
        bytes.extend_from_slice(parser.partial());
        if bytes.len() <= limit || detail == Detail::Blank {
            return Snapshot { bytes, partial: parser.partial().len(), scrollback: lines };
        }
        if lines > 0 {
            // As many of the oldest as hold what is too much, and one more for what the next
            // needs to say by itself.
            let excess = bytes.len() - limit;
            let first = starts.first().copied().unwrap_or(0);
            let dropped = starts.iter().position(|start| start - first >= excess).unwrap_or(lines);
            lines -= (dropped + 1).min(lines);
        } else if detail == Detail::Everything {
            detail = Detail::Text;
        } else {
            detail = Detail::Blank;
        }
    }
}

/// The sequences, and where in them each line of the primary screen starts.
fn write(terminal: &Terminal, scrollback: usize, detail: Detail) -> (Vec<u8>, Vec<usize>) {
    let mut writer = Writer::new(terminal, detail);
    writer.forget_leftovers();
    let starts = writer.lines(&terminal.primary, scrollback);
    if terminal.on_alternate {
        writer.finish_buffer(&terminal.primary);
        writer.plain();
        writer.text("\x1b[?47h\x1b[H");
        writer.lines(&terminal.alternate, 0);
        writer.finish_buffer(&terminal.alternate);
    } else {
        writer.hidden_saved_cursor(&terminal.alternate);
        writer.finish_buffer(&terminal.primary);
    }
    writer.charsets();
    writer.modes();
    writer.cursor();
    (writer.out, starts)
}
