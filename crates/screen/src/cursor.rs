//! Moves the cursor, saves and restores it, and sets tabs and margins.

use crate::params::Params;
use crate::terminal::Terminal;

impl Terminal {
    /// Puts the cursor on the screen, or between the margins in origin mode. `past` is the last
    /// column in which it may stand, which can be beyond the edge.
    pub(super) fn restrict(&mut self, past: usize) {
        let origin = self.modes.origin;
        let buffer = self.buffer();
        buffer.x = buffer.x.min(past);
        let (top, bottom) = if origin { (buffer.top, buffer.bottom) } else { (0, buffer.rows - 1) };
        buffer.y = buffer.y.clamp(top, bottom);
    }

    pub(super) fn restrict_to_last(&mut self) {
        self.restrict(self.cols - 1);
    }

    /// Moves to a column and line, counted from 0; in origin mode the line is counted from the top
    /// margin.
    pub(super) fn move_to(&mut self, x: i64, y: i64) {
        let origin = self.modes.origin;
        let (cols, rows) = (self.cols as i64, self.rows as i64);
        let buffer = self.buffer();
        let y = if origin { y.saturating_add(buffer.top as i64) } else { y };
        buffer.x = x.clamp(0, cols - 1) as usize;
        buffer.y = y.clamp(0, rows) as usize;
        self.restrict_to_last();
    }

    pub(super) fn move_by(&mut self, x: i64, y: i64) {
        self.restrict_to_last();
        let (from_x, from_y) = (self.shown().x as i64, self.shown().y as i64);
        self.move_to(from_x + x, from_y + y);
    }

    /// CUU: moves up, stopping at the top margin if the cursor was below it.
    pub(super) fn up(&mut self, n: usize) {
        let buffer = self.shown();
        let n = if buffer.y >= buffer.top { n.min(buffer.y - buffer.top) } else { n };
        self.move_by(0, -(n as i64));
    }

    pub(super) fn down(&mut self, n: usize) {
        let buffer = self.shown();
        let n = if buffer.y <= buffer.bottom { n.min(buffer.bottom - buffer.y) } else { n };
        self.move_by(0, n as i64);
    }

    pub(super) fn column(&mut self, x: i32) {
        self.move_to(i64::from(x.max(1)) - 1, self.shown().y as i64);
    }

    pub(super) fn line(&mut self, y: i32) {
        self.move_to(self.shown().x as i64, i64::from(y.max(1)) - 1);
    }

    pub(super) fn carriage_return(&mut self) {
        self.buffer().x = 0;
    }

    pub(super) fn line_feed(&mut self) {
        let fill = self.erased();
        let returns = self.modes.linefeed;
        let buffer = self.buffer();
        if returns {
            buffer.x = 0;
        }
        if buffer.y == buffer.bottom {
            buffer.scroll(fill, false);
        } else if buffer.y + 1 < buffer.rows {
            buffer.y += 1;
            buffer.current().wrapped = false;
        }
        if buffer.x >= buffer.cols {
            buffer.x -= 1;
        }
    }

    /// IND: as a line feed, except that a wrapped line stays wrapped.
    pub(super) fn index(&mut self) {
        self.restrict_to_last();
        let fill = self.erased();
        let buffer = self.buffer();
        if buffer.y == buffer.bottom {
            buffer.scroll(fill, false);
        } else if buffer.y + 1 < buffer.rows {
            buffer.y += 1;
        }
        self.restrict_to_last();
    }

    pub(super) fn reverse_index(&mut self) {
        self.restrict_to_last();
        let fill = self.erased();
        let buffer = self.buffer();
        if buffer.y == buffer.top {
            let (top, bottom) = (buffer.top, buffer.bottom);
            buffer.rotate(bottom, top, 1, fill);
        } else {
            buffer.y = buffer.y.saturating_sub(1);
            self.restrict_to_last();
        }
    }

    pub(super) fn backspace(&mut self) {
        if !self.modes.reverse_wrap {
            self.restrict_to_last();
            let buffer = self.buffer();
            buffer.x = buffer.x.saturating_sub(1);
            return;
        }
        self.restrict(self.cols);
        let buffer = self.buffer();
        if buffer.x > 0 {
            buffer.x -= 1;
        } else if buffer.y > buffer.top && buffer.y <= buffer.bottom && buffer.current().wrapped {
            buffer.current().wrapped = false;
            buffer.y -= 1;
            buffer.x = buffer.cols - 1;
            // Skip the gap left by a wide character that did not fit.
            let last = buffer.row(buffer.y).get(buffer.cols - 1);
            if last.width() > 0 && !last.has_content() {
                buffer.x -= 1;
            }
        }
        self.restrict_to_last();
    }

    pub(super) fn tab(&mut self, n: usize) {
        let buffer = self.buffer();
        if buffer.x < buffer.cols {
            for _ in 0..n.min(buffer.cols) {
                buffer.x = buffer.next_tab(buffer.x);
            }
        }
    }

    pub(super) fn back_tab(&mut self, n: usize) {
        let buffer = self.buffer();
        if buffer.x < buffer.cols {
            for _ in 0..n.min(buffer.cols) {
                buffer.x = buffer.previous_tab(buffer.x);
            }
        }
    }

    pub(super) fn set_tab(&mut self) {
        let buffer = self.buffer();
        buffer.tabs.insert(buffer.x);
    }

    pub(super) fn clear_tabs(&mut self, which: i32) {
        let buffer = self.buffer();
        match which {
            0 => {
                buffer.tabs.remove(&buffer.x);
            }
            3 => buffer.tabs.clear(),
            _ => {}
        }
    }

    /// DECSTBM
    pub(super) fn set_margins(&mut self, params: &Params) {
        let rows = self.rows as i32;
        let top = params.get(0).max(1);
        let bottom = match params.get(1) {
            0 => rows,
            bottom => bottom.min(rows),
        };
        if bottom > top {
            let buffer = self.buffer();
            buffer.top = top as usize - 1;
            buffer.bottom = bottom as usize - 1;
            self.move_to(0, 0);
        }
    }

    /// DECSC
    pub(super) fn save_cursor(&mut self) {
        let (fg, bg, charset) = (self.pen.fg, self.pen.bg, self.charset);
        let buffer = self.buffer();
        buffer.saved =
            crate::buffer::Saved { x: buffer.x, y: buffer.base + buffer.y, fg, bg, charset };
    }

    /// DECRC
    pub(super) fn restore_cursor(&mut self) {
        let buffer = self.buffer();
        let saved = buffer.saved;
        buffer.x = saved.x;
        buffer.y = saved.y.saturating_sub(buffer.base);
        self.pen.fg = saved.fg;
        self.pen.bg = saved.bg;
        self.charset = saved.charset;
        self.pen_changed();
        self.restrict_to_last();
    }

    /// DECSTR
    pub(super) fn soft_reset(&mut self) {
        self.modes.reset_soft();
        self.pen = Default::default();
        self.pen_changed();
        self.reset_charsets();
        let rows = self.rows;
        let buffer = self.buffer();
        (buffer.top, buffer.bottom) = (0, rows - 1);
        buffer.saved = crate::buffer::Saved { y: buffer.base, ..Default::default() };
    }
}
