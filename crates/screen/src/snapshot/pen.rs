//! Attributes as SGR, in the fewest bytes, or by DECRC if SGR cannot produce them.

use std::fmt::Write as _;

use super::writer::{Detail, Writer};
use crate::buffer::Saved;
use crate::cell::*;

/// The most changes of the pen that are cached while a snapshot is written.
const CHANGES_MAX: usize = 1024;

/// Flags of `fg` and of `bg` with the numbers that set and reset them.
const FG_FLAGS: [(u32, u8, u8); 5] =
    [(BOLD, 1, 22), (BLINK, 5, 25), (INVERSE, 7, 27), (INVISIBLE, 8, 28), (STRIKE, 9, 29)];
const BG_FLAGS: [(u32, u8, u8); 3] = [(DIM, 2, 22), (ITALIC, 3, 23), (OVERLINE, 53, 55)];

impl Writer<'_> {
    /// Sets the pen to the attributes of such cells.
    pub(super) fn style(&mut self, style: Style) {
        self.take_pen(self.pen_of(style));
    }

    pub(super) fn pen_of(&self, style: Style) -> Pen {
        let ext = if style.bg & EXTENDED == 0 {
            Ext::default()
        } else {
            *self.terminal.exts.get(style.ext)
        };
        Pen { fg: style.fg, bg: style.bg, ext }
    }

    /// Sets default attributes, without a link.
    pub(super) fn plain(&mut self) {
        self.take_pen(Pen::default());
    }

    /// Sets the background alone; erasing uses nothing else.
    pub(super) fn background(&mut self, bg: u32) {
        if self.pen.bg & COLOUR != bg & COLOUR {
            let pen = self.pen;
            if bg & COLOUR == 0 && pen.fg == 0 && pen.bg & !COLOUR == 0 && pen.ext == Ext::default()
            {
                self.plain();
            } else {
                self.take_pen(Pen { bg: pen.bg & !COLOUR | bg & COLOUR, ..pen });
            }
        }
    }

    pub(super) fn take_pen(&mut self, to: Pen) {
        if self.detail != Detail::Everything {
            return;
        }
        let from = std::mem::replace(&mut self.pen, to);
        if from == to {
            return;
        }
        if !to.is_regular() && !is_alike(&from, &to) {
            self.restore_pen(to);
        } else if let Some(change) = self.changes.get(&(from, to)) {
            self.out.extend_from_slice(change);
        } else {
            let start = self.out.len();
            self.write_change(from, to, to.is_regular());
            if self.changes.len() < CHANGES_MAX {
                self.changes.insert((from, to), self.out[start..].to_vec());
            }
        }
    }

    /// Sets a pen that only DECRC can produce: its flags are saved, its extended attributes set,
    /// and the flags restored. This happens on the alternate screen, whose own saved cursor is
    /// written later. The cursor stays, unless it is past the last column.
    fn restore_pen(&mut self, to: Pen) {
        let on_primary = !self.on_alternate;
        if on_primary {
            self.text("\x1b[?47h");
        }
        self.text(match (to.is_underlined(), to.is_extended()) {
            (false, false) => "\x1b]8;;\x1b\\\x1b[m\x1b7",
            (true, true) => "\x1b[0;4m\x1b7",
            (false, true) => "\x1b]8;;x:\x1b\\\x1b[m\x1b7",
            // The end of a link clears the flag of extended attributes, and leaves the underline.
            (true, false) => "\x1b]8;;\x1b\\\x1b[0;4m\x1b7\x1b[m\x1b8\x1b]8;;\x1b\\\x1b7",
        });
        let flags = Pen { fg: to.fg & UNDERLINE, bg: to.bg & EXTENDED, ext: to.ext };
        let blank = Pen { ext: Ext { link: u32::MAX, ..Ext::default() }, ..Pen::default() };
        self.text("\x1b[m");
        self.write_change(blank, with_attributes(to.ext), false);
        self.text("\x1b8");
        if on_primary {
            self.text("\x1b[?47l");
        }
        self.saved_on_alternate = true;
        self.write_change(flags, to, false);
    }

    /// Whether restoring this saved cursor produces the final pen.
    pub(super) fn is_restorable(&self, saved: &Saved) -> bool {
        let pen = self.terminal.pen;
        let flags = Pen { fg: saved.fg, bg: saved.bg, ext: pen.ext };
        pen.is_regular()
            || (flags.is_underlined() == pen.is_underlined()
                && (flags.is_extended() == pen.is_extended()
                    || pen.is_extended() != pen.ext.is_empty()))
    }

    /// Restores the saved cursor of the screen that the reader shows, and sets the final pen.
    pub(super) fn restore_last_pen(&mut self, saved: &Saved) {
        let to = self.terminal.pen;
        self.take_pen(with_attributes(to.ext));
        self.text("\x1b8");
        if self.detail != Detail::Everything {
            return;
        }
        self.pen = Pen { fg: saved.fg, bg: saved.bg, ext: to.ext };
        if !to.is_regular() && !is_alike(&self.pen, &to) {
            // A link, or the end of one, sets the flag of extended attributes again.
            self.write_link(to.ext.link);
            self.pen.mark_extended();
        }
        self.take_pen(to);
    }

    /// Sets the final pen, or the closest one if no sequence produces it.
    pub(super) fn take_last_pen(&mut self) {
        let mut to = self.terminal.pen;
        if !to.is_regular() {
            let style = if to.is_extended() { to.ext.underline } else { 1 };
            to.ext.underline = if to.is_underlined() { style.max(1) } else { 0 };
            to.ext.link = if to.is_extended() { to.ext.link } else { 0 };
            to.mark_extended();
        }
        self.take_pen(to);
    }

    fn write_link(&mut self, link: u32) {
        let link = self.terminal.links.get(link).clone();
        let id = link.id.map(|id| format!("id={id}")).unwrap_or_default();
        self.text(format!("\x1b]8;{id};{}\x1b\\", link.uri));
    }

    fn write_change(&mut self, from: Pen, to: Pen, may_reset: bool) {
        if from.ext.link != to.ext.link {
            self.write_link(to.ext.link);
        }
        // An underline colour can only be removed by resetting everything, and so can flags that do
        // not agree with the attributes.
        let resets = !from.is_regular() || from.ext.colour != to.ext.colour && to.ext.colour == 0;
        let change = difference(&from, &to);
        let blank = Pen { ext: Ext { link: from.ext.link, ..Ext::default() }, ..Pen::default() };
        let mut fresh = difference(&blank, &to);
        if fresh.is_empty() {
            fresh.push('0');
        } else {
            fresh.insert_str(0, "0;");
        }
        let mut protected = from.bg & PROTECTED;
        if may_reset && (resets || fresh.len() < change.len()) {
            self.text(format!("\x1b[{}m", if fresh == "0" { "" } else { &fresh }));
            protected = 0;
        } else if !change.is_empty() {
            self.text(format!("\x1b[{change}m"));
        }
        if protected != to.bg & PROTECTED {
            self.text(if protected == 0 { "\x1b[1\"q" } else { "\x1b[\"q" });
        }
    }
}

