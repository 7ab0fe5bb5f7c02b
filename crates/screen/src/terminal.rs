//! The terminal's state, and printing.

use std::sync::Arc;

use crate::buffer::{Buffer, Skipped};
use crate::cell::{COLOUR, Cell, EXTENDED, Ext, Glyph, Pen, Style};
use crate::charset::Charset;
use crate::event::Event;
use crate::intern::Table;
use crate::modes::Modes;
use crate::palette::Palette;
use crate::params::Params;
use crate::width::width;

/// The longest line of a snapshot, in columns.
const COLS_MAX: usize = 10_000;
/// The most code points in one cell. The longest emoji sequences have ten or so; more would let a
/// program fill memory without moving the cursor.
const CLUSTER_MAX: usize = 32;
/// The most different clusters, attributes and links that are kept at once. Each bounds the memory
/// that a program can take by making every cell different.
const CLUSTERS_MAX: usize = 1 << 16;
const EXTS_MAX: usize = 1 << 18;
const LINKS_MAX: usize = 1 << 13;

/// A hyperlink (OSC 8): its id and its target. Links without an id are distinguished by a number,
/// so that two in a row to the same target stay two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Link {
    pub(super) id: Option<Arc<str>>,
    pub(super) uri: Arc<str>,
    pub(super) serial: u32,
}

#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) cols: usize,
    pub(super) rows: usize,
    pub(super) scrollback: usize,
    pub(super) primary: Buffer,
    pub(super) alternate: Buffer,
    pub(super) on_alternate: bool,
    pub(super) pen: Pen,
    /// The number of the pen's `ext`, if that is valid.
    pub(super) pen_ext: u32,
    /// The width of the character printed just before; 0 if anything else happened since.
    pub(super) preceding: u8,
    pub(super) charsets: [Charset; 4],
    pub(super) level: usize,
    /// The present set. It is not always `charsets[level]`, since DECRC restores it alone.
    pub(super) charset: Charset,
    pub(super) modes: Modes,
    pub(super) title: String,
    pub(super) titles: Vec<String>,
    pub(super) palette: Palette,
    pub(super) clusters: Table<Box<str>>,
    pub(super) exts: Table<Ext>,
    pub(super) links: Table<Link>,
    pub(super) link_serial: u32,
    pub(super) events: Vec<Event>,
    /// Set while a snapshot is restored: it says what was skipped, and a program cannot.
    pub(super) reads_snapshot: bool,
}

impl Terminal {
    pub(super) fn new(cols: usize, rows: usize, scrollback: usize) -> Terminal {
        Terminal {
            cols,
            rows,
            scrollback,
            primary: Buffer::primary(cols, rows, scrollback),
            alternate: Buffer::alternate(cols, rows),
            on_alternate: false,
            pen: Pen::default(),
            pen_ext: 0,
            preceding: 0,
            charsets: [Charset::default(); 4],
            level: 0,
            charset: Charset::default(),
            modes: Modes::default(),
            title: String::new(),
            titles: Vec::new(),
            palette: Palette::default(),
            clusters: Table::new(CLUSTERS_MAX),
            exts: Table::new(EXTS_MAX),
            links: Table::new(LINKS_MAX),
            link_serial: 0,
            events: Vec::new(),
            reads_snapshot: false,
        }
    }

    /// RIS. As in xterm.js, it keeps title, colours, line feed mode and the visibility of the
    /// cursor.
    pub(super) fn reset(&mut self) {
        self.primary = Buffer::primary(self.cols, self.rows, self.scrollback);
        self.alternate = Buffer::alternate(self.cols, self.rows);
        self.on_alternate = false;
        self.pen = Pen::default();
        self.pen_ext = 0;
        self.preceding = 0;
        self.reset_charsets();
        self.modes.reset_hard();
    }

    pub(super) fn reset_charsets(&mut self) {
        self.charsets = [Charset::default(); 4];
        self.level = 0;
        self.charset = Charset::default();
    }

    pub(super) fn resize(&mut self, cols: usize, rows: usize) {
        if (cols, rows) == (self.cols, self.rows) {
            return;
        }
        (self.cols, self.rows) = (cols, rows);
        for buffer in [&mut self.primary, &mut self.alternate] {
            buffer.resize(cols, rows);
            buffer.extend_tabs(cols);
        }
    }

