//! The part of a session that its connections touch from their own threads: the ring,
//! its wake-up, the way to type, and the last published view of the session.

use super::readers::{ReadFrom, Readers};
use super::writers::{ClientAttached, InputWriter, Writers};
use crate::attention::is_answer;
use crate::holder::{Holder, HolderError, register};
use crate::id::{ClientKey, SessionId};
use crate::lifecycle::Status;
use crate::metrics::Metrics;
use crate::pending::Piece;
use crate::protocol;
use crate::recorder::Recorded;
use crate::ring::Reader;
use crate::screens::ScreenHandle;
use crate::store::StoreHandle;
use chrono::{DateTime, Utc};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Shared by a session's actor, its connections and their outlets.
pub struct SessionHandle {
    id: SessionId,
    ring: Arc<Reader>,
    wake: OwnedFd,
    holder: Holder,
    store: StoreHandle,
    screen: ScreenHandle,
    metrics: Arc<Metrics>,
    /// Its recording, if there is one.
    recorded: Option<Recorded>,
    /// The offset that the furthest-ahead following client has reached.
    progress: AtomicU64,
    /// The tail stays where a dead server has left it, whatever clients take.
    held: AtomicBool,
    /// The connection whose size the terminal has; 0: nobody's.
    controller: AtomicU64,
    last_activity_ms: AtomicI64,
    /// When somebody has typed more than keys to move about, in milliseconds since 1970; 0: not since that
    /// was asked last.
    answered_ms: AtomicI64,
    writers: Arc<Writers>,
    readers: Readers,
    view: Mutex<protocol::Session>,
}

impl SessionHandle {
    /// Ties a held session to its published view.
    pub fn new(
        view: protocol::Session,
        ring: Arc<Reader>,
        wake: OwnedFd,
        holder: Holder,
        store: StoreHandle,
        screen: ScreenHandle,
        metrics: Arc<Metrics>,
    ) -> Self {
        SessionHandle {
            id: view.id,
            progress: AtomicU64::new(ring.tail()),
            held: AtomicBool::new(false),
            ring,
            wake,
            holder,
            store,
            screen,
            metrics,
            recorded: None,
            controller: AtomicU64::new(0),
            last_activity_ms: AtomicI64::new(view.last_activity_at.timestamp_millis()),
            answered_ms: AtomicI64::new(0),
            writers: Arc::default(),
            readers: Readers::default(),
            view: Mutex::new(view),
        }
    }

    /// The same with a recording, which holds the tail back.
    #[must_use]
    pub fn recorded(self, recorded: Option<Recorded>) -> Self {
        SessionHandle { recorded, ..self }
    }

    /// The session's recording, if there is one.
    pub fn recording(&self) -> Option<&Recorded> {
        self.recorded.as_ref()
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The session's output.
    pub fn ring(&self) -> &Reader {
        &self.ring
    }

    /// The same for who outlives the session, as an answer that is read slowly does.
    pub fn shared_ring(&self) -> Arc<Reader> {
        self.ring.clone()
    }

    /// The session's screen.
    pub fn screen(&self) -> &ScreenHandle {
        &self.screen
    }

    /// Where is counted what its clients get.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The event of [`Reader::request_wake`], watched by the current thread's runtime.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn wake(&self) -> io::Result<AsyncFd<OwnedFd>> {
        register(self.wake.try_clone()?, Interest::READABLE)
    }

    /// Has one connection write this client's input from now on, and nobody else.
    pub async fn connection_writer(&self, key: ClientKey, connection: u64) -> InputWriter {
        self.writers.connection(key, connection).await
    }

    /// For a connection that may only look: it takes nothing over from anybody.
    pub fn no_writer(&self, key: ClientKey) -> InputWriter {
        self.writers.nobody(key)
    }

    /// Has a request write this client's input, when its turn comes.
    pub(super) async fn request_writer(
        &self,
        key: ClientKey,
    ) -> Result<InputWriter, ClientAttached> {
        self.writers.request(key).await
    }

    /// Types a piece of a client's input. False: somebody else writes it now. Once the program
    /// has ended it goes nowhere: the record of an ended session does not change.
    pub fn type_in(&self, writer: &InputWriter, piece: &Piece<'_>) -> bool {
        if self.ring.ended().is_some() {
            return true;
        }
        let Piece { offset, bytes, counted } = *piece;
        let key = writer.key();
        writer.send(|| {
            if counted {
                self.holder.count_input(self.id, key, offset, bytes);
            } else {
                self.metrics.input.inc_by(bytes.len() as u64);
                if is_answer(bytes) {
                    self.answered_ms.store(Utc::now().timestamp_millis(), Ordering::SeqCst);
                }
                if let Some(recorded) = &self.recorded {
                    recorded.typed(key, offset, bytes);
                }
                self.holder.input(self.id, key, offset, bytes);
                self.touch(Utc::now());
            }
        })
    }

    /// The number of a client's input bytes that were accepted, once the holder has seen all that was
    /// sent before: an older connection or request of this client may have left some on the
    /// way.
    pub async fn accepted_input(&self, key: ClientKey) -> u64 {
        // Nobody else has ever had such a key.
        if !key.is_anonymous() {
            // One that fails is no reason not to attach.
            let _ = self.settled().await;
        }
        self.ring.input(key).map_or(0, |input| input.accepted)
    }

