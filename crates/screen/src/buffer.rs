//! One of the two screens: its lines and scrollback, cursor, margins, tab stops and saved cursor.

use std::collections::{BTreeSet, VecDeque};

use crate::cell::Cell;
use crate::charset::Charset;
use crate::row::Row;

/// Columns between the tab stops that a terminal starts with.
pub(super) const TAB: usize = 8;

/// The cursor that DECSC saves. As in xterm.js it has neither wrap nor origin mode, and its line is
/// counted from the oldest line of the scrollback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) fg: u32,
    pub(super) bg: u32,
    pub(super) charset: Charset,
}

#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) lines: VecDeque<Row>,
    /// The most lines, scrollback included.
    pub(super) max: usize,
    scrollback: Option<usize>,
    pub(super) cols: usize,
    pub(super) rows: usize,
    /// Index of the screen's first line in `lines`.
    pub(super) base: usize,
    /// The cursor's column; `cols` (or more) when the next character wraps.
    pub(super) x: usize,
    pub(super) y: usize,
    /// The first line of the scrolling margins; `bottom` is the last.
    pub(super) top: usize,
    pub(super) bottom: usize,
    /// The tab stops, which may be beyond the last column, for a wider terminal.
    pub(super) tabs: BTreeSet<usize>,
    pub(super) saved: Saved,
    pub(super) skipped: Skipped,
}

/// Lines that a buffer lacks because output was skipped. What follows it brings them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    /// The number of lines at the top of the screen whose content is not known. They do not go into
    /// the scrollback.
    pub(super) screen: usize,
    /// The number of lines that the scrollback has yet to get.
    pub(super) scrollback: usize,
}

impl Skipped {
    pub(super) fn is_any(self) -> bool {
        self.screen + self.scrollback > 0
    }

    /// One line scrolls off the screen. Returns whether its content is not known.
    fn scroll(&mut self) -> bool {
        let is_unknown = self.screen > 0;
        let lacking = if is_unknown { &mut self.screen } else { &mut self.scrollback };
        *lacking = lacking.saturating_sub(1);
        is_unknown
    }
}

impl Buffer {
    /// The primary screen, with `scrollback` lines besides those that it shows.
    pub(super) fn primary(cols: usize, rows: usize, scrollback: usize) -> Buffer {
        let mut buffer = Buffer::new(cols, rows, Some(scrollback));
        buffer.show(Cell::NULL);
        buffer
    }

    /// The alternate screen, which has no lines while it is not shown.
    pub(super) fn alternate(cols: usize, rows: usize) -> Buffer {
        Buffer::new(cols, rows, None)
    }

    fn new(cols: usize, rows: usize, scrollback: Option<usize>) -> Buffer {
        let mut buffer = Buffer {
            lines: VecDeque::new(),
            max: rows + scrollback.unwrap_or(0),
            scrollback,
            cols,
            rows,
            base: 0,
            x: 0,
            y: 0,
            top: 0,
            bottom: rows - 1,
            tabs: BTreeSet::new(),
            saved: Saved::default(),
            skipped: Skipped::default(),
        };
        buffer.tabs = buffer.default_tabs();
        buffer
    }

    /// Fills the screen with erased lines if it has none.
    pub(super) fn show(&mut self, fill: Cell) {
        if self.lines.is_empty() {
            self.lines.extend((0..self.rows).map(|_| Row::blank(self.cols, fill, false)));
        }
    }

    /// Drops everything but the saved cursor.
    pub(super) fn hide(&mut self) {
        self.lines = VecDeque::new();
        (self.base, self.x, self.y) = (0, 0, 0);
        (self.top, self.bottom) = (0, self.rows - 1);
        self.tabs = self.default_tabs();
    }

    /// Drops every line, scrollback included, and moves the cursor to the start of the last one.
    /// The lines that are left were skipped.
    pub(super) fn empty(&mut self) {
        self.lines.clear();
        self.show(Cell::NULL);
        (self.base, self.x, self.y) = (0, 0, self.rows - 1);
        self.skipped = Skipped { screen: self.rows, scrollback: self.max - self.rows };
    }

    pub(super) fn default_tabs(&self) -> BTreeSet<usize> {
        (0..self.cols).step_by(TAB).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= self.max
    }

    pub(super) fn reflows(&self) -> bool {
        self.scrollback.is_some()
    }

    pub(super) fn max_for(&self, rows: usize) -> usize {
        rows + self.scrollback.unwrap_or(0)
    }

    /// The line at `y` of the screen.
    pub(super) fn row(&self, y: usize) -> &Row {
        &self.lines[self.base + y]
    }

    pub(super) fn row_mut(&mut self, y: usize) -> &mut Row {
        let at = self.base + y;
        &mut self.lines[at]
    }

    /// The cursor's line.
    pub(super) fn current(&mut self) -> &mut Row {
        self.row_mut(self.y)
    }

    /// Moves the lines between the margins up by one. If the top margin is at the top, the first
    /// line goes into the scrollback.
    pub(super) fn scroll(&mut self, fill: Cell, wrapped: bool) {
        let cols = self.cols;
        let bottom = self.base + self.bottom;
        if self.top > 0 {
            if let Some(mut row) = self.lines.remove(self.base + self.top) {
                row.reuse(cols, fill, wrapped);
                self.lines.insert(bottom, row);
            }
            return;
        }
        let mut row = if self.skipped.scroll() || self.is_full() {
            self.lines.pop_front().unwrap_or_default()
        } else {
            self.base += 1;
            Row::default()
        };
        // The new line takes over the memory of the dropped one, which gets what it needs.
        if self.base > 0 {
            row = self.lines[self.base - 1].pack(row);
        }
        row.reuse(cols, fill, wrapped);
        let at = self.base + self.bottom;
        if at == self.lines.len() {
            self.lines.push_back(row);
        } else {
            self.lines.insert(at, row);
        }
    }

    /// Removes the line at `from` and inserts an erased one at `to` (lines of the screen), so that
    /// those between move by one; repeats this `n` times.
    pub(super) fn rotate(&mut self, from: usize, to: usize, n: usize, fill: Cell) {
        let cols = self.cols;
        for _ in 0..n.min(from.abs_diff(to) + 1) {
            if let Some(mut row) = self.lines.remove(self.base + from) {
                row.reuse(cols, fill, false);
                self.lines.insert(self.base + to, row);
            }
        }
    }

    /// Drops the scrollback.
    pub(super) fn drop_scrollback(&mut self) {
        let n = self.lines.len().saturating_sub(self.rows);
        self.lines.drain(..n);
        self.base = self.base.saturating_sub(n);
    }

    pub(super) fn next_tab(&self, from: usize) -> usize {
        self.tabs.range(from + 1..).next().copied().unwrap_or(self.cols).min(self.cols - 1)
    }

    pub(super) fn previous_tab(&self, from: usize) -> usize {
        self.tabs.range(..from).next_back().copied().unwrap_or(0).min(self.cols - 1)
    }

    /// Adds tab stops for the new columns of a wider terminal.
    pub(super) fn extend_tabs(&mut self, cols: usize) {
        let first = if self.tabs.contains(&cols) { cols } else { self.previous_tab(cols) };
        self.tabs.extend((first..self.cols).step_by(TAB));
    }

    pub(super) fn cells_mut(&mut self) -> impl Iterator<Item = &mut Cell> {
        self.lines.iter_mut().flat_map(|row| row.cells_mut().iter_mut())
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.lines.iter().flat_map(|row| row.cells().iter())
    }
}
