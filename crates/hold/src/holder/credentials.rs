//! System calls on a process's own privileges that nix does not offer. None of them can grant
//! anything.

#![allow(unsafe_code)]

use nix::errno::Errno;

/// The version of the structures below: 64 capabilities in two words (capget(2)).
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Clears the securebits of this process, if it has any. They may be locked: then that fails.
pub(super) fn clear_securebits() -> Result<(), Errno> {
    // SAFETY: both options take and return integers only.
    let found = Errno::result(unsafe { libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0) })?;
    if found == 0 {
        return Ok(());
    }
    // SAFETY: as above.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, 0, 0, 0, 0) }).map(drop)
}

/// Drops every capability of this process: permitted, effective, inheritable and ambient. What the
/// bounding set allows a set-user-id program is not changed.
pub(super) fn clear_capabilities() -> Result<(), Errno> {
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [Sets::default(); 2];
    // SAFETY: the kernel reads one header and, for this version, two sets, which live through the
    // call.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    Errno::result(result).map(drop)
}

/// Whether this process has no capability. An ambient one would also be permitted.
pub(super) fn has_no_capabilities() -> Result<bool, Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut found = [Sets::default(); 2];
    // SAFETY: the kernel reads (and might correct) one header and writes two sets, for which there
    // is room.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, found.as_mut_ptr()) };
    Errno::result(result)?;
    Ok(found == [Sets::default(); 2])
}

/// Leaves the session keyring, whose keys would otherwise be open to whoever is in it, for a new
/// and empty one. Where the kernel has no keyrings, or a filter keeps processes from using them,
/// there is nothing to leave.
pub(super) fn leave_keyring() -> Result<(), Errno> {
    /// `KEYCTL_JOIN_SESSION_KEYRING` of keyctl(2).
    const JOIN: libc::c_long = 1;
    let nameless = std::ptr::null::<libc::c_char>();
    // SAFETY: without a name the kernel reads no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN, nameless) };
    match Errno::result(result) {
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}
