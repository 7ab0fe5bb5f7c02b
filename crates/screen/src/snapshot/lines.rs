//! Lines of cells. A line is written from left to right over an erased one. Lines that continue the
//! one above are produced by wrapping, so that the reader knows it too.

use super::writer::{Detail, Writer};
use crate::buffer::Buffer;
use crate::cell::{COLOUR, Cell, Glyph, Style};
use crate::row::Row;
use crate::width::width;

/// Any character of two columns. It leaves an empty cell when its other half is overwritten.
const WIDE: &str = "\u{4e00}";

/// The reader's line before it is written.
struct Under {
    /// The background of its cells.
    bg: u32,
    /// A cell that must be written, whatever its content.
    dirty: Option<usize>,
    /// The first cell to write; the reader has those before it.
    from: usize,
}

impl Writer<'_> {
    /// Writes the screen and `scrollback` lines above it, with the detail that `details` has for
    /// each line of the screen. `None` if that is longer than `limit`.
    pub(super) fn lines(
        &mut self,
        buffer: &Buffer,
        scrollback: usize,
        details: &[Detail],
        limit: usize,
    ) -> Option<()> {
        let (rows, cols) = (buffer.rows, self.terminal.cols);
        self.x = 0;
        let first = buffer.base - scrollback.min(buffer.base);
        let shown: Vec<&Row> = buffer.lines.range(first..buffer.base + rows).collect();
        // If possible the saved cursor comes first: between other cells, its pen would split a link
        // in two.
        let saved = self.saved_line(buffer, first, shown.len());
        match saved {
            Some(line) if line < rows => self.save_at(buffer.saved, line, true),
            Some(line) if line >= shown.len() => self.save_below(buffer.saved, line),
            _ => {}
        }
        if shown[0].wrapped {
            self.wrap_oldest(rows);
        }
        // Lines at the end that were never written are left out, unless they push others into the
        // scrollback.
        let detail = |at: usize| match at.checked_sub(buffer.base - first) {
            Some(y) => details.get(y).copied().unwrap_or(Detail::Blank),
            None => Detail::Everything,
        };
        let says = |at: usize, row: &Row| {
            detail(at) > Detail::Blank
                && (row.wrapped || row.cells().iter().any(|cell| *cell != Cell::NULL))
        };
        let last = if first < buffer.base {
            shown.len()
        } else {
            shown.iter().enumerate().rfind(|(at, row)| says(*at, row)).map_or(0, |(at, _)| at + 1)
        };
        // A line with less detail than the one above does not continue it: wrapping would write too
        // much of the one or too little of the other.
        let joins = |at: usize| {
            shown.get(at).is_some_and(|row| row.wrapped)
                && at > 0
                && detail(at) == detail(at - 1)
                && detail(at) > Detail::Blank
        };
        for (at, row) in shown[..last].iter().enumerate() {
            if self.out.len() > limit {
                return None;
            }
            if self.detail != detail(at) {
                self.detail = Detail::Everything;
                self.plain();
                self.detail = detail(at);
            }
            let mut under = Under { bg: 0, dirty: None, from: 0 };
            let previous = at.checked_sub(1).map(|at| shown[at]);
            match previous {
                Some(previous) if joins(at) => {
                    under = self.wrap(previous, row, at >= rows, rows > 1)
                }
                Some(_) => {
                    // A line that scrolls in has the pen's background.
                    if at >= rows {
                        self.background(0);
                    }
                    self.text("\r\n");
                    self.x = 0;
                }
                None => {}
            }
            if saved == Some(at) && at >= rows {
                self.save_cursor(buffer.saved, rows - 1, false);
            }
            if self.detail > Detail::Blank {
                // The last cell of a single line is written, since nothing returns to it.
                let goes_on = joins(at + 1)
                    && shown[..last].get(at + 1).is_some_and(|next| {
                        rows > 1 || self.leaves_gap(next.get(0), row.get(cols - 1))
                    });
                self.cells(row, under, goes_on);
            }
        }
        if self.detail != Detail::Everything {
            self.detail = Detail::Everything;
            self.plain();
        }
        // The saved cursor has been used for other pens.
        if self.on_alternate && self.saved_on_alternate {
            self.save_at(buffer.saved, buffer.saved.y.min(rows - 1), false);
        }
        Some(())
    }

    /// The approximate length of a line by itself, in bytes.
    pub(super) fn length_of(&mut self, row: &Row) -> usize {
        self.out.clear();
        self.x = 0;
        self.cells(row, Under { bg: 0, dirty: None, from: 0 }, false);
        if row.wrapped {
            // The sequences that reach the line, and that mend the end of the one above.
            self.text("\x1b[A\x1b[B\x1b[999C");
        }
        self.text("\r\n");
        self.out.len()
    }

    /// Marks the first line as the continuation of one that is gone: reflow uses that, and a line
    /// may be inserted above.
    fn wrap_oldest(&mut self, rows: usize) {
        self.plain();
        self.go(self.terminal.cols - 1, rows - 1);
        self.text("  ");
        self.text("\n".repeat(rows - 1));
        self.text("\x1b[3J\x1b[H\x1b[X");
        self.x = 0;
    }

    /// Reaches the next line by printing beyond the end of `above`.
    fn wrap(&mut self, above: &Row, row: &Row, scrolls: bool, can_go_up: bool) -> Under {
        let cols = self.terminal.cols;
        let first = row.get(0);
        // Taking a pen that is not regular brings the cursor back from past the last column.
        let printable = self.is_printable(first)
            && first.width() > 0
            && self.pen_of(first.style()).is_regular();
        let mut repair = false;
        if self.leaves_gap(first, above.get(cols - 1)) {
            self.column(cols - 1);
        } else if self.x >= cols && self.ends_printed(above) {
            // The next character wraps already.
        } else if !can_go_up && !self.on_alternate {
            self.by_alternate(cols - 1, 0, cols);
        } else {
            repair = true;
            self.column(cols - 1);
            self.text(" ");
            self.x = cols;
        }
        if printable {
            self.style(first.style());
        } else {
            self.background(0);
        }
        let mut under =
            Under { bg: if scrolls { self.pen.bg & COLOUR } else { 0 }, dirty: None, from: 0 };
        self.x = 0;
        if printable {
            self.glyph(first);
            under.from = self.x;
        } else {
            self.text(" ");
            self.x = 1;
            under.dirty = Some(0);
        }
        if repair {
            self.text("\x1b[A");
            self.last_cell(above);
            self.text("\x1b[B");
            self.x = self.x.min(cols - 1);
        }
        under
    }

    /// Writes the cells of a line. The last one is left out if it shows nothing and the line
    /// continues, since reaching the next line overwrites it.
    fn cells(&mut self, row: &Row, mut under: Under, goes_on: bool) {
        let cols = self.terminal.cols;
        let end = if goes_on && !self.ends_printed(row) { cols - 1 } else { cols };
        let mut at = under.from;
        while at < end {
            let cell = row.get(at);
            if self.is_printable(cell) && has_room(row, at, cols) {
                self.column(at);
                self.style(cell.style());
                if cell.width() == 0 {
                    // Keep a mark from joining the character that was printed before.
                    self.text("\x1b\\");
                }
                self.glyph(cell);
                at += usize::from(cell.width().max(1));
            } else if !self.has_gap(cell) {
                // Also the left half of a wide character whose right half a resize cut off,
                // which nothing can write.
                let n = if under.dirty == Some(at) { 1 } else { same(row, at, end, under.dirty) };
                let bg = if self.detail == Detail::Everything { cell.bg & COLOUR } else { 0 };
                if bg != under.bg || under.dirty == Some(at) {
                    self.column(at);
                    self.background(bg);
                    self.csi(n, 'X');
                }
                at += n;
            } else if (at..cols).any(|at| !self.has_gap(row.get(at))) {
                self.gap(at, cell.style());
                under.dirty = Some(at + 1);
                at += 1;
            } else {
                self.last_cell(row);
                break;
            }
        }
    }

    /// An empty cell with attributes, in any column but the last: the left half of a wide
    /// character whose right half is overwritten with them.
    fn gap(&mut self, at: usize, style: Style) {
        self.column(at);
        self.text(WIDE);
        self.x = at + 2;
        self.column(at + 1);
        self.style(style);
        self.text(" ");
        self.x = at + 2;
    }

    /// Writes the last cell of a line if it shows nothing. If it has attributes, it is the right
    /// half of a wide character whose left half is overwritten with them, and the cells before it
    /// are written again, empty ones in the same way.
    fn last_cell(&mut self, row: &Row) {
        let mut at = self.terminal.cols - 1;
        while at > 0 && self.has_gap(row.get(at)) {
            self.column(at - 1);
            self.text(WIDE);
            self.x = at + 1;
            self.column(at - 1);
            self.style(row.get(at).style());
            self.text(" ");
            self.x = at;
            at -= 1;
        }
        if row.get(at).width() == 0 && !row.get(at).has_content() && at > 0 {
            at -= 1;
        }
        let cell = row.get(at);
        self.column(at);
        if self.is_printable(cell) && has_room(row, at, self.terminal.cols) {
            self.style(cell.style());
            if cell.width() == 0 {
                self.text("\x1b\\");
            }
            self.glyph(cell);
        } else {
            self.background(if self.detail == Detail::Everything { cell.bg } else { 0 });
            self.text("\x1b[X");
        }
    }

    /// Whether `first`, a wide character at the start of a line, leaves this gap at the end of the
    /// line above, where it did not fit.
    fn leaves_gap(&self, first: Cell, gap: Cell) -> bool {
        self.is_printable(first)
            && first.width() == 2
            && gap == Cell::new(0, 1, first.style())
            && self.pen_of(first.style()).is_regular()
    }

    /// Whether printing makes this cell. A mark that joins after a resize, or where a wide character
    /// was dropped, gives a cell the width of what was printed last.
    pub(super) fn is_printable(&self, cell: Cell) -> bool {
        match cell.glyph() {
            Glyph::None => false,
            Glyph::Char(c) => c.is_ascii() || width(c) == cell.width(),
            Glyph::Cluster(number) => {
                let first = self.terminal.clusters.get(number).chars().next();
                first.is_some_and(|c| width(c) == cell.width())
            }
        }
    }

    /// Whether the line's last column is written by printing, so that the next character wraps.
    fn ends_printed(&self, row: &Row) -> bool {
        let cols = self.terminal.cols;
        let last = row.get(cols - 1);
        (self.is_printable(last) && last.width() < 2)
            || (last.width() == 0 && cols > 1 && row.get(cols - 2).width() == 2)
    }

    /// An empty cell that erasing does not make.
    fn has_gap(&self, cell: Cell) -> bool {
        !self.is_printable(cell)
            && !cell.is_erased()
            && cell.width() == 1
            && self.detail == Detail::Everything
    }
}

/// Whether printing the cell overwrites no other: a resize may have cut off the right half of a
/// wide character.
fn has_room(row: &Row, at: usize, cols: usize) -> bool {
    row.get(at).width() < 2 || (at + 1 < cols && !row.get(at + 1).has_content())
}

/// The number of cells from `at` on, before `end` and a dirty one, that are erased alike.
fn same(row: &Row, at: usize, end: usize, dirty: Option<usize>) -> usize {
    let bg = row.get(at).bg & COLOUR;
    (at + 1..end)
        .find(|next| {
            let cell = row.get(*next);
            !cell.is_erased() || cell.bg & COLOUR != bg || dirty == Some(*next)
        })
        .unwrap_or(end)
        - at
}
