//! Gives memory of screens back to the system.
#![allow(unsafe_code)]

/// Open screens are megabytes of lines, and what outlives them lies in between, so that the
/// C library keeps all of it: after a thousand screens that were open once, a gigabyte.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) has no preconditions, and may be called beside any other use of
    // the heap: it takes the heap's own locks and gives back whole pages that nothing uses.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
