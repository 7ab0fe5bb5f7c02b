//! The screen for people and scripts: plain text, lines with SGR, or runs of text with their
//! attributes for JSON.

use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

use crate::cell::*;
use crate::row::Row;
use crate::terminal::Terminal;

/// Flags of a cell and their names.
const FG: [(u32, &str); 6] = [
    (BOLD, "bold"),
    (UNDERLINE, "underline"),
    (BLINK, "blink"),
    (INVERSE, "inverse"),
    (INVISIBLE, "invisible"),
    (STRIKE, "strikethrough"),
];
const BG: [(u32, &str); 3] = [(DIM, "dim"), (ITALIC, "italic"), (OVERLINE, "overline")];

/// The approximate size of a table's entry, in bytes.
const ENTRY: usize = 32;

/// Adjacent cells with the same attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The text of the cells; those that show nothing are spaces.
    pub text: String,
    /// `"#rrggbb"`, a palette index from 0 to 255, or absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fg: Option<Colour>,
    /// The background, spelled as `fg`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bg: Option<Colour>,
    /// `bold`, `dim`, `italic`, `underline`, `blink`, `inverse`, `invisible`, `strikethrough`,
    /// `overline`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attrs: Vec<&'static str>,
    /// The target of a hyperlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A colour in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Colour {
    /// An index into the palette.
    Index(u8),
    /// `#rrggbb`
    Rgb(String),
}

/// One line, without the empty cells at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its runs, from the left.
    pub runs: Vec<Run>,
    /// Whether the line continues the one above.
    pub wrapped: bool,
}

/// The content of a screen at one moment. It holds cells, and makes lines of them on request: as
/// text and attributes a large screen takes forty times as much memory.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The cells of all lines, one line after another. A line's cells end with the last that was
    /// written.
    cells: Vec<Cell>,
    /// The end of each line's cells, and whether the line continues the one above.
    ends: Vec<(usize, bool)>,
    clusters: HashMap<u32, Box<str>>,
    links: HashMap<u32, Arc<str>>,
    /// The link of each number in the cells' `ext`.
    exts: HashMap<u32, u32>,
    scrollback: usize,
}

/// The most cells of a view: 64 MiB. A screen of the largest size has a quarter of them. Beyond
/// this the oldest scrollback is left out.
const CELLS_MAX: usize = 4 << 20;

impl View {
    pub(super) fn new(terminal: &Terminal, scrollback: usize) -> View {
        let buffer = terminal.shown();
        let first_row = buffer.base - scrollback.min(buffer.base);
        let rows = buffer.lines.range(first_row..buffer.base + buffer.rows);
        // Lines of the alternate screen keep their cells beyond a right edge that has moved left,
        // as in xterm.js, and show them once they are visible again.
        let lines: Vec<(&[Cell], bool)> =
            rows.map(|row| (written(row, buffer.cols), row.wrapped)).collect();
        let above = lines.len() - buffer.rows;
        let mut count: usize = lines[above..].iter().map(|(cells, _)| cells.len()).sum();
        let fits = |(cells, _): &&(&[Cell], bool)| {
            count += cells.len().max(1);
            count <= CELLS_MAX
        };
        let scrollback = lines[..above].iter().rev().take_while(fits).count();
        let lines = &lines[above - scrollback..];
        let mut view = View {
            cells: Vec::with_capacity(lines.iter().map(|(cells, _)| cells.len()).sum()),
            ends: Vec::with_capacity(lines.len()),
            clusters: HashMap::new(),
            links: HashMap::new(),
            exts: HashMap::new(),
            scrollback,
        };
        for (cells, wrapped) in lines {
            view.cells.extend_from_slice(cells);
            view.ends.push((view.cells.len(), *wrapped));
            cells.iter().for_each(|cell| view.take_values(terminal, cell));
        }
        view
    }

    /// Copies the values that a cell refers to.
    fn take_values(&mut self, terminal: &Terminal, cell: &Cell) {
        if let Glyph::Cluster(number) = cell.glyph() {
            let text = || terminal.clusters.get(number).clone();
            self.clusters.entry(number).or_insert_with(text);
        }
        if cell.ext != 0 {
            let link = terminal.exts.get(cell.ext).link;
            if link != 0 && self.exts.insert(cell.ext, link).is_none() {
                let uri = || terminal.links.get(link).uri.clone();
                self.links.entry(link).or_insert_with(uri);
            }
        }
    }

    /// The number of lines, scrollback included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no line, which is never so for a screen.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The number of scrollback lines, which are the first.
    pub fn scrollback(&self) -> usize {
        self.scrollback
    }

    /// The approximate memory that it takes, in bytes.
    pub fn memory(&self) -> usize {
        let clusters = self.clusters.values().map(|text| text.len() + ENTRY);
        let links = self.links.values().map(|uri| uri.len() + ENTRY);
        self.cells.len() * size_of::<Cell>()
            + self.ends.len() * size_of::<(usize, bool)>()
            + clusters.sum::<usize>()
            + links.sum::<usize>()
            + self.exts.len() * ENTRY
    }

