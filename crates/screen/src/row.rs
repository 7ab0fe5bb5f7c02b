//! One line of cells and the edits inside it. Trailing cells that were never written take no
//! memory.

use crate::cell::{Cell, Style};

/// A line. `cells` may end early: the rest, up to `len`, is [`Cell::NULL`].
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    cells: Vec<Cell>,
    len: usize,
    /// Whether the line continues the one above: there is no line break between them.
    pub(super) wrapped: bool,
}

impl Row {
    /// A line of `len` erased cells.
    pub(super) fn blank(len: usize, fill: Cell, wrapped: bool) -> Row {
        let mut row = Row { cells: Vec::new(), len, wrapped };
        row.fill(fill);
        row
    }

    /// Erases the whole line, keeping its memory.
    pub(super) fn reuse(&mut self, len: usize, fill: Cell, wrapped: bool) {
        self.len = len;
        self.wrapped = wrapped;
        self.fill(fill);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The cells up to the last that was written.
    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    pub(super) fn cells_mut(&mut self) -> &mut [Cell] {
        &mut self.cells
    }

    /// Reduces the line's memory to about what its cells need: that of `spare` if it is about as
    /// large. Returns a row with the memory it had.
    pub(super) fn pack(&mut self, spare: Row) -> Row {
        let used = self.cells.iter().rposition(|cell| *cell != Cell::NULL).map_or(0, |at| at + 1);
        let used = &self.cells[..used];
        let mut packed = spare.cells;
        if (used.len()..=used.len() * 3 / 2 + 8).contains(&packed.capacity()) {
            packed.clear();
            packed.extend_from_slice(used);
        } else {
            packed = used.to_vec();
        }
        Row { cells: std::mem::replace(&mut self.cells, packed), ..Row::default() }
    }

    pub(super) fn get(&self, at: usize) -> Cell {
        match self.cells.get(at) {
            Some(cell) => *cell,
            None if at < self.len => Cell::NULL,
            None => Cell::BEYOND,
        }
    }

    #[inline]
    pub(super) fn set(&mut self, at: usize, cell: Cell) {
        if at < self.cells.len() {
            self.cells[at] = cell;
        } else if at < self.len && cell != Cell::NULL {
            if at > self.cells.len() {
                self.cells.resize(at, Cell::NULL);
            }
            self.cells.push(cell);
        }
    }

    /// Erases the right half of a wide character at `at` whose left half was just overwritten.
    #[inline]
    pub(super) fn mend(&mut self, at: usize, style: Style) {
        // A cell that was never written is no half.
        if let Some(cell) = self.cells.get_mut(at)
            && cell.width() == 0
            && !cell.has_content()
        {
            *cell = Cell::new(0, 1, style);
        }
    }

    /// Writes ASCII from `at` on; it must fit.
    pub(super) fn write_ascii(&mut self, at: usize, text: &[u8], style: Style) {
        if self.cells.len() < at {
            self.cells.resize(at, Cell::NULL);
        }
        let overlap = (self.cells.len() - at).min(text.len());
        for (cell, byte) in self.cells[at..at + overlap].iter_mut().zip(text) {
            *cell = Cell::new(u32::from(*byte), 1, style);
        }
        self.cells.extend(text[overlap..].iter().map(|byte| Cell::new(u32::from(*byte), 1, style)));
    }

    pub(super) fn fill(&mut self, fill: Cell) {
        self.cells.clear();
        if fill != Cell::NULL {
            self.cells.resize(self.len, fill);
        }
    }

    pub(super) fn fill_unprotected(&mut self, fill: Cell) {
        for at in 0..self.len {
            if !self.get(at).is_protected() {
                self.set(at, fill);
            }
        }
    }

    /// The number of columns up to the last that shows something.
    pub(super) fn trimmed_len(&self) -> usize {
        self.cells
            .iter()
            .rposition(Cell::has_content)
            .map_or(0, |at| at + usize::from(self.cells[at].width()))
    }

    /// Moves the cells from `at` on to the right by `n`. Those that leave the line are lost.
    pub(super) fn insert(&mut self, at: usize, n: usize, fill: Cell) {
        let at = at % self.len.max(1);
        if at > 0 && self.get(at - 1).width() == 2 {
            self.set(at - 1, Cell::new(0, 1, fill.style()));
        }
        if n < self.len - at {
            self.cells.resize(self.len, Cell::NULL);
            self.cells.copy_within(at..self.len - n, at + n);
            self.cells[at..at + n].fill(fill);
        } else {
            self.fill_from(at, fill);
        }
        if self.len > 0 && self.get(self.len - 1).width() == 2 {
            self.set(self.len - 1, Cell::new(0, 1, fill.style()));
        }
    }

    /// Removes `n` cells at `at`; the line is filled up from the right.
    pub(super) fn delete(&mut self, at: usize, n: usize, fill: Cell) {
        let at = at % self.len.max(1);
        if n < self.len - at {
            self.cells.resize(self.len, Cell::NULL);
            self.cells.copy_within(at + n.., at);
            let len = self.len;
            self.cells[len - n..].fill(fill);
        } else {
            self.fill_from(at, fill);
        }
        if at > 0 && self.get(at - 1).width() == 2 {
            self.set(at - 1, Cell::new(0, 1, fill.style()));
        }
        let first = self.get(at);
        if first.width() == 0 && !first.has_content() {
            self.set(at, Cell::new(0, 1, fill.style()));
        }
    }

    /// Erases from `start` up to `end`, and halves of wide characters that this leaves.
    pub(super) fn erase(&mut self, start: usize, end: usize, fill: Cell) {
        if start > 0 && self.get(start - 1).width() == 2 {
            self.set(start - 1, Cell::new(0, 1, fill.style()));
        }
        if end < self.len && end > 0 && self.get(end - 1).width() == 2 {
            self.set(end, Cell::new(0, 1, fill.style()));
        }
        if end >= self.len {
            self.fill_from(start, fill);
        } else {
            for at in start..end {
                self.set(at, fill);
            }
        }
    }

    /// As `erase`, sparing protected cells.
    pub(super) fn erase_unprotected(&mut self, start: usize, end: usize, fill: Cell) {
        if start > 0 && self.get(start - 1).width() == 2 && !self.get(start - 1).is_protected() {
            self.set(start - 1, Cell::new(0, 1, fill.style()));
        }
        if end < self.len
            && end > 0
            && self.get(end - 1).width() == 2
            && !self.get(end).is_protected()
        {
            self.set(end, Cell::new(0, 1, fill.style()));
        }
        for at in start..end.min(self.len) {
            if !self.get(at).is_protected() {
                self.set(at, fill);
            }
        }
    }

    /// Changes the line's length. Cells that no longer fit are lost.
    pub(super) fn resize(&mut self, len: usize) {
        self.len = len;
        self.cells.truncate(len);
    }

    /// Copies the cells of `source` to column `to`.
    pub(super) fn copy(&mut self, source: &[Cell], to: usize) {
        for (i, cell) in source.iter().enumerate() {
            self.set(to + i, *cell);
        }
    }

    /// `n` cells from `from` on, unchanged.
    pub(super) fn slice(&self, from: usize, n: usize) -> Vec<Cell> {
        (from..from + n).map(|at| self.get(at)).collect()
    }

    fn fill_from(&mut self, start: usize, fill: Cell) {
        self.cells.truncate(start);
        if fill != Cell::NULL && start < self.len {
            self.cells.resize(start, Cell::NULL);
            self.cells.resize(self.len, fill);
        }
    }
}
