//! The server's side: launch or find the holder, ask it, hear from it.

mod checkpoint;
mod connect;
mod link;

pub use self::checkpoint::Checkpoint;

use self::link::{Link, Reply};
use super::memfd;
use super::paths::Paths;
use super::wire::{self, BLOB_MAX, ExecSpec, Failure, FailureCode, Kind};
use crate::exit::Exit;
use crate::id::{ClientKey, SessionId};
use crate::ring::{Reader, RingError};
use nix::errno::Errno;
use serde::Serialize;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

pub use super::wire::Stats;

/// The holder answers these at once; longer means that it is stopped or gone.
const REPLY_DEADLINE: Duration = Duration::from_secs(10);

/// The server's handle to the holder. Clones are one connection; it closes with the last.
#[derive(Clone, Debug)]
pub struct Holder {
    link: Arc<Link>,
    log: slog::Logger,
    pid: i32,
}

/// What is to run in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpawnSpec {
    /// Program and arguments; the program is looked up in the `PATH` of `env`.
    pub command: Vec<String>,
    /// The program is told that its name begins with `-`: a login shell.
    pub login: bool,
    /// Directory to start in.
    pub cwd: String,
    /// The whole environment. `STAYD_SESSION` is added.
    pub env: Vec<(String, String)>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The ring is to keep all output since the last [`Holder::checkpoint`], from the
    /// beginning until there is one, whatever is acknowledged.
    pub checkpoints: bool,
    /// Where it goes on, if it is not new.
    pub resumed: Option<Resumed>,
}

/// A session whose command is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Bytes of output so far: its offsets count on.
    pub base: u64,
    /// Output that stands before the program's own, at most [`wire::PREFACE_MAX`] bytes.
    pub preface: String,
}

/// A session that the holder holds.
#[derive(Debug)]
pub struct Held {
    /// Its id.
    pub id: SessionId,
    /// Process id of the leader.
    pub pid: i32,
    /// When the leader started: clock ticks after boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// How the leader ended, once reaped. Its output may still be under way, see
    /// [`Reader::ended`].
    pub exit: Option<Exit>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// What the server left with it, at most [`BLOB_MAX`] bytes.
    pub blob: Vec<u8>,
    /// The last checkpoint, if there is one.
    pub checkpoint: Option<Checkpoint>,
    /// Its output.
    pub ring: Arc<Reader>,
    /// Written to by the holder, never to be read: register it edge-triggered.
    pub wake: OwnedFd,
}

/// A held session that cannot be used, and why.
#[derive(Debug)]
pub struct Unusable {
    /// What the holder says of it.
    pub entry: Box<wire::Entry>,
    /// What the server left with it.
    pub blob: Vec<u8>,
    /// What is wrong.
    pub error: HolderError,
}

/// What the holder says unasked. A hint each: the state is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A watched session has output.
    Output(SessionId),
    /// A leader has exited and its output is complete.
    Exited(SessionId),
    /// The connection is broken: the holder died, or another server took over. Nothing
    /// follows.
    Gone,
}

/// The holder could not be reached or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// Its socket cannot be reached.
    #[error("cannot reach the holder: {0}")]
    Unreachable(Errno),
    /// It could not be started.
    #[error("cannot start the holder: {0}")]
    Launch(String),
    /// Something of another user listens on its socket.
    #[error("the holder's socket belongs to another user")]
    ForeignUser,
    /// It speaks another major version.
    #[error(
        "the holder speaks version {theirs} and this stayd {}. Its sessions run on: start the \
         stayd that speaks version {theirs} to reach them, or end them all with its \
         `stayd stop --all` and start this one again",
        wire::MAJOR
    )]
    Version {
        /// Its major version.
        theirs: u16,
    },
    /// It does not answer.
    #[error("the holder does not answer")]
    Timeout,
    /// The connection is broken.
    #[error("the holder is gone")]
    Gone,
    /// It said no.
    #[error("{message}")]
    Refused {
        /// Why.
        code: FailureCode,
        /// For people.
        message: String,
    },
    /// A session's ring cannot be mapped.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// It sent something that cannot be used.
    #[error("the holder's answer is unusable: {0}")]
    Answer(String),
    /// The request cannot be sent.
    #[error("cannot ask the holder: {0}")]
    Request(String),
}

