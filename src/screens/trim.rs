//! Gives memory of screens back to the system.
#![allow(unsafe_code)]

/// Gives freed memory back to the system. An open screen takes megabytes of lines, and longer-lived
/// data lies between them, so that the C library keeps it all: a gigabyte after a thousand screens
/// were open once.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) has no preconditions, and may be called beside any other use of
    // the heap: it takes the heap's own locks and gives back whole pages that nothing uses.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
