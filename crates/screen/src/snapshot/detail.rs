//! Decides what to leave out if a snapshot would be too long: first the oldest scrollback, then the
//! colours and other attributes of the lines farthest from the cursor, then their text. Lines of
//! the primary screen behind an alternate one count as farther than all of its lines.

use super::writer::{Detail, Writer};
use crate::buffer::Buffer;
use crate::row::Row;
use crate::terminal::Terminal;

/// The details to be written of each line.
pub(super) struct Plan {
    /// The scrollback lines that are written, with everything.
    pub(super) scrollback: usize,
    /// The detail of each line of the primary screen, from the top; `alternate` is that of the
    /// alternate screen, if it is shown.
    pub(super) primary: Vec<Detail>,
    pub(super) alternate: Vec<Detail>,
}

impl Plan {
    pub(super) fn everything(terminal: &Terminal, scrollback: usize) -> Plan {
        let scrollback = scrollback.min(terminal.primary.base);
        Plan { scrollback, ..Plan::all(terminal, Detail::Everything) }
    }

    pub(super) fn nothing(terminal: &Terminal) -> Plan {
        Plan::all(terminal, Detail::Blank)
    }

    fn all(terminal: &Terminal, detail: Detail) -> Plan {
        let alternate = if terminal.on_alternate { terminal.rows } else { 0 };
        Plan {
            scrollback: 0,
            primary: vec![detail; terminal.rows],
            alternate: vec![detail; alternate],
        }
    }

    /// The plan that fits into about `room` bytes.
    pub(super) fn within(terminal: &Terminal, scrollback: usize, room: usize) -> Plan {
        let mut plan = Plan::nothing(terminal);
        let mut room = room;
        let mut costs = vec![0; terminal.rows + plan.alternate.len()];
        let order = nearest_first(terminal);
        for detail in [Detail::Text, Detail::Everything] {
            let mut writer = Writer::new(terminal, detail);
            for (cost, &(hidden, y)) in costs.iter_mut().zip(&order) {
                let shown = terminal.on_alternate && !hidden;
                let (buffer, details) = if shown {
                    (&terminal.alternate, &mut plan.alternate)
                } else {
                    (&terminal.primary, &mut plan.primary)
                };
                // At least as much as is written of it already.
                let more = writer.length_of(buffer.row(y)).saturating_sub(*cost);
                if more > room {
                    return plan;
                }
                room -= more;
                *cost += more;
                details[y] = detail;
            }
        }
        let mut writer = Writer::new(terminal, Detail::Everything);
        let primary = &terminal.primary;
        let above = primary.lines.range(..primary.base).rev().take(scrollback);
        let fits = |row: &&Row| {
            let length = writer.length_of(row);
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        };
        plan.scrollback = above.take_while(fits).count();
        plan
    }

    pub(super) fn is_complete(&self) -> bool {
        self.primary.iter().chain(&self.alternate).all(|detail| *detail == Detail::Everything)
    }
}

/// The lines of the screens, the nearest to the cursor first, and whether they are hidden.
fn nearest_first(terminal: &Terminal) -> Vec<(bool, usize)> {
    let mut order = Vec::with_capacity(2 * terminal.rows);
    let mut add = |hidden: bool, buffer: &Buffer| {
        let mut lines: Vec<usize> = (0..terminal.rows).collect();
        lines.sort_by_key(|y| y.abs_diff(buffer.y));
        order.extend(lines.into_iter().map(|y| (hidden, y)));
    };
    add(false, terminal.shown());
    if terminal.on_alternate {
        add(true, &terminal.primary);
    }
    order
}

#[cfg(test)]
mod tests {
    use crate::{Colour, Line, Options, Screen};

    /// A screen whose every cell has colours of its own.
    fn painted(cols: u16, rows: u16, tail: &str) -> Screen {
        let mut screen = Screen::new(cols, rows, Options { scrollback: 100 });
        let mut text = String::new();
        for y in 0..rows {
            text.push_str(&format!("\x1b[{};1H", y + 1));
            for x in 0..cols {
                text.push_str(&format!(
                    "\x1b[38;2;{};{};100;48;2;{};{};200m{}",
                    100 + x,
                    100 + y,
                    100 + y,
                    100 + x,
                    x % 10
                ));
            }
        }
        screen.feed(text.as_bytes(), &mut Vec::new());
        screen.feed(tail.as_bytes(), &mut Vec::new());
        screen
    }

