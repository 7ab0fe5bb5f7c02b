//! The shim's steps that confine a session: its cgroup, its limits, its account. Each failed step
//! has a name and an errno, with which the holder reports it.

use super::credentials;
use super::wire::{Account, Limits};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{
    Gid, Uid, fchown, getgrouplist, getgroups, getresgid, getresuid, initgroups, setresgid,
    setresuid, setuid,
};
use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// A failed step of the shim.
pub(super) struct Step(pub(super) &'static str, pub(super) Errno);

/// Moves this process into a cgroup. Whatever it starts is in it, too.
pub(super) fn enter_cgroup(directory: &Path) -> Result<(), Step> {
    // The number 0 is the process that writes (cgroups(7)).
    std::fs::write(directory.join("cgroup.procs"), "0")
        .map_err(|error| Step("cgroup", error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))
}

/// Sets the limits. One above the hard limit is refused even where root could raise that: the
/// operator who has set it meant it.
pub(super) fn set_limits(limits: &Limits) -> Result<(), Step> {
    for (step, resource, limit) in [
        ("limits.nofile", Resource::RLIMIT_NOFILE, limits.nofile),
        ("limits.nproc", Resource::RLIMIT_NPROC, limits.nproc),
        ("limits.as", Resource::RLIMIT_AS, limits.address_space),
        ("limits.core", Resource::RLIMIT_CORE, limits.core),
    ] {
        let Some(limit) = limit else { continue };
        let failed = |errno| Step(step, errno);
        let (_, hard) = getrlimit(resource).map_err(failed)?;
        if limit > hard {
            return Err(failed(Errno::EPERM));
        }
        setrlimit(resource, limit, limit).map_err(failed)?;
    }
    Ok(())
}

/// Turns this process, which is root, into one of the account for good: its three user and group
/// ids, its groups, no capability. The terminal becomes the account's first.
pub(super) fn become_account(account: &Account, terminal: BorrowedFd<'_>) -> Result<(), Step> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    let name = CString::new(account.name.as_str()).map_err(|_| Step("spec", Errno::EINVAL))?;
    if uid.is_root() {
        return Err(Step("setuid", Errno::EINVAL));
    }
    hand_over(terminal, uid, account.tty.map(Gid::from_raw))?;
    // With some of them set, a change of the user id would keep capabilities.
    credentials::clear_securebits().map_err(|errno| Step("securebits", errno))?;
    initgroups(&name, gid).map_err(|errno| Step("initgroups", errno))?;
    setresgid(gid, gid, gid).map_err(|errno| Step("setgid", errno))?;
    setresuid(uid, uid, uid).map_err(|errno| Step("setuid", errno))?;
    credentials::clear_capabilities().map_err(|errno| Step("capabilities", errno))?;
    credentials::leave_keyring().map_err(|errno| Step("keyring", errno))?;
    verify(&name, uid, gid).map_err(|errno| Step("account", errno))
}

/// The terminal belongs to the account, as login(1) has it: others write to it only through the
/// group `tty`.
fn hand_over(terminal: BorrowedFd<'_>, uid: Uid, tty: Option<Gid>) -> Result<(), Step> {
    let failed = |errno| Step("terminal", errno);
    let mut mode = Mode::S_IRUSR | Mode::S_IWUSR;
    mode.set(Mode::S_IWGRP, tty.is_some());
    fchown(terminal, Some(uid), tty).map_err(failed)?;
    fchmod(terminal, mode).map_err(failed)
}

/// Checks that every step has had its effect, and that there is no way back.
fn verify(name: &CString, uid: Uid, gid: Gid) -> Result<(), Errno> {
    let (users, groups) = (getresuid()?, getresgid()?);
    let is_all = [users.real, users.effective, users.saved] == [uid; 3]
        && [groups.real, groups.effective, groups.saved] == [gid; 3];
    let sorted = |groups: Vec<Gid>| {
        let mut groups: Vec<u32> = groups.into_iter().map(Gid::as_raw).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    };
    let has_groups = sorted(getgroups()?) == sorted(getgrouplist(name, gid)?);
    let is_bare = credentials::has_no_capabilities()?;
    let is_final = setuid(Uid::from_raw(0)).is_err();
    if is_all && has_groups && is_bare && is_final { Ok(()) } else { Err(Errno::EPERM) }
}
