//! The writer.

use super::db::{Db, Rows};
use super::error::StoreError;
use super::queue::{OnFailure, Op, Queue, Touched};
use super::row::{Change, Live, NewTransition, Row, Unreadable};
use super::tx::Tx;
use crate::id::SessionId;
use crate::screens::LastScreen;
use actix::{Actor, Handler, Message, SyncContext};
use chrono::{DateTime, Utc};
use slog::{Logger, error, info};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Transitions that may wait while the database cannot be written: some 20 MiB. Creating
/// is refused meanwhile, so only clients that come and go by the thousand get there.
pub(super) const TRANSITIONS_MAX: usize = 100_000;

/// Sessions that are removed in one transaction: a few milliseconds.
const EXPIRED_AT_ONCE: u32 = 500;

/// The persistence actor: every write goes through it, one after the other.
pub struct Store {
    db: Db,
    queue: Arc<Queue>,
    backlog: Backlog,
    log: Logger,
}

/// Saved and not written yet: because its turn has not come, or because writing fails.
#[derive(Default)]
struct Backlog {
    /// The latest of each session.
    rows: HashMap<SessionId, Row>,
    /// All of them, in order.
    transitions: VecDeque<(SessionId, NewTransition)>,
}

impl Backlog {
    /// False: another transition had to go. The oldest does, so that each row still says
    /// what the last of its transitions does.
    fn add(&mut self, change: Change) -> bool {
        let id = change.row.session.id;
        self.transitions.extend(change.transition.map(|transition| (id, transition)));
        self.rows.insert(id, change.row);
        self.transitions.len() <= TRANSITIONS_MAX || self.transitions.pop_front().is_none()
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes all of it. What the database will never take is returned and left out, so
    /// that it does not hold up everything else for ever.
    fn write(&self, tx: &Tx<'_>, touched: &Touched) -> Result<Vec<Rejected>, StoreError> {
        let now = Utc::now();
        let mut rejected = Vec::new();
        let mut check = |id, written| match written {
            Ok(()) => Ok(()),
            Err(error @ (StoreError::NameTaken(_) | StoreError::Refused(_))) => {
                rejected.push(Rejected { id, error });
                Ok(())
            }
            Err(error) => Err(error),
        };
        // Who has ended first: that gives names free.
        let (live, ended): (Vec<_>, Vec<_>) =
            self.rows.iter().partition(|(_, row)| row.session.status.is_live());
        for (id, row) in ended.into_iter().chain(live) {
            check(*id, tx.put(row, now))?;
        }
        for (id, transition) in &self.transitions {
            check(*id, tx.add_transition(*id, transition))?;
        }
        for (id, at) in touched {
            check(*id, tx.touch(*id, *at, now))?;
        }
        Ok(rejected)
    }
}

/// A queued write that can never succeed.
struct Rejected {
    id: SessionId,
    error: StoreError,
}

impl Store {
    pub(super) fn new(db: Db, queue: Arc<Queue>, log: Logger) -> Store {
        Store { db, queue, backlog: Backlog::default(), log }
    }

    /// Writes what waits, in order; with `all`, noted activity too.
    fn drain(&mut self, all: bool) -> Result<(), StoreError> {
        let taken = self.queue.take();
        // One that failed is enough to know: each would wait for the same lock.
        let mut down = None;
        for op in taken.ops {
            match op {
                Op::Save(change) => self.keep(*change),
                Op::Commit { change, on_failure, reply } => {
                    let written = match &down {
                        Some(error) => Err(StoreError::clone(error)),
                        None => self.commit(&change),
                    };
                    let committed = match written {
                        Ok(()) => Ok(true),
                        Err(error @ StoreError::Unavailable(_)) => {
                            down = Some(error.clone());
                            match on_failure {
                                OnFailure::Forget => Err(error),
                                OnFailure::Queue => {
                                    self.keep(*change);
                                    Ok(false)
                                }
                            }
                        }
                        Err(error) => Err(error),
                    };
                    // Whoever asked may have gone away; what was written stays.
                    let _ = reply.send(committed);
                }
            }
        }
        let written = match down {
            Some(error) => Err(error),
            None => self.write(all || taken.tick),
        };
        let unwritten = self.backlog.rows.len() + self.backlog.transitions.len();
        self.queue.unwritten.store(unwritten as u64, Ordering::Relaxed);
        written
    }

    /// Until it can be written.
    fn keep(&mut self, change: Change) {
        if !self.backlog.add(change) && Queue::count(&self.queue.dropped) == 0 {
            error!(self.log, "the database has been unavailable for so long that history is lost";
                "transitions" => TRANSITIONS_MAX);
        }
    }

    /// All or nothing, after everything that was saved before.
    fn commit(&mut self, change: &Change) -> Result<(), StoreError> {
        self.write(false)?;
        self.transaction(|tx| Self::put(tx, change))
    }

