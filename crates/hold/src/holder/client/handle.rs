//! The handle, through which the server uses the holder: one method a message.

use super::connect;
use super::entry::held;
use super::error::{HolderError, SpawnError};
use super::link::{Link, Replies, Reply, within};
use super::preparation::Preparation;
use super::session::{Held, Notice, SpawnSpec, Unusable};
use crate::holder::memfd;
use crate::holder::paths::Paths;
use crate::holder::wire::{self, BLOB_MAX, CHECKPOINT_MAX, CheckpointMeta, Kind, Stats};
use crate::id::{ClientKey, SessionId};
use crate::tree::Keepers;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

const TOO_OLD: &str = "it was started by an earlier version, which knows neither users nor limits; \
    the next holder will: end its sessions with `stayd stop --all`";

/// The server's handle to the holder. Its clones share one connection, which closes with the last.
#[derive(Clone, Debug)]
pub struct Holder {
    link: Arc<Link>,
    log: slog::Logger,
}

impl Holder {
    /// Connects to the holder of the state directory, and starts one if none answers. Call it in a
    /// tokio runtime that lives as long as the connection; the handle may be used from any thread.
    /// Gives up after ten seconds.
    ///
    /// # Errors
    /// The holder cannot be reached or started, or speaks another version.
    pub async fn connect_or_launch(
        paths: &Paths,
        log: &slog::Logger,
    ) -> Result<(Self, UnboundedReceiver<Notice>), HolderError> {
        let (link, notices) = connect::connect_or_launch(paths, log).await?;
        Ok((Holder { link: Arc::new(link), log: log.clone() }, notices))
    }

