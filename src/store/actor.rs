//! The one writer of the database.

use super::audit::{self, AuditFilter, AuditRow};
use super::db::{Db, Rows};
use super::deliveries::{self, DeliveryChange, DeliveryRows};
use super::error::StoreError;
use super::grants::{self, GrantChange, GrantRows};
use super::queue::{OnFailure, Op, Queue, Touched};
use super::reserve::Reserve;
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

/// The most transitions that wait while the database cannot be written: some 20 MiB. New sessions
/// are refused meanwhile, so only thousands of attaches and detaches reach it.
pub(super) const TRANSITIONS_MAX: usize = 100_000;

/// Sessions that are removed in one transaction, which takes a few milliseconds.
const EXPIRED_AT_ONCE: u32 = 500;

/// The persistence actor: every write goes through it, one after another.
pub struct Store {
    db: Db,
    queue: Arc<Queue>,
    backlog: Backlog,
    reserve: Reserve,
    /// Entries of the audit log that were added since their number was bounded.
    audited: usize,
    log: Logger,
}

/// Saved changes that are not written yet, because they are new or because the last write failed.
#[derive(Default)]
struct Backlog {
    /// The latest row of each session.
    rows: HashMap<SessionId, Row>,
    /// All transitions that wait, in order.
    transitions: VecDeque<(SessionId, NewTransition)>,
}