    /// Notes in a snapshot's reader what was skipped: lines of the screen, and of the scrollback.
    pub(super) fn mark_skipped(&mut self, params: &Params) {
        let count = |index: usize| usize::try_from(params.get(index)).unwrap_or(0);
        self.primary.skipped = Skipped { screen: count(0).min(self.rows), scrollback: count(1) };
    }

    /// Lets a snapshot's reader write beyond the edge of a line of the alternate screen, or (line 0)
    /// brings the edge back.
    pub(super) fn reach_beyond(&mut self, params: &Params) {
        let (line, cols) = (params.get(0), params.count(1).min(COLS_MAX));
        self.set_columns(cols);
        let line = usize::try_from(line - 1).ok().filter(|line| *line < self.rows);
        if let Some(line) = line
            && self.on_alternate
        {
            self.alternate.row_mut(line).resize(cols);
        }
    }

    /// Sets the columns without any effect on lines.
    pub(super) fn set_columns(&mut self, cols: usize) {
        (self.cols, self.primary.cols, self.alternate.cols) = (cols, cols, cols);
    }

    /// Whether plain lines do nothing but scroll: see [`crate::skip`].
    pub(super) fn is_plain(&self) -> bool {
        let whole = (self.primary.top, self.primary.bottom) == (0, self.rows - 1);
        !self.on_alternate && whole && !self.modes.origin
    }

    /// The screen that is shown.
    pub(super) fn buffer(&mut self) -> &mut Buffer {
        if self.on_alternate { &mut self.alternate } else { &mut self.primary }
    }

    pub(super) fn shown(&self) -> &Buffer {
        if self.on_alternate { &self.alternate } else { &self.primary }
    }

    /// An erased cell, which has the pen's background.
    pub(super) fn erased(&self) -> Cell {
        Cell::erased(self.pen.bg & COLOUR)
    }

    pub(super) fn style(&self) -> Style {
        Style { fg: self.pen.fg, bg: self.pen.bg, ext: self.pen_ext }
    }

    /// Updates the number of the pen's attributes after a change.
    pub(super) fn pen_changed(&mut self) {
        self.pen_ext = if self.pen.bg & EXTENDED == 0 {
            0
        } else {
            self.exts.number(&self.pen.ext).unwrap_or(0)
        };
    }

