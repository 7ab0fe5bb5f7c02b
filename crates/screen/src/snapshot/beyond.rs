//! Cells beyond the edge. An alternate screen that gets narrower keeps what no longer fits, and a
//! wider one shows it again. No sequence of a terminal writes there, so only snapshots that are
//! kept have it, in sequences that [`crate::Screen::restore`] alone takes.

use super::writer::Writer;
use crate::cell::Cell;

impl Writer<'_> {
    /// Writes what is beyond the edge of the alternate screen, which is shown.
    pub(super) fn beyond_edge(&mut self) {
        let (buffer, cols) = (&self.terminal.alternate, self.terminal.cols);
        let longer = (0..buffer.rows).filter(|y| buffer.row(*y).len() > cols);
        let longer: Vec<usize> = longer.collect();
        for &y in &longer {
            let row = buffer.row(y);
            self.text(format!("\x1b[={};{}$|", y + 1, row.len()));
            // A wide character across the edge could not be written before.
            let mut at = if row.get(cols - 1).width() == 2 { cols - 1 } else { cols };
            self.go(at, y);
            while at < row.len() {
                let cell = row.get(at);
                let has_room = cell.width() < 2 || at + 1 < row.len();
                if self.is_printable(cell) && cell.width() > 0 && has_room {
                    self.column(at);
                    self.style(cell.style());
                    self.glyph(cell);
                } else if cell != Cell::NULL && cell.is_erased() {
                    self.column(at);
                    self.background(cell.bg);
                    self.csi(1, 'X');
                }
                at += usize::from(cell.width().max(1));
            }
        }
        if !longer.is_empty() {
            self.text(format!("\x1b[=;{cols}$|"));
            self.go(0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Options, Screen};

    fn rows(screen: &Screen) -> String {
        let bytes = screen.snapshot(0, usize::MAX).bytes;
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn what_a_narrower_screen_hides_comes_back_with_a_kept_one() {
        let options = Options { scrollback: 10 };
        let mut screen = Screen::new(30, 4, options);
        let text = "\x1b[?1049h\x1b[H0123456789\x1b[1;31mabc世界\x1b[44mdefghij\x1b[K\x1b[m\
                    \x1b[2;20Hx\x1b[3;1H\x1b[42m\x1b[2Kend\x1b[m\x1b[4;25H12345";
        screen.feed(text.as_bytes(), &mut Vec::new());
        for narrow in [29, 21, 14, 12, 3] {
            screen.resize(narrow, 4);
            screen.feed(b"\x1b[2;1H\x1b[33mnarrow\x1b[4;2H", &mut Vec::new());
            let kept = screen.kept(10, usize::MAX).bytes;
            let mut again = Screen::restore(narrow, 4, options, &kept);
            assert_eq!(again.size(), (narrow, 4));
            assert_eq!(rows(&again), rows(&screen));
            assert_eq!(again.cursor(), screen.cursor());
            let mut wide = Screen::restore(narrow, 4, options, &kept);
            for screen in [&mut again, &mut screen] {
                screen.feed(b"z", &mut Vec::new());
                screen.resize(30, 4);
            }
            assert_eq!(rows(&again), rows(&screen), "from {narrow}");
            wide.resize(40, 4);
            assert!(rows(&wide).contains("12345"), "{}", rows(&wide));
        }
    }

    #[test]
    fn a_program_cannot_write_beyond_the_edge() {
        let mut screen = Screen::new(10, 2, Options { scrollback: 0 });
        screen.feed(b"\x1b[?1049h\x1b[=1;20$|\x1b[1;15Hx", &mut Vec::new());
        assert_eq!(screen.size(), (10, 2));
        screen.resize(20, 2);
        assert!(!rows(&screen).contains("\x1b[15G") && !rows(&screen).contains("\x1b[14C"));
    }
}