impl Backlog {
    /// Adds a change; false if the oldest transition was dropped to make room. It is the oldest so
    /// that each row still agrees with its last transition.
    fn add(&mut self, change: Change) -> bool {
        let id = change.row.session.id;
        self.transitions.extend(change.transition.map(|transition| (id, transition)));
        self.rows.insert(id, change.row);
        self.transitions.len() <= TRANSITIONS_MAX || self.transitions.pop_front().is_none()
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes everything. Changes that the database will never accept are removed and returned, so
    /// that they do not hold up the others forever.
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
        // Ended sessions first, because that frees names.
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
    pub(super) fn new(db: Db, reserve: Reserve, queue: Arc<Queue>, log: Logger) -> Store {
        Store { db, queue, backlog: Backlog::default(), reserve, audited: 0, log }
    }

    /// Writes the waiting operations in order; with `all`, the activity too.
    fn drain(&mut self, all: bool) -> Result<(), StoreError> {
        let taken = self.queue.take();
        // After one failure the rest is not tried, because each write would wait for the same lock.
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
                    // The caller may have gone. The write is done all the same.
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

    /// Keeps a change in the backlog until it can be written.
    fn keep(&mut self, change: Change) {
        if !self.backlog.add(change) && Queue::count(&self.queue.dropped) == 0 {
            error!(self.log, "the database has been unavailable for so long that history is lost";
                "transitions" => TRANSITIONS_MAX);
        }
    }

    /// Writes a change whole or not at all, after everything that was saved before it.
    fn commit(&mut self, change: &Change) -> Result<(), StoreError> {
        self.write(false)?;
        self.transaction(|tx| Self::put(tx, change))
    }

    /// Writes the backlog, and with `activity` the activity too.
    fn write(&mut self, activity: bool) -> Result<(), StoreError> {
        let touched = if activity { self.queue.take_touched() } else { Touched::new() };
        let audits = if activity { self.queue.take_audits() } else { Vec::new() };
        if self.backlog.is_empty() && touched.is_empty() && audits.is_empty() {
            // The last write may have failed and left nothing to retry, so test whether writing
            // works again.
            return if self.queue.healthy() { Ok(()) } else { self.probe() };
        }
        let backlog = std::mem::take(&mut self.backlog);
        let audited = self.audited + audits.len();
        let are_many = audited >= audit::EXPIRED_AT_ONCE;
        let written = self.transaction(|tx| {
            let rejected = backlog.write(tx, &touched)?;
            audits.iter().try_for_each(|entry| entry.write(&tx.0))?;
            if are_many {
                audit::bound(&tx.0)?;
            }
            Ok(rejected)
        });
        match written {
            Ok(rejected) => {
                self.audited = if are_many { 0 } else { audited };
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
                self.queue.put_back_audits(audits);
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

    /// Updates the health that others see, and logs when it changes.
    fn report<T>(&self, written: &Result<T, StoreError>) {
        match written {
            Err(StoreError::Unavailable(now)) => {
                if self.queue.set_error(Some(now.clone())).is_none() {
                    error!(self.log, "the database is unavailable; changes are kept and tried again";
                        "error" => now);
                }
            }
            // Only a working database refuses a change.
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
        // A server that stops in order has flushed everything before; this is for one that did not.
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

/// Wakes the writer: the queue has an operation.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

impl Handler<Wake> for Store {
    type Result = ();

    fn handle(&mut self, _: Wake, _: &mut SyncContext<Self>) {
        // A failed change stays in the backlog, and its error shows in the health.
        let _ = self.drain(false);
    }
}

/// Writes everything now.
#[derive(Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(super) struct Flush;

impl Handler<Flush> for Store {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, _: Flush, _: &mut SyncContext<Self>) -> Self::Result {
        self.drain(true)
    }
}

/// A read of the database, which sees everything that was saved before it.
#[derive(Message)]
#[rtype(result = "Result<T, StoreError>")]
pub(super) struct Ask<T: Send + 'static>(pub(super) Question<T>);

pub(super) type Question<T> = Box<dyn FnOnce(&mut Store) -> Result<T, StoreError> + Send>;

impl<T: Send + 'static> Handler<Ask<T>> for Store {
    type Result = Result<T, StoreError>;

    fn handle(&mut self, Ask(question): Ask<T>, _: &mut SyncContext<Self>) -> Self::Result {
        // While writing fails, reads must not wait for it.
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

    /// Returns the readable rows and logs the others.
    pub(super) fn readable(&self, rows: Rows) -> Vec<Row> {
        self.log_unreadable(&rows.unreadable);
        rows.read
    }

    /// The sessions that have not ended.
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

    /// Tokens, share links and logins.
    pub(super) fn grants(&self) -> Result<GrantRows, StoreError> {
        let (rows, unreadable) = grants::load(self.db.connection())?;
        for error in unreadable {
            error!(self.log, "a token, share link or login cannot be read and opens nothing";
                "error" => error);
        }
        Ok(rows)
    }

    /// Changes them. Where the disk is full, what takes rights away gets the room of the reserve.
    pub(super) fn change_grants(&mut self, changes: &[GrantChange]) -> Result<(), StoreError> {
        // A share refers to its session's row, which has to be there before.
        if self.queue.healthy() {
            self.write(false)?;
        }
        // A new login, which may end an old one, must not have it.
        let removes = |change: &GrantChange| {
            matches!(change, GrantChange::Remove(_) | GrantChange::RemovePushes(_))
        };
        let only_removes = changes.iter().all(removes);
        let mut written = self.write_grants(changes);
        // Once without being sure that it is for want of room: a quota shows nowhere else.
        let mut is_first = true;
        while only_removes
            && matches!(written, Err(StoreError::Unavailable(_)))
            && (is_first || self.reserve.is_needed())
            && self.reserve.give_up()
        {
            is_first = false;
            written = self.write_grants(changes);
        }
        if written.is_ok() {
            self.reserve.make();
        }
        written
    }

    /// What hooks still have to deliver.
    pub(super) fn deliveries(&self) -> Result<DeliveryRows, StoreError> {
        deliveries::load(self.db.connection())
    }

    /// Changes it.
    pub(super) fn change_deliveries(
        &mut self,
        changes: &[DeliveryChange],
    ) -> Result<(), StoreError> {
        self.transaction(|tx| changes.iter().try_for_each(|change| change.write(&tx.0)))
    }

    /// The entries of the audit log.
    pub(super) fn audit_log(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        audit::list(self.db.connection(), filter)
    }

    /// Removes old entries of the audit log. Returns whether there may be more.
    pub(super) fn expire_audit(&mut self, before: DateTime<Utc>) -> Result<bool, StoreError> {
        self.transaction(|tx| audit::expire(&tx.0, before))
    }

    fn write_grants(&mut self, changes: &[GrantChange]) -> Result<(), StoreError> {
        self.transaction(|tx| changes.iter().try_for_each(|change| change.write(&tx.0)))
    }

    /// Stores the last screen of a session.
    pub(super) fn put_screen(
        &mut self,
        id: SessionId,
        screen: &LastScreen,
    ) -> Result<(), StoreError> {
        // The screen refers to the session's row, which has to be there before.
        self.write(false)?;
        self.transaction(|tx| tx.put_screen(id, screen))
    }

    /// Records the end of a session whose row cannot be read.
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

    /// Removes some of the sessions that ended before that time. Returns how many, and whether more
    /// may be left.
    pub(super) fn expire(&mut self, before: DateTime<Utc>) -> Result<(usize, bool), StoreError> {
        let removed = self.transaction(|tx| tx.expire(before, EXPIRED_AT_ONCE))?;
        Ok((removed, removed == EXPIRED_AT_ONCE as usize))
    }

    /// Clears a session's key, after everything that was saved before it.
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
