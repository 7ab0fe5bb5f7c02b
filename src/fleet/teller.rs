//! Tells the directory of this machine's sessions: what changes, and all of them now and then.

use super::bucket::{ITSELF, PutError, SESSION_AGE, SESSIONS, line, put, remove};
use super::heart::Standing;
use super::line::write;
use super::record::NodeRecord;
use crate::events::Bus;
use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::registry::Roster;
use crate::relay::NodeName;
use crate::store::{Filter, StoreError, StoreHandle};
use async_nats::jetstream::context::Context;
use chrono::Utc;
use futures_util::stream::{self, StreamExt};
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The pause after changes were told, in which others gather.
const GATHER: Duration = Duration::from_millis(250);
/// How often all sessions are told.
const ALL_EVERY: Duration = Duration::from_secs(60);
/// Events that are taken at a time.
const EVENTS: usize = 256;
/// Lines that may be under way at a time.
const AT_ONCE: usize = 16;
/// The most ended sessions that are told again after a connection.
const ENDED_MAX: u32 = 256;

/// What tells.
pub(super) struct Teller {
    pub(super) context: Context,
    pub(super) name: NodeName,
    pub(super) record: NodeRecord,
    pub(super) bus: Bus,
    pub(super) roster: Roster,
    pub(super) store: StoreHandle,
}

impl Teller {
    /// Tells until the server stops, and then what is left.
    pub(super) async fn keep_telling(
        mut self,
        mut standing: watch::Receiver<Standing>,
        mut connected: watch::Receiver<u64>,
    ) {
        let mut events = self.bus.listen();
        let mut changed: HashSet<SessionId> = HashSet::new();
        let (mut all_at, mut lacks_ended, mut stops) = (Instant::now(), true, false);
        loop {
            tokio::select! {
                there = events.wait() => stops = !there,
                () = tokio::time::sleep_until(all_at) => {}
                again = connected.changed() => match again {
                    // Its directory may be a new one.
                    Ok(()) => (all_at, lacks_ended) = (Instant::now(), true),
                    Err(_) => return,
                },
            }
            loop {
                match events.take(EVENTS) {
                    Ok(events) if events.is_empty() => break,
                    Ok(events) => changed.extend(events.iter().map(|event| event.session)),
                    Err(_) => (all_at, lacks_ended) = (Instant::now(), true),
                }
            }
            if stops && *standing.borrow() != Standing::Member {
                return;
            }
            // While this machine is no member, changes are kept until it is one.
            if standing.wait_for(|standing| *standing == Standing::Member).await.is_err() {
                return;
            }
            let is_all = all_at <= Instant::now();
            if is_all {
                changed.extend(self.roster.ids());
                all_at = Instant::now() + ALL_EVERY;
                if lacks_ended && let Ok(ended) = self.ended().await {
                    changed.extend(ended);
                    lacks_ended = false;
                }
            }
            let told = stream::iter(std::mem::take(&mut changed)).map(|id| self.tell(id));
            let told: Vec<Option<SessionId>> = told.buffer_unordered(AT_ONCE).collect().await;
            changed.extend(told.into_iter().flatten());
            if is_all && changed.is_empty() {
                // After them: who reads this has read them all.
                let key = format!("{}.{ITSELF}", self.name);
                let text = self.record.text(self.roster.living());
                let _ = put(&self.context, line(SESSIONS, &key), text.into(), None).await;
            }
            if !changed.is_empty() {
                // Tried again with the next change, or soon.
                all_at = all_at.min(Instant::now() + GATHER * 8);
            }
            if stops {
                return;
            }
            sleep(GATHER).await;
        }
    }

    /// Sessions that have ended. Nobody may have heard of their end, if this server or NATS was away.
    async fn ended(&self) -> Result<Vec<SessionId>, StoreError> {
        let status = Some(Status::ALL.into_iter().filter(|status| !status.is_live()).collect());
        let filter = Filter { status, limit: ENDED_MAX, ..Filter::default() };
        let rows = self.store.list(filter).await?.into_iter().map(|row| row.session);
        let since = Utc::now() - SESSION_AGE;
        Ok(rows.filter(|it| it.ended_at.is_some_and(|at| at > since)).map(|it| it.id).collect())
    }

    /// Returns the session's id if it could not be told.
    async fn tell(&self, id: SessionId) -> Option<SessionId> {
        let subject = line(SESSIONS, &format!("{}.{id}", self.name));
        let session = match self.roster.present(id).map(|handle| handle.view()) {
            Some(session) if session.ended_at.is_none() => Some(session),
            _ => match self.store.get(id).await {
                Ok(row) => row.map(|row| row.session),
                Err(_) => return Some(id),
            },
        };
        let written = match session {
            Some(session) => {
                put(&self.context, subject, write(&session, &self.name).into(), None).await
            }
            None => remove(&self.context, subject, None).await,
        };
        match written {
            Ok(_) => None,
            Err(PutError::NoBucket | PutError::Conflict | PutError::Failed(_)) => Some(id),
        }
    }
}
