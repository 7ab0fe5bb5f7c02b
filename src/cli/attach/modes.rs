//! Tracks what a remote program changes in this terminal, and undoes it.
//!
//! The terminal is asked nothing, since its answer could not be distinguished from keys. It is told
//! to save what it can ([`enter`]) and to restore that ([`leave`]); the rest is set to the usual
//! defaults. What a user may have configured otherwise is changed only if the output has changed
//! it.

use crate::screen::{Actions, Params, sequence};
use std::collections::{BTreeMap, BTreeSet};

/// Ends an escape sequence or string that was cut off.
pub(super) const ABORT: &[u8] = b"\x18\x1b\\";

/// Clears the terminal before a screen is drawn. ESC c would also clear the user's own scrollback
/// on some terminals.
pub(super) const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Private modes (DECSET) that are off by default and that only programs set: cursor keys, mouse,
/// focus, paste, synchronized updates, reports of colour scheme and size, win32 input.
const PROGRAMS: [u16; 17] = [
    1, 9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026, 2031, 2048, 5522, 9001,
];
/// Private modes with their default, which is set if the output has left them otherwise.
const DEFAULTS: [(u16, bool); 17] = [
    (2, true),
    (3, false),
    (4, false),
    (5, false),
    (7, true),
    (8, true),
    (12, false),
    (25, true),
    (40, false),
    (45, false),
    (66, false),
    (67, false),
    (69, false),
    (80, false),
    (95, false),
    (1046, true),
    (1070, true),
];
/// Modes that users choose in their terminal's settings, so that the default is unknown: reverse
/// video, blinking, wrapping backwards, Backspace, scrolling, Meta and Alt, bells, grapheme
/// clusters. XTSAVE and XTRESTORE keep them on terminals that have those sequences.
const CHOSEN: &str = "5;12;45;67;1007;1010;1011;1034;1035;1036;1039;1042;1043;2027";
/// The most entries that are popped off one stack: terminals keep about ten.
const STACK_MAX: i32 = 32;
/// The most XTMODKEYS numbers that are remembered. Few numbers exist.
const RESOURCES_MAX: usize = 16;

/// Makes the terminal save what it can: titles, colours, the keyboard's flags (as a new entry
/// without flags) and the modes that users choose.
pub(super) fn enter() -> Vec<u8> {
    let save = format!("\x1b[22;0t\x1b[#P\x1b[>0u\x1b[?{CHOSEN}s");
    if understands() { save.into_bytes() } else { Vec::new() }
}

/// Makes the terminal restore that, after [`Changes::undo`].
pub(super) fn leave() -> Vec<u8> {
    let restore = "\x1b[<u\x1b[#Q\x1b[23;0t";
    if understands() { restore.into() } else { Vec::new() }
}

/// Whether the terminal parses such sequences. The console of older kernels prints the rest of a
/// sequence that has a private sign in it.
fn understands() -> bool {
    !matches!(std::env::var("TERM").as_deref(), Ok("linux" | "dumb" | "") | Err(_))
}

/// The index of the main screen, as opposed to the alternate one.
const MAIN: usize = 0;
const ALTERNATE: usize = 1;

/// The changes to a screen's keyboard: to kitty's protocol, which has a stack for each screen, and
/// to xterm's, which some terminals have for each screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Keyboard {
    /// Entries pushed and not popped; below zero if the entry of [`enter`] was popped.
    depth: i32,
    /// Whether flags were set without pushing an entry.
    set: bool,
    /// The numbers that XTMODKEYS and XTFMTKEYS changed.
    modified: BTreeSet<u16>,
    formatted: BTreeSet<u16>,
}

/// The changes that output has made to a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// The mode (47, 1047 or 1049) that switched to the alternate screen, while it is shown.
    alternate: Option<u16>,
    keyboards: [Keyboard; 2],
    /// Entries pushed and not popped, of the stacks of titles and of colours.
    titles: i32,
    palettes: i32,
    /// The private modes among [`DEFAULTS`] that were set or reset, and the same of SM and RM.
    private: BTreeMap<u16, bool>,
    ansi: BTreeMap<u16, bool>,
    /// Origin mode (DECOM), and the value that DECRC would restore.
    origin: bool,
    saved_origin: bool,
    tabs: bool,
    /// Palette colours (OSC 4), special colours (OSC 5) and the colours of OSC 10 to 19 that were
    /// changed.
    indexed: BTreeSet<u8>,
    special: bool,
    dynamic: BTreeSet<u8>,
    /// Whether these were used: ESC % @, ESC SP G, DECLL, OSC 7, OSC 9;4, OSC 22.
    latin: bool,
    eight_bits: bool,
    lamps: bool,
    directory: bool,
    progress: bool,
    pointer: bool,
}

