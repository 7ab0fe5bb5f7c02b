//! Erasing, inserting and deleting cells and lines.

use crate::cell::Cell;
use crate::params::Params;
use crate::terminal::Terminal;

/// The most characters that one REP repeats: a full screen of 200 columns and 80 lines. A program
/// that requests two billions in a dozen bytes, again and again, then takes no longer.
const REPEAT_MAX: usize = 1 << 14;

/// Whether erasing spares protected cells (DECSED, DECSEL).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Erase {
    All,
    Unprotected,
}

impl Terminal {
    /// ED, DECSED
    pub(super) fn erase_display(&mut self, what: i32, erase: Erase) {
        self.restrict(self.cols);
        let (rows, cols) = (self.rows, self.cols);
        let (x, y) = (self.shown().x, self.shown().y);
        match what {
            0 => {
                self.erase_cells(y, x, cols, erase);
                if x == 0 {
                    self.buffer().row_mut(y).wrapped = false;
                }
                (y + 1..rows).for_each(|y| self.erase_line(y, erase));
            }
            1 => {
                self.erase_cells(y, 0, x + 1, erase);
                let buffer = self.buffer();
                buffer.row_mut(y).wrapped = false;
                // xterm.js counts from the oldest line here, instead of the screen's first.
                if x + 1 >= cols {
                    let at = (y + 1) % buffer.max;
                    if let Some(row) = buffer.lines.get_mut(at) {
                        row.wrapped = false;
                    }
                }
                (0..y).for_each(|y| self.erase_line(y, erase));
            }
            2 => (0..rows).for_each(|y| self.erase_line(y, erase)),
            3 => self.buffer().drop_scrollback(),
            _ => {}
        }
    }

    /// EL, DECSEL
    pub(super) fn erase_in_line(&mut self, what: i32, erase: Erase) {
        self.restrict(self.cols);
        let cols = self.cols;
        let (x, y) = (self.shown().x, self.shown().y);
        let (start, end) = match what {
            0 => (x, cols),
            1 => (0, x + 1),
            2 => (0, cols),
            _ => return,
        };
        self.erase_cells(y, start, end, erase);
        if what == 2 || (what == 0 && x == 0) {
            self.buffer().row_mut(y).wrapped = false;
        }
    }

    fn erase_cells(&mut self, y: usize, start: usize, end: usize, erase: Erase) {
        let fill = self.erased();
        let row = self.buffer().row_mut(y);
        match erase {
            Erase::All => row.erase(start, end, fill),
            Erase::Unprotected => row.erase_unprotected(start, end, fill),
        }
    }

    fn erase_line(&mut self, y: usize, erase: Erase) {
        let fill = self.erased();
        let row = self.buffer().row_mut(y);
        match erase {
            Erase::All => row.fill(fill),
            Erase::Unprotected => row.fill_unprotected(fill),
        }
        row.wrapped = false;
    }

    /// ECH
    pub(super) fn erase_chars(&mut self, n: usize) {
        self.restrict_to_last();
        let fill = self.erased();
        let buffer = self.buffer();
        let x = buffer.x;
        buffer.current().erase(x, x.saturating_add(n), fill);
    }

    /// ICH
    pub(super) fn insert_chars(&mut self, n: usize) {
        self.restrict_to_last();
        let fill = self.erased();
        let buffer = self.buffer();
        let x = buffer.x;
        buffer.current().insert(x, n, fill);
    }

    /// DCH
    pub(super) fn delete_chars(&mut self, n: usize) {
        self.restrict_to_last();
        let fill = self.erased();
        let buffer = self.buffer();
        let x = buffer.x;
        buffer.current().delete(x, n, fill);
    }

    fn in_margins(&self) -> bool {
        let buffer = self.shown();
        (buffer.top..=buffer.bottom).contains(&buffer.y)
    }

    /// IL
    pub(super) fn insert_lines(&mut self, n: usize) {
        self.restrict_to_last();
        if self.in_margins() {
            let fill = self.erased();
            let buffer = self.buffer();
            let (y, bottom) = (buffer.y, buffer.bottom);
            buffer.rotate(bottom, y, n, fill);
            buffer.x = 0;
        }
    }

    /// DL
    pub(super) fn delete_lines(&mut self, n: usize) {
        self.restrict_to_last();
        if self.in_margins() {
            let fill = self.erased();
            let buffer = self.buffer();
            let (y, bottom) = (buffer.y, buffer.bottom);
            buffer.rotate(y, bottom, n, fill);
            buffer.x = 0;
        }
    }

    /// SU
    pub(super) fn scroll_up(&mut self, n: usize) {
        let fill = self.erased();
        let buffer = self.buffer();
        let (top, bottom) = (buffer.top, buffer.bottom);
        buffer.rotate(top, bottom, n, fill);
    }

    /// SD: the new lines have no background, as in xterm.js.
    pub(super) fn scroll_down(&mut self, n: usize) {
        let buffer = self.buffer();
        let (top, bottom) = (buffer.top, buffer.bottom);
        buffer.rotate(bottom, top, n, Cell::NULL);
    }

    /// SL, SR, DECIC, DECDC: columns of every line between the margins.
    pub(super) fn shift_columns(&mut self, at: usize, n: usize, insert: bool) {
        if !self.in_margins() {
            return;
        }
        let fill = self.erased();
        let buffer = self.buffer();
        for y in buffer.top..=buffer.bottom {
            let row = buffer.row_mut(y);
            if insert {
                row.insert(at, n, fill);
            } else {
                row.delete(at, n, fill);
            }
            row.wrapped = false;
        }
    }

    /// DECALN
    pub(super) fn alignment_pattern(&mut self) {
        // xterm.js uses the pen's flags without its extended attributes here.
        let style = crate::cell::Style { fg: self.pen.fg, bg: self.pen.bg, ext: 0 };
        self.move_to(0, 0);
        let rows = self.rows;
        let buffer = self.buffer();
        let first = buffer.y;
        for y in first..first + rows {
            // Below the last line xterm.js continues with the oldest.
            let at = (buffer.base + y) % buffer.max;
            let Some(row) = buffer.lines.get_mut(at) else { continue };
            row.fill(Cell::new(u32::from('E'), 1, style));
            row.wrapped = false;
        }
        self.move_to(0, 0);
    }

    /// REP: as if the character were printed that often. Repetitions beyond [`REPEAT_MAX`] only
    /// move the cursor along its line.
    pub(super) fn repeat(&mut self, params: &Params) {
        let width = usize::from(self.preceding);
        let buffer = self.shown();
        let at = match buffer.x.checked_sub(width) {
            Some(at) if width > 0 => at,
            _ => return,
        };
        let text = match buffer.row(buffer.y).get(at).glyph() {
            crate::cell::Glyph::None => return,
            crate::cell::Glyph::Char(c) => c.to_string(),
            crate::cell::Glyph::Cluster(number) => self.clusters.get(number).to_string(),
        };
        let n = params.count(0);
        let a_line = self.cols / width;
        let n = if n > REPEAT_MAX { REPEAT_MAX + (n - REPEAT_MAX) % a_line } else { n };
        if let [byte] = text.as_bytes()
            && self.charset.map(*byte) == char::from(*byte)
        {
            let line = vec![*byte; self.cols];
            let mut left = n;
            while left > 0 {
                let now = left.min(line.len());
                self.print_plain(&line[..now]);
                left -= now;
            }
            return;
        }
        for _ in 0..n {
            for c in text.chars() {
                self.print_mapped(c);
            }
        }
    }
}
