//! Performs the server's requests. This file may change everything and stores nothing.

use super::checkpoint::Checkpoint;
use super::session::Purpose;
use super::sessions::Sessions;
use super::spawn;
use super::token::SlotKey;
use crate::holder::fork_server::ForkServer;
use crate::holder::shared::journal::{self, Stores};
use crate::holder::shared::{SharedState, Slot, account};
use crate::holder::wire::{
    self, BLOB_MAX, Failure, InputTail, Kind, Message, Spawn, Stats, Target,
};
use crate::id::SessionId;
use nix::errno::Errno;
use nix::sys::epoll::Epoll;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// The answer to a request.
pub(super) enum Answer {
    Done,
    /// The reply comes later, or never.
    Later,
    Stats(Stats),
    Hello,
    /// A page of the sessions after this id.
    Page(Option<SessionId>),
}

/// Everything that a request may change.
pub(super) struct Reach<'a> {
    pub(super) sessions: &'a mut Sessions,
    pub(super) shared: &'a Arc<SharedState>,
    /// The number of the message among those of its connection.
    pub(super) number: u64,
    pub(super) epoll: &'a Epoll,
    /// The descriptors that came with the message. Those that are not taken are closed afterwards.
    pub(super) fds: &'a mut Vec<OwnedFd>,
    /// The limit of open files for sessions.
    pub(super) open_files: u64,
    pub(super) forks: &'a mut ForkServer,
    /// Whether the holder is shutting down.
    pub(super) shutting_down: bool,
}

/// Performs the request in a message.
pub(super) fn perform(all: &mut Reach<'_>, message: &Message<'_>) -> Result<Answer, Failure> {
    let kind = Kind::from_byte(message.kind).ok_or_else(|| Failure::unknown_kind(message.kind))?;
    if all.shared.header().server.performed.load(Relaxed) == all.number {
        // By a holder that died before it had taken the message.
        return Ok(Answer::Done);
    }
    match kind {
        Kind::Input => input(all, &InputTail::parse(message.tail)?, Purpose::Typed),
        Kind::Counted => input(all, &InputTail::parse(message.tail)?, Purpose::Counted),
        Kind::Resize => resize(all, &message.control()?),
        Kind::Resume => resume(all, &message.control()?),
        Kind::Discard => discard(all, &message.control()?),
        Kind::Spawn => {
            let spec: Option<OwnedFd> = all.fds.drain(..).next();
            spawn(all, message.request, &message.control()?, message.tail, spec)?;
            Ok(Answer::Later)
        }
        Kind::List => Ok(Answer::Page(message.control::<wire::List>()?.after)),
        Kind::Signal => signal(all, &message.control()?),
        Kind::Blob => blob(all, &message.control()?, message.tail),
        Kind::Forget => forget(all, &message.control()?),
        Kind::Checkpoint => checkpoint(all, &message.control()?),
        Kind::Stats => Ok(Answer::Stats(stats(all))),
        // Its answer may have died with a holder.
        Kind::Hello if all.number == 1 => Ok(Answer::Hello),
        Kind::Hello
        | Kind::Upgrade
        | Kind::Done
        | Kind::Entry
        | Kind::Listed
        | Kind::Failed
        | Kind::Output
        | Kind::Exited => Err(Failure::invalid("not a request")),
    }
}

fn key(all: &Reach<'_>, id: SessionId) -> Result<SlotKey, Failure> {
    all.sessions.table.key(id).ok_or_else(Failure::no_such_session)
}

/// Starts a session, or finds it started already. The reply comes when the shim has executed the
/// program or failed.
fn spawn(
    all: &mut Reach<'_>,
    request: u32,
    spawn: &Spawn,
    blob: &[u8],
    spec: Option<OwnedFd>,
) -> Result<(), Failure> {
    if all.shutting_down {
        return Err(Failure::closing());
    }
    if let Some(session) = all.sessions.table.by_id(spawn.id) {
        all.sessions.due = true;
        return if session.slot.ask(request) { Ok(()) } else { Err(Failure::busy()) };
    }
    let spec = spawn::check(spawn, blob, spec)?;
    let key = all.sessions.table.next_key();
    let slot =
        Slot::take(all.shared, key.slot).map_err(|errno| Failure::of_step("state", errno))?;
    let new = spawn::New { key, request, blob, open_files: all.open_files };
    all.sessions.table.insert(spawn::start(&slot, spawn, &new, &spec, all.forks, all.epoll)?);
    all.sessions.rewatch(key, all.epoll);
    Ok(())
}

