//! Changes a screen's size. Lines of the primary screen are wrapped again by the rules of xterm.js
//! in every detail (which lines move, where the cursor stays), since users see both.

use std::collections::VecDeque;

use crate::buffer::Buffer;
use crate::cell::Cell;
use crate::row::Row;

impl Buffer {
    pub(super) fn resize(&mut self, cols: usize, rows: usize) {
        let max = self.max_for(rows);
        self.max = self.max.max(max);
        if self.lines.is_empty() {
            // xterm.js leaves the alternate screen room for scrollback here.
            self.max = max;
        } else {
            if self.cols < cols {
                self.lines.iter_mut().for_each(|row| row.resize(cols));
            }
            let added = self.resize_rows(cols, rows);
            if max < self.max {
                let excess = self.lines.len().saturating_sub(max);
                self.lines.drain(..excess);
                self.base = self.base.saturating_sub(excess);
                self.saved.y = self.saved.y.saturating_sub(excess);
                self.max = max;
            }
            self.x = self.x.min(cols - 1);
            self.y = self.y.min(rows - 1) + added;
            self.saved.x = self.saved.x.min(cols - 1);
            self.top = 0;
        }
        self.bottom = rows - 1;
        if self.reflows() {
            if cols > self.cols {
                self.widen(cols, rows);
            } else if cols < self.cols {
                self.narrow(cols, rows);
                self.lines.iter_mut().for_each(|row| row.resize(cols));
            }
        }
        self.cols = cols;
        self.rows = rows;
        if !self.lines.is_empty() {
            self.settle();
        }
    }

    /// Moves lines from the scrollback to the screen, or back. Returns how many lines the cursor
    /// moves down.
    fn resize_rows(&mut self, cols: usize, rows: usize) -> usize {
        let mut added = 0;
        for _ in self.rows..rows {
            if self.lines.len() < rows + self.base {
                if self.base > 0 && self.lines.len() <= self.base + self.y + added + 1 {
                    self.base -= 1;
                    added += 1;
                } else {
                    self.lines.push_back(Row::blank(cols, Cell::NULL, false));
                }
            }
        }
        for _ in rows..self.rows {
            if self.lines.len() > rows + self.base {
                if self.lines.len() > self.base + self.y + 1 {
                    self.lines.pop_back();
                } else {
                    self.base += 1;
                }
            }
        }
        added
    }

    /// Makes the screen whole again: as many lines as it shows, and the cursor on one of them.
    fn settle(&mut self) {
        while self.lines.len() > self.max {
            self.lines.pop_front();
            self.base = self.base.saturating_sub(1);
        }
        self.base = self.base.min(self.max - self.rows);
        while self.lines.len() < self.base + self.rows {
            self.lines.push_back(Row::blank(self.cols, Cell::NULL, false));
        }
        self.y = self.y.min(self.rows - 1);
    }

    fn widen(&mut self, cols: usize, rows: usize) {
        let old = self.cols;
        let cursor = self.base + self.y;
        let mut removed = vec![false; self.lines.len()];
        let mut first = 0;
        while first + 1 < self.lines.len() {
            let end = group_end(&self.lines, first);
            if end - first > 1 && !(first..end).contains(&cursor) {
                let group = &mut self.lines.make_contiguous()[first..end];
                let unneeded = join(group, old, cols);
                removed[end - unneeded..end].fill(true);
            }
            first = end;
        }
        let count = removed.iter().filter(|gone| **gone).count();
        if count == 0 {
            return;
        }
        let mut keep = removed.into_iter().map(|gone| !gone);
        self.lines.retain(|_| keep.next().unwrap_or(true));
        for _ in 0..count {
            if self.base > 0 {
                self.base -= 1;
            } else {
                self.y = self.y.saturating_sub(1);
                if self.lines.len() < rows {
                    self.lines.push_back(Row::blank(cols, Cell::NULL, false));
                }
            }
        }
        self.saved.y = self.saved.y.saturating_sub(count);
    }

    fn narrow(&mut self, cols: usize, rows: usize) {
        // (index of the line before which they go, new lines), from the bottom up
        let mut inserts: Vec<(usize, Vec<Row>)> = Vec::new();
        let mut inserted = 0;
        // Lines that are dropped at the end go last: xterm.js still wraps them, and keeps the new
        // lines that result.
        let mut kept = self.lines.len();
        let mut y = self.lines.len();
        while y > 0 {
            y -= 1;
            let row = &self.lines[y];
            if !row.wrapped && row.trimmed_len() <= cols {
                continue;
            }
            let last = y;
            while y > 0 && self.lines[y].wrapped {
                y -= 1;
            }
            if (y..=last).contains(&(self.base + self.y)) {
                continue;
            }
            let mut group: Vec<Row> =
                (y..=last).map(|at| std::mem::take(&mut self.lines[at])).collect();
            let count = group.len();
            let (fresh, spare) = split(&mut group, self.cols, cols);
            for (at, row) in (y..).zip(group) {
                self.lines[at] = row;
            }
            let more = fresh.len();
            let trimmed = if self.base == 0 && self.y + 1 != kept {
                (self.y + more).saturating_sub(self.max)
            } else {
                (kept + more).saturating_sub(self.max)
            };
            if more > 0 {
                inserts.push((y + count + inserted, fresh));
                inserted += more;
            }
            for _ in 0..more.saturating_sub(trimmed) {
                if self.base == 0 {
                    if self.y + 1 < rows {
                        self.y += 1;
                        kept -= 1;
                    } else {
                        self.base += 1;
                    }
                } else if self.base + rows < self.max.min(kept + inserted) {
                    self.base += 1;
                }
            }
            let saved = (self.saved.y + more).saturating_sub(spare);
            self.saved.y = saved.min(self.base + rows - 1);
        }
        self.lines.truncate(kept);
        if !inserts.is_empty() {
            self.insert(inserts, inserted);
        }
    }

