//! Tables for people, with columns as wide as needed, measured as a terminal does.

use crate::screen::width;

/// The gap between two columns.
const GAP: &str = "  ";

/// A table under a heading; every row has as many cells as that.
pub(super) fn render(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heading = heading.iter().map(|word| (*word).to_owned()).collect();
    aligned(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

/// Lines of cells, in columns; all lines have as many cells as the first.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widest = |column: usize| lines.iter().map(|line| columns_of(&line[column])).max();
    let widths: Vec<usize> = (0..columns).map(|column| widest(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text += cell;
            text.extend(std::iter::repeat_n(' ', width - columns_of(cell)));
            text += GAP;
        }
        out += text.trim_end();
        out.push('\n');
    }
    out
}

/// The width of a text on a terminal, in columns.
pub(super) fn columns_of(text: &str) -> usize {
    text.chars().map(|c| usize::from(width(c))).sum()
}

/// Cuts a text to a width, and marks the cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if columns_of(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut room = columns.saturating_sub(1);
    for c in text.chars() {
        let Some(left) = room.checked_sub(usize::from(width(c))) else { break };
        room = left;
        out.push(c);
    }
    out.push('…');
    out
}

/// Removes characters by which foreign text could write escape sequences to this terminal, or
/// reverse the text around it.
pub(super) fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cells: [&str; 3]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn wide_and_combining_characters_are_measured_as_a_terminal_does() {
        let lines =
            [line(["NAME", "X", "Y"]), line(["日本", "1", "2"]), line(["e\u{301}", "3", ""])];
        assert_eq!(aligned(&lines), "NAME  X  Y\n日本  1  2\ne\u{301}     3\n");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(aligned(&[]), "");
    }
}
