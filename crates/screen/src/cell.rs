//! A cell of the screen and the pen that wrote it, packed as in xterm.js, so that its arithmetic
//! has the same effects here.

/// A width of one column.
const WIDTH_SHIFT: u32 = 22;
const CODE_MASK: u32 = 0x1f_ffff;
const CLUSTER: u32 = 1 << 21;
const CONTENT_MASK: u32 = CODE_MASK | CLUSTER;

/// Colour modes, in bits 24 and 25 of `fg`, `bg` and an underline's colour.
pub(super) const COLOUR_MODE: u32 = 0x0300_0000;
pub(super) const PALETTE_16: u32 = 0x0100_0000;
pub(super) const PALETTE_256: u32 = 0x0200_0000;
pub(super) const RGB: u32 = 0x0300_0000;
pub(super) const RGB_MASK: u32 = 0x00ff_ffff;
/// The bits of a colour.
pub(super) const COLOUR: u32 = COLOUR_MODE | RGB_MASK;

/// Flags in `fg`.
pub(super) const INVERSE: u32 = 0x0400_0000;
pub(super) const BOLD: u32 = 0x0800_0000;
pub(super) const UNDERLINE: u32 = 0x1000_0000;
pub(super) const BLINK: u32 = 0x2000_0000;
pub(super) const INVISIBLE: u32 = 0x4000_0000;
pub(super) const STRIKE: u32 = 0x8000_0000;

/// Flags in `bg`.
pub(super) const ITALIC: u32 = 0x0400_0000;
pub(super) const DIM: u32 = 0x0800_0000;
pub(super) const EXTENDED: u32 = 0x1000_0000;
pub(super) const PROTECTED: u32 = 0x2000_0000;
pub(super) const OVERLINE: u32 = 0x4000_0000;

/// One cell. `ext` is an index into the table of [`Ext`]s, 0 unless `bg` has `EXTENDED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    content: u32,
    pub(super) fg: u32,
    pub(super) bg: u32,
    pub(super) ext: u32,
}

/// The content of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Glyph {
    /// The cell was never written or is erased, or it is the right half of a wide character.
    None,
    Char(char),
    /// Several code points: an index into the table of clusters.
    Cluster(u32),
}

impl Cell {
    /// An empty cell, one column wide, with default colours.
    pub(super) const NULL: Cell = Cell { content: 1 << WIDTH_SHIFT, fg: 0, bg: 0, ext: 0 };
    /// A cell beyond the end of a line.
    pub(super) const BEYOND: Cell = Cell { content: 0, fg: 0, bg: 0, ext: 0 };

    /// A cell with this character. `code` 0 is an empty cell; width 0 is the right half of a wide
    /// character.
    pub(super) fn new(code: u32, width: u8, style: Style) -> Cell {
        Cell {
            content: (code & CODE_MASK) | u32::from(width) << WIDTH_SHIFT,
            fg: style.fg,
            bg: style.bg,
            ext: style.ext,
        }
    }

    /// An erased cell with this background.
    pub(super) fn erased(bg: u32) -> Cell {
        Cell { bg: bg & COLOUR, ..Cell::NULL }
    }

    pub(super) fn width(&self) -> u8 {
        (self.content >> WIDTH_SHIFT) as u8
    }

    pub(super) fn has_content(&self) -> bool {
        self.content & CONTENT_MASK != 0
    }

    pub(super) fn is_protected(&self) -> bool {
        self.bg & PROTECTED != 0
    }

    pub(super) fn glyph(&self) -> Glyph {
        let code = self.content & CODE_MASK;
        if self.content & CLUSTER != 0 {
            Glyph::Cluster(code)
        } else if code == 0 {
            Glyph::None
        } else {
            char::from_u32(code).map_or(Glyph::None, Glyph::Char)
        }
    }

    pub(super) fn set_cluster(&mut self, index: u32, width: u8) {
        self.content = (index & CODE_MASK) | CLUSTER | u32::from(width) << WIDTH_SHIFT;
    }

    pub(super) fn style(&self) -> Style {
        Style { fg: self.fg, bg: self.bg, ext: self.ext }
    }

    /// Whether the cell is as erasing leaves one: empty, with a background colour at most.
    pub(super) fn is_erased(&self) -> bool {
        self.content == Cell::NULL.content && self.fg == 0 && self.bg & !COLOUR == 0
    }
}

/// The attributes of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Style {
    pub(super) fg: u32,
    pub(super) bg: u32,
    pub(super) ext: u32,
}

/// Attributes that few cells have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Ext {
    /// The underline's style: 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed.
    pub(super) underline: u8,
    /// The underline's colour, packed as `fg` is.
    pub(super) colour: u32,
    /// An index into the table of links, 0 for none.
    pub(super) link: u32,
}

impl Ext {
    /// The colour that `CSI 59 m` leaves: every bit of a colour, and one more to distinguish it
    /// from white.
    pub(super) const NO_COLOUR: u32 = COLOUR | 0x0400_0000;

    pub(super) fn is_empty(&self) -> bool {
        self.underline == 0 && self.link == 0
    }
}

/// The attributes with which the next character is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Pen {
    pub(super) fg: u32,
    pub(super) bg: u32,
    pub(super) ext: Ext,
}

impl Pen {
    /// Sets the flag that says whether `ext` is valid.
    pub(super) fn mark_extended(&mut self) {
        if self.ext.is_empty() {
            self.bg &= !EXTENDED;
        } else {
            self.bg |= EXTENDED;
        }
    }

    /// Whether its flags agree with its extended attributes, as SGR and OSC 8 leave them. DECRC
    /// restores only the flags.
    pub(super) fn is_regular(&self) -> bool {
        self.is_extended() != self.ext.is_empty()
            && self.is_underlined() == (self.ext.underline != 0)
    }

    pub(super) fn is_extended(&self) -> bool {
        self.bg & EXTENDED != 0
    }

    pub(super) fn is_underlined(&self) -> bool {
        self.fg & UNDERLINE != 0
    }
}
