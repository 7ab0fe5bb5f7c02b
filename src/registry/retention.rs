//! Ended sessions are removed once they have been kept for long enough.

use super::actor::Registry;
use actix::prelude::*;
use actix_web::rt::task::spawn_blocking;
use chrono::{TimeDelta, Utc};
use slog::{info, warn};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// How often is looked: ten times in the time for which they are kept, within this.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(3600);

impl Registry {
    pub(super) fn begin_retention(&mut self, ctx: &mut Context<Self>) {
        let Some(kept) = self.defaults.retention else { return };
        self.expire(kept, ctx);
        ctx.run_interval((kept / 10).clamp(OFTEN, SELDOM), move |registry, ctx| {
            registry.expire(kept, ctx);
        });
    }

    fn expire(&mut self, kept: Duration, ctx: &mut Context<Self>) {
        // Before their rows: what is held without one would get one again.
        self.expire_ended(ctx);
        // What is kept for longer than there are times is kept for ever.
        let Ok(kept) = TimeDelta::from_std(kept) else { return };
        let Some(before) = Utc::now().checked_sub_signed(kept) else { return };
        let (store, log) = (self.store.clone(), self.log.clone());
        let recorder = self.recorder.clone();
        let expired = async move {
            // Files first: on a full disk that makes the room which SQLite needs to remove rows.
            // An error is logged where it occurs, and the next time they are tried again.
            for id in store.expired_recordings(before).await.unwrap_or_default() {
                let _ = recorder.remove(id).await;
            }
            match store.expire(before).await {
                Ok(0) => {}
                Ok(count) => info!(log, "ended sessions are removed"; "sessions" => count),
                Err(error) => {
                    warn!(log, "ended sessions could not be removed"; "error" => %error);
                }
            }
        };
        let forget = |(), registry: &mut Self, ctx: &mut Context<Self>| {
            registry.forget_recordings(ctx);
        };
        ctx.spawn(expired.into_actor(self).map(forget));
    }

    /// Removes recordings that nobody knows and that are as old as ended sessions become. Of
    /// a session that was removed that is all at once; where the database itself was lost or
    /// is another, whoever wants them has the time to look after them.
    pub(super) fn forget_recordings(&self, ctx: &mut Context<Self>) {
        let Some(kept) = self.defaults.retention.filter(|_| *self.restored.borrow()) else {
            return;
        };
        let Some(before) = SystemTime::now().checked_sub(kept) else { return };
        let (store, recorder, log) = (self.store.clone(), self.recorder.clone(), self.log.clone());
        let live: HashSet<_> = self.sessions.keys().copied().collect();
        let forget = async move {
            let list = recorder.clone();
            let old = spawn_blocking(move || list.older_than(before)).await.unwrap_or_default();
            for id in old.into_iter().filter(|id| !live.contains(id)) {
                if matches!(store.get(id).await, Ok(None)) {
                    info!(log, "a recording of no session is removed"; "session" => %id);
                    // Said where it fails, and tried again the next time.
                    let _ = recorder.remove(id).await;
                }
            }
        };
        ctx.spawn(forget.into_actor(self));
    }
}