impl Changes {
    /// Restores a terminal of `cols` columns to its state after [`enter`], except for the text on
    /// its screen. The cursor stays where it is, if possible.
    pub(super) fn undo(&self, cols: u16) -> Vec<u8> {
        let mut out = String::new();
        if self.private.get(&2) == Some(&false) {
            // Leave VT52 mode.
            out += "\x1b<";
        }
        out += "\x1b[?2026l";
        self.leave_alternate(&mut out);
        self.undo_keyboard(MAIN, &mut out);
        self.undo_modes(&mut out);
        self.undo_colours(&mut out);
        for _ in 0..self.titles.min(STACK_MAX) {
            out += "\x1b[23;0t";
        }
        if self.titles < 0 && understands() {
            out += "\x1b[22;0t";
        }
        for (changed, undo) in [
            (self.latin, "\x1b%G"),
            (self.eight_bits, "\x1b F"),
            (self.lamps, "\x1b[0q"),
            (self.directory, "\x1b]7;\x1b\\"),
            (self.progress, "\x1b]9;4;0\x1b\\"),
            (self.pointer, "\x1b]22;\x1b\\"),
        ] {
            if changed {
                out += undo;
            }
        }
        // Resetting the margins moves the cursor, so it is saved and restored. Restoring it also
        // restores origin mode, character sets and attributes, which are reset after it.
        out += "\x1b7\x1b[r";
        if self.tabs {
            restore_tabs(cols, &mut out);
        }
        out += "\x1b8";
        if self.origin || self.saved_origin {
            // Resetting origin mode moves the cursor to the top left. Below everything it disturbs
            // least.
            out += "\x1b[?6l\x1b[9999;1H";
        }
        out += "\x1b]8;;\x1b\\\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[0\"q\x1b[0 q\x1b[m";
        out.into_bytes()
    }

    /// Leaves the alternate screen if it is shown, since leaving it otherwise would move the
    /// cursor. Its changes are undone while it is shown, as the main screen's are.
    fn leave_alternate(&self, out: &mut String) {
        let dirty = self.keyboards[ALTERNATE] != Keyboard::default();
        match self.alternate {
            Some(_) => self.undo_keyboard(ALTERNATE, out),
            // This mode clears nothing and leaves the cursor where it is.
            None if dirty => {
                *out += "\x1b[?47h";
                self.undo_keyboard(ALTERNATE, out);
                *out += "\x1b[?47l";
            }
            None => {}
        }
        if let Some(mode) = self.alternate {
            *out += &format!("\x1b[?{mode}l");
        }
    }

    fn undo_keyboard(&self, screen: usize, out: &mut String) {
        let Keyboard { depth, set, modified, formatted } = &self.keyboards[screen];
        if *depth > 0 {
            *out += &format!("\x1b[<{}u", depth.min(&STACK_MAX));
        }
        if *set {
            *out += "\x1b[=0u";
        }
        if *depth < 0 && screen == MAIN && understands() {
            *out += "\x1b[>0u";
        }
        // Without a value, the initial one is set.
        for number in modified {
            *out += &format!("\x1b[>{number}m");
        }
        for number in formatted {
            *out += &format!("\x1b[>{number}f");
        }
    }

    fn undo_modes(&self, out: &mut String) {
        *out += "\x1b>";
        for mode in PROGRAMS {
            *out += &format!("\x1b[?{mode}l");
        }
        *out += "\x1b[4l\x1b[20l\x1b[?7h\x1b[?25h";
        for (mode, default) in DEFAULTS {
            if self.private.get(&mode).is_some_and(|on| *on != default) {
                *out += &format!("\x1b[?{mode}{}", if default { 'h' } else { 'l' });
            }
        }
        for (mode, on) in &self.ansi {
            // SRM, which is on by default, keeps the terminal from echoing by itself.
            let default = *mode == 12;
            if *on != default {
                *out += &format!("\x1b[{mode}{}", if default { 'h' } else { 'l' });
            }
        }
        if understands() {
            *out += &format!("\x1b[?{CHOSEN}r");
        }
    }

    fn undo_colours(&self, out: &mut String) {
        if self.palettes < 0 && understands() {
            // The entry of [`enter`] was popped, so that the terminal shows the user's own colours:
            // save them again. Changes since then are saved along, and what they replaced is lost.
            *out += "\x1b[#P";
        }
        for index in &self.indexed {
            *out += &format!("\x1b]104;{index}\x1b\\");
        }
        if self.special {
            *out += "\x1b]105\x1b\\";
        }
        for number in &self.dynamic {
            *out += &format!("\x1b]{}\x1b\\", u16::from(*number) + 100);
        }
        for _ in 0..self.palettes.min(STACK_MAX) {
            *out += "\x1b[#Q";
        }
    }