    /// The lines of the scrollback, oldest first, then those of the screen.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        (0..self.len()).map(|number| self.line(number))
    }

    /// The line with this number, which is less than [`View::len`].
    pub fn line(&self, number: usize) -> Line {
        Line { runs: self.runs(self.cells_of(number)), wrapped: self.ends[number].1 }
    }

    fn cells_of(&self, number: usize) -> &[Cell] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before].0);
        &self.cells[start..self.ends[number].0]
    }

    /// The text, one line for each line of the screen, without spaces at the end. A line that the
    /// terminal wrapped is two lines.
    pub fn text(&self) -> String {
        (0..self.len()).map(|number| self.text_of(number)).collect()
    }

    /// The text of one line.
    pub fn text_of(&self, number: usize) -> String {
        let mut text = String::new();
        self.print(number, &mut text);
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
        text
    }

    /// Appends the text of a line's cells; those that show nothing are spaces.
    fn print(&self, number: usize, text: &mut String) {
        for cell in self.cells_of(number) {
            self.print_cell(cell, text);
        }
    }

    fn print_cell(&self, cell: &Cell, text: &mut String) {
        match cell.glyph() {
            // The right half of a wide character.
            Glyph::None if cell.width() == 0 => {}
            Glyph::None => text.push(' '),
            Glyph::Char(c) => text.push(c),
            Glyph::Cluster(number) => text.extend(self.clusters.get(&number).map(|text| &**text)),
        }
    }

    /// The text as a program wrote it: a line that the terminal wrapped is one line. `trimmed`
    /// leaves out the spaces at the end of a line.
    pub fn written(&self, trimmed: bool) -> String {
        let mut text = String::new();
        for (number, (_, wrapped)) in self.ends.iter().enumerate() {
            if number > 0 && !wrapped {
                if trimmed {
                    text.truncate(text.trim_end_matches(' ').len());
                }
                text.push('\n');
            }
            self.print(number, &mut text);
        }
        if trimmed {
            text.truncate(text.trim_end_matches(' ').len());
        }
        text
    }

    /// The text of one line with colours and attributes (SGR).
    pub fn ansi_of(&self, number: usize) -> String {
        let mut text = String::new();
        for run in self.line(number).runs {
            let sgr = run.sgr();
            if sgr.is_empty() {
                text.push_str(&run.text);
            } else {
                text.push_str(&format!("\x1b[{sgr}m{}\x1b[m", run.text));
            }
        }
        text.push('\n');
        text
    }

    /// All lines with colours and attributes.
    pub fn ansi(&self) -> String {
        (0..self.len()).map(|number| self.ansi_of(number)).collect()
    }

    fn runs(&self, cells: &[Cell]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut before = None;
        for cell in cells {
            if cell.width() == 0 && !cell.has_content() {
                continue;
            }
            if before != Some(cell.style()) || runs.is_empty() {
                before = Some(cell.style());
                runs.push(self.run(cell.style()));
            }
            if let Some(run) = runs.last_mut() {
                self.print_cell(cell, &mut run.text);
            }
        }
        runs
    }

    /// An empty run of this style.
    fn run(&self, style: Style) -> Run {
        let of = |packed: u32, names: &[(u32, &'static str)]| -> Vec<&'static str> {
            names.iter().filter(|(flag, _)| packed & flag != 0).map(|(_, name)| *name).collect()
        };
        let link = self.exts.get(&style.ext).and_then(|link| self.links.get(link));
        Run {
            text: String::new(),
            fg: colour(style.fg),
            bg: colour(style.bg),
            attrs: [of(style.fg, &FG), of(style.bg, &BG)].concat(),
            link: link.filter(|uri| !uri.is_empty()).map(|uri| uri.to_string()),
        }
    }
}

/// Two views are equal if they show the same, whatever numbers their cells have.
impl PartialEq for View {
    fn eq(&self, other: &View) -> bool {
        self.scrollback == other.scrollback && self.lines().eq(other.lines())
    }
}

impl Eq for View {}

impl Run {
    fn sgr(&self) -> String {
        const NUMBERS: [(&str, &str); 9] = [
            ("bold", "1"),
            ("dim", "2"),
            ("italic", "3"),
            ("underline", "4"),
            ("blink", "5"),
            ("inverse", "7"),
            ("invisible", "8"),
            ("strikethrough", "9"),
            ("overline", "53"),
        ];
        let mut numbers: Vec<String> = Vec::new();
        for (name, number) in NUMBERS {
            if self.attrs.contains(&name) {
                numbers.push(number.to_owned());
            }
        }
        for (colour, base) in [(&self.fg, 30), (&self.bg, 40)] {
            match colour {
                None => {}
                Some(Colour::Index(index @ 0..=7)) => {
                    numbers.push((base + i32::from(*index)).to_string())
                }
                Some(Colour::Index(index @ 8..=15)) => {
                    numbers.push((base + 52 + i32::from(*index)).to_string())
                }
                Some(Colour::Index(index)) => numbers.push(format!("{};5;{index}", base + 8)),
                Some(Colour::Rgb(text)) => {
                    let value = u32::from_str_radix(&text[1..], 16).unwrap_or(0);
                    numbers.push(format!(
                        "{};2;{};{};{}",
                        base + 8,
                        value >> 16,
                        value >> 8 & 255,
                        value & 255
                    ));
                }
            }
        }
        numbers.join(";")
    }
}

/// The visible cells of a line, up to the last that was written.
fn written(row: &Row, cols: usize) -> &[Cell] {
    let cells = row.cells();
    let cells = cells.get(..row.len().min(cols)).unwrap_or(cells);
    let end = cells.iter().rposition(|cell| *cell != Cell::NULL).map_or(0, |at| at + 1);
    &cells[..end]
}

fn colour(packed: u32) -> Option<Colour> {
    match packed & COLOUR_MODE {
        0 => None,
        RGB => Some(Colour::Rgb(format!("#{:06x}", packed & RGB_MASK))),
        _ => Some(Colour::Index((packed & 0xff) as u8)),
    }
}