/// A session could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A step on the way to the program failed: `pty`, `ring`, `spawn`, `spec`, `stdio`,
    /// `limits`, `chdir` or `exec`.
    #[error("{step}: {}", Errno::from_raw(*errno).desc())]
    Step {
        /// Which.
        step: String,
        /// Why.
        errno: i32,
    },
    /// A limit of the system was reached; the text says which.
    #[error("{0}")]
    Limit(String),
    /// Anything else.
    #[error(transparent)]
    Holder(#[from] HolderError),
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
        connect::connect_or_launch(paths, log).await
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
        let mut replies = self.ask(Kind::Spawn, Some(&spawn), checked(blob)?, Some(fd))?;
        let reply = replies.next().await?;
        match reply.kind {
            Kind::Entry => Ok(held(reply.control()?, reply).map_err(|unusable| unusable.error)?),
            _ => Err(spawn_error(failure(&reply))),
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

    /// What is held, in the holder's words alone: cheaper than to adopt it.
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
            let mut replies = self.ask(Kind::List, Some(&list), &[], None)?;
            let more = loop {
                let reply = within(replies.next()).await?;
                match reply.kind {
                    Kind::Entry => {
                        let entry: wire::Entry = reply.control()?;
                        list.after = Some(entry.id);
                        all.push(read(entry, reply));
                    }
                    Kind::Listed => break reply.control::<wire::Listed>()?.more,
                    _ => return Err(refused(failure(&reply))),
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
        let asked = checked(blob).and_then(|blob| self.ask(Kind::Blob, Some(&target), blob, None));
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

    /// What the holder counts.
    ///
    /// # Errors
    /// The holder cannot be asked.
    pub async fn stats(&self) -> Result<Stats, HolderError> {
        let mut replies = self.ask(Kind::Stats, None::<&()>, &[], None)?;
        let reply = within(replies.next()).await?;
        if reply.kind == Kind::Stats { reply.control() } else { Err(refused(failure(&reply))) }
    }

    fn ask<T: Serialize>(
        &self,
        kind: Kind,
        control: Option<&T>,
        tail: &[u8],
        fd: Option<OwnedFd>,
    ) -> Result<link::Replies, HolderError> {
        self.link.ask(kind, control, tail, fd)
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
        done(self.ask(kind, Some(control), tail, None)?).await
    }
}

async fn done(mut replies: link::Replies) -> Result<(), HolderError> {
    let reply = within(replies.next()).await?;
    if reply.kind == Kind::Done { Ok(()) } else { Err(refused(failure(&reply))) }
}

async fn within(
    reply: impl Future<Output = Result<Reply, HolderError>>,
) -> Result<Reply, HolderError> {
    tokio::time::timeout(REPLY_DEADLINE, reply).await.map_err(|_| HolderError::Timeout)?
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

fn failure(reply: &Reply) -> Failure {
    match reply.kind {
        Kind::Failed => reply.control().unwrap_or_default(),
        kind => Failure { message: format!("unexpected answer {kind:?}"), ..Failure::default() },
    }
}

fn refused(failure: Failure) -> HolderError {
    HolderError::Refused { code: failure.code, message: failure.message }
}

fn spawn_error(failure: Failure) -> SpawnError {
    match (failure.code, &failure.step, failure.errno) {
        (FailureCode::Step, Some(step), Some(errno)) => {
            SpawnError::Step { step: step.clone(), errno }
        }
        (FailureCode::Limit, _, _) => SpawnError::Limit(failure.message),
        _ => SpawnError::Holder(refused(failure)),
    }
}
