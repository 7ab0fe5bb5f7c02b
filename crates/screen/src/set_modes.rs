//! Sets and resets modes (SM, RM, DECSET, DECRST), and reports them (DECRQM).

use crate::modes::{Mouse, MouseEncoding};
use crate::params::Params;
use crate::terminal::Terminal;

impl Terminal {
    /// SM, RM.
    pub(super) fn set_modes(&mut self, params: &Params, on: bool) {
        for mode in params.iter() {
            match mode {
                4 => self.modes.insert = on,
                20 => self.modes.linefeed = on,
                _ => {}
            }
        }
    }

    /// DECSET, DECRST.
    pub(super) fn set_private_modes(&mut self, params: &Params, on: bool) {
        for mode in params.iter() {
            let modes = &mut self.modes;
            let mouse = |mouse| if on { mouse } else { Mouse::Off };
            let encoding = |encoding| if on { encoding } else { MouseEncoding::Bytes };
            match mode {
                1 => modes.application_cursor = on,
                2 if on => {
                    self.charsets = Default::default();
                    self.charset = Default::default();
                }
                6 => {
                    modes.origin = on;
                    self.move_to(0, 0);
                }
                7 => modes.autowrap = on,
                9 => modes.mouse = mouse(Mouse::X10),
                12 => modes.blink = Some(on),
                25 => modes.cursor_visible = on,
                45 => modes.reverse_wrap = on,
                66 => modes.application_keypad = on,
                1000 => modes.mouse = mouse(Mouse::Buttons),
                1002 => modes.mouse = mouse(Mouse::Drag),
                1003 => modes.mouse = mouse(Mouse::Motion),
                1004 => modes.focus = on,
                1006 => modes.mouse_encoding = encoding(MouseEncoding::Sgr),
                1016 => modes.mouse_encoding = encoding(MouseEncoding::SgrPixels),
                1048 if on => self.save_cursor(),
                1048 => self.restore_cursor(),
                47 | 1047 | 1049 if on => {
                    if mode == 1049 {
                        self.save_cursor();
                    }
                    self.show_alternate();
                }
                47 | 1047 | 1049 => {
                    self.show_primary();
                    if mode == 1049 {
                        self.restore_cursor();
                    }
                }
                2004 => modes.bracketed_paste = on,
                2026 => modes.synchronized = on,
                _ => {}
            }
        }
    }

    fn show_alternate(&mut self) {
        if !self.on_alternate {
            let fill = self.erased();
            self.alternate.show(fill);
            (self.alternate.x, self.alternate.y) = (self.primary.x, self.primary.y);
            self.on_alternate = true;
        }
    }

    fn show_primary(&mut self) {
        if self.on_alternate {
            (self.primary.x, self.primary.y) = (self.alternate.x, self.alternate.y);
            self.alternate.hide();
            self.on_alternate = false;
        }
    }

    /// DECRQM: 0 unknown, 1 set, 2 reset, 3 always set, 4 always reset.
    pub(super) fn mode_state(&self, mode: i32, private: bool) -> u8 {
        let modes = &self.modes;
        let state = |on: bool| if on { 1 } else { 2 };
        match (mode, private) {
            (2, false) => 4,
            (4, false) => state(modes.insert),
            (12, false) => 3,
            (20, false) => state(modes.linefeed),
            (_, false) => 0,
            (1, _) => state(modes.application_cursor),
            (6, _) => state(modes.origin),
            (7, _) => state(modes.autowrap),
            (8, _) => 3,
            (9, _) => state(modes.mouse == Mouse::X10),
            (12, _) => state(modes.blink.unwrap_or(false)),
            (25, _) => state(modes.cursor_visible),
            (45, _) => state(modes.reverse_wrap),
            (66, _) => state(modes.application_keypad),
            (67 | 1005 | 1015, _) => 4,
            (1000, _) => state(modes.mouse == Mouse::Buttons),
            (1002, _) => state(modes.mouse == Mouse::Drag),
            (1003, _) => state(modes.mouse == Mouse::Motion),
            (1004, _) => state(modes.focus),
            (1006, _) => state(modes.mouse_encoding == MouseEncoding::Sgr),
            (1016, _) => state(modes.mouse_encoding == MouseEncoding::SgrPixels),
            (1048, _) => 1,
            (47 | 1047 | 1049, _) => state(self.on_alternate),
            (2004, _) => state(modes.bracketed_paste),
            (2026, _) => state(modes.synchronized),
            _ => 0,
        }
    }
}
