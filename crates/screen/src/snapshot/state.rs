//! Everything except the cells: tabs, margins, saved cursors, character sets, modes, cursor.

use super::writer::{Detail, Writer};
use crate::buffer::{Buffer, Saved, TAB};
use crate::cell::{Cell, Glyph, Pen};
use crate::charset::Charset;
use crate::modes::{CursorShape, Mouse, MouseEncoding};
use crate::palette::{self, Special};
use crate::row::Row;

/// The most lines below the screen's last on which a saved cursor is produced: each takes a byte.
pub(super) const SAVED_BELOW_MAX: usize = 4096;

impl Writer<'_> {
    /// Removes what a reset (RIS) leaves in the reader, and writes what does not depend on the
    /// rest.
    pub(super) fn forget_leftovers(&mut self) {
        self.text("\x1b[20l\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\");
        let palette = &self.terminal.palette;
        for (index, colour) in &palette.indexed {
            self.text(format!("\x1b]4;{index};{}\x1b\\", palette::format(*colour)));
        }
        for (number, which) in (10..).zip(Special::ALL) {
            if let Some(colour) = palette.special(which) {
                self.text(format!("\x1b]{number};{}\x1b\\", palette::format(colour)));
            }
        }
        for title in &self.terminal.titles {
            self.text(format!("\x1b]2;{title}\x1b\\\x1b[22;2t"));
        }
        self.text(format!("\x1b]2;{}\x1b\\", self.terminal.title));
    }

    /// Writes the screen that the reader shows, with this many lines above it: tab stops, lines and
    /// saved cursor, margins. `None` if that is longer than `limit`.
    pub(super) fn buffer(
        &mut self,
        buffer: &Buffer,
        scrollback: usize,
        details: &[Detail],
        limit: usize,
    ) -> Option<()> {
        self.tabs(buffer);
        self.lines(buffer, scrollback, details, limit)?;
        if (buffer.top, buffer.bottom) != (0, buffer.rows - 1) {
            self.text(format!("\x1b[{};{}r", buffer.top + 1, buffer.bottom + 1));
        }
        Some(())
    }

    /// Tab stops, on an empty screen.
    fn tabs(&mut self, buffer: &Buffer) {
        let cols = buffer.cols;
        // A stop may be past the last column, where the cursor may stand.
        let tabs: Vec<usize> = buffer.tabs.range(..cols + 2).copied().collect();
        let (shown, beyond) = tabs.split_at(tabs.partition_point(|tab| *tab < cols));
        let is_default = shown.iter().eq(buffer.default_tabs().iter());
        // A wider terminal continues with these by itself.
        if is_default && beyond.iter().all(|tab| tab % TAB == 0) {
            return;
        }
        self.text("\x1b[3g");
        for tab in shown {
            self.text(format!("\x1b[{}G\x1bH", tab + 1));
        }
        for tab in beyond {
            self.go(cols - 1, 0);
            self.past_the_edge(*tab);
            self.text("\x1bH\x1b[X");
        }
        self.text("\r");
    }

    /// Moves from the last column past it, to `x`, which leaves a space there.
    fn past_the_edge(&mut self, x: usize) {
        self.text(" ");
        if x > self.terminal.cols {
            self.zero_width();
        }
        self.x = x;
    }

    /// Moves from past the last column one further, by what has no width and joins nothing.
    fn zero_width(&mut self) {
        self.text("\x1b\\\u{200b}");
    }

    /// Shows the alternate screen. The primary one keeps its cursor, which a resize uses.
    pub(super) fn show_alternate(&mut self, primary: &Buffer) {
        self.plain();
        self.go(primary.x.min(primary.cols - 1), primary.y);
        self.text("\x1b[?47h\x1b[H");
        self.on_alternate = true;
    }

    /// The line of the saved cursor, counted from the first that is written; `None` if the reader
    /// has that saved cursor already.
    pub(super) fn saved_line(&self, buffer: &Buffer, first: usize, count: usize) -> Option<usize> {
        let line = buffer.saved.y.saturating_sub(first);
        if (Saved { y: line, ..buffer.saved }) == Saved::default() {
            return None;
        }
        let most = if buffer.reflows() { SAVED_BELOW_MAX.max(count) } else { count };
        Some(if line < most { line } else { count - 1 })
    }

    /// Saves the cursor on a line of the screen and goes home.
    pub(super) fn save_at(&mut self, saved: Saved, y: usize, is_blank: bool) {
        self.go(0, y);
        self.save_cursor(saved, y, is_blank);
        self.saved_on_alternate &= !self.on_alternate;
        self.go(0, 0);
    }

    /// Saves the cursor on its line, `y` of the screen. Past the last column of the alternate
    /// screen it can only be saved while nothing is written there.
    pub(super) fn save_cursor(&mut self, saved: Saved, y: usize, is_blank: bool) {
        let last = self.terminal.cols - 1;
        self.column(saved.x.min(last));
        let Saved { x, fg, bg, charset, .. } = saved;
        let mut pen = Pen { fg, bg, ..Pen::default() };
        if pen.is_underlined() && pen.is_extended() {
            pen.ext.underline = 1;
        }
        self.take_pen(pen);
        let spoils = x > last && self.on_alternate && is_blank;
        if spoils {
            self.past_the_edge(x);
        } else if x > last && !self.on_alternate {
            self.by_alternate(last, y, x);
        }
        if charset.is_ascii() {
            self.text("\x1b7");
        } else {
            self.text(format!("\x1b({}\x1b7\x1b(B", char::from(charset.final_byte())));
        }
        if spoils {
            self.background(0);
            self.text("\x1b[X");
            self.x = last;
        }
    }

    /// Saves the cursor on a line below the screen, as if that had lost its scrollback (ED 3).
    pub(super) fn save_below(&mut self, saved: Saved, line: usize) {
        self.text("\n".repeat(line));
        self.save_cursor(saved, line.min(self.terminal.rows - 1), true);
        self.text("\x1b[3J\x1b[H");
        self.x = 0;
    }

    /// Writes the final pen, and the saved cursor of an alternate screen that is not shown. A pen
    /// that is not regular and a character set that is not designated come from DECRC, so they are
    /// available while a saved cursor has them.
    pub(super) fn last_pen(&mut self) {
        let terminal = self.terminal;
        let foreign = terminal.charset != terminal.charsets[terminal.level];
        let needs = foreign || !terminal.pen.is_regular();
        let restores = |writer: &Self, saved: &Saved| {
            needs && writer.is_restorable(saved) && (!foreign || saved.charset == terminal.charset)
        };
        let shown = terminal.shown().saved;
        let by_shown = restores(self, &shown);
        if !terminal.on_alternate {
            let hidden = terminal.alternate.saved;
            let by_hidden = !by_shown && restores(self, &hidden);
            if by_hidden || self.saved_on_alternate || hidden != Saved::default() {
                self.plain();
                self.text("\x1b[?47h");
                self.on_alternate = true;
                let y = hidden.y.min(terminal.rows - 1);
                self.go(0, y);
                self.save_cursor(hidden, y, true);
                if by_hidden {
                    self.restore(&hidden, foreign);
                }
                self.text("\x1b[?47l");
                self.on_alternate = false;
            }
            if by_hidden {
                return;
            }
        }
        if by_shown {
            self.restore(&shown, foreign);
        } else {
            self.take_last_pen();
        }
    }

    fn restore(&mut self, saved: &Saved, foreign: bool) {
        if foreign {
            self.charsets();
        }
        self.restore_last_pen(saved);
        self.charset = saved.charset;
    }

    /// Designates and selects character sets, once.
    fn charsets(&mut self) {
        if std::mem::replace(&mut self.has_charsets, true) {
            return;
        }
        let terminal = self.terminal;
        for (slot, charset) in ['(', ')', '*', '+'].into_iter().zip(terminal.charsets) {
            if charset != Charset::default() {
                self.text(format!("\x1b{slot}{}", char::from(charset.final_byte())));
            }
        }
        let first = if self.charset.is_ascii() { "" } else { "\x0f" };
        self.text([first, "\x0e", "\x1bn", "\x1bo"][terminal.level]);
        self.charset = terminal.charsets[terminal.level];
    }

    pub(super) fn modes(&mut self) {
        let modes = &self.terminal.modes;
        let mut private = Vec::new();
        let mut set = |on: bool, mode: u16| {
            if on {
                private.push(mode);
            }
        };
        set(modes.application_cursor, 1);
        set(modes.reverse_wrap, 45);
        set(modes.application_keypad, 66);
        match modes.mouse {
            Mouse::Off => {}
            Mouse::X10 => set(true, 9),
            Mouse::Buttons => set(true, 1000),
            Mouse::Drag => set(true, 1002),
            Mouse::Motion => set(true, 1003),
        }
        match modes.mouse_encoding {
            MouseEncoding::Bytes => {}
            MouseEncoding::Sgr => set(true, 1006),
            MouseEncoding::SgrPixels => set(true, 1016),
        }
        set(modes.focus, 1004);
        set(modes.bracketed_paste, 2004);
        set(modes.cursor_visible, 25);
        set(modes.blink == Some(true), 12);
        set(modes.origin, 6);
        set(modes.synchronized, 2026);
        if !private.is_empty() {
            let list: Vec<String> = private.iter().map(u16::to_string).collect();
            self.text(format!("\x1b[?{}h", list.join(";")));
        }
        if !modes.cursor_visible {
            self.text("\x1b[?25l");
        }
        if modes.blink == Some(false) {
            self.text("\x1b[?12l");
        }
        if !modes.autowrap {
            self.text("\x1b[?7l");
        }
        if modes.insert {
            self.text("\x1b[4h");
        }
        if modes.linefeed {
            self.text("\x1b[20h");
        }
        let steady = u8::from(modes.cursor_blink != Some(true));
        match (modes.cursor_shape, modes.cursor_blink) {
            (CursorShape::Default, None) => {}
            // A style without a shape only says whether the cursor blinks.
            (CursorShape::Default, Some(_)) => self.text(format!("\x1b[{} q", 7 + steady)),
            (CursorShape::Block, _) => self.text(format!("\x1b[{} q", 1 + steady)),
            (CursorShape::Underline, _) => self.text(format!("\x1b[{} q", 3 + steady)),
            (CursorShape::Bar, _) => self.text(format!("\x1b[{} q", 5 + steady)),
        }
    }

    /// Writes the cursor and the character sets. If the next character would join the one before
    /// the cursor, or wrap, that one is printed once more.
    pub(super) fn cursor(&mut self) {
        let terminal = self.terminal;
        let buffer = terminal.shown();
        let (cols, x) = (terminal.cols, buffer.x);
        let row = buffer.row(buffer.y);
        let before = x.min(cols).checked_sub(usize::from(terminal.preceding.max(1)));
        // Deleting would move the cursor back between the margins.
        let is_fixed = terminal.modes.insert && !self.is_in_reach(buffer);
        let joins = before.map(|at| (at, row.get(at))).filter(|(_, cell)| {
            terminal.preceding != 0
                && !is_fixed
                && self.is_printable(*cell)
                && cell.width() == terminal.preceding
                && cell.style() == terminal.style()
                && self.writes(*cell)
        });
        // Sequences in between would keep a mark from joining.
        if joins.is_some() {
            self.charsets();
        }
        if let Some((at, cell)) = joins
            && let Some(text) = self.typed(cell)
        {
            self.place(at);
            if terminal.modes.insert {
                // Inserting moves back to the right what this removes on the left.
                self.csi(usize::from(cell.width()), 'P');
            }
            self.text(text);
        } else if x >= cols {
            self.pending(row, x);
        } else {
            self.place(x.min(cols - 1));
        }
        self.charsets();
    }

    /// Puts the cursor past the last column of its line, to `x`.
    fn pending(&mut self, row: &Row, x: usize) {
        let last = self.terminal.cols - 1;
        let half = row.get(last).width() == 0 && !row.get(last).has_content() && last > 0;
        let at = if half { last - 1 } else { last };
        let cell = row.get(at);
        let erased = cell.is_erased() && (0..last).all(|at| row.get(at) == cell);
        let pen = self.pen;
        let writes = self.writes(cell);
        let may_change = pen.is_regular() && self.pen_of(cell.style()).is_regular();
        if let Some(text) = self.typed(cell).filter(|_| writes || may_change) {
            self.place(at);
            if !writes {
                self.style(cell.style());
            }
            self.text(text);
            // A sequence that does nothing, so that a combining mark does not join.
            self.text("\x1b\\");
            self.take_pen(pen);
        } else if !self.on_alternate {
            return self.by_alternate(last, self.terminal.shown().y, x);
        } else if erased {
            self.place(last);
            self.background(cell.bg);
            self.text(" \x1b[1K");
            self.take_pen(pen);
        } else {
            return self.place(last);
        }
        if x > last + 1 {
            self.zero_width();
        }
    }

    /// Puts the cursor into this column of its line.
    fn place(&mut self, x: usize) {
        let buffer = self.terminal.shown();
        let top = if self.terminal.modes.origin { buffer.top } else { 0 };
        if self.is_in_reach(buffer) || self.on_alternate {
            self.go(x, buffer.y.saturating_sub(top));
        } else {
            self.by_alternate(x, buffer.y, x);
        }
    }

    /// Whether a sequence can move the cursor to its position: in origin mode it may be outside the
    /// margins, if it was there when the other screen was left.
    fn is_in_reach(&self, buffer: &Buffer) -> bool {
        !self.terminal.modes.origin || (buffer.top..=buffer.bottom).contains(&buffer.y)
    }

    /// Puts the cursor of the primary screen into column `x` of a line, and from there to `to`,
    /// which may be past the last, without changing any cell: the cursor takes the place that it
    /// had on the alternate screen.
    pub(super) fn by_alternate(&mut self, x: usize, y: usize, to: usize) {
        self.text("\x1b[?47h");
        self.go(x, y);
        if to > x {
            self.past_the_edge(to);
        }
        self.text("\x1b[?47l");
    }

    /// Whether the reader's pen writes such cells.
    fn writes(&self, cell: Cell) -> bool {
        let pen = self.pen_of(cell.style());
        (self.pen.fg, self.pen.bg) == (pen.fg, pen.bg)
            && (self.pen.ext == pen.ext || !pen.is_extended())
    }

    /// The text to print for a cell in the present character set; `None` if there is none.
    fn typed(&self, cell: Cell) -> Option<String> {
        let charset = self.charset;
        match cell.glyph() {
            Glyph::None => None,
            Glyph::Char(c) => charset.unmap(c).map(String::from),
            Glyph::Cluster(number) => {
                let mut chars = self.terminal.clusters.get(number).chars();
                let first = charset.unmap(chars.next()?)?;
                Some(std::iter::once(first).chain(chars).collect())
            }
        }
    }
}
