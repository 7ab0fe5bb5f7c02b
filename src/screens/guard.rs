//! Contains a panic: a program can print what breaks the emulator, and that must break nothing
//! else.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a screen; `None` if it panics. Whatever it has touched is broken then and has to
/// be dropped.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = GUARDED.replace(true);
    let worked = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    worked.ok()
}

/// Whether a panic on this thread affects only the screen in use. Any other panic of a thread that
/// tracks screens has to end the server: the thread would be gone, and its sessions would block
/// without a word in the log.
#[must_use]
pub fn contains_panics() -> bool {
    GUARDED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_guarded_is_contained() {
        assert!(!contains_panics());
        assert_eq!(guarded(contains_panics), Some(true));
        assert_eq!(guarded(|| guarded(|| panic!("inner"))), Some(None::<()>));
        assert!(guarded(|| panic!("outer")).is_none_or(|()| false));
        assert!(!contains_panics(), "also after a panic");
    }
}
