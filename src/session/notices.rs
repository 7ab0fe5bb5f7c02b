//! The way of the holder's notices to the sessions: by id, past every other actor, so that a busy
//! registry delays no output.

use super::requests::Noticed;
use crate::holder::Notice;
use crate::id::SessionId;
use actix::Recipient;
use slog::{Logger, info, warn};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedReceiver;

/// The sessions that hear of what the holder notices. Clones share one table.
#[derive(Clone, Default)]
pub struct Notices(Arc<Mutex<HashMap<SessionId, Recipient<Noticed>>>>);

impl Notices {
    /// Notices of this session go to this actor, and no longer to the one of its earlier life.
    pub(super) fn listen(&self, id: SessionId, session: Recipient<Noticed>) {
        self.lock().insert(id, session);
    }

    /// The actor stops, unless another has taken its place already.
    pub(super) fn leave(&self, id: SessionId, session: &Recipient<Noticed>) {
        let mut sessions = self.lock();
        if sessions.get(&id) == Some(session) {
            sessions.remove(&id);
        }
    }

    /// Passes notices on until the holder is gone. A session that is not listed yet looks for
    /// itself when its actor starts.
    pub(crate) async fn pass_on(self, mut notices: UnboundedReceiver<Notice>, log: Logger) {
        loop {
            let (id, noticed) = match notices.recv().await {
                Some(Notice::Output(id)) => (id, Noticed::Output),
                Some(Notice::Exited(id)) => (id, Noticed::Exited),
                Some(Notice::TakenOver { pid, gaps }) => {
                    info!(log, "another process holds the sessions now"; "holder" => pid);
                    if gaps > 0 {
                        warn!(
                            log,
                            "the kernel does not tell how much the dead holder had read; \
                            output of a session may be missing, and says so. stayd doctor tells why"
                        );
                    }
                    continue;
                }
                Some(Notice::Gone) | None => return,
            };
            if let Some(session) = self.lock().get(&id) {
                session.do_send(noticed);
            }
        }
    }

    /// A panic elsewhere leaves the table whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Recipient<Noticed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
