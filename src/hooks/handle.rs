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
pub struct Hooks(Option<JoinHandle<()>>);

impl Hooks {
    /// Goes on where a server before this one has stopped or died. To be called before sessions are
    /// restored, so that nothing that is told then is missed.
    pub async fn start(hooks: Vec<Hook>, parts: HooksParts) -> Hooks {
        let rows = parts.store.deliveries().await.unwrap_or_else(|why| {
            error!(parts.log, "deliveries of hooks cannot be read"; "error" => %why);
            DeliveryRows::default()
        });
        if hooks.is_empty() {
            if rows != DeliveryRows::default() {
                // Hooks that are set later are not told of what was before.
                let _ = parts.store.change_deliveries(vec![DeliveryChange::Clear]).await;
            }
            return Hooks(None);
        }
        parts.events.keep_sessions();
        let listener = parts.events.listen();
        let mut dispatcher = Dispatcher::new(hooks, parts);
        dispatcher.restore(rows).await;
        Hooks(Some(actix_web::rt::spawn(dispatcher.run(listener))))
    }

    /// Waits until the hooks have noted what is left to do, once the bus has ended. The store is to be
    /// flushed later.
    pub async fn stop(self) {
        if let Some(mut task) = self.0
            && timeout(STOP_MAX, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}
