//! The handle: asks the holder, one method a message.

use super::checkpoint::Checkpoint;
use super::connect;
use super::error::{HolderError, SpawnError};
use super::link::{Link, Replies, Reply, within};
use super::session::{Held, Notice, SpawnSpec, Unusable};
use crate::holder::memfd;
use crate::holder::paths::Paths;
use crate::holder::wire::{self, BLOB_MAX, CHECKPOINT_MAX, CheckpointMeta, ExecSpec, Kind, Stats};
use crate::id::{ClientKey, SessionId};
use crate::ring::Reader;
use nix::errno::Errno;
use serde::Serialize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

/// The server's handle to the holder. Clones are one connection; it closes with the last.
#[derive(Clone, Debug)]
pub struct Holder {
    link: Arc<Link>,
    log: slog::Logger,
    pid: i32,
}

impl Holder {
    /// Connects to the holder of the state directory, starting one if none answers. Has to
    /// be called in a tokio runtime that lives as long as the connection; the handle may be
    /// used from any thread. Gives up after ten seconds.
    ///
    /// # Errors
    /// It cannot be reached, started or understood.
    pub async fn connect_or_launch(
        paths: &Paths,
        log: &slog::Logger,
    ) -> Result<(Self, UnboundedReceiver<Notice>), HolderError> {
        let (link, pid, notices) = connect::connect_or_launch(paths, log).await?;
        Ok((Holder { link: Arc::new(link), log: log.clone(), pid }, notices))
    }

    /// Process id of the holder.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Starts a session, or returns the held one of that id. Waits as long as the program's
    /// directory does.
    ///
    /// # Errors
    /// A step failed, a limit was reached, or the holder cannot be asked.
    pub async fn spawn(
        &self,
        id: SessionId,
        spec: &SpawnSpec,
        ring_capacity: u64,
        blob: &[u8],
    ) -> Result<Held, SpawnError> {
        let spawn = wire::Spawn {
            id,
            cols: spec.cols,
            rows: spec.rows,
            ring_capacity,
            checkpoints: spec.checkpoints,
            base: spec.resumed.as_ref().map_or(0, |resumed| resumed.base),
            preface: spec
                .resumed
                .as_ref()
                .map_or_else(String::new, |resumed| resumed.preface.clone()),
        };
        let fd = exec_spec(spec).map_err(|errno| HolderError::Request(errno.to_string()))?;
        let mut replies = self.link.ask(Kind::Spawn, Some(&spawn), checked(blob)?, Some(fd))?;
        let reply = replies.next().await?;
        match reply.kind {
            Kind::Entry => Ok(held(reply.control()?, reply).map_err(|unusable| unusable.error)?),
            _ => Err(reply.failure().into()),
        }
    }

    /// Everything that is held, ended sessions included. One that cannot be used is left
    /// out and logged.
    ///
    /// # Errors
    /// The holder cannot be asked.
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

    /// As [`Holder::adopt`], with what cannot be used.
    ///
    /// # Errors
    /// The holder cannot be asked.
    pub async fn adopt_each(&self) -> Result<Vec<Result<Held, Unusable>>, HolderError> {
        self.entries(held).await
    }

    /// The holder's entries of all sessions: cheaper than to adopt them.
    ///
    /// # Errors
    /// The holder cannot be asked.
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
                        list.after = Some(entry.id);
                        all.push(read(entry, reply));
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

    /// Sends keystrokes: `offset` is the number of bytes of this client before them. How
    /// far they are accepted is in [`Reader::input`]; overlap is trimmed, a gap refused.
    /// Never waits; what the socket does not take is sent later, in order.
    pub fn input(&self, id: SessionId, key: ClientKey, offset: u64, bytes: &[u8]) {
        self.send_input(Kind::Input, id, key, offset, bytes);
    }

    /// The same with bytes that only count and are not for the program.
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

    /// Gives a terminal another size. Never waits; the stamp is in the ring.
    pub fn resize(&self, id: SessionId, cols: u16, rows: u16) {
        self.tell(Kind::Resize, &wire::Resize { id, cols, rows });
    }

    /// Has a PTY read again after [`Reader::advance_tail`] said so. Never waits.
    pub fn resume(&self, id: SessionId) {
        self.tell(Kind::Resume, &wire::Target { id });
    }

    /// Signals the foreground process group of a session's terminal; its leader, if there
    /// is no such group.
    ///
    /// # Errors
    /// No such session, it has ended, no such signal, or the holder cannot be asked.
    pub async fn signal(&self, id: SessionId, signal: i32) -> Result<(), HolderError> {
        self.done(Kind::Signal, &wire::Signal { id, signal }, &[]).await
    }

    /// Leaves other words with a session. They are sent at the call; to wait is to hear
    /// that they were taken.
    ///
    /// # Errors
    /// They are too long, no such session, or the holder cannot be asked.
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

    /// Frees everything of a session whose leader has exited. What the program's
    /// descendants still write goes nowhere.
    ///
    /// # Errors
    /// No such session, it is still running, or the holder cannot be asked.
    pub async fn forget(&self, id: SessionId) -> Result<(), HolderError> {
        self.done(Kind::Forget, &wire::Target { id }, &[]).await
    }

    /// The holder's counters.
    ///
    /// # Errors
    /// The holder cannot be asked.
    pub async fn stats(&self) -> Result<Stats, HolderError> {
        let mut replies = self.link.ask(Kind::Stats, None::<&()>, &[], None)?;
        let reply = within(replies.next()).await?;
        if reply.kind == Kind::Stats { reply.control() } else { Err(reply.failure().into()) }
    }

    /// Leaves a picture of the screen with a session, in place of the last one. The holder
    /// may overwrite the output before it from then on, as far as it is acknowledged too,
    /// and reads on by itself if that had no room. Refused, it changes nothing.
    ///
    /// `bytes` may be empty: the output before it goes and nothing stands for it.
    ///
    /// # Errors
    /// It goes back, beyond the output, or before what is kept of it; it is longer than
    /// 8 MiB; no such session; or the holder cannot be asked.
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

/// Argument lists and environments are longer than a message may be, hence the memfd.
fn exec_spec(spec: &SpawnSpec) -> Result<OwnedFd, Errno> {
    let spec = ExecSpec {
        argv: spec.command.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        login: spec.login,
    };
    let json = serde_json::to_vec(&spec).map_err(|_| Errno::EINVAL)?;
    memfd::sealed(c"stayd-spec", &json)
}

fn held(entry: wire::Entry, reply: Reply) -> Result<Held, Unusable> {
    let mut fds = reply.fds.into_iter();
    let opened = match (fds.next(), fds.next()) {
        (Some(ring), Some(wake)) => {
            Reader::open(&ring).map_err(HolderError::Ring).and_then(|ring| {
                let checkpoint = Checkpoint::of(&entry, fds.next())?;
                Ok((ring, wake, checkpoint))
            })
        }
        _ => Err(HolderError::Answer("descriptors are missing".to_owned())),
    };
    match opened {
        Ok((ring, wake, checkpoint)) => Ok(Held {
            id: entry.id,
            pid: entry.pid,
            start_time: entry.start_time,
            exit: entry.exit,
            cols: entry.cols,
            rows: entry.rows,
            blob: reply.tail,
            checkpoint,
            ring: Arc::new(ring),
            wake,
        }),
        Err(error) => Err(Unusable { entry: Box::new(entry), blob: reply.tail, error }),
    }
}