    fn screen(&self) -> usize {
        if self.alternate.is_some() { ALTERNATE } else { MAIN }
    }

    fn set_private(&mut self, mode: u16, on: bool) {
        match mode {
            6 => self.origin = on,
            47 | 1047 | 1049 => {
                if mode == 1049 && on {
                    self.saved_origin = self.origin;
                } else if mode == 1049 {
                    self.origin = self.saved_origin;
                }
                self.alternate = on.then_some(mode);
            }
            1048 if on => self.saved_origin = self.origin,
            1048 => self.origin = self.saved_origin,
            _ if DEFAULTS.iter().any(|(known, _)| *known == mode) => {
                self.private.insert(mode, on);
            }
            _ => {}
        }
    }

    /// kitty's protocol: push, pop, set.
    fn keyboard(&mut self, id: u32, params: &Params) {
        let screen = self.screen();
        let keyboard = &mut self.keyboards[screen];
        match id {
            PUSH_KEYS => keyboard.depth = keyboard.depth.saturating_add(1),
            POP_KEYS => {
                // On the alternate screen there is no entry of ours to pop.
                let least = if screen == MAIN { -1 } else { 0 };
                keyboard.depth = keyboard.depth.saturating_sub(params.get(0).max(1)).max(least);
            }
            _ => keyboard.set = true,
        }
    }

    /// RIS: everything that it resets is as after [`enter`], except for what [`enter`] had saved.
    fn reset(&mut self) {
        let (titles, palettes) = (self.titles, self.palettes);
        // The keyboard's stacks are empty, and the entry of [`enter`] is gone.
        let keyboards = [Keyboard { depth: -1, ..Keyboard::default() }, Keyboard::default()];
        *self = Changes { titles, palettes, keyboards, ..Changes::default() };
    }
}

fn restore_tabs(cols: u16, out: &mut String) {
    *out += "\x1b[3g\r\x1bH";
    for _ in 0..cols.saturating_sub(1) / 8 {
        *out += "\x1b[8C\x1bH";
    }
    // DECST8C also resets the stops beyond the edge, on terminals that know it.
    *out += "\x1b[?5W";
}

const PUSH_KEYS: u32 = sequence(b">u");
const POP_KEYS: u32 = sequence(b"<u");
const SET_KEYS: u32 = sequence(b"=u");
const DECSET: u32 = sequence(b"?h");
const DECRST: u32 = sequence(b"?l");
const SM: u32 = sequence(b"h");
const RM: u32 = sequence(b"l");
const SCOSC: u32 = sequence(b"s");
const SCORC: u32 = sequence(b"u");
const DECSTR: u32 = sequence(b"!p");
const TBC: u32 = sequence(b"g");
const CTC: u32 = sequence(b"W");
const DECST8C: u32 = sequence(b"?W");
const XTWINOPS: u32 = sequence(b"t");
const XTPUSHCOLORS: u32 = sequence(b"#P");
const XTPOPCOLORS: u32 = sequence(b"#Q");
const XTMODKEYS: u32 = sequence(b">m");
const XTDISABLE: u32 = sequence(b">n");
const XTFMTKEYS: u32 = sequence(b">f");
const DECLL: u32 = sequence(b"q");

impl Actions for Changes {
    fn print_ascii(&mut self, _: &[u8]) {}

    fn print(&mut self, _: char) {}

    fn execute(&mut self, control: u8) {
        // HTS as a single byte.
        self.tabs |= control == 0x88;
    }

