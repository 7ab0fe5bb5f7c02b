//! The modes that programs set and reset; `set_modes` sets them.

/// The mouse events that are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mouse {
    /// None.
    #[default]
    Off,
    /// Presses (mode 9).
    X10,
    /// Presses and releases (mode 1000).
    Buttons,
    /// Presses, releases, and motion while a button is down (mode 1002).
    Drag,
    /// Presses, releases and all motion (mode 1003).
    Motion,
}

/// The encoding of mouse events.
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
    /// A line below the character.
    Underline,
    /// A line before the character.
    Bar,
}

/// The modes of a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modes {
    /// DECCKM: arrow keys send application sequences.
    pub application_cursor: bool,
    /// DECNKM, `ESC =`: the keypad sends application sequences.
    pub application_keypad: bool,
    /// DECOM: lines are counted from the top margin.
    pub origin: bool,
    /// IRM: printing moves the rest of the line to the right.
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
    /// The mouse events that are reported.
    pub mouse: Mouse,
    /// The encoding of mouse events.
    pub mouse_encoding: MouseEncoding,
    /// DECTCEM.
    pub cursor_visible: bool,
    /// DECSCUSR: the shape.
    pub cursor_shape: CursorShape,
    /// DECSCUSR: whether the cursor blinks, if the sequence has said so.
    pub cursor_blink: Option<bool>,
    /// Mode 12: whether the cursor blinks if DECSCUSR has not said so; `None` if it was never set.
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
    /// DECSTR resets all modes but mouse, line feed mode and mode 12.
    pub(super) fn reset_soft(&mut self) {
        *self = Modes {
            linefeed: self.linefeed,
            mouse: self.mouse,
            mouse_encoding: self.mouse_encoding,
            blink: self.blink,
            ..Modes::default()
        };
    }

    /// RIS resets all modes but line feed mode, mode 12 and the visibility of the cursor.
    pub(super) fn reset_hard(&mut self) {
        *self = Modes {
            linefeed: self.linefeed,
            cursor_visible: self.cursor_visible,
            blink: self.blink,
            ..Modes::default()
        };
    }
}