    /// Resolves once the holder has done what it was asked before: a size that was asked for is
    /// in the ring then, where the screen finds it.
    ///
    /// # Errors
    /// The holder does not answer.
    pub async fn settled(&self) -> Result<(), HolderError> {
        // It answers in order.
        self.holder.stats().await.map(drop)
    }

    /// A following client has taken all output before `offset`: the program may go on.
    pub fn taken(&self, offset: u64) {
        if self.progress.fetch_max(offset, Ordering::SeqCst) < offset && !self.is_held() {
            self.release(offset);
        }
    }

    /// Holds the tail for the client that was furthest ahead when the last server died:
    /// others that come back before it must not make the program overwrite what it lacks.
    pub(super) fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Ends the hold, if there is one: the tail catches up with what was taken meanwhile.
    pub(super) fn let_go(&self) {
        if self.held.swap(false, Ordering::SeqCst) {
            self.release(self.progress.load(Ordering::SeqCst));
        }
    }

    /// A following client is back and goes on from `offset`. Whoever was furthest ahead has
    /// at least what the tail has passed; slower ones do not end the hold.
    pub(super) fn resumed(&self, offset: u64) {
        if offset >= self.ring.tail() {
            self.let_go();
        }
    }

    /// The offset that the furthest-ahead following client has reached.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// The offset up to which clients, or the session in their stead, have let the output go.
    pub(super) fn released(&self) -> u64 {
        self.recorded.as_ref().map_or_else(|| self.ring.tail(), Recorded::released)
    }

    /// Lets the holder overwrite all output before `offset`, once it is recorded where that
    /// is wanted.
    pub fn release(&self, offset: u64) {
        if let Some(recorded) = &self.recorded {
            recorded.release(offset);
        } else if self.ring.advance_tail(offset) {
            self.holder.resume(self.id);
        }
    }

    /// Keeps the output from `offset` on from being discarded while somebody reads it. It may
    /// still be overwritten.
    pub fn read_from(&self, offset: u64) -> ReadFrom {
        self.readers.begin(offset, false, Instant::now())
    }

    /// The same for a client that comes back when its connection ends: what it lacks then is kept for some
    /// minutes.
    pub(super) fn follow_from(&self, offset: u64) -> ReadFrom {
        self.readers.begin(offset, true, Instant::now())
    }

    /// Keeps what the ring has for clients of a server before this one, as long as for those of this one.
    pub(super) fn keep_for_returning(&self) {
        self.readers.were_within(self.ring.oldest(), self.ring.head(), Instant::now());
    }

    /// The offset before which nobody reads the output, and which neither the tail nor the
    /// checkpoint needs.
    pub(super) fn unneeded(&self) -> u64 {
        if self.is_held() || self.ring.checkpoint().is_none() {
            return 0;
        }
        let first = self.readers.first(self.ring.oldest(), Instant::now());
        self.ring.effective_tail().min(first)
    }

    /// Has the holder discard output before `offset` and free its memory.
    pub(super) fn discard(&self, offset: u64) {
        self.holder.discard(self.id, offset);
    }

    /// Asks the holder for another size of the terminal.
    pub(super) fn resize(&self, cols: u16, rows: u16) {
        self.holder.resize(self.id, cols, rows);
        self.nudge();
    }

    /// Has whoever reads the output look for more.
    pub(super) fn nudge(&self) {
        self.screen.nudge();
        if let Some(recorded) = &self.recorded {
            recorded.nudge();
        }
    }

    /// Notes input, output, or that a client has come or gone: `last_activity_at`, coalesced by the store.
    pub fn touch(&self, at: DateTime<Utc>) {
        self.last_activity_ms.fetch_max(at.timestamp_millis(), Ordering::Relaxed);
        self.store.touch(self.id, at);
    }

    /// When somebody has typed something, if that was since this was asked last.
    pub(super) fn take_answered(&self) -> Option<DateTime<Utc>> {
        let at = self.answered_ms.swap(0, Ordering::SeqCst);
        DateTime::from_timestamp_millis(at).filter(|_| at != 0)
    }

    /// When there was input or output last, or a client came or went.
    pub fn last_activity_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.last_activity_ms.load(Ordering::Relaxed))
            .unwrap_or_default()
    }

    /// The connection whose size the terminal has.
    pub fn controller(&self) -> u64 {
        self.controller.load(Ordering::Relaxed)
    }

    /// Says whose size the terminal has.
    pub fn set_controller(&self, connection: u64) {
        self.controller.store(connection, Ordering::Relaxed);
    }

    /// Its status as of now.
    pub fn status(&self) -> Status {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).status
    }

    /// Looks at the session as it was published last.
    pub fn with_view<T>(&self, look: impl FnOnce(&protocol::Session) -> T) -> T {
        look(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The session as of now.
    pub fn view(&self) -> protocol::Session {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        view.offset = self.ring.head();
        view.last_activity_at = view.last_activity_at.max(self.last_activity_at());
        view
    }

    /// Replaces the published view.
    pub fn publish(&self, view: &protocol::Session) {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone_from(view);
    }
}
