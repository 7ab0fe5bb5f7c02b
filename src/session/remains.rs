//! Beside its row, an ended session keeps the end of its recording and its last screen. The row is
//! written first, so a server may die in between; the holder keeps the session until both are
//! written, and the next server goes on with it.

use super::handle::SessionHandle;
use super::requests::{Killed, NotDone};
use crate::id::SessionId;
use crate::lifecycle::Refused;
use crate::recorder::Recorded;
use crate::screens::LastScreen;
use crate::store::{Change, StoreError, StoreHandle};
use actix_web::rt::time::{sleep, timeout};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use slog::{Logger, warn};
use std::time::Duration;
use tokio::sync::oneshot;

/// The end is told without the end of the recording after this time: a disk may be full.
const RECORDING_PATIENCE: Duration = Duration::from_secs(1);
/// The interval at which a final record that could not be written is tried again.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// The interval at which a screen that could not be written is tried again, and the number of
/// tries.
const SCREEN_RETRY: Duration = Duration::from_secs(1);
const SCREEN_TRIES: u32 = 10;

pub(super) struct Remains {
    id: SessionId,
    store: StoreHandle,
    log: Logger,
    recorded: Shared<LocalBoxFuture<'static, ()>>,
    last_screen: Option<LocalBoxFuture<'static, Option<LastScreen>>>,
    /// Not written yet.
    screen: Option<LastScreen>,
}

impl Remains {
    /// The remains of a session whose output is complete.
    pub(super) fn of(handle: &SessionHandle, store: StoreHandle, log: Logger) -> Self {
        let finished = handle.recording().map(Recorded::finish);
        let recorded = async move {
            if let Some(finished) = finished {
                finished.await;
            }
        };
        let last_screen = Some(handle.screen().last().boxed_local());
        let recorded = recorded.boxed_local().shared();
        Remains { id: handle.id(), store, log, recorded, last_screen, screen: None }
    }

    /// Writes the final row, and what else can be kept soon: whoever hears of the end finds all
    /// of it. Answers whether the row is written, and not only queued.
    pub(super) async fn write(mut self, last: Change) -> (bool, Self) {
        let persisted = self.store.commit_or_queue(last).await.unwrap_or(false);
        let _ = timeout(RECORDING_PATIENCE, self.recorded.clone()).await;
        self.keep_screen().await;
        (persisted, self)
    }

    /// Has the row written, however long that takes, and keeps the rest or gives it up after
    /// seconds.
    pub(super) async fn complete(mut self, mut persisted: bool) {
        while !persisted {
            sleep(STORE_RETRY).await;
            persisted = self.store.flush().await.is_ok();
        }
        for _ in 0..SCREEN_TRIES {
            if self.keep_screen().await {
                break;
            }
            sleep(SCREEN_RETRY).await;
        }
        self.recorded.await;
    }

    /// False: it could not be written.
    async fn keep_screen(&mut self) -> bool {
        if let Some(last_screen) = self.last_screen.take() {
            self.screen = last_screen.await;
        }
        let Some(screen) = &self.screen else { return true };
        if let Err(error) = self.store.keep_screen(self.id, screen.clone()).await {
            warn!(self.log, "a session's last screen is not kept"; "session" => %self.id,
                "error" => %error);
            // One that is refused belongs to no row any more, and never will.
            if !matches!(error, StoreError::Refused(_)) {
                return false;
            }
        }
        self.screen = None;
        true
    }
}

/// The requests that wait for a session's end.
#[derive(Debug)]
pub(super) struct AwaitedEnd {
    told: bool,
    waiting: Vec<oneshot::Sender<Killed>>,
}

impl AwaitedEnd {
    /// `told`: a server before this one has told whoever was attached.
    pub(super) fn new(told: bool) -> Self {
        AwaitedEnd { told, waiting: Vec::new() }
    }

    /// True once the attached clients have been told of the end.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// Waits for the end; `None`: it has been told already.
    pub(super) fn wait(&mut self) -> Option<impl Future<Output = Result<Killed, NotDone>> + use<>> {
        if self.told {
            return None;
        }
        let (tell, end) = oneshot::channel();
        self.waiting.push(tell);
        Some(async move { end.await.map_err(|_| Refused::Ended.into()) })
    }

    pub(super) fn tell(&mut self, end: &Killed) {
        self.told = true;
        for waiting in self.waiting.drain(..) {
            // The caller may have gone.
            let _ = waiting.send(end.clone());
        }
    }
}