/// The regular pen that has only these attributes.
fn with_attributes(ext: Ext) -> Pen {
    let mut pen = Pen { ext, ..Pen::default() };
    pen.mark_extended();
    if ext.underline != 0 {
        pen.fg |= UNDERLINE;
    }
    pen
}

/// Whether two pens have the same extended attributes and flags for them.
fn is_alike(one: &Pen, other: &Pen) -> bool {
    one.ext == other.ext
        && one.is_extended() == other.is_extended()
        && one.is_underlined() == other.is_underlined()
}

/// The numbers, with semicolons between them, that turn one pen into the other. Both are regular,
/// or differ only in regular parts.
fn difference(from: &Pen, to: &Pen) -> String {
    let mut sgr = String::new();
    let mut add = |number: std::fmt::Arguments<'_>| {
        let separator = if sgr.is_empty() { "" } else { ";" };
        // Writing to a string cannot fail.
        let _ = write!(sgr, "{separator}{number}");
    };
    // 22 resets both bold and dim.
    let lost = |a: u32, b: u32, flag| a & flag != 0 && b & flag == 0;
    let clears_weight = lost(from.fg, to.fg, BOLD) || lost(from.bg, to.bg, DIM);
    if clears_weight {
        add(format_args!("22"));
    }
    for (have, want, flags) in [(from.fg, to.fg, &FG_FLAGS[..]), (from.bg, to.bg, &BG_FLAGS[..])] {
        for &(flag, on, off) in flags {
            let weight = off == 22;
            let has = have & flag != 0 && !(weight && clears_weight);
            match (has, want & flag != 0) {
                (false, true) => add(format_args!("{on}")),
                (true, false) if !weight => add(format_args!("{off}")),
                _ => {}
            }
        }
    }
    match (from.ext.underline, to.ext.underline) {
        (a, b) if a == b => {}
        (_, 0) => add(format_args!("24")),
        (_, 1) => add(format_args!("4")),
        (_, style) => add(format_args!("4:{style}")),
    }
    for (have, want, base) in [(from.fg, to.fg, 30), (from.bg, to.bg, 40)] {
        if have & COLOUR != want & COLOUR {
            colour(&mut add, want, base);
        }
    }
    if from.ext.colour != to.ext.colour && to.ext.colour != 0 {
        let colour = to.ext.colour;
        match colour & COLOUR_MODE {
            _ if colour == Ext::NO_COLOUR => add(format_args!("59")),
            RGB => add(format_args!(
                "58:2::{}:{}:{}",
                colour >> 16 & 255,
                colour >> 8 & 255,
                colour & 255
            )),
            _ => add(format_args!("58:5:{}", colour & 255)),
        }
    }
    sgr
}

fn colour(add: &mut impl FnMut(std::fmt::Arguments<'_>), colour: u32, base: u32) {
    let index = colour & 0xff;
    match colour & COLOUR_MODE {
        PALETTE_16 if index < 8 => add(format_args!("{}", base + index)),
        PALETTE_16 => add(format_args!("{}", base + 60 + (index & 7))),
        PALETTE_256 => add(format_args!("{};5;{index}", base + 8)),
        RGB => {
            add(format_args!("{};2;{};{};{index}", base + 8, colour >> 16 & 255, colour >> 8 & 255))
        }
        _ => add(format_args!("{}", base + 9)),
    }
}
