//! Ended sessions are removed once they have been kept for long enough.

use crate::id::SessionId;
use crate::recorder::Recorder;
use crate::store::StoreHandle;
use actix_web::rt::task::spawn_blocking;
use chrono::{TimeDelta, Utc};
use slog::{Logger, info, warn};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// The bounds of the interval, which is a tenth of the time for which sessions are kept.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(3600);

/// Removes what has been kept for long enough.
#[derive(Clone)]
pub(super) struct Retention {
    /// For how long.
    pub(super) kept: Duration,
    pub(super) store: StoreHandle,
    pub(super) recorder: Recorder,
    pub(super) log: Logger,
}

impl Retention {
    /// Between two looks.
    pub(super) fn every(&self) -> Duration {
        (self.kept / 10).clamp(OFTEN, SELDOM)
    }

    /// Removes ended sessions.
    pub(super) async fn expire(&self) {
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

    /// Removes recordings that no row knows and that are as old as ended sessions become. Those
    /// of a session that was removed go at once; where the database itself was lost or is
    /// another, whoever wants them has the time to look after them.
    pub(super) async fn forget_recordings(&self, live: &HashSet<SessionId>) {
        let Some(before) = SystemTime::now().checked_sub(self.kept) else { return };
        let list = self.recorder.clone();
        let old = spawn_blocking(move || list.older_than(before)).await.unwrap_or_default();
        for id in old.into_iter().filter(|id| !live.contains(id)) {
            if matches!(self.store.get(id).await, Ok(None)) {
                info!(self.log, "a recording of no session is removed"; "session" => %id);
                // Said where it fails, and tried again the next time.
                let _ = self.recorder.remove(id).await;
            }
        }
    }
}
