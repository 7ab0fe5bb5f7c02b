//! What a remote program does to this terminal, and how to undo it.

/// Ends an escape sequence or string that was cut off.
pub(super) const ABORT: &[u8] = b"\x18\x1b\\";

/// Clears what is there before a screen is drawn anew. Not ESC c, which would take the
/// user's own scrollback along on some terminals.
pub(super) const CLEAR: &[u8] = b"\x1b[m\x1b(B\x0f\x1b[?6l\x1b[r\x1b[?7h\x1b[H\x1b[2J";

/// Undoes what programs set and may have left, but for the alternate screen: keypad and
/// cursor keys, mouse (1000–1006, 1015), focus, paste, synchronized updates, keyboard
/// protocols, charset, scroll region (which moves the cursor: hence 7 and 8), wrapping,
/// cursor shape and visibility, attributes.
pub(super) const UNDO: &[u8] = b"\x1b>\x1b[?1l\
\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\
\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[<9u\x1b[>4;0m\x1b(B\x0f\
\x1b7\x1b[r\x1b8\x1b[4l\x1b[?7h\x1b[0 q\x1b[?25h\x1b[m";

/// Follows the output for one thing: whether it is on the alternate screen. To leave that
/// unasked would move the cursor.
#[derive(Debug, Default)]
pub(super) struct AltScreen {
    state: State,
    /// Parameters of the sequence under way.
    params: Vec<u16>,
    /// The mode (47, 1047 or 1049) that switched to it.
    mode: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    Private,
}

/// No sequence that switches screens has more.
const PARAMS_MAX: usize = 32;

impl AltScreen {
    /// Takes what was written.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            if self.state == State::Ground {
                let Some(escape) = bytes.iter().position(|byte| *byte == 0x1b) else { return };
                bytes = &bytes[escape..];
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.byte(*byte);
            bytes = rest;
        }
    }

    /// The mode that switched to the alternate screen, while that is shown.
    pub(super) fn mode(&self) -> Option<u16> {
        self.mode
    }

    fn byte(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (_, 0x1b) => State::Escape,
            (State::Escape, b'[') => State::Csi,
            // RIS resets everything.
            (State::Escape, b'c') => {
                self.mode = None;
                State::Ground
            }
            (State::Csi, b'?') => {
                self.params.clear();
                self.params.push(0);
                State::Private
            }
            (State::Private, b'0'..=b'9') => {
                if let Some(param) = self.params.last_mut() {
                    *param = param.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
                State::Private
            }
            (State::Private, b';') if self.params.len() < PARAMS_MAX => {
                self.params.push(0);
                State::Private
            }
            (State::Private, b'h' | b'l') => {
                let switch = |param: &&u16| matches!(**param, 47 | 1047 | 1049);
                if let Some(mode) = self.params.iter().find(switch) {
                    self.mode = (byte == b'h').then_some(*mode);
                }
                State::Ground
            }
            _ => State::Ground,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(pieces: &[&[u8]]) -> Option<u16> {
        let mut screen = AltScreen::default();
        for piece in pieces {
            screen.feed(piece);
        }
        screen.mode()
    }

    #[test]
    fn the_alternate_screen_is_seen_wherever_the_output_is_cut() {
        let output = b"text\x1b[31m\x1b[?1;1049;25hmore\x1b[?25l\x1b[?2004h";
        for cut in 0..=output.len() {
            assert_eq!(mode(&[&output[..cut], &output[cut..]]), Some(1049), "{cut}");
        }
    }

    #[test]
    fn it_is_left_as_it_was_entered_or_by_a_reset() {
        assert_eq!(mode(&[b"\x1b[?47h"]), Some(47));
        assert_eq!(mode(&[b"\x1b[?1049h", b"\x1b[?1049l"]), None);
        assert_eq!(mode(&[b"\x1b[?1049h\x1bc"]), None);
        assert_eq!(mode(&[b"\x1b[1049h\x1b[?1049$p?1049h"]), None, "other sequences");
    }

    #[test]
    fn a_hostile_sequence_does_no_harm() {
        let long = [b"\x1b[?".as_slice(), &b"9;".repeat(10_000), b"99999999999h"].concat();
        assert_eq!(mode(&[&long, b"\x1b[?1047h"]), Some(1047));
    }
}
