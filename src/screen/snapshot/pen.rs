//! Attributes as SGR, in the fewest bytes.

use std::fmt::Write as _;

use super::Detail;
use super::writer::Writer;
use crate::screen::cell::*;

/// Flags of `fg` and of `bg` with the numbers that set and reset them.
const FG_FLAGS: [(u32, u8, u8); 5] =
    [(BOLD, 1, 22), (BLINK, 5, 25), (INVERSE, 7, 27), (INVISIBLE, 8, 28), (STRIKE, 9, 29)];
const BG_FLAGS: [(u32, u8, u8); 3] = [(DIM, 2, 22), (ITALIC, 3, 23), (OVERLINE, 53, 55)];

impl Writer<'_> {
    /// Takes the pen that writes such cells.
    pub(super) fn style(&mut self, style: Style) {
        let ext = if style.bg & EXTENDED == 0 {
            Ext::default()
        } else {
            *self.terminal.exts.get(style.ext)
        };
        self.take_pen(Pen { fg: style.fg, bg: style.bg, ext });
    }

    /// Default attributes, no link.
    pub(super) fn plain(&mut self) {
        self.take_pen(Pen::default());
    }

    /// The background alone; erasing uses nothing else.
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
        self.change_pen(to, true);
    }

    /// The pen at the end. After DECRC it may have attributes that it does not use (DECRC
    /// brings back neither underline nor link) and that a later sequence revives.
    pub(super) fn take_last_pen(&mut self) {
        let to = self.terminal.pen;
        let saved = self.terminal.shown().saved;
        let unused = to.bg & EXTENDED == 0 && !to.ext.is_empty();
        if unused && saved.bg & EXTENDED == 0 && (saved.fg ^ to.fg) & UNDERLINE == 0 {
            let flag = if to.ext.underline > 0 { UNDERLINE } else { 0 };
            self.take_pen(Pen { fg: flag, bg: EXTENDED, ext: to.ext });
            self.text("\x1b8");
            self.pen = Pen { fg: saved.fg, bg: saved.bg, ext: to.ext };
            self.change_pen(to, false);
        } else {
            self.take_pen(to);
        }
    }

    fn change_pen(&mut self, to: Pen, may_reset: bool) {
        if self.detail != Detail::Everything {
            return;
        }
        let from = self.pen;
        if from == to {
            return;
        }
        if from.ext.link != to.ext.link {
            let link = self.terminal.links.get(to.ext.link).clone();
            let id = link.id.map(|id| format!("id={id}")).unwrap_or_default();
            self.text(format!("\x1b]8;{id};{}\x1b\\", link.uri));
        }
        // A colour of underlines cannot be taken back but by resetting everything.
        let resets = from.ext.colour != to.ext.colour && to.ext.colour == 0;
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
        self.pen = to;
    }
}

/// The numbers, with semicolons between them, that turn one pen into the other.
fn difference(from: &Pen, to: &Pen) -> String {
    let mut sgr = String::new();
    let mut add = |number: std::fmt::Arguments<'_>| {
        let separator = if sgr.is_empty() { "" } else { ";" };
        // Writing to a string cannot fail.
        let _ = write!(sgr, "{separator}{number}");
    };
    // 22 takes bold and dim away together.
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
    // DECRC can bring back the flag without a style: then none is shown.
    let underline = |pen: &Pen| match (pen.fg & UNDERLINE, pen.bg & EXTENDED) {
        (0, _) => 0,
        (_, 0) => 1,
        _ => pen.ext.underline,
    };
    match (underline(from), underline(to)) {
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
