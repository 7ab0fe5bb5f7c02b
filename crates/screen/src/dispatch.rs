//! Dispatches the parser's calls to the terminal's functions.

use crate::charset::Charset;
use crate::edit::Erase;
use crate::event::Event;
use crate::params::Params;
use crate::parser::Actions;
use crate::terminal::Terminal;

/// The id of a sequence: its prefix, intermediate and final bytes.
#[must_use]
pub const fn id(bytes: &[u8]) -> u32 {
    let mut id = 0;
    let mut i = 0;
    while i < bytes.len() {
        id = id << 8 | bytes[i] as u32;
        i += 1;
    }
    id
}

macro_rules! ids {
    ($($name:ident = $bytes:literal;)*) => { $(const $name: u32 = id($bytes);)* };
}

ids! {
    ICH = b"@"; SL = b" @"; CUU = b"A"; SR = b" A"; CUD = b"B"; CUF = b"C"; CUB = b"D"; CNL = b"E"; CPL = b"F";
    CHA = b"G"; CUP = b"H"; CHT = b"I"; ED = b"J"; DECSED = b"?J"; EL = b"K"; DECSEL = b"?K"; IL = b"L"; DL = b"M";
    DCH = b"P"; SU = b"S"; SD = b"T"; ECH = b"X"; CBT = b"Z"; HPA = b"`"; HPR = b"a"; REP = b"b"; DA1 = b"c";
    DA2 = b">c"; DA3 = b"=c"; VPA = b"d"; VPR = b"e"; HVP = b"f"; TBC = b"g"; SM = b"h"; DECSET = b"?h"; RM = b"l";
    DECRST = b"?l"; SGR = b"m"; DSR = b"n"; DECDSR = b"?n"; DECSTR = b"!p"; DECSCUSR = b" q"; DECSTBM = b"r";
    SCOSC = b"s"; SCORC = b"u"; DECIC = b"'}"; DECDC = b"'~"; DECSCA = b"\"q"; DECRQM = b"$p"; DECRQM_DEC = b"?$p";
    XTVERSION = b">q"; WINDOW = b"t"; SKIPPED = b"=$z"; BEYOND = b"=$|";
}

impl Actions for Terminal {
    fn print_ascii(&mut self, text: &[u8]) {
        if self.charset.is_ascii() {
            self.print_plain(text);
        } else {
            for byte in text {
                self.print_char(self.charset.map(*byte));
            }
        }
    }

    fn print(&mut self, c: char) {
        self.print_char(c);
    }

    fn execute(&mut self, control: u8) {
        match control {
            0x07 => self.events.push(Event::Bell),
            0x08 => self.backspace(),
            0x09 => self.tab(1),
            0x0a..=0x0c => self.line_feed(),
            0x0d => self.carriage_return(),
            0x0e => self.invoke(1),
            0x0f => self.invoke(0),
            0x84 => self.index(),
            0x85 => {
                self.carriage_return();
                self.index();
            }
            0x88 => self.set_tab(),
            _ => {}
        }
        self.preceding = 0;
    }

    fn csi(&mut self, id: u32, params: &Params) {
        let n = params.count(0);
        match id {
            ICH => self.insert_chars(n),
            SL => self.shift_columns(0, n, false),
            SR => self.shift_columns(0, n, true),
            DECIC => self.shift_columns(self.shown().x, n, true),
            DECDC => self.shift_columns(self.shown().x, n, false),
            CUU => self.up(n),
            CUD => self.down(n),
            CUF | HPR => self.move_by(n as i64, 0),
            CUB => self.move_by(-(n as i64), 0),
            VPR => self.move_by(0, n as i64),
            CNL => {
                self.down(n);
                self.carriage_return();
            }
            CPL => {
                self.up(n);
                self.carriage_return();
            }
            CHA | HPA => self.column(params.get(0)),
            VPA => self.line(params.get(0)),
            CUP | HVP => self.move_to(params.count(1) as i64 - 1, n as i64 - 1),
            CHT => self.tab(n),
            CBT => self.back_tab(n),
            TBC => self.clear_tabs(params.get(0)),
            ED => self.erase_display(params.get(0), Erase::All),
            DECSED => self.erase_display(params.get(0), Erase::Unprotected),
            EL => self.erase_in_line(params.get(0), Erase::All),
            DECSEL => self.erase_in_line(params.get(0), Erase::Unprotected),
            IL => self.insert_lines(n),
            DL => self.delete_lines(n),
            DCH => self.delete_chars(n),
            ECH => self.erase_chars(n),
            SU => self.scroll_up(n),
            SD => self.scroll_down(n),
            REP => self.repeat(params),
            SM => self.set_modes(params, true),
            RM => self.set_modes(params, false),
            DECSET => self.set_private_modes(params, true),
            DECRST => self.set_private_modes(params, false),
            SGR => self.set_attributes(params),
            DECSTR => self.soft_reset(),
            DECSCUSR => self.set_cursor_style(params.get(0)),
            DECSCA => self.set_protected(params.get(0)),
            DECSTBM => self.set_margins(params),
            SCOSC => self.save_cursor(),
            SCORC => self.restore_cursor(),
            DA1 | DA2 | DA3 if params.get(0) > 0 => {}
            DA1 => self.report_attributes(),
            DA2 => self.report_version(),
            DA3 => self.report_unit(),
            DSR => self.report_status(params.get(0), false),
            DECDSR => self.report_status(params.get(0), true),
            DECRQM => self.report_mode(params.get(0), false),
            DECRQM_DEC => self.report_mode(params.get(0), true),
            XTVERSION => self.report_name(params.get(0)),
            WINDOW => self.window(params),
            SKIPPED if self.reads_snapshot => self.mark_skipped(params),
            BEYOND if self.reads_snapshot => self.reach_beyond(params),
            _ => {}
        }
        self.preceding = 0;
    }

