//! How a session comes to be: terminal, ring, shim, and what the shim reports.

use super::requests::{failure, no_memory};
use super::run::Process;
use super::session::{Notices, Session, Stage};
use super::token::{Place, Token};
use crate::holder::BLOB_MAX;
use crate::holder::exec::{ERROR_FD, SPEC_FD};
use crate::holder::launch::Start;
use crate::holder::ledger::{Ledger, QUEUE};
use crate::holder::wire::{Failure, FailureCode, PREFACE_MAX, Spawn};
use crate::pty;
use crate::ring::{RingError, Writer};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{Pid, pipe2, read};
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

pub(super) const NO_FILES: &str = "the holder has no more file descriptors (ulimit -n)";

/// The largest offset that a session may begin at: enough is left to count on for ever.
const BASE_MAX: u64 = 1 << 62;

/// Bytes that the allocator has to have before a session is made.
const SPARE: usize = 64 << 10;

impl Process {
    /// Starts what was asked for, or finds it started already. Answers when the shim has
    /// executed the program or failed.
    pub(super) fn spawn(
        &mut self,
        request: u32,
        spawn: &Spawn,
        blob: &[u8],
        spec: Option<OwnedFd>,
    ) -> Result<(), Failure> {
        if self.ending.is_some() {
            return Err(failure(FailureCode::Closing, "the holder is ending"));
        }
        if let Some(session) = self.sessions.by_id(spawn.id) {
            match &mut session.stage {
                Stage::Starting { asked, .. }
                | Stage::Failed { asked, .. }
                | Stage::Started { asked } => asked.push(request),
            }
            self.due = true;
            return Ok(());
        }
        let spec = spec
            .filter(sealed)
            .ok_or_else(|| failure(FailureCode::Invalid, "no sealed specification"))?;
        if blob.len() > BLOB_MAX || spawn.preface.len() > PREFACE_MAX {
            return Err(failure(FailureCode::Invalid, "blob or preface too long"));
        }
        // Bytes are counted in u64 here and in i64 elsewhere.
        if spawn.cols == 0 || spawn.rows == 0 || spawn.base > BASE_MAX {
            return Err(failure(FailureCode::Invalid, "no size, or no such offset"));
        }
        let mut session = self.make(spawn, blob, &spec)?;
        if let Stage::Starting { asked, .. } = &mut session.stage {
            asked.push(request);
        }
        let place = session.place;
        self.sessions.insert(session);
        self.rewatch(place);
        Ok(())
    }

    fn make(
        &mut self,
        spawn: &Spawn,
        blob: &[u8],
        spec: &OwnedFd,
    ) -> Result<Box<Session>, Failure> {
        spare_memory()?;
        let pty = pty::open(spawn.cols, spawn.rows).map_err(|errno| step("pty", errno))?;
        let (ring_fd, mut ring) =
            Writer::create(spawn.ring_capacity, spawn.base).map_err(|error| match error {
                RingError::Os(errno) => step("ring", errno),
                error => failure(FailureCode::Invalid, &error.to_string()),
            })?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags).map_err(|errno| step("eventfd", errno))?;
        let (report, theirs) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| step("pipe", errno))?;
        let place = self.sessions.next_place();
        // Before the shim is started: after it nothing may fail.
        let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Report(place).word());
        self.epoll.add(&report, event).map_err(|errno| step("epoll", errno))?;
        let args = [
            c"stayd".into(),
            c"__exec".into(),
            words(&spawn.id.to_string()),
            words(&self.open_files.to_string()),
        ];
        let start = Start {
            program: Path::new("/proc/self/exe"),
            args: &args,
            env: &[],
            stdio: &pty.path,
            pass: &[(spec.as_fd(), SPEC_FD), (theirs.as_fd(), ERROR_FD)],
        };
        let leader = start.spawn().map_err(|errno| step("spawn", errno))?;
        ring.set_input_free(QUEUE as u64);
        // The first of its sizes, so that a replay from the beginning knows it.
        ring.stamp_resize(spawn.cols, spawn.rows);
        ring.preface(spawn.preface.as_bytes());
        if spawn.checkpoints {
            ring.hold_tail(spawn.base);
        }
        Ok(Box::new(Session {
            id: spawn.id,
            place,
            leader,
            // It is not reaped yet, so it can be looked up; 0 is nobody's.
            start_time: start_time(leader).unwrap_or(0),
            stage: Stage::Starting { report, asked: Vec::new() },
            exit: None,
            cols: spawn.cols,
            rows: spawn.rows,
            blob: blob.to_vec(),
            checkpoint: None,
            master: Some(pty.master),
            slave: Some(pty.slave),
            ring,
            ring_fd,
            wake: wake.into(),
            ledger: Ledger::default(),
            queue: VecDeque::new(),
            starved: false,
            blocked: false,
            untold: 0,
            drained: 0,
            watched: EpollFlags::empty(),
            notices: Notices::default(),
        }))
    }

    /// The shim has said something, or nothing more.
    pub(super) fn report(&mut self, place: Place) {
        let Some(session) = self.sessions.get(place) else { return };
        let Stage::Starting { report, asked } = &mut session.stage else { return };
        let mut said = [0; 64];
        session.stage = match read(&*report, &mut said) {
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            // Closed by the exec (or by a death that its exit status tells).
            Ok(0) | Err(_) => Stage::Started { asked: std::mem::take(asked) },
            Ok(count) => {
                let said = said.get(..count).and_then(|said| said.split_first_chunk::<4>());
                let (errno, step) = said.map_or((0, String::new()), |(errno, step)| {
                    (i32::from_le_bytes(*errno), String::from_utf8_lossy(step).into_owned())
                });
                Stage::Failed { step, errno, asked: std::mem::take(asked) }
            }
        };
        self.due = true;
    }
}

/// A failed step; limits of the system are told apart, since they pass.
fn step(name: &str, errno: Errno) -> Failure {
    let limit = match (name, errno) {
        ("pty", Errno::ENOSPC) => Some("no more pseudo-terminals (sysctl kernel.pty.max)"),
        (_, Errno::EMFILE) => Some(NO_FILES),
        (_, Errno::ENFILE) => Some("the system has no more file descriptors (sysctl fs.file-max)"),
        (_, Errno::ENOMEM) => Some("out of memory"),
        ("spawn", Errno::EAGAIN) => Some("no more processes (ulimit -u, pids cgroup)"),
        _ => None,
    };
    Failure {
        step: Some(name.to_owned()),
        errno: Some(errno as i32),
        ..match limit {
            Some(text) => failure(FailureCode::Limit, text),
            None => failure(FailureCode::Step, errno.desc()),
        }
    }
}

/// Whether it is a memfd that will stay as it is: anything else may have no end, or keep
/// the shim waiting for ever.
fn sealed(spec: &OwnedFd) -> bool {
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    let found = fcntl(spec, FcntlArg::F_GET_SEALS);
    found.is_ok_and(|found| SealFlag::from_bits_retain(found).contains(seals))
}

/// What a new session needs comes in small pieces, none of which may be refused: so there
/// has to be more than all of them together.
fn spare_memory() -> Result<(), Failure> {
    let mut spare = Vec::<u8>::new();
    spare.try_reserve_exact(SPARE).map_err(|_| no_memory())?;
    // Else it is optimized away.
    std::hint::black_box(&spare);
    Ok(())
}

/// Words without a NUL.
fn words(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Field 22 of proc_pid_stat(5), in clock ticks after boot.
fn start_time(pid: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}