    fn csi(&mut self, id: u32, params: &Params) {
        let first = u16::try_from(params.get(0)).unwrap_or(u16::MAX);
        match id {
            DECSET | DECRST => {
                for mode in params.iter().filter_map(|mode| u16::try_from(mode).ok()) {
                    self.set_private(mode, id == DECSET);
                }
            }
            SM | RM => {
                for mode in params.iter().filter_map(|mode| u16::try_from(mode).ok()) {
                    // The modes that terminals have; the others are always reset.
                    if matches!(mode, 2 | 12) {
                        self.ansi.insert(mode, id == SM);
                    }
                }
            }
            PUSH_KEYS | POP_KEYS | SET_KEYS => self.keyboard(id, params),
            SCOSC => self.saved_origin = self.origin,
            SCORC => self.origin = self.saved_origin,
            DECSTR => (self.origin, self.saved_origin) = (false, false),
            TBC | CTC | DECST8C => self.tabs = true,
            XTWINOPS if first == 22 => self.titles = self.titles.saturating_add(1),
            XTWINOPS if first == 23 => self.titles = (self.titles - 1).max(-1),
            XTPUSHCOLORS if first == 0 => self.palettes = self.palettes.saturating_add(1),
            XTPOPCOLORS if first == 0 => self.palettes = (self.palettes - 1).max(-1),
            XTMODKEYS | XTDISABLE | XTFMTKEYS => {
                let screen = self.screen();
                let Keyboard { modified, formatted, .. } = &mut self.keyboards[screen];
                let numbers = if id == XTFMTKEYS { formatted } else { modified };
                if numbers.len() < RESOURCES_MAX {
                    numbers.insert(first);
                }
            }
            DECLL => self.lamps = true,
            _ => {}
        }
    }

    fn esc(&mut self, id: u32) {
        const LATIN: u32 = sequence(b"%@");
        const EIGHT_BITS: u32 = sequence(b" G");
        match id {
            LATIN => self.latin = true,
            EIGHT_BITS => self.eight_bits = true,
            0x37 => self.saved_origin = self.origin,
            0x38 => self.origin = self.saved_origin,
            0x48 => self.tabs = true,
            0x63 => self.reset(),
            _ => {}
        }
    }

    fn osc(&mut self, number: u32, data: &str) {
        match number {
            4 => {
                let mut words = data.split(';');
                while let (Some(index), Some(colour)) = (words.next(), words.next()) {
                    // A query changes nothing.
                    self.indexed.extend(index.parse::<u8>().ok().filter(|_| colour != "?"));
                }
            }
            5 => self.special = true,
            7 => self.directory = true,
            9 => self.progress |= data.starts_with("4;"),
            10..=19 => {
                // Several colours in one sequence belong to the numbers that follow.
                let changed = (number..20).zip(data.split(';')).filter(|(_, to)| *to != "?");
                self.dynamic.extend(changed.filter_map(|(number, _)| u8::try_from(number).ok()));
            }
            22 => self.pointer = true,
            _ => {}
        }
    }

    fn dcs(&mut self, _: u32, _: &str) {}

    fn ignored(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Parser;

    fn undo(pieces: &[&[u8]]) -> String {
        let (mut parser, mut changes) = (Parser::new(), Changes::default());
        for piece in pieces {
            parser.feed(piece, &mut changes);
        }
        String::from_utf8(changes.undo(80)).unwrap()
    }

    /// The tests with a real terminal check that nothing is left.
    #[test]
    fn what_has_changed_is_seen_wherever_the_output_is_cut() {
        let output = b"text\x1b[31m\x1b[?1;1049;5hmore\x1b]4;7;#fff\x1b\\\x1b[>3u\x1b[?5l\x1b[?8l";
        let whole = undo(&[output]);
        for expected in ["\x1b[<1u", "\x1b[?1049l", "\x1b]104;7\x1b\\", "\x1b[?8h"] {
            assert!(whole.contains(expected), "{whole:?}");
        }
        assert!(!whole.contains("\x1b[?5l"), "it is as it was");
        for cut in 0..=output.len() {
            assert_eq!(undo(&[&output[..cut], &output[cut..]]), whole, "{cut}");
        }
    }

    #[test]
    fn what_was_not_touched_is_left_alone() {
        let untouched = undo(&[b"\x1b[1mtext\x1b[m\x1b]10;?\x1b\\\x1b[?1049h\x1b[?1049l"]);
        for never in ["1049", "47h", "\x1b]1", "\x1b[3g", "\x1b[?6l", "\x1b[?5l", "\x1b[<"] {
            assert!(!untouched.contains(never), "{never:?}: {untouched:?}");
        }
    }

    #[test]
    fn a_hostile_program_makes_no_long_end() {
        let mut output = Vec::new();
        for n in 0..5_000 {
            output.extend_from_slice(
                format!("\x1b[>{n};1m\x1b[?{n}h\x1b[{n}h\x1b]4;{n};#fff\x07").as_bytes(),
            );
            output.extend_from_slice(b"\x1b[>1u\x1b[22;0t\x1b[#P");
        }
        assert!(undo(&[&output]).len() < 10_000);
        let long = [b"\x1b[?".as_slice(), &b"9;".repeat(10_000), b"99999999999h"].concat();
        assert!(undo(&[&long, b"\x1b[?1047h"]).contains("\x1b[?1047l"));
    }
}
