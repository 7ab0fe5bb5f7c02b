//! Starts a session: terminal, ring, process.

use super::session::Session;
use super::token::{SlotKey, Token};
use crate::holder::fork_server::{ForkServer, Request};
use crate::holder::ledger::QUEUE;
use crate::holder::shared::{Created, Slot, account};
use crate::holder::wire::{BLOB_MAX, Failure, PREFACE_MAX, Spawn};
use crate::pty;
use crate::ring::{RingError, Writer};
use crate::tree::pidfd;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// The largest offset at which a session may begin: the offsets after it never run out.
const BASE_MAX: u64 = 1 << 62;

/// Bytes that the allocator must have free before a session is started.
const SPARE: usize = 64 << 10;

/// Checks a request, and returns its specification if a session can be started.
pub(super) fn check(spawn: &Spawn, blob: &[u8], spec: Option<OwnedFd>) -> Result<OwnedFd, Failure> {
    let spec = spec.filter(sealed).ok_or_else(|| Failure::invalid("no sealed specification"))?;
    if blob.len() > BLOB_MAX || spawn.preface.len() > PREFACE_MAX {
        return Err(Failure::invalid("blob or preface too long"));
    }
    // Bytes are counted in u64 here and in i64 elsewhere.
    if spawn.cols == 0 || spawn.rows == 0 || spawn.base > BASE_MAX {
        return Err(Failure::invalid("no size, or no such offset"));
    }
    spare_memory()?;
    Ok(spec)
}

/// A session that is about to start, besides its specification.
pub(super) struct New<'a> {
    pub(super) key: SlotKey,
    /// The request that waits for its start.
    pub(super) request: u32,
    pub(super) blob: &'a [u8],
    /// The limit of open files that it gets.
    pub(super) open_files: u64,
}

/// Starts a checked request, in a free slot. The shim becomes the program once the session is
/// recorded: if this process dies before, the shim ends, and the request is performed again.
pub(super) fn start(
    slot: &Slot,
    spawn: &Spawn,
    new: &New<'_>,
    spec: &OwnedFd,
    forks: &mut ForkServer,
    epoll: &Epoll,
) -> Result<Box<Session>, Failure> {
    let pty = pty::open(spawn.cols, spawn.rows).map_err(|errno| Failure::of_step("pty", errno))?;
    let (ring_fd, mut ring) =
        Writer::create(spawn.ring_capacity, spawn.base).map_err(|error| match error {
            RingError::Os(errno) => Failure::of_step("ring", errno),
            error => Failure::invalid(error.to_string()),
        })?;
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let wake = EventFd::from_flags(flags).map_err(|errno| Failure::of_step("eventfd", errno))?;
    let request = Request { id: spawn.id, open_files: new.open_files, terminal: &pty.path };
    let (report, leader) = match fork(forks, &request, spec) {
        // The fork server has died. What it may yet have forked is never told that it may go on,
        // because that connection is closed: another one may be asked.
        Err(failure) if failure.errno == Some(Errno::ECHILD as i32) => fork(forks, &request, spec)?,
        forked => forked?,
    };
    // A shim that is not told that it may go on ends, if anything fails from here on.
    let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Report(new.key).word());
    epoll.add(&report, event).map_err(|errno| Failure::of_step("epoll", errno))?;
    let process = pidfd::open(leader.as_raw()).map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        Failure::of_step("pidfd", errno)
    })?;
    ring.set_input_free(QUEUE as u64);
    // The first resize, so that a replay from the beginning knows the size.
    ring.stamp_resize(spawn.cols, spawn.rows);
    ring.preface(spawn.preface.as_bytes());
    if spawn.checkpoints {
        ring.hold_tail(spawn.base);
    }
    let created = Created {
        id: spawn.id,
        leader,
        // The leader is not reaped, so it can be found; 0 is nobody's start time.
        start_time: start_time(slot, leader).unwrap_or(0),
        master: pty.master,
        slave: pty.slave,
        ring: ring_fd,
        wake: wake.into(),
        report,
        process,
    };
    slot.create(created, new.blob, new.request);
    Session::of(slot.clone(), ring, new.key).ok_or_else(Failure::no_files)
}

/// Has the shim forked, which waits to be told that it may go on. Returns our end of the connection to
/// it, and its pid.
fn fork(
    forks: &mut ForkServer,
    request: &Request<'_>,
    spec: &OwnedFd,
) -> Result<(OwnedFd, Pid), Failure> {
    let (report, theirs) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| Failure::of_step("socketpair", errno))?;
    let leader = forks
        .fork(request, spec.as_fd(), theirs.as_fd())
        .map_err(|errno| Failure::of_step("spawn", errno))?;
    Ok((report, leader))
}

/// Whether it is a memfd that cannot change. Any other file may be endless, or keep the shim
/// waiting for ever.
fn sealed(spec: &OwnedFd) -> bool {
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    let found = fcntl(spec, FcntlArg::F_GET_SEALS);
    found.is_ok_and(|found| SealFlag::from_bits_retain(found).contains(seals))
}

/// Checks that there is more memory than a session needs: it is allocated in small pieces, none of
/// which may fail.
fn spare_memory() -> Result<(), Failure> {
    let mut spare = Vec::<u8>::new();
    spare.try_reserve_exact(SPARE).map_err(|_| Failure::no_memory())?;
    // Keeps the allocation from being optimized away.
    std::hint::black_box(&spare);
    Ok(())
}

/// Field 22 of proc_pid_stat(5), in clock ticks after boot.
fn start_time(slot: &Slot, pid: Pid) -> Option<u64> {
    let mut stat = [0; 1024];
    let length = account::read_file(slot.shared(), &format!("/proc/{pid}/stat"), &mut stat).ok()?;
    let stat = String::from_utf8_lossy(stat.get(..length)?);
    // The second field is a name in parentheses, which may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}
