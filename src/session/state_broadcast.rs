//! Telling all clients of a session's state: who is attached, and until when it lives.

use super::actor::Session;
use super::dialect::json_text;
use super::requests::ConnectionEvent;
use crate::protocol::ServerMessage;
use actix::prelude::*;
use std::time::Duration;

/// Everybody is told of everybody, so what that takes grows with the square of their number.
/// Between two times there is so much rest for each: hundreds that come at once would else
/// be busy with each other.
const REST_EACH: Duration = Duration::from_millis(1);

/// What was told a moment ago.
#[derive(Default)]
pub(super) struct Announcing {
    /// Too early to tell again.
    rest: Option<SpawnHandle>,
    /// It has changed since.
    again: bool,
}

impl Session {
    /// Tells all clients of the state as it is now, or soon is.
    pub(super) fn announce(&mut self, ctx: &mut Context<Self>) {
        if self.announcing.rest.is_some() {
            self.announcing.again = true;
            return;
        }
        let session = &self.record.row.session;
        let state = ServerMessage::State {
            status: session.status,
            active_connections: session.active_connections,
            destroy_at: session.destroy_at,
            clients: session.clients.clone(),
        };
        self.tell_all(&ConnectionEvent::State(json_text(&state)));
        let rest = REST_EACH * u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        self.announcing.rest = Some(ctx.run_later(rest, |session, ctx| {
            session.announcing.rest = None;
            // Of its end they are told otherwise.
            if std::mem::take(&mut session.announcing.again) && !session.record.has_ended() {
                session.announce(ctx);
            }
        }));
    }
}
