//! The screen for people and scripts: plain text, lines with SGR, or runs of text with their
//! attributes for JSON.

use serde::Serialize;

use super::cell::*;
use super::row::Row;
use super::terminal::Terminal;

/// Cells in a row with the same attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// What they show; cells that show nothing are spaces.
    pub text: String,
    /// `"#rrggbb"`, a palette index from 0 to 255, or absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fg: Option<Colour>,
    /// As `fg`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bg: Option<Colour>,
    /// `bold`, `dim`, `italic`, `underline`, `blink`, `inverse`, `invisible`, `strikethrough`,
    /// `overline`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attrs: Vec<&'static str>,
    /// Where a hyperlink leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A colour in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Colour {
    /// Of the palette.
    Index(u8),
    /// `#rrggbb`
    Rgb(String),
}

/// One line, without what is empty at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its runs, from the left.
    pub runs: Vec<Run>,
    /// It goes on from the line above.
    pub wrapped: bool,
}

/// What a screen shows, taken at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Lines that have scrolled off, oldest first, then those of the screen.
    pub lines: Vec<Line>,
    /// How many of `lines` have scrolled off.
    pub scrollback: usize,
}

impl View {
    pub(super) fn new(terminal: &Terminal, scrollback: usize) -> View {
        let buffer = terminal.shown();
        let scrollback = scrollback.min(buffer.base);
        let lines = buffer
            .lines
            .range(buffer.base - scrollback..buffer.base + buffer.rows)
            .map(|row| Line { runs: runs(terminal, row), wrapped: row.wrapped })
            .collect();
        View { lines, scrollback }
    }

    /// One line of text a line of the screen, spaces at the end left out; lines that the
    /// terminal wrapped are two.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let line: String = line.runs.iter().map(|run| run.text.as_str()).collect();
            text.push_str(line.trim_end_matches(' '));
            text.push('\n');
        }
        text
    }

    /// The text as a program wrote it: what the terminal wrapped is one line. `trimmed`:
    /// without the spaces at the end of a line.
    pub fn written(&self, trimmed: bool) -> String {
        let mut text = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            if number > 0 && !line.wrapped {
                if trimmed {
                    text.truncate(text.trim_end_matches(' ').len());
                }
                text.push('\n');
            }
            text.extend(line.runs.iter().map(|run| run.text.as_str()));
        }
        if trimmed {
            text.truncate(text.trim_end_matches(' ').len());
        }
        text
    }

    /// The same as [`View::text`] with colours and attributes (SGR).
    pub fn ansi(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            for run in &line.runs {
                let sgr = run.sgr();
                if sgr.is_empty() {
                    text.push_str(&run.text);
                } else {
                    text.push_str(&format!("\x1b[{sgr}m{}\x1b[m", run.text));
                }
            }
            text.push('\n');
        }
        text
    }
}

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

fn runs(terminal: &Terminal, row: &Row) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut before = None;
    let end = (0..row.len()).rev().find(|at| row.get(*at) != Cell::NULL).map_or(0, |at| at + 1);
    for at in 0..end {
        let cell = row.get(at);
        if cell.width() == 0 && !cell.has_content() {
            continue;
        }
        if before != Some(cell.style()) || runs.is_empty() {
            before = Some(cell.style());
            runs.push(run(terminal, cell.style()));
        }
        if let Some(run) = runs.last_mut() {
            match cell.glyph() {
                Glyph::None => run.text.push(' '),
                Glyph::Char(c) => run.text.push(c),
                Glyph::Cluster(number) => run.text.push_str(terminal.clusters.get(number)),
            }
        }
    }
    runs
}

fn run(terminal: &Terminal, style: Style) -> Run {
    const FG: [(u32, &str); 6] = [
        (BOLD, "bold"),
        (UNDERLINE, "underline"),
        (BLINK, "blink"),
        (INVERSE, "inverse"),
        (INVISIBLE, "invisible"),
        (STRIKE, "strikethrough"),
    ];
    const BG: [(u32, &str); 3] = [(DIM, "dim"), (ITALIC, "italic"), (OVERLINE, "overline")];
    let of = |packed: u32, names: &[(u32, &'static str)]| -> Vec<&'static str> {
        names.iter().filter(|(flag, _)| packed & flag != 0).map(|(_, name)| *name).collect()
    };
    let link = terminal.links.get(terminal.exts.get(style.ext).link);
    Run {
        text: String::new(),
        fg: colour(style.fg),
        bg: colour(style.bg),
        attrs: [of(style.fg, &FG), of(style.bg, &BG)].concat(),
        link: Some(link.uri.to_string()).filter(|uri| !uri.is_empty()),
    }
}

fn colour(packed: u32) -> Option<Colour> {
    match packed & COLOUR_MODE {
        0 => None,
        RGB => Some(Colour::Rgb(format!("#{:06x}", packed & RGB_MASK))),
        _ => Some(Colour::Index((packed & 0xff) as u8)),
    }
}
