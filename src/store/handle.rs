//! The store's handle, through which all other code uses the database.

use super::actor::{Ask, Flush, Store, Wake};
use super::audit::{AuditEntry, AuditFilter, AuditRow};
use super::backup;
use super::db::Db;
use super::deliveries::{DeliveryChange, DeliveryRows};
use super::error::{OpenError, StoreError};
use super::grants::{GrantChange, GrantRows};
use super::queue::{Committed, OnFailure, Op, Pushed, Queue};
use super::reserve::Reserve;
use super::row::{Change, Filter, Live, Row};
use crate::id::SessionId;
use crate::metrics::Latency;
use crate::protocol::Transition;
use crate::screens::LastScreen;
use actix::{Addr, SyncArbiter, System};
use actix_web::rt::task::spawn_blocking;
use chrono::{DateTime, Utc};
use slog::{Logger, crit, error};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

/// The interval at which activity is written and failed writes are tried again. A crash loses at
/// most this much of `last_activity_at`, on which no decision depends.
const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// A handle on the database's one writer. When the last one goes, the writer stops.
#[derive(Clone)]
pub struct StoreHandle(Arc<Inner>);

struct Inner {
    store: Addr<Store>,
    queue: Arc<Queue>,
    log: Logger,
    aside: Option<PathBuf>,
    path: PathBuf,
}

/// Counters since the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that wrote something.
    pub transactions: u64,
    /// Queued changes that were dropped because the database will never accept them.
    pub rejected: u64,
    /// Transitions that were dropped because too many waited for the database.
    pub dropped: u64,
    /// Entries of the audit log that were lost because too many waited for the database.
    pub unaudited: u64,
    /// Changes that wait to be written.
    pub waiting: u64,
}

impl StoreHandle {
    /// Opens or makes the database and starts its writer. Needs a running
    /// actix [`System`]; blocks while it opens. A damaged one is moved aside.
    ///
    /// # Errors
    /// The file cannot be opened, or it belongs to another program or another version.
    pub fn open(path: &Path, log: Logger) -> Result<StoreHandle, OpenError> {
        let (db, aside) = Db::open(path)?;
        if let Some(aside) = &aside {
            crit!(log, "the database was damaged: a new one is made; sessions that still run come \
                back from the holder, the history of ended ones is only in the file kept";
                "database" => %path.display(), "kept_as" => %aside.display());
        }
        let queue = Arc::new(Queue::default());
        let store =
            Mutex::new(Some(Store::new(db, Reserve::beside(path), queue.clone(), log.clone())));
        let named = || thread::Builder::new().name("store".to_owned());
        let store = SyncArbiter::start_with_thread_builder(1, named, move || {
            let store = store.lock().ok().and_then(|mut store| store.take());
            store.expect("there is one thread, and it never restarts its actor")
        });
        let inner = Arc::new(Inner { store, queue, log, aside, path: path.to_owned() });
        System::current().arbiter().spawn(tick(Arc::downgrade(&inner)));
        Ok(StoreHandle(inner))
    }

    /// Writes a change soon, after everything saved or committed before it. The caller never sees
    /// an error: while the database is unavailable, the change is kept and tried again.
    pub fn save(&self, change: Change) {
        let id = change.row.session.id;
        if !self.push(Op::Save(Box::new(change))) {
            error!(self.0.log, "a change is lost: the store has stopped"; "session" => %id);
        }
    }

    /// Writes a change, after everything saved or committed before it. After `Ok` it survives the
    /// death of the server. The change is queued at the call, so that the caller can do something
    /// else while it is written.
    ///
    /// # Errors
    /// The change was not written, and will not be.
    pub fn commit(&self, change: Change) -> impl Future<Output = Result<(), StoreError>> + use<> {
        let written = self.write(change, OnFailure::Forget);
        async { written.await.map(|_| ()) }
    }

    /// As [`StoreHandle::commit`], except that a change which cannot be written now is kept and
    /// tried again: `Ok(false)`. The change is queued at the call, behind everything saved before,
    /// so that it cannot overwrite a later save even if that happens before the future is polled.
    ///
    /// # Errors
    /// The database will never accept the change, or the store has stopped.
    pub fn commit_or_queue(
        &self,
        change: Change,
    ) -> impl Future<Output = Result<bool, StoreError>> + use<> {
        self.write(change, OnFailure::Queue)
    }

