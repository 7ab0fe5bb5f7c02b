//! Everything but the cells: tabs, margins, saved cursors, character sets, modes, cursor.

use super::Detail;
use super::lines::is_printable;
use super::writer::Writer;
use crate::screen::buffer::{Buffer, Saved};
use crate::screen::charset::Charset;
use crate::screen::modes::{CursorShape, Mouse, MouseEncoding};
use crate::screen::palette::{self, Special};

impl Writer<'_> {
    /// What a reset (RIS) leaves behind in the reader, and what does not depend on the rest.
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

    /// Tab stops, saved cursor and margins of the screen that the reader shows.
    pub(super) fn finish_buffer(&mut self, buffer: &Buffer) {
        let tabs: Vec<usize> = buffer.tabs.range(..buffer.cols).copied().collect();
        if !tabs.iter().eq(buffer.default_tabs().iter()) {
            self.text("\x1b[3g");
            for tab in tabs {
                self.text(format!("\x1b[{}G\x1bH", tab + 1));
            }
        }
        self.saved_cursor(buffer);
        if (buffer.top, buffer.bottom) != (0, buffer.rows - 1) {
            self.text(format!("\x1b[{};{}r", buffer.top + 1, buffer.bottom + 1));
        }
    }

    /// The saved cursor of the alternate screen outlives it.
    pub(super) fn hidden_saved_cursor(&mut self, alternate: &Buffer) {
        if !is_default(alternate) {
            self.plain();
            self.text("\x1b[?47h");
            self.saved_cursor(alternate);
            self.text("\x1b[?47l");
        }
    }

    fn saved_cursor(&mut self, buffer: &Buffer) {
        if is_default(buffer) {
            return;
        }
        let Saved { x, y, fg, bg, charset } = buffer.saved;
        self.go(x.min(buffer.cols - 1), y.saturating_sub(buffer.base).min(buffer.rows - 1));
        let underline = if fg & crate::screen::cell::UNDERLINE != 0 { 1 } else { 0 };
        let mut pen = crate::screen::cell::Pen { fg, bg, ..Default::default() };
        pen.ext.underline = underline;
        if bg & crate::screen::cell::EXTENDED != 0 {
            pen.ext.link = self.terminal.pen.ext.link;
        }
        self.take_pen(pen);
        if !charset.is_ascii() {
            self.text(format!("\x1b({}", char::from(charset.final_byte())));
        }
        self.text("\x1b7");
        if !charset.is_ascii() {
            self.text("\x1b(B");
        }
    }

    pub(super) fn charsets(&mut self) {
        let terminal = self.terminal;
        for (slot, charset) in ['(', ')', '*', '+'].into_iter().zip(terminal.charsets) {
            if charset != Charset::default() {
                self.text(format!("\x1b{slot}{}", char::from(charset.final_byte())));
            }
        }
        self.text(["", "\x0e", "\x1bn", "\x1bo"][terminal.level]);
        if terminal.charset != terminal.charsets[terminal.level]
            && terminal.charset == terminal.shown().saved.charset
        {
            // DECRC has brought back a set that is designated nowhere. Pen and cursor follow.
            self.text("\x1b8");
            let saved = terminal.shown().saved;
            self.pen.fg = saved.fg;
            self.pen.bg = saved.bg;
        }
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
            // Any style without a shape says just whether it blinks.
            (CursorShape::Default, Some(_)) => self.text(format!("\x1b[{} q", 7 + steady)),
            (CursorShape::Block, _) => self.text(format!("\x1b[{} q", 1 + steady)),
            (CursorShape::Underline, _) => self.text(format!("\x1b[{} q", 3 + steady)),
            (CursorShape::Bar, _) => self.text(format!("\x1b[{} q", 5 + steady)),
        }
    }

    /// Pen and cursor. Where the next character would join the one before the cursor, or
    /// wrap, that one is printed once more, since nothing else brings this about.
    pub(super) fn cursor(&mut self) {
        let terminal = self.terminal;
        let buffer = terminal.shown();
        let (cols, x) = (terminal.cols, buffer.x);
        let y = if terminal.modes.origin { buffer.y.saturating_sub(buffer.top) } else { buffer.y };
        let row = buffer.row(buffer.y);
        let before = x.min(cols).checked_sub(usize::from(terminal.preceding.max(1)));
        let reprinted = before.map(|at| (at, row.get(at))).filter(|(_, cell)| {
            terminal.preceding != 0
                && is_printable(*cell)
                && cell.width() == terminal.preceding
                && cell.style() == terminal.style()
                && self.detail != Detail::Blank
        });
        self.take_last_pen();
        if let Some((at, cell)) = reprinted {
            self.go(at, y);
            if terminal.modes.insert {
                // Inserting pushes back to the right what this takes away on the left.
                self.csi(usize::from(cell.width()), 'P');
            }
            self.glyph(cell);
            return;
        }
        if x >= cols && self.detail != Detail::Blank {
            self.pending(y);
        } else {
            self.go(x.min(cols - 1), y);
        }
        if self.pen != terminal.pen {
            self.take_last_pen();
        }
    }

    /// Puts the cursor past the last column of its line.
    fn pending(&mut self, y: usize) {
        let terminal = self.terminal;
        let row = terminal.shown().row(terminal.shown().y);
        let last = terminal.cols - 1;
        let mut at = last;
        if row.get(at).width() == 0 && !row.get(at).has_content() && at > 0 {
            at -= 1;
        }
        let cell = row.get(at);
        if is_printable(cell) {
            self.go(at, y);
            self.style(cell.style());
            self.glyph(cell);
            // A sequence that does nothing, so that a combining mark does not join.
            self.text("\x1b\\");
        } else if (0..last).all(|at| row.get(at) == cell) && cell.is_erased() {
            self.go(last, y);
            self.background(cell.bg);
            self.text(if row.wrapped { " \x1b[1K" } else { " \x1b[2K" });
        } else {
            self.go(last, y);
        }
    }
}

/// Whether a new terminal has the same saved cursor.
fn is_default(buffer: &Buffer) -> bool {
    let saved = buffer.saved;
    Saved { y: 0, ..saved } == Saved::default() && saved.y <= buffer.base
}