    fn esc(&mut self, id: u32) {
        match id {
            0x37 => self.save_cursor(),
            0x38 => self.restore_cursor(),
            0x44 => self.index(),
            0x45 => {
                self.carriage_return();
                self.index();
            }
            0x48 => self.set_tab(),
            0x4d => self.reverse_index(),
            0x3d => self.modes.application_keypad = true,
            0x3e => self.modes.application_keypad = false,
            0x63 => self.reset(),
            // LS2, LS3 and their right-hand variants, which share one level here.
            0x6e | 0x7d => self.invoke(2),
            0x6f | 0x7c => self.invoke(3),
            0x7e => self.invoke(1),
            // ESC % @, ESC % G
            0x2540 | 0x2547 => {
                self.invoke(0);
                self.designate(0, Charset::default());
            }
            // ESC # 8
            0x2338 => self.alignment_pattern(),
            _ => {
                let [_, _, slot, last] = id.to_be_bytes();
                let slot = match slot {
                    b'(' => Some(0),
                    b')' | b'-' => Some(1),
                    b'*' | b'.' => Some(2),
                    b'+' => Some(3),
                    _ => None,
                };
                if let (Some(slot), Some(charset), 0) = (slot, Charset::by_final(last), id >> 16) {
                    self.designate(slot, charset);
                }
            }
        }
        self.preceding = 0;
    }

    fn osc(&mut self, number: u32, data: &str) {
        self.operating_command(number, data);
        self.preceding = 0;
    }

    fn dcs(&mut self, id: u32, data: &str) {
        if id == self::id(b"$q") {
            self.report_setting(data);
        }
        self.preceding = 0;
    }

    fn ignored(&mut self) {
        self.preceding = 0;
    }
}

impl Terminal {
    /// REP: prints a character through the character set, as typed text is.
    pub(super) fn print_mapped(&mut self, c: char) {
        match u8::try_from(c) {
            Ok(byte) if byte < 0x7f => self.print_ascii(&[byte]),
            _ => self.print_char(c),
        }
    }

    fn invoke(&mut self, level: usize) {
        self.level = level;
        self.charset = self.charsets[level];
    }

    fn designate(&mut self, slot: usize, charset: Charset) {
        self.charsets[slot] = charset;
        if self.level == slot {
            self.charset = charset;
        }
    }

    fn set_protected(&mut self, on: i32) {
        match on {
            1 => self.pen.bg |= crate::cell::PROTECTED,
            0 | 2 => self.pen.bg &= !crate::cell::PROTECTED,
            _ => {}
        }
    }

    fn set_cursor_style(&mut self, style: i32) {
        use crate::modes::CursorShape::*;
        let modes = &mut self.modes;
        modes.cursor_shape = match style {
            0 => Default,
            1 | 2 => Block,
            3 | 4 => Underline,
            5 | 6 => Bar,
            _ => modes.cursor_shape,
        };
        modes.cursor_blink = (style != 0).then_some(style % 2 == 1);
    }

    /// XTWINOPS: the size in characters, and the stack of titles.
    fn window(&mut self, params: &Params) {
        /// The depth of the stack, which is xterm's.
        const TITLES: usize = 10;
        let titles = matches!(params.get(1), 0 | 2);
        match params.get(0) {
            18 => self.report_size(),
            22 if titles => {
                self.titles.push(self.title.clone());
                if self.titles.len() > TITLES {
                    self.titles.remove(0);
                }
            }
            23 if titles => {
                if let Some(title) = self.titles.pop() {
                    self.set_title(&title);
                }
            }
            _ => {}
        }
    }
}
