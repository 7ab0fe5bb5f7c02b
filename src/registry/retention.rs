//! Ended sessions are removed once they have been kept for long enough.

use super::actor::Registry;
use actix::prelude::*;
use chrono::{TimeDelta, Utc};
use slog::{info, warn};
use std::time::Duration;

/// How often is looked: ten times in the time for which they are kept, within this.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(3600);

impl Registry {
    pub(super) fn begin_retention(&self, ctx: &mut Context<Self>) {
        let Some(kept) = self.defaults.retention else { return };
        self.expire(kept, ctx);
        ctx.run_interval((kept / 10).clamp(OFTEN, SELDOM), move |registry, ctx| {
            registry.expire(kept, ctx);
        });
    }

    fn expire(&self, kept: Duration, ctx: &mut Context<Self>) {
        // What is kept for longer than there are times is kept for ever.
        let Ok(kept) = TimeDelta::from_std(kept) else { return };
        let Some(before) = Utc::now().checked_sub_signed(kept) else { return };
        let (store, log) = (self.store.clone(), self.log.clone());
        let expired = async move {
            match store.expire(before).await {
                Ok(0) => {}
                Ok(count) => info!(log, "ended sessions are removed"; "sessions" => count),
                Err(error) => {
                    warn!(log, "ended sessions could not be removed"; "error" => %error);
                }
            }
        };
        ctx.spawn(expired.into_actor(self));
    }
}
