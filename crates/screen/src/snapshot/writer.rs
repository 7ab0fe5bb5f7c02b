//! The text of a snapshot, and the expected state of the terminal that reads it.

use std::collections::HashMap;

use crate::cell::{Cell, Glyph, Pen};
use crate::charset::Charset;
use crate::terminal::Terminal;

/// The detail with which a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Nothing, because the line is empty.
    Blank,
    /// Text without attributes.
    Text,
    Everything,
}

pub(super) struct Writer<'a> {
    pub(super) out: Vec<u8>,
    pub(super) terminal: &'a Terminal,
    pub(super) detail: Detail,
    /// The reader's pen.
    pub(super) pen: Pen,
    /// The reader's character set in use.
    pub(super) charset: Charset,
    /// Whether the reader has the terminal's character sets.
    pub(super) has_charsets: bool,
    /// The reader's column; `cols` when the next character wraps.
    pub(super) x: usize,
    /// Whether the reader shows the alternate screen.
    pub(super) on_alternate: bool,
    /// Whether the reader's saved cursor there is not the terminal's.
    pub(super) saved_on_alternate: bool,
    /// The sequences that change one pen into another, cached because programs use few.
    pub(super) changes: HashMap<(Pen, Pen), Vec<u8>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(terminal: &'a Terminal, detail: Detail) -> Writer<'a> {
        Writer {
            out: Vec::new(),
            terminal,
            detail,
            pen: Pen::default(),
            charset: Charset::default(),
            has_charsets: false,
            x: 0,
            on_alternate: false,
            saved_on_alternate: false,
            changes: HashMap::new(),
        }
    }

    pub(super) fn text(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(text.as_ref());
    }

    /// `CSI n final`, with 1 left out.
    pub(super) fn csi(&mut self, n: usize, last: char) {
        if n == 1 {
            self.text(format!("\x1b[{last}"));
        } else {
            self.text(format!("\x1b[{n}{last}"));
        }
    }

    /// Moves along the line.
    pub(super) fn column(&mut self, x: usize) {
        if x == self.x {
            return;
        }
        if x == 0 {
            self.text("\r");
        } else if x > self.x && self.x < self.terminal.cols {
            self.csi(x - self.x, 'C');
        } else {
            self.csi(x + 1, 'G');
        }
        self.x = x;
    }

    /// Moves to a line and column of the screen, counted from 0.
    pub(super) fn go(&mut self, x: usize, y: usize) {
        if x == 0 && y == 0 {
            self.text("\x1b[H");
        } else if x == 0 {
            self.text(format!("\x1b[{}H", y + 1));
        } else {
            self.text(format!("\x1b[{};{}H", y + 1, x + 1));
        }
        self.x = x;
    }

    /// Prints the content of a cell with the present pen.
    pub(super) fn glyph(&mut self, cell: Cell) {
        match cell.glyph() {
            Glyph::None => {}
            Glyph::Char(c) => self.text(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Glyph::Cluster(number) => self.text(self.terminal.clusters.get(number).as_bytes()),
        }
        self.x += usize::from(cell.width().max(1));
    }
}
