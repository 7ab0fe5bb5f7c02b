//! A terminal emulator: bytes of output in, a screen out.
//!
//! Pure: no I/O, no threads, no clock. A [`Screen`] applies the output of a program, answers its
//! queries, and can at any moment be written as a [`Snapshot`]: escape sequences that bring a
//! freshly reset terminal to the same state.
//!
//! It is not built on `alacritty_terminal`, the fastest emulator among the crates, which has no
//! room for blinking, overlined and protected cells (all of its flags are taken), does not
//! distinguish cells that were never written from spaces, and does not give access to the screen
//! that is not shown. A cell here takes 16 bytes, and cells at a line's end that were never written
//! take none.
//!
//! It follows xterm.js, in which most people see their sessions, in everything visible: widths,
//! wrapping, erasing, reflow, and its quirks. If the screen differed from the page's in one cell
//! after a resize, it would be wrong until the program repaints it. `tests/fidelity`, at the top of
//! the repository, compares the two.
//!
//! ```
//! use stayd_screen::{Options, Screen};
//!
//! let mut screen = Screen::new(20, 2, Options::default());
//! let mut events = Vec::new();
//! screen.feed(b"\x1b[1mhello\x1b[m, world\r\n$ ", &mut events);
//! assert_eq!((screen.cursor().x, screen.cursor().y), (2, 1));
//!
//! // Another terminal of that size shows the same once it is given these bytes.
//! let snapshot = screen.snapshot(100, 64 << 10);
//! let again = Screen::restore(20, 2, Options::default(), &snapshot.bytes);
//! assert_eq!(again.view(0), screen.view(0));
//!
//! // Narrower, the first line takes two lines, and one of them leaves the screen.
//! screen.resize(10, 2);
//! assert_eq!(screen.scrollback(), 1);
//! ```
//!
//! - `emulator`: [`Screen`] itself, parser and terminal in one.
//! - `parser`, `params`, `utf8`: bytes → sequences.
//! - `dispatch`: sequences → functions of the terminal, which are in `cursor`, `edit`, `set_modes`,
//!   `sgr`, `osc` and `reply`.
//! - `terminal`: the state, and printing. `buffer`, `row`, `cell`: the content of the screen.
//!   `reflow`: changes of its size.
//! - `snapshot`: the state → escape sequences. `view`: the state for people and scripts.
//! - `plain`: finds output that only prints and scrolls. `skip`: finds what of it need not be emulated,
//!   because nothing of it is left.
//! - `modes`: the modes. `width`, `charset`, `palette`, `intern`: tables.

mod buffer;
mod cell;
mod charset;
mod cursor;
mod dispatch;
mod edit;
mod emulator;
mod event;
mod intern;
mod modes;
mod osc;
mod palette;
mod params;
mod parser;
mod plain;
mod reflow;
mod reply;
mod row;
mod set_modes;
mod sgr;
mod skip;
mod snapshot;
mod terminal;
#[cfg(test)]
mod tests;
mod utf8;
mod view;
mod width;

pub use dispatch::id as sequence;
pub use emulator::{Applied, Cursor, Options, Screen};
pub use event::{COMMAND_MAX, Event};
pub use modes::{CursorShape, Modes, Mouse, MouseEncoding};
pub use osc::{TEXT_MAX, TITLE_MAX};
pub use params::Params;
pub use parser::{Actions, Parser};
pub use plain::PlainRun;
pub use snapshot::Snapshot;
pub use view::{Colour, Line, Run, View};
pub use width::width;
