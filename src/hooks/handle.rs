//! The hooks of a server, as it starts and stops them.

use super::dispatcher::{Dispatcher, HooksParts};
use crate::config::Hook;
use crate::store::{DeliveryChange, DeliveryRows};
use actix_web::rt::task::JoinHandle;
use actix_web::rt::time::timeout;
use slog::error;
use std::time::Duration;

/// For stopping in all.
const STOP_MAX: Duration = Duration::from_secs(5);

/// The running hooks of a server.
pub struct Hooks(JoinHandle<()>);

impl Hooks {
    /// Goes on where a server before this one has stopped or died. To be called before sessions are
    /// restored, so that nothing that is told then is missed.
    pub async fn start(hooks: Vec<Hook>, parts: HooksParts) -> Hooks {
        let rows = parts.store.deliveries().await.unwrap_or_else(|why| {
            error!(parts.log, "deliveries of hooks cannot be read"; "error" => %why);
            DeliveryRows::default()
        });
        let mut dispatcher = Dispatcher::new(hooks, parts);
        let parts = &dispatcher.parts;
        let listener = parts.events.listen();
        if dispatcher.is_needed() {
            parts.events.keep_sessions();
            dispatcher.was_needed = true;
            dispatcher.restore(rows).await;
        } else if rows != DeliveryRows::default() {
            // Hooks and browsers that come later are not told of what was before.
            let _ = parts.store.change_deliveries(vec![DeliveryChange::Clear]).await;
        }
        Hooks(actix_web::rt::spawn(dispatcher.run(listener)))
    }

    /// Waits until the hooks have noted what is left to do, once the bus has ended. The store is to be
    /// flushed later.
    pub async fn stop(self) {
        let mut task = self.0;
        if timeout(STOP_MAX, &mut task).await.is_err() {
            task.abort();
        }
    }
}