    /// Process id of the holder, which changes when it dies and another one takes its place.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.link.peer().pid
    }

    /// The processes to which the orphans of sessions fall. Both may change.
    #[must_use]
    pub fn keepers(&self) -> Keepers {
        let wire::Hello { pid, guardian, .. } = self.link.peer();
        Keepers { holder: pid, guardian: Some(guardian).filter(|pid| *pid > 0) }
    }

    /// Starts a session, or returns the held one of that id. It may take long, if the program's
    /// directory is on a hung file system.
    ///
    /// # Errors
    /// A step failed, a limit was reached, or the holder cannot be reached.
    pub async fn spawn(
        &self,
        id: SessionId,
        spec: &SpawnSpec,
        ring_capacity: u64,
        blob: &[u8],
    ) -> Result<Held, SpawnError> {
        self.prepare(id, spec, ring_capacity, blob)?.start().await
    }

    /// Makes a session ready to be started, which needs the holder no more than this handle does.
    ///
    /// # Errors
    /// The session's description is too long, or is none that this holder knows.
    pub fn prepare(
        &self,
        id: SessionId,
        spec: &SpawnSpec,
        ring_capacity: u64,
        blob: &[u8],
    ) -> Result<Preparation, SpawnError> {
        if self.link.peer().minor < wire::CONFINES && !spec.confinement.is_empty() {
            return Err(HolderError::Request(TOO_OLD.to_owned()).into());
        }
        let (link, blob) = (Arc::clone(&self.link), checked(blob)?);
        Ok(Preparation::new(link, id, spec, ring_capacity, blob)?)
    }

    /// All held sessions, ended ones included. Unusable ones are left out and logged.
    ///
    /// # Errors
    /// The holder cannot be reached.
    pub async fn adopt(&self) -> Result<Vec<Held>, HolderError> {
        let usable = |held: Result<Held, Unusable>| {
            let log_it = |unusable: &Unusable| {
                slog::error!(self.log, "cannot adopt a session";
                    "session" => %unusable.entry.id, "error" => %unusable.error);
            };
            held.inspect_err(log_it).ok()
        };
        Ok(self.adopt_each().await?.into_iter().filter_map(usable).collect())
    }

    /// As [`Holder::adopt`], with the unusable sessions.
    ///
    /// # Errors
    /// The holder cannot be reached.
    pub async fn adopt_each(&self) -> Result<Vec<Result<Held, Unusable>>, HolderError> {
        self.entries(held).await
    }

    /// The holder's entries of all sessions, which is cheaper than adopting them.
    ///
    /// # Errors
    /// The holder cannot be reached.
    pub async fn list(&self) -> Result<Vec<wire::Entry>, HolderError> {
        self.entries(|entry, _| entry).await
    }

    async fn entries<T>(
        &self,
        mut read: impl FnMut(wire::Entry, Reply) -> T,
    ) -> Result<Vec<T>, HolderError> {
        let mut all = Vec::new();
        let mut list = wire::List::default();
        loop {
            let mut replies = self.link.ask(Kind::List, Some(&list), &[], None)?;
            let more = loop {
                let reply = within(replies.next()).await?;
                match reply.kind {
                    Kind::Entry => {
                        let entry: wire::Entry = reply.control()?;
                        // A holder that takes over in the middle of a page begins it again.
                        if list.after.is_none_or(|after| after < entry.id) {
                            list.after = Some(entry.id);
                            all.push(read(entry, reply));
                        }
                    }
                    Kind::Listed => break reply.control::<wire::Listed>()?.more,
                    _ => return Err(reply.failure().into()),
                }
            };
            if !more {
                return Ok(all);
            }
        }
    }

    /// Sends keystrokes: `offset` is the number of bytes of this client before them.
    /// [`Reader::input`](crate::ring::Reader::input) says how far they are accepted; overlap is
    /// trimmed, a gap refused. Never waits: bytes that the socket does not take are sent later, in
    /// order.
    pub fn input(&self, id: SessionId, key: ClientKey, offset: u64, bytes: &[u8]) {
        self.send_input(Kind::Input, id, key, offset, bytes);
    }

    /// Sends bytes that only count as received and are not for the program.
    pub fn count_input(&self, id: SessionId, key: ClientKey, offset: u64, bytes: &[u8]) {
        self.send_input(Kind::Counted, id, key, offset, bytes);
    }

    fn send_input(&self, kind: Kind, id: SessionId, key: ClientKey, offset: u64, bytes: &[u8]) {
        let mut offset = offset;
        for bytes in bytes.chunks(wire::INPUT_CHUNK) {
            self.link.send(wire::InputTail { id, key, offset, bytes }.encode(kind));
            offset = offset.saturating_add(bytes.len() as u64);
        }
    }

    /// Changes a terminal's size. Never waits; the ring then has the resize.
    pub fn resize(&self, id: SessionId, cols: u16, rows: u16) {
        self.tell(Kind::Resize, &wire::Resize { id, cols, rows });
    }

    /// Has the holder read a PTY again, after
    /// [`Reader::advance_tail`](crate::ring::Reader::advance_tail) has returned true. Never waits.
    pub fn resume(&self, id: SessionId) {
        self.tell(Kind::Resume, &wire::Target { id });
    }

    /// Has the holder discard output before this offset, as far as neither the tail nor the
    /// checkpoint needs it, and free its memory. Never waits;
    /// [`Reader::oldest`](crate::ring::Reader::oldest) then moves.
    pub fn discard(&self, id: SessionId, before: u64) {
        if self.link.peer().minor >= wire::DISCARDS {
            self.tell(Kind::Discard, &wire::Discard { id, before });
        }
    }

    /// Signals the foreground process group of a session's terminal, or the leader if there is no
    /// such group.
    ///
    /// # Errors
    /// There is no such session or signal, the session has ended, or the holder cannot be reached.
    pub async fn signal(&self, id: SessionId, signal: i32) -> Result<(), HolderError> {
        self.done(Kind::Signal, &wire::Signal { id, signal }, &[]).await
    }

    /// Replaces a session's blob. It is sent at the call; the future resolves once the holder has
    /// it.
    ///
    /// # Errors
    /// The blob is too long, there is no such session, or the holder cannot be reached.
    pub fn set_blob(
        &self,
        id: SessionId,
        blob: &[u8],
    ) -> impl Future<Output = Result<(), HolderError>> + use<> {
        let target = wire::Target { id };
        let asked =
            checked(blob).and_then(|blob| self.link.ask(Kind::Blob, Some(&target), blob, None));
        async { done(asked?).await }
    }

    /// Frees everything of a session whose leader has exited. Later output of the program's
    /// descendants is dropped.
    ///
    /// # Errors
    /// There is no such session, it still runs, or the holder cannot be reached.
    pub async fn forget(&self, id: SessionId) -> Result<(), HolderError> {
        self.done(Kind::Forget, &wire::Target { id }, &[]).await
    }

    /// The holder's counters.
    ///
    /// # Errors
    /// The holder cannot be reached.
    pub async fn stats(&self) -> Result<Stats, HolderError> {
        let mut replies = self.link.ask(Kind::Stats, None::<&()>, &[], None)?;
        let reply = within(replies.next()).await?;
        if reply.kind == Kind::Stats { reply.control() } else { Err(reply.failure().into()) }
    }

    /// Stores a checkpoint of the screen with a session, in place of the last one. From then on the
    /// holder may overwrite the acknowledged output before it, and it resumes reading by itself if
    /// it had no room. A refused checkpoint changes nothing.
    ///
    /// `bytes` may be empty: the output before the checkpoint is then dropped without a screen.
    ///
    /// # Errors
    /// Its offset is before the last checkpoint, beyond the output, or before the retained output;
    /// it is longer than 8 MiB; there is no such session; or the holder cannot be reached.
    pub async fn checkpoint(
        &self,
        id: SessionId,
        meta: &CheckpointMeta,
        bytes: &[u8],
    ) -> Result<(), HolderError> {
        if bytes.len() as u64 > CHECKPOINT_MAX {
            return Err(HolderError::Request("checkpoint too long".to_owned()));
        }
        let fd = match bytes {
            [] => None,
            bytes => Some(memfd::sealed(c"stayd-checkpoint", bytes)),
        };
        let fd = fd.transpose().map_err(|errno| HolderError::Request(errno.to_string()))?;
        let control = wire::Checkpoint { id, checkpoint: *meta };
        let mut replies = self.link.ask(Kind::Checkpoint, Some(&control), &[], fd)?;
        let reply = within(replies.next()).await?;
        if reply.kind == Kind::Done { Ok(()) } else { Err(reply.failure().into()) }
    }

    fn tell<T: Serialize>(&self, kind: Kind, control: &T) {
        let mut bytes = Vec::with_capacity(128);
        // A session's id and two numbers always fit.
        if wire::encode(&mut bytes, kind, 0, Some(control), &[]).is_ok() {
            self.link.send(bytes);
        }
    }

    async fn done<T: Serialize>(
        &self,
        kind: Kind,
        control: &T,
        tail: &[u8],
    ) -> Result<(), HolderError> {
        done(self.link.ask(kind, Some(control), tail, None)?).await
    }
}

async fn done(mut replies: Replies) -> Result<(), HolderError> {
    let reply = within(replies.next()).await?;
    if reply.kind == Kind::Done { Ok(()) } else { Err(reply.failure().into()) }
}

fn checked(blob: &[u8]) -> Result<&[u8], HolderError> {
    if blob.len() > BLOB_MAX {
        return Err(HolderError::Request(format!("blob longer than {BLOB_MAX} bytes")));
    }
    Ok(blob)
}
