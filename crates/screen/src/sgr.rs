//! SGR: colours and attributes of the pen.

use crate::cell::*;
use crate::params::Params;
use crate::terminal::Terminal;

impl Terminal {
    /// `CSI … m`
    pub(super) fn set_attributes(&mut self, params: &Params) {
        let pen = &mut self.pen;
        let mut at = 0;
        while at < params.len() {
            let number = params.get(at);
            match number {
                0 => {
                    pen.fg = 0;
                    pen.bg = 0;
                    pen.ext.underline = 0;
                    pen.ext.colour = 0;
                    pen.mark_extended();
                }
                1 => pen.fg |= BOLD,
                2 => pen.bg |= DIM,
                3 => pen.bg |= ITALIC,
                4 => underline(pen, params.subs(at).first().copied().unwrap_or(1)),
                5 => pen.fg |= BLINK,
                7 => pen.fg |= INVERSE,
                8 => pen.fg |= INVISIBLE,
                9 => pen.fg |= STRIKE,
                21 => underline(pen, 2),
                22 => {
                    pen.fg &= !BOLD;
                    pen.bg &= !DIM;
                }
                23 => pen.bg &= !ITALIC,
                24 => underline(pen, 0),
                25 => pen.fg &= !BLINK,
                27 => pen.fg &= !INVERSE,
                28 => pen.fg &= !INVISIBLE,
                29 => pen.fg &= !STRIKE,
                30..=37 => pen.fg = palette_16(pen.fg, number - 30),
                40..=47 => pen.bg = palette_16(pen.bg, number - 40),
                90..=97 => pen.fg = palette_16(pen.fg, number - 90 + 8),
                100..=107 => pen.bg = palette_16(pen.bg, number - 100 + 8),
                39 => pen.fg &= !COLOUR,
                49 => pen.bg &= !COLOUR,
                38 | 48 | 58 => at += colour(pen, params, at),
                53 => pen.bg |= OVERLINE,
                55 => pen.bg &= !OVERLINE,
                59 => {
                    pen.ext.colour = Ext::NO_COLOUR;
                    pen.mark_extended();
                }
                _ => {}
            }
            at += 1;
        }
        self.pen_changed();
    }
}

fn underline(pen: &mut Pen, style: i32) {
    let style = if (0..=5).contains(&style) { style as u8 } else { 1 };
    pen.ext.underline = style;
    if style == 0 {
        pen.fg &= !UNDERLINE;
    } else {
        pen.fg |= UNDERLINE;
    }
    pen.mark_extended();
}

fn palette_16(packed: u32, index: i32) -> u32 {
    packed & !COLOUR | PALETTE_16 | index as u32
}

/// 38, 48 and 58 with a colour in parameters (`38;5;1`), in sub-parameters (`38:5:1`) or in both.
/// Returns the number of further parameters used.
fn colour(pen: &mut Pen, params: &Params, at: usize) -> usize {
    // what, mode, colour space, three numbers
    let mut numbers = [0, 0, -1, 0, 0, 0];
    let mut space = 0;
    let mut advance = 0;
    loop {
        numbers[advance + space] = params.get(at + advance);
        let subs = params.subs(at + advance);
        if !subs.is_empty() {
            for (i, sub) in subs.iter().enumerate() {
                if numbers[1] == 5 {
                    space = 1;
                }
                let to = advance + i + 1 + space;
                if to >= numbers.len() {
                    break;
                }
                numbers[to] = *sub;
            }
            break;
        }
        if (numbers[1] == 5 && advance + space >= 2) || (numbers[1] == 2 && advance + space >= 5) {
            break;
        }
        if numbers[1] != 0 {
            space = 1;
        }
        advance += 1;
        if advance + at >= params.len() || advance + space >= numbers.len() {
            break;
        }
    }
    for number in &mut numbers[2..] {
        if *number == -1 {
            *number = 0;
        }
    }
    let set = |packed: u32| match numbers[1] {
        2 => {
            let [r, g, b] = [numbers[3], numbers[4], numbers[5]].map(|n| n as u32 & 0xff);
            packed & !COLOUR | RGB | r << 16 | g << 8 | b
        }
        5 => packed & !COLOUR | PALETTE_256 | (numbers[3] as u32 & 0xff),
        _ => packed,
    };
    match numbers[0] {
        38 => pen.fg = set(pen.fg),
        48 => pen.bg = set(pen.bg),
        58 => pen.ext.colour = set(pen.ext.colour & COLOUR),
        _ => {}
    }
    advance
}