    /// Notes activity, to be written with the next tick. It is cheap and may be called from any
    /// thread.
    pub fn touch(&self, id: SessionId, at: DateTime<Utc>) {
        self.0.queue.touch(id, at);
    }

    /// Writes everything that waits. Await it before the [`System`] stops: that drops the messages
    /// in flight, and the process may end before the writer does.
    ///
    /// # Errors
    /// Not everything could be written; the rest is kept.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.0.store.send(Flush).await.map_err(|_| StoreError::Stopped)?
    }

    /// Sessions that have not ended.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn load_live(&self) -> Result<Live, StoreError> {
        self.ask(|store| store.live()).await
    }

    /// As [`StoreHandle::commit`], but replaces a row that cannot be read.
    ///
    /// # Errors
    /// The change was not written, and will not be.
    pub async fn overwrite(&self, change: Change) -> Result<(), StoreError> {
        self.ask(move |store| store.overwrite(&change)).await
    }

    /// Records the end of a session whose row cannot be read: `ERROR`, `restore_failed`.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn end_unreadable(&self, id: String) -> Result<(), StoreError> {
        self.ask(move |store| store.end_unreadable(&id)).await
    }

    /// One session, live or ended.
    ///
    /// # Errors
    /// The database, or this row, cannot be read.
    pub async fn get(&self, id: SessionId) -> Result<Option<Row>, StoreError> {
        self.ask(move |store| store.db().get(id)).await
    }

    /// The session that a request with this `Idempotency-Key` created.
    ///
    /// # Errors
    /// As [`StoreHandle::get`].
    pub async fn by_key(&self, key: String) -> Result<Option<Row>, StoreError> {
        self.ask(move |store| store.db().by_key(&key)).await
    }

    /// Clears this session's `Idempotency-Key`, so that another session may have it.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn release_key(&self, id: SessionId) -> Result<(), StoreError> {
        self.ask(move |store| store.release_key(id)).await
    }

    /// A page of sessions, newest first. Rows that cannot be read are logged and left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn list(&self, filter: Filter) -> Result<Vec<Row>, StoreError> {
        self.ask(move |store| Ok(store.readable(store.db().list(&filter)?))).await
    }

    /// Ended sessions that are to be started again.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn load_restarting(&self) -> Result<Vec<Row>, StoreError> {
        self.ask(|store| Ok(store.readable(store.db().load_restarting()?))).await
    }

    /// Stores the last screen of a session, in place of the one from an earlier end.
    ///
    /// # Errors
    /// The screen was not written, and will not be.
    pub async fn keep_screen(&self, id: SessionId, screen: LastScreen) -> Result<(), StoreError> {
        self.ask(move |store| store.put_screen(id, &screen)).await
    }

    /// The last screen of an ended session; `None` if it was not kept.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn last_screen(&self, id: SessionId) -> Result<Option<LastScreen>, StoreError> {
        self.ask(move |store| store.db().screen(id)).await
    }

    /// A session's history, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn transitions(&self, id: SessionId) -> Result<Vec<Transition>, StoreError> {
        self.ask(move |store| store.db().transitions(id)).await
    }

    /// Removes a session with its history; false if there was none.
    ///
    /// # Errors
    /// Nothing was removed.
    pub async fn purge(&self, id: SessionId) -> Result<bool, StoreError> {
        self.ask(move |store| store.purge(id)).await
    }

    /// Recorded sessions that ended before that time.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn expired_recordings(
        &self,
        before: DateTime<Utc>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.ask(move |store| store.db().expired_recordings(before)).await
    }

    /// Removes all sessions that ended before that time, with their history. Returns how many.
    /// Other writes may come in between.
    ///
    /// # Errors
    /// Not all of them were removed.
    pub async fn expire(&self, before: DateTime<Utc>) -> Result<usize, StoreError> {
        let mut all = 0;
        loop {
            let (removed, more) = self.ask(move |store| store.expire(before)).await?;
            all += removed;
            if !more {
                return Ok(all);
            }
        }
    }

    /// Adds an entry to the audit log; cheap, from any thread. Written with the next tick.
    pub fn audit(&self, entry: AuditEntry) {
        self.0.queue.audit(entry);
    }

    /// Entries of the audit log, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn audit_log(&self, filter: AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        self.ask(move |store| store.audit_log(&filter)).await
    }

    /// Removes the entries of the audit log before that time, and those beyond the most. Others can
    /// write in between.
    ///
    /// # Errors
    /// Not all of them were removed.
    pub async fn expire_audit(&self, before: DateTime<Utc>) -> Result<(), StoreError> {
        while self.ask(move |store| store.expire_audit(before)).await? {}
        Ok(())
    }

    /// Tokens, share links and logins.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn grants(&self) -> Result<GrantRows, StoreError> {
        self.ask(|store| store.grants()).await
    }

    /// Changes tokens, share links and logins, all or none. What takes rights away is also written
    /// on a full disk, as far as the reserve goes.
    ///
    /// # Errors
    /// Nothing was written, nor will be.
    pub async fn change_grants(&self, changes: Vec<GrantChange>) -> Result<(), StoreError> {
        self.ask(move |store| store.change_grants(&changes)).await
    }

    /// What hooks still have to deliver, and how far they have followed each session.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn deliveries(&self) -> Result<DeliveryRows, StoreError> {
        self.ask(|store| store.deliveries()).await
    }

    /// Changes it, all or nothing, after everything that was saved before.
    ///
    /// # Errors
    /// Nothing was written, nor will be.
    pub async fn change_deliveries(&self, changes: Vec<DeliveryChange>) -> Result<(), StoreError> {
        self.ask(move |store| store.change_deliveries(&changes)).await
    }

    /// Whether the last write succeeded and the writer still runs.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.0.queue.healthy() && !self.0.queue.closed()
    }

    /// The last error, while the store is not healthy.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        let stopped = || self.0.queue.closed().then(|| StoreError::Stopped.to_string());
        self.0.queue.error().or_else(stopped)
    }

    /// The path to which a damaged database was moved when the server started.
    #[must_use]
    pub fn set_aside(&self) -> Option<&Path> {
        self.0.aside.as_deref()
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    /// The counters, for metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            transactions: self.0.queue.transactions.load(Ordering::Relaxed),
            rejected: self.0.queue.rejected.load(Ordering::Relaxed),
            dropped: self.0.queue.dropped.load(Ordering::Relaxed),
            unaudited: self.0.queue.unaudited.load(Ordering::Relaxed),
            waiting: self.0.queue.len() as u64 + self.0.queue.unwritten.load(Ordering::Relaxed),
        }
    }

    /// The durations of transactions, failed ones included.
    #[must_use]
    pub fn latency(&self) -> Latency {
        self.0.queue.latency.clone()
    }

    fn write(
        &self,
        change: Change,
        on_failure: OnFailure,
    ) -> impl Future<Output = Committed> + use<> {
        let (reply, committed) = oneshot::channel();
        self.push(Op::Commit { change: Box::new(change), on_failure, reply });
        // If the writer has stopped, the reply channel is dropped.
        async { committed.await.unwrap_or(Err(StoreError::Stopped)) }
    }

    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let asked = self.0.store.send(Ask(Box::new(question))).await;
        asked.map_err(|_| StoreError::Stopped)?
    }

    fn push(&self, op: Op) -> bool {
        self.0.wake(self.0.queue.push(op))
    }

    /// A whole and consistent copy of the present database, as a file without a name.
    ///
    /// # Errors
    /// There is no room for it, or the database cannot be read.
    pub async fn backup(&self) -> Result<File, StoreError> {
        // Changes that cannot be written now are missing from the copy. The health shows the error.
        let _ = self.flush().await;
        let database = self.path().to_owned();
        let copied = spawn_blocking(move || backup::copy(&database)).await;
        copied.map_err(|_| StoreError::Stopped)?
    }
}

impl Inner {
    fn wake(&self, pushed: Pushed) -> bool {
        if pushed == Pushed::Wake {
            self.store.do_send(Wake);
        }
        pushed != Pushed::Closed
    }
}

async fn tick(inner: Weak<Inner>) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match inner.upgrade() {
            Some(inner) if inner.wake(inner.queue.tick()) => {}
            _ => return,
        }
    }
}