fn input(all: &mut Reach<'_>, input: &InputTail<'_>, purpose: Purpose) -> Result<Answer, Failure> {
    let key = key(all, input.id)?;
    if let Some(session) = all.sessions.table.get(key) {
        session.take_input(input, purpose);
        all.sessions.typed(key);
    }
    all.sessions.rewatch(key, all.epoll);
    Ok(Answer::Done)
}

fn resize(all: &mut Reach<'_>, resize: &wire::Resize) -> Result<Answer, Failure> {
    let key = key(all, resize.id)?;
    let session = all.sessions.table.get(key).ok_or_else(Failure::no_such_session)?;
    if resize.cols == 0 || resize.rows == 0 {
        return Err(Failure::invalid("a terminal has at least one cell"));
    }
    let resized = session.resize(resize.cols, resize.rows);
    all.sessions.rewatch(key, all.epoll);
    all.sessions.due |= resized.map_err(Failure::os)?;
    Ok(Answer::Done)
}

fn resume(all: &mut Reach<'_>, target: &Target) -> Result<Answer, Failure> {
    let key = key(all, target.id)?;
    all.sessions.resume(key, all.epoll);
    Ok(Answer::Done)
}

fn discard(all: &mut Reach<'_>, discard: &wire::Discard) -> Result<Answer, Failure> {
    let session = all.sessions.table.by_id(discard.id).ok_or_else(Failure::no_such_session)?;
    session.discard(discard.before).map_err(Failure::os)?;
    Ok(Answer::Done)
}

/// Sends a signal, once: nobody can find out whether a holder that died at this moment has sent it.
fn signal(all: &mut Reach<'_>, signal: &wire::Signal) -> Result<Answer, Failure> {
    let words = &all.shared.header().server;
    if words.begun.load(Relaxed) == all.number {
        return Err(Failure::unknown_outcome());
    }
    words.begun.store(all.number, Release);
    let sent = send_signal(all, signal);
    words.performed.store(all.number, Release);
    sent
}

fn send_signal(all: &mut Reach<'_>, signal: &wire::Signal) -> Result<Answer, Failure> {
    let session = all.sessions.table.by_id(signal.id).ok_or_else(Failure::no_such_session)?;
    match session.signal(signal.signal) {
        Ok(()) => Ok(Answer::Done),
        Err(Errno::ESRCH) => Err(Failure::has_ended()),
        Err(Errno::EINVAL) => Err(Failure::invalid("no such signal")),
        Err(errno) => Err(Failure::os(errno)),
    }
}

fn blob(all: &mut Reach<'_>, target: &Target, blob: &[u8]) -> Result<Answer, Failure> {
    if blob.len() > BLOB_MAX {
        return Err(Failure::invalid("blob too long"));
    }
    let session = all.sessions.table.by_id(target.id).ok_or_else(Failure::no_such_session)?;
    session.slot.set_blob(blob);
    Ok(Answer::Done)
}

fn forget(all: &mut Reach<'_>, target: &Target) -> Result<Answer, Failure> {
    let key = key(all, target.id)?;
    let session = all.sessions.table.get(key).ok_or_else(Failure::no_such_session)?;
    if session.exit.is_none() {
        return Err(Failure::still_running());
    }
    // The session goes and the message counts as performed at the same instant.
    let mut stores = Stores::default();
    if let Some(word) = session.slot.live_word() {
        stores.word(all.shared, word, 0);
    }
    stores.word(all.shared, &all.shared.header().server.performed, all.number);
    journal::commit(all.shared, key.slot, None, &stores);
    all.sessions.table.remove(key);
    Ok(Answer::Done)
}

fn stats(all: &Reach<'_>) -> Stats {
    let words = &all.shared.header().stats;
    Stats {
        sessions: all.sessions.table.len() as u64,
        orphans_reaped: words.orphans_reaped.load(Relaxed),
        refused: words.refused.load(Relaxed),
        malformed: words.malformed.load(Relaxed),
        panics: words.panics.load(Relaxed),
        takeovers: words.takeovers.load(Relaxed),
        completed: words.completed.load(Relaxed),
        gaps: words.gaps.load(Relaxed),
        unaccounted: account::error(all.shared),
    }
}

fn checkpoint(all: &mut Reach<'_>, wanted: &wire::Checkpoint) -> Result<Answer, Failure> {
    let checkpoint = Checkpoint::new(wanted.checkpoint, all.fds.drain(..).next())?;
    let key = key(all, wanted.id)?;
    let session = all.sessions.table.get(key).ok_or_else(Failure::no_such_session)?;
    session.keep(checkpoint)?;
    all.sessions.resume(key, all.epoll);
    Ok(Answer::Done)
}