    /// The backlog, and noted activity if asked.
    fn write(&mut self, activity: bool) -> Result<(), StoreError> {
        let touched = if activity { self.queue.take_touched() } else { Touched::new() };
        if self.backlog.is_empty() && touched.is_empty() {
            // The last write may have failed and left nothing to try again with.
            return if self.queue.healthy() { Ok(()) } else { self.probe() };
        }
        let backlog = std::mem::take(&mut self.backlog);
        match self.transaction(|tx| backlog.write(tx, &touched)) {
            Ok(rejected) => {
                for Rejected { id, error } in rejected {
                    Queue::count(&self.queue.rejected);
                    error!(self.log, "the database refuses a change, which is lost";
                        "session" => %id, "error" => %error);
                }
                Ok(())
            }
            Err(error) => {
                self.backlog = backlog;
                self.queue.put_back(touched);
                Err(error)
            }
        }
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        let probed = self.db.probe();
        self.report(&probed);
        probed
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let written = self.db.transaction(write);
        self.queue.latency.observe(start.elapsed());
        if written.is_ok() {
            Queue::count(&self.queue.transactions);
        }
        self.report(&written);
        written
    }

    /// Keeps the health that others see, and logs when it changes.
    fn report<T>(&self, written: &Result<T, StoreError>) {
        match written {
            Err(StoreError::Unavailable(now)) => {
                if self.queue.set_error(Some(now.clone())).is_none() {
                    error!(self.log, "the database is unavailable; changes are kept and tried again";
                        "error" => now);
                }
            }
            // That it was refused says that it could be asked.
            _ => {
                if let Some(before) = self.queue.set_error(None) {
                    info!(self.log, "the database is available again"; "error" => before);
                }
            }
        }
    }
}

impl Actor for Store {
    type Context = SyncContext<Self>;

    fn stopped(&mut self, _: &mut SyncContext<Self>) {
        // Normally everything was flushed before; this is for who did not.
        if let Err(error) = self.drain(true) {
            error!(self.log, "changes are lost: the database is unavailable to the end";
                "rows" => self.backlog.rows.len(),
                "transitions" => self.backlog.transitions.len(),
                "error" => %error);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Something waits in the queue.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

impl Handler<Wake> for Store {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut SyncContext<Self>) {
        // What failed stays in the backlog, and the failure in the health.
        let _ = self.drain(false);
    }
}

/// Write everything now.
#[derive(Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(super) struct Flush;

impl Handler<Flush> for Store {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, _: Flush, _: &mut SyncContext<Self>) -> Self::Result {
        self.drain(true)
    }
}

/// A question to the database, asked after everything that was saved before it.
#[derive(Message)]
#[rtype(result = "Result<T, StoreError>")]
pub(super) struct Ask<T: Send + 'static>(pub(super) Question<T>);

pub(super) type Question<T> = Box<dyn FnOnce(&mut Store) -> Result<T, StoreError> + Send>;

impl<T: Send + 'static> Handler<Ask<T>> for Store {
    type Result = Result<T, StoreError>;

    fn handle(&mut self, Ask(question): Ask<T>, _: &mut SyncContext<Self>) -> Self::Result {
        // While writing fails, reading what is there must not wait for it.
        if self.queue.healthy() {
            let _ = self.drain(false);
        }
        question(self)
    }
}

impl Store {
    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// The rows that could be read; logs the others.
    pub(super) fn readable(&self, rows: Rows) -> Vec<Row> {
        self.log_unreadable(&rows.unreadable);
        rows.read
    }

    /// Sessions that have not ended.
    pub(super) fn live(&self) -> Result<Live, StoreError> {
        let Rows { read: rows, unreadable } = self.db.load_live()?;
        Ok(Live { rows, unreadable })
    }

    fn log_unreadable(&self, rows: &[Unreadable]) {
        for row in rows {
            error!(self.log, "a session's row cannot be read and is passed over";
                "session" => &row.id, "error" => &row.error);
        }
    }

    /// Writes a row over one that cannot be read.
    pub(super) fn overwrite(&mut self, change: &Change) -> Result<(), StoreError> {
        self.write(false)?;
        self.transaction(|tx| {
            tx.clear(&change.row)?;
            Self::put(tx, change)
        })
    }

    /// Keeps what a session showed last.
    pub(super) fn put_screen(
        &mut self,
        id: SessionId,
        screen: &LastScreen,
    ) -> Result<(), StoreError> {
        // The session's row has to be there before.
        self.write(false)?;
        self.transaction(|tx| tx.put_screen(id, screen))
    }

    /// Ends a session whose row cannot be read.
    pub(super) fn end_unreadable(&mut self, id: &str) -> Result<(), StoreError> {
        self.transaction(|tx| tx.end_unreadable(id, Utc::now()))
    }

    fn put(tx: &Tx<'_>, change: &Change) -> Result<(), StoreError> {
        tx.put(&change.row, Utc::now())?;
        match &change.transition {
            Some(transition) => tx.add_transition(change.row.session.id, transition),
            None => Ok(()),
        }
    }

    /// Removes some of those that ended before; whether there may be more.
    pub(super) fn expire(&mut self, before: DateTime<Utc>) -> Result<(usize, bool), StoreError> {
        let removed = self.transaction(|tx| tx.expire(before, EXPIRED_AT_ONCE))?;
        Ok((removed, removed == EXPIRED_AT_ONCE as usize))
    }

    /// Frees a session's key, after everything that was saved before.
    pub(super) fn release_key(&mut self, id: SessionId) -> Result<(), StoreError> {
        self.drain(true)?;
        self.transaction(|tx| tx.release_key(id))
    }

    /// Removes a session, after everything that was saved before.
    pub(super) fn purge(&mut self, id: SessionId) -> Result<bool, StoreError> {
        self.drain(true)?;
        self.transaction(|tx| tx.purge(id))
    }
}