    fn restored(screen: &Screen, limit: usize) -> (Vec<Line>, bool, usize) {
        let snapshot = screen.snapshot(100, limit);
        assert!(snapshot.bytes.len() <= limit, "{} of {limit}", snapshot.bytes.len());
        let (cols, rows) = screen.size();
        let again = Screen::restore(cols, rows, Options::default(), &snapshot.bytes);
        assert_eq!(again.cursor(), screen.cursor());
        (again.view(0).lines().collect(), snapshot.complete, snapshot.scrollback)
    }

    fn is_coloured(line: &Line) -> bool {
        line.runs.iter().all(|run| matches!(run.bg, Some(Colour::Rgb(_))))
    }

    fn text(line: &Line) -> String {
        line.runs.iter().map(|run| run.text.as_str()).collect()
    }

    #[test]
    fn colours_go_first_where_the_cursor_is_far_and_text_stays() {
        for (y, near, far) in [(24, 23, 0), (1, 0, 23), (12, 11, 23)] {
            let screen = painted(80, 24, &format!("\x1b[{y};5H"));
            let whole: Vec<Line> = screen.view(0).lines().collect();
            let (lines, complete, _) = restored(&screen, 64 << 10);
            assert!(!complete);
            assert_eq!(lines[near], whole[near], "cursor in line {y}");
            assert!(!is_coloured(&lines[far]), "cursor in line {y}");
            let coloured = lines.iter().filter(|line| is_coloured(line)).count();
            assert!(coloured >= 16, "only {coloured} lines have their colours");
            let texts = |lines: &[Line]| lines.iter().map(text).collect::<Vec<_>>();
            assert_eq!(texts(&lines), texts(&whole));
            assert_eq!(restored(&screen, 512 << 10), (whole, true, 0));
        }
    }

    #[test]
    fn scrollback_goes_before_anything_of_the_screen() {
        let scrolled: String = (0..100).map(|n| format!("line {n}\r\n")).collect();
        let mut screen = painted(80, 24, "\x1b[m\x1b[24;1H\r\n");
        screen.feed(scrolled.as_bytes(), &mut Vec::new());
        let (_, complete, all) = restored(&screen, 512 << 10);
        assert!(complete && all == 100);
        let (_, complete, some) = restored(&screen, 2000);
        assert!(complete && (20..100).contains(&some), "{some}");
        let (lines, complete, none) = restored(&screen, 200);
        assert!(!complete && none == 0);
        assert_eq!(text(&lines[22]), "line 99", "the nearest to the cursor is still there");
    }

    #[test]
    fn what_lies_behind_an_alternate_screen_is_the_farthest() {
        let mut screen = painted(80, 24, "\x1b[?1049h");
        let shown = painted(80, 20, "").snapshot(0, usize::MAX).bytes;
        screen.feed(&shown, &mut Vec::new());
        screen.feed(b"\x1b[?1049h", &mut Vec::new());
        screen.feed(&painted(80, 20, "").snapshot(0, usize::MAX).bytes, &mut Vec::new());
        let whole: Vec<Line> = screen.view(0).lines().collect();
        let snapshot = screen.snapshot(0, 80 << 10);
        assert!(!snapshot.complete && snapshot.bytes.len() <= 80 << 10);
        let again = Screen::restore(80, 24, Options::default(), &snapshot.bytes);
        assert_eq!(again.view(0).lines().collect::<Vec<_>>(), whole);
    }

    /// Every limit is kept, even 0, and the reader's cursor and modes are right.
    #[test]
    fn every_limit_is_kept() {
        let mut screen = painted(40, 10, "");
        let more = "\x1b[5;1Ha line that wraps over the edge of this screen, 日本語, e\u{301}\x1b[44m\x1b[K";
        screen.feed(more.as_bytes(), &mut Vec::new());
        let most = screen.snapshot(100, usize::MAX).bytes.len();
        let least = screen.snapshot(100, 0).bytes.len();
        for limit in (least..most + 100).step_by(97) {
            let (_, complete, _) = restored(&screen, limit);
            assert_eq!(complete, limit >= most, "{limit} of {most}");
        }
    }
}
