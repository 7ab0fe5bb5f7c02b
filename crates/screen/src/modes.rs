//! The modes that programs set and reset: what they are, not what sets them.

/// Which mouse events are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mouse {
    /// None.
    #[default]
    Off,
    /// Presses (mode 9).
    X10,
    /// Presses and releases (mode 1000).
    Buttons,
    /// Also motion while a button is down (mode 1002).
    Drag,
    /// All motion (mode 1003).
    Motion,
}

/// How mouse events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MouseEncoding {
    /// Three bytes.
    #[default]
    Bytes,
    /// SGR (mode 1006).
    Sgr,
    /// SGR in pixels (mode 1016).
    SgrPixels,
}

/// The shape of the cursor (DECSCUSR).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CursorShape {
    /// The one that the user has chosen.
    #[default]
    Default,
    /// A block.
    Block,
    /// A line below.
    Underline,
    /// A line before.
    Bar,
}

/// The modes of a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modes {
    /// DECCKM: arrow keys send application sequences.
    pub application_cursor: bool,
    /// DECNKM, `ESC =`: so does the keypad.
    pub application_keypad: bool,
    /// DECOM: lines are counted from the top margin.
    pub origin: bool,
    /// IRM: printing pushes to the right what is there.
    pub insert: bool,
    /// DECAWM.
    pub autowrap: bool,
    /// Backspace goes back over a wrap (mode 45).
    pub reverse_wrap: bool,
    /// LNM: a line feed also returns the carriage.
    pub linefeed: bool,
    /// Mode 2004.
    pub bracketed_paste: bool,
    /// Focus events (mode 1004).
    pub focus: bool,
    /// Synchronized output (mode 2026) is being gathered.
    pub synchronized: bool,
    /// Which mouse events are reported.
    pub mouse: Mouse,
    /// And how.
    pub mouse_encoding: MouseEncoding,
    /// DECTCEM.
    pub cursor_visible: bool,
    /// DECSCUSR: the shape.
    pub cursor_shape: CursorShape,
    /// DECSCUSR: whether it blinks, if it said so.
    pub cursor_blink: Option<bool>,
    /// Mode 12: whether the cursor blinks where DECSCUSR has not said, if it was set.
    pub blink: Option<bool>,
}

impl Default for Modes {
    fn default() -> Modes {
        Modes {
            application_cursor: false,
            application_keypad: false,
            origin: false,
            insert: false,
            autowrap: true,
            reverse_wrap: false,
            linefeed: false,
            bracketed_paste: false,
            focus: false,
            synchronized: false,
            mouse: Mouse::Off,
            mouse_encoding: MouseEncoding::Bytes,
            cursor_visible: true,
            cursor_shape: CursorShape::Default,
            cursor_blink: None,
            blink: None,
        }
    }
}

impl Modes {
    /// DECSTR: all but mouse, line feed mode and mode 12.
    pub(super) fn reset_soft(&mut self) {
        *self = Modes {
            linefeed: self.linefeed,
            mouse: self.mouse,
            mouse_encoding: self.mouse_encoding,
            blink: self.blink,
            ..Modes::default()
        };
    }

    /// RIS: all but line feed mode, mode 12 and whether the cursor shows.
    pub(super) fn reset_hard(&mut self) {
        *self = Modes {
            linefeed: self.linefeed,
            cursor_visible: self.cursor_visible,
            blink: self.blink,
            ..Modes::default()
        };
    }
}
