//! Answers to queries of programs: those of an xterm with 256 colours, as xterm.js gives them if it
//! gives any.

use crate::cell::PROTECTED;
use crate::event::Event;
use crate::modes::CursorShape;
use crate::terminal::Terminal;

impl Terminal {
    pub(super) fn reply(&mut self, text: impl Into<Vec<u8>>) {
        self.events.push(Event::Reply(text.into()));
    }

    /// DA1: a VT100 with advanced video.
    pub(super) fn report_attributes(&mut self) {
        self.reply("\x1b[?1;2c");
    }

    /// DA2
    pub(super) fn report_version(&mut self) {
        self.reply("\x1b[>0;276;0c");
    }

    /// DA3: a unit without a serial number.
    pub(super) fn report_unit(&mut self) {
        self.reply("\x1bP!|00000000\x1b\\");
    }

    /// XTVERSION
    pub(super) fn report_name(&mut self, what: i32) {
        if what == 0 {
            self.reply(concat!("\x1bP>|stayd ", env!("CARGO_PKG_VERSION"), "\x1b\\"));
        }
    }

    /// DSR: 5 asks for the status, 6 for the position of the cursor.
    pub(super) fn report_status(&mut self, what: i32, private: bool) {
        let (x, y) = (self.shown().x + 1, self.shown().y + 1);
        match (what, private) {
            (5, false) => self.reply("\x1b[0n"),
            (6, false) => self.reply(format!("\x1b[{y};{x}R")),
            (6, true) => self.reply(format!("\x1b[?{y};{x}R")),
            _ => {}
        }
    }

    /// DECRQM
    pub(super) fn report_mode(&mut self, mode: i32, private: bool) {
        let state = self.mode_state(mode, private);
        let prefix = if private { "?" } else { "" };
        self.reply(format!("\x1b[{prefix}{mode};{state}$y"));
    }

    /// XTWINOPS 18
    pub(super) fn report_size(&mut self) {
        self.reply(format!("\x1b[8;{};{}t", self.rows, self.cols));
    }

    /// DECRQSS
    pub(super) fn report_setting(&mut self, what: &str) {
        let text = match what {
            "\"q" => format!("{}\"q", u8::from(self.pen.bg & PROTECTED != 0)),
            "\"p" => "61;1\"p".to_owned(),
            "r" => format!("{};{}r", self.shown().top + 1, self.shown().bottom + 1),
            "m" => "0m".to_owned(),
            " q" => {
                let shape = match self.modes.cursor_shape {
                    CursorShape::Default | CursorShape::Block => 2,
                    CursorShape::Underline => 4,
                    CursorShape::Bar => 6,
                };
                let blinks = self.modes.cursor_blink.or(self.modes.blink).unwrap_or(false);
                format!("{} q", shape - u8::from(blinks))
            }
            _ => return self.reply("\x1bP0$r\x1b\\"),
        };
        self.reply(format!("\x1bP1$r{text}\x1b\\"));
    }
}
