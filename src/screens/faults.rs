//! Faults on demand, for tests with real programs: in an unoptimized build the use of a
//! screen panics if a program has asked for that with the screen's title. No panic of the
//! emulator is known that a test could bring about.

use crate::screen::Screen;

/// A use of a screen that can be made to panic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// More output.
    Feed,
    /// Another size.
    Resize,
    /// An inspection: a snapshot, a view, the last screen of a session.
    Read,
    /// Its compression for the holder, or for a time without output.
    Compress,
    /// Its restoration from there.
    Restore,
    /// The thread itself, with no screen in use.
    Thread,
}

/// Panics if the title of the screen asks for it: `stayd-fault:feed`, then whatever words.
pub(super) fn strike(fault: Fault, screen: &Screen) {
    if cfg!(debug_assertions)
        && let Some(wanted) = screen.title().strip_prefix("stayd-fault:")
        && let Some(wanted) = wanted.split(' ').next()
        && format!("{fault:?}").eq_ignore_ascii_case(wanted)
    {
        panic!("a fault that was asked for: {wanted}");
    }
}
