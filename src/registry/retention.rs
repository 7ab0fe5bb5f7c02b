//! Ended sessions, their recordings included, are removed once they have been kept for long enough.

use super::afterlife::expire_ended;
use super::table::Registry;
use crate::id::SessionId;
use crate::recorder::Recorder;
use crate::store::StoreHandle;
use actix::prelude::*;
use actix_web::rt::task::spawn_blocking;
use chrono::{TimeDelta, Utc};
use slog::{Logger, info, warn};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// The bounds of the interval, which is a tenth of the time for which sessions are kept.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(3600);

/// Removes what has been kept for long enough, now and at an interval. Does nothing where
/// everything is kept for ever.
pub(super) fn start(registry: &mut Registry, ctx: &mut Context<Registry>) {
    let Some(retention) = Retention::of(registry) else { return };
    let every = (retention.kept / 10).clamp(OFTEN, SELDOM);
    expire(registry, retention.clone(), ctx);
    ctx.run_interval(every, move |registry, ctx| expire(registry, retention.clone(), ctx));
}

fn expire(registry: &mut Registry, retention: Retention, ctx: &mut Context<Registry>) {
    // Before the rows: a session that is held without a row would get one again.
    expire_ended(registry, ctx);
    let expired = async move { retention.expire().await };
    ctx.spawn(expired.into_actor(registry).map(|(), registry, ctx| {
        forget_recordings(registry, ctx);
    }));
}

/// Removes recordings without a session, once it is known which sessions live.
pub(super) fn forget_recordings(registry: &Registry, ctx: &mut Context<Registry>) {
    let retention = Retention::of(registry).filter(|_| *registry.restored.borrow());
    let Some(retention) = retention else { return };
    let live = registry.sessions.keys().copied().collect();
    let forget = async move { retention.forget_recordings(&live).await };
    ctx.spawn(forget.into_actor(registry));
}

#[derive(Clone)]
struct Retention {
    /// How long ended sessions are kept.
    kept: Duration,
    store: StoreHandle,
    recorder: Recorder,
    log: Logger,
}

impl Retention {
    /// `None`: everything is kept for ever.
    fn of(registry: &Registry) -> Option<Self> {
        let (store, recorder) = (registry.store.clone(), registry.recorder.clone());
        let kept = registry.defaults.retention?;
        Some(Retention { kept, store, recorder, log: registry.log.clone() })
    }

    /// Removes ended sessions.
    async fn expire(&self) {
        // A retention beyond the calendar means for ever.
        let Ok(kept) = TimeDelta::from_std(self.kept) else { return };
        let Some(before) = Utc::now().checked_sub_signed(kept) else { return };
        // Files first: on a full disk that makes the room which SQLite needs to remove rows.
        // An error is logged where it occurs, and the next time they are tried again.
        for id in self.store.expired_recordings(before).await.unwrap_or_default() {
            let _ = self.recorder.remove(id).await;
        }
        match self.store.expire(before).await {
            Ok(0) => {}
            Ok(count) => info!(self.log, "ended sessions are removed"; "sessions" => count),
            Err(error) => {
                warn!(self.log, "ended sessions could not be removed"; "error" => %error);
            }
        }
    }

    /// Removes recordings that no row knows and that are as old as ended sessions become. The
    /// recording of a session that is removed goes at once; if the database was lost or replaced,
    /// people have this time to save its recordings.
    async fn forget_recordings(&self, live: &HashSet<SessionId>) {
        let Some(before) = SystemTime::now().checked_sub(self.kept) else { return };
        let list = self.recorder.clone();
        let old = spawn_blocking(move || list.older_than(before)).await.unwrap_or_default();
        for id in old.into_iter().filter(|id| !live.contains(id)) {
            if matches!(self.store.get(id).await, Ok(None)) {
                info!(self.log, "a recording of no session is removed"; "session" => %id);
                // An error is logged where it occurs, and the next time it is tried again.
                let _ = self.recorder.remove(id).await;
            }
        }
    }
}