    /// Inserts new lines in their places, from the bottom up. The oldest lines make room.
    fn insert(&mut self, inserts: Vec<(usize, Vec<Row>)>, inserted: usize) {
        let total = self.lines.len() + inserted;
        let mut old: Vec<Row> = std::mem::take(&mut self.lines).into();
        let mut inserts = inserts.into_iter().peekable();
        let mut so_far = 0;
        let mut result: VecDeque<Row> = VecDeque::with_capacity(total.min(self.max));
        while result.len() < total.min(self.max) {
            match inserts.next_if(|(start, _)| *start >= old.len() + so_far) {
                Some((_, rows)) => {
                    so_far += rows.len();
                    for row in rows.into_iter().rev() {
                        if result.len() < self.max {
                            result.push_front(row);
                        }
                    }
                }
                None => match old.pop() {
                    Some(row) => result.push_front(row),
                    None => break,
                },
            }
        }
        self.lines = result;
    }
}

/// The index after the last line that continues `first`.
fn group_end(lines: &VecDeque<Row>, first: usize) -> usize {
    (first + 1..lines.len()).find(|at| !lines[*at].wrapped).unwrap_or(lines.len())
}

/// The columns of line `at` that belong to the text: all except on the last line, less one if a
/// wide character did not fit.
fn text_len(group: &[Row], at: usize, cols: usize) -> usize {
    if at + 1 == group.len() {
        return group[at].trimmed_len();
    }
    let last = group[at].get(cols - 1);
    let ends_empty = !last.has_content() && last.width() == 1;
    if ends_empty && group[at + 1].get(0).width() == 2 { cols - 1 } else { cols }
}

/// Moves the text of a group of lines, `old` columns wide, up into wider lines of `cols` columns.
/// Returns how many lines at its end are no longer needed.
fn join(group: &mut [Row], old: usize, cols: usize) -> usize {
    let (mut to, mut to_col) = (0, text_len(group, 0, old));
    let (mut from, mut from_col) = (1, 0);
    while from < group.len() {
        let len = text_len(group, from, old);
        let n = (len - from_col.min(len)).min(cols - to_col);
        let cells = group[from].slice(from_col, n);
        group[to].copy(&cells, to_col);
        to_col += n;
        if to_col == cols {
            to += 1;
            to_col = 0;
        }
        from_col += n;
        if from_col >= len {
            from += 1;
            from_col = 0;
        }
        if to_col == 0 && to != 0 && group[to - 1].get(cols - 1).width() == 2 {
            let wide = group[to - 1].get(cols - 1);
            group[to].set(0, wide);
            to_col = 1;
            group[to - 1].set(cols - 1, Cell::NULL);
        }
    }
    if let Some(row) = group.get_mut(to) {
        row.erase(to_col, cols, Cell::NULL);
    }
    (1..group.len()).rev().take_while(|at| *at > to || group[*at].trimmed_len() == 0).count()
}

/// Spreads the text of a group of lines, `old` columns wide, over narrower lines of `cols` columns.
/// Returns the further lines that are needed, or how many fewer: an empty line that continues a
/// removed one needs none.
fn split(group: &mut Vec<Row>, old: usize, cols: usize) -> (Vec<Row>, usize) {
    let count = group.len();
    let last_len = group[count - 1].trimmed_len();
    let lengths = split_lengths(group, old, cols);
    let more = lengths.len().saturating_sub(count);
    group.extend((0..more).map(|_| Row::blank(cols, Cell::NULL, true)));

    let mut to = lengths.len() as isize - 1;
    let mut to_col = length(&lengths, to);
    if to_col == 0 {
        to -= 1;
        to_col = length(&lengths, to);
    }
    let (mut from, mut from_col) = (count as isize - 1, last_len);
    while from >= 0 {
        if to < 0 {
            break;
        }
        let n = from_col.min(to_col);
        let cells = group[from as usize].slice(from_col - n, n);
        group[to as usize].copy(&cells, to_col - n);
        to_col -= n;
        if to_col == 0 {
            to -= 1;
            to_col = length(&lengths, to);
        }
        from_col -= n;
        if from_col == 0 {
            from -= 1;
            from_col = text_len(group, from.max(0) as usize, old);
        }
    }
    for (row, length) in group.iter_mut().zip(&lengths) {
        if *length < cols {
            row.set(*length, Cell::NULL);
        }
    }
    (group.split_off(count), count.saturating_sub(lengths.len()))
}

fn length(lengths: &[usize], at: isize) -> usize {
    usize::try_from(at).ok().and_then(|at| lengths.get(at)).copied().unwrap_or(0)
}

/// The length of each new line, shorter by one if a wide character does not fit.
fn split_lengths(group: &[Row], old: usize, cols: usize) -> Vec<usize> {
    let needed: usize = (0..group.len()).map(|at| text_len(group, at, old)).sum();
    let mut lengths = Vec::new();
    let (mut col, mut line, mut available) = (0, 0, 0);
    while available < needed {
        if needed - available < cols {
            lengths.push(needed - available);
            break;
        }
        col += cols;
        let len = text_len(group, line.min(group.len() - 1), old);
        if col > len {
            col -= len;
            line += 1;
        }
        let wide = col > 0 && group.get(line).is_some_and(|row| row.get(col - 1).width() == 2);
        if wide {
            col -= 1;
        }
        lengths.push(if wide { cols - 1 } else { cols });
        available += lengths[lengths.len() - 1];
    }
    lengths
}
