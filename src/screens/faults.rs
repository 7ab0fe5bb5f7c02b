//! Faults on demand, for tests with real programs: in an unoptimized build the use of a screen
//! panics if a program has asked for that in the window title. A test needs this because no output
//! is known that makes the emulator panic.

use crate::screen::Screen;

/// A use of a screen that can be made to panic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// More output.
    Feed,
    /// A new size.
    Resize,
    /// An inspection: a snapshot, a view, the last screen of a session.
    Read,
    /// Compressing the screen, for the holder or because it is idle.
    Compress,
    /// Restoring the screen from a compressed snapshot.
    Restore,
    /// The thread itself, with no screen in use.
    Thread,
}

/// Panics if the window title asks for this fault: `stayd-fault:feed`, then any words.
pub(super) fn strike(fault: Fault, screen: &Screen) {
    if cfg!(debug_assertions)
        && let Some(wanted) = screen.title().strip_prefix("stayd-fault:")
        && let Some(wanted) = wanted.split(' ').next()
        && format!("{fault:?}").eq_ignore_ascii_case(wanted)
    {
        panic!("a fault that was asked for: {wanted}");
    }
}