    /// Prints a run of ASCII that the character set does not change.
    pub(super) fn print_plain(&mut self, text: &[u8]) {
        let mut rest = text;
        while !rest.is_empty() {
            let style = self.style();
            let insert = self.modes.insert;
            let buffer = self.buffer();
            let room = buffer.cols.saturating_sub(buffer.x);
            if room == 0 || insert {
                self.print_char(char::from(rest[0]));
                rest = &rest[1..];
                continue;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            let x = buffer.x;
            let row = buffer.current();
            if x > 0 && row.get(x - 1).width() == 2 {
                row.set(x - 1, Cell::new(0, 1, style));
            }
            row.write_ascii(x, now, style);
            buffer.x += now.len();
            self.mend_right(style);
            self.preceding = 1;
            rest = later;
        }
    }

    /// Prints one character, already mapped.
    pub(super) fn print_char(&mut self, c: char) {
        let style = self.style();
        let blank = Cell::new(0, 1, style);
        let mut wide = width(c);
        if wide > 0 && !self.modes.insert && self.print_in_line(c, wide, style) {
            return;
        }
        let joins = wide == 0 && self.preceding != 0;
        if joins {
            wide = self.preceding;
        }
        self.preceding = wide;
        let fill = self.erased();
        let (autowrap, insert) = (self.modes.autowrap, self.modes.insert);
        let buffer = self.buffer();
        let cols = buffer.cols;

        let x = buffer.x;
        if x > 0 && buffer.current().get(x - 1).width() == 2 {
            buffer.current().set(x - 1, blank);
        }
        let advance = if joins { 0 } else { usize::from(wide) };
        if buffer.x + advance > cols {
            if autowrap {
                let x = buffer.x;
                let row = buffer.current();
                for at in x..cols {
                    row.set(at, blank);
                }
                buffer.x = 0;
                if buffer.y == buffer.bottom {
                    buffer.scroll(fill, true);
                    // xterm.js fills the line up after it has scrolled. If the screen has only one
                    // line, that is then the new one.
                    if buffer.max == 1 {
                        (x..cols).for_each(|at| buffer.current().set(at, blank));
                    }
                } else {
                    buffer.y = (buffer.y + 1).min(buffer.rows - 1);
                    buffer.current().wrapped = true;
                }
            } else {
                buffer.x = cols - 1;
                if wide == 2 {
                    self.mend_right(style);
                    return;
                }
            }
        }
        if joins && buffer.x > 0 {
            self.join(c, wide);
            self.mend_right(style);
            return;
        }
        let x = buffer.x;
        let row = buffer.current();
        if insert {
            row.insert(x, advance, blank);
            if row.get(cols - 1).width() == 2 {
                row.set(cols - 1, blank);
            }
        }
        row.set(x, Cell::new(u32::from(c), wide, style));
        if wide == 2 {
            row.set(x + 1, Cell::new(0, 0, style));
        }
        buffer.x += usize::from(wide.max(1));
        self.mend_right(style);
    }

    /// Prints a character where nothing moves, which is nearly everywhere. Returns whether it could.
    fn print_in_line(&mut self, c: char, wide: u8, style: Style) -> bool {
        let buffer = self.buffer();
        let (x, cols) = (buffer.x, buffer.cols);
        let end = x + usize::from(wide);
        if end > cols {
            return false;
        }
        buffer.x = end;
        let row = buffer.current();
        if x > 0 && row.get(x - 1).width() == 2 {
            row.set(x - 1, Cell::new(0, 1, style));
        }
        row.set(x, Cell::new(u32::from(c), wide, style));
        if wide == 2 {
            row.set(x + 1, Cell::new(0, 0, style));
        }
        row.mend(end, style);
        self.preceding = wide;
        true
    }

    /// Adds a combining character to the cell before the cursor.
    fn join(&mut self, c: char, wide: u8) {
        let x = self.shown().x;
        let row = self.shown().row(self.shown().y);
        let width = if row.get(x - 1).width() > 0 { 1 } else { 2 };
        let Some(at) = x.checked_sub(width) else { return };
        let mut cell = row.get(at);
        let text: Option<Box<str>> = match cell.glyph() {
            Glyph::None => None,
            Glyph::Char(first) => Some(String::from_iter([first, c]).into()),
            Glyph::Cluster(number) => {
                let text = self.clusters.get(number);
                if text.chars().count() >= CLUSTER_MAX {
                    return;
                }
                Some(format!("{text}{c}").into())
            }
        };
        match text {
            None => cell = Cell::new(u32::from(c), wide, cell.style()),
            Some(text) => match self.clusters.number(&text) {
                Some(number) => cell.set_cluster(number, wide),
                None => return,
            },
        }
        self.buffer().current().set(at, cell);
    }

    /// Erases the right half of a wide character whose left half was just overwritten.
    fn mend_right(&mut self, style: Style) {
        let buffer = self.buffer();
        let x = buffer.x;
        buffer.current().mend(x, style);
    }

    /// Drops clusters, attributes and links that no cell has any more.
    pub(super) fn sweep(&mut self) {
        if self.clusters.is_due() {
            let mut used = vec![false; self.clusters.len()];
            used[0] = true;
            for cell in self.primary.cells().chain(self.alternate.cells()) {
                if let Glyph::Cluster(number) = cell.glyph() {
                    used[number as usize] = true;
                }
            }
            let renumbered = self.clusters.sweep(&used, |text| text);
            for cell in self.primary.cells_mut().chain(self.alternate.cells_mut()) {
                if let Glyph::Cluster(number) = cell.glyph() {
                    let width = cell.width();
                    cell.set_cluster(renumbered[number as usize], width);
                }
            }
        }
        if self.exts.is_due() || self.links.is_due() {
            self.sweep_exts();
        }
    }

    fn sweep_exts(&mut self) {
        let mut used = vec![false; self.exts.len()];
        used[0] = true;
        for cell in self.primary.cells().chain(self.alternate.cells()) {
            used[cell.ext as usize] = true;
        }
        let mut links = vec![false; self.links.len()];
        links[0] = true;
        links[self.pen.ext.link as usize] = true;
        for (number, _) in used.iter().enumerate().filter(|(_, used)| **used) {
            links[self.exts.get(number as u32).link as usize] = true;
        }
        let links = self.links.sweep(&links, |link| link);
        let renumbered =
            self.exts.sweep(&used, |ext| Ext { link: links[ext.link as usize], ..ext });
        for cell in self.primary.cells_mut().chain(self.alternate.cells_mut()) {
            cell.ext = renumbered[cell.ext as usize];
        }
        self.pen.ext.link = links[self.pen.ext.link as usize];
        self.pen_changed();
    }
}
