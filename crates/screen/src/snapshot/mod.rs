//! A screen as escape sequences: written to a freshly reset terminal of the same size, they bring
//! it to the same state. They query nothing.
//!
//! Order: what a reset may have left; the primary screen's tabs, its lines with those that
//! scrolled off and its saved cursor among them, and its margins; the alternate screen likewise,
//! if it is shown; the pen; modes; cursor and character sets; the beginning of a sequence that the
//! program has not finished.
//!
//! If that is longer than the limit, some lines are written with less detail: see `detail`.

mod beyond;
mod detail;
mod lines;
mod pen;
mod state;
mod writer;

use crate::parser::Parser;
use crate::terminal::Terminal;
use detail::Plan;
use writer::{Detail, Writer};

/// A screen as escape sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Escape sequences and text.
    pub bytes: Vec<u8>,
    /// The number of bytes at the end of `bytes` that are the beginning of a UTF-8 character.
    /// xterm.js 6 loses some characters that come in two writes (second byte 0x80), so a server
    /// should cut them off and send the output from that many bytes earlier.
    pub partial: usize,
    /// The number of scrollback lines in it.
    pub scrollback: usize,
    /// Whether it has all lines of the screen with everything that they show, those of the primary
    /// screen behind an alternate one included. Scrollback that was left out does not count.
    pub complete: bool,
}

/// The reader of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Any terminal.
    Terminal,
    /// A screen of ours, which is told more than a terminal can be.
    Screen,
}

/// The snapshot of a terminal with at most `scrollback` lines that scrolled off, in at most
/// `limit` bytes.
pub(super) fn take(
    terminal: &Terminal,
    parser: &Parser,
    reader: Reader,
    scrollback: usize,
    limit: usize,
) -> Snapshot {
    let snapshot = |mut bytes: Vec<u8>, plan: &Plan| {
        bytes.extend_from_slice(parser.unfinished());
        bytes.extend_from_slice(parser.partial());
        let partial = parser.partial().len();
        Snapshot { bytes, partial, scrollback: plan.scrollback, complete: plan.is_complete() }
    };
    let limit = limit.saturating_sub(parser.unfinished().len() + parser.partial().len());
    let mut plan = Plan::everything(terminal, scrollback);
    if let Some(bytes) = write(terminal, reader, &plan, limit) {
        return snapshot(bytes, &plan);
    }
    let state = write(terminal, reader, &Plan::nothing(terminal), usize::MAX).unwrap_or_default();
    let mut room = limit.saturating_sub(state.len());
    while room > 0 {
        plan = Plan::within(terminal, scrollback, room);
        if let Some(bytes) = write(terminal, reader, &plan, limit) {
            return snapshot(bytes, &plan);
        }
        // How a line begins depends on the one above it, which the plan only estimates.
        room -= room / 16 + 1;
    }
    snapshot(state, &Plan::nothing(terminal))
}

/// Whether a snapshot brings the saved cursor back even if the lines above the screen are gone.
pub(super) fn keeps_saved_cursor(terminal: &Terminal) -> bool {
    terminal.primary.saved.y < state::SAVED_BELOW_MAX
}

/// The sequences; `None` if they are longer than `limit`.
fn write(terminal: &Terminal, reader: Reader, plan: &Plan, limit: usize) -> Option<Vec<u8>> {
    let mut writer = Writer::new(terminal, Detail::Everything);
    writer.forget_leftovers();
    writer.buffer(&terminal.primary, plan.scrollback, &plan.primary, limit)?;
    if terminal.on_alternate {
        writer.show_alternate(&terminal.primary);
        writer.buffer(&terminal.alternate, 0, &plan.alternate, limit)?;
        if reader == Reader::Screen {
            writer.beyond_edge();
        }
    }
    let skipped = terminal.primary.skipped;
    if skipped.is_any() {
        // A sequence of our own, which only means something in a snapshot.
        writer.text(format!("\x1b[={};{}$z", skipped.screen, skipped.scrollback));
    }
    writer.last_pen();
    writer.modes();
    writer.cursor();
    Some(writer.out).filter(|out| out.len() <= limit)
}
