//! Making a session of what the holder holds: its screen, its recording, its handle, its actor.

use super::actor::Session;
use super::blob::Blob;
use super::context::SessionContext;
use super::flow::Arrival;
use super::handle::SessionHandle;
use super::record::Record;
use super::requests::Seen;
use super::timers::now;
use crate::holder::Held;
use crate::metrics::Metrics;
use crate::protocol::Recording;
use crate::recorder::{Recorder, Subject};
use crate::screen::Options;
use crate::screens::{Origin, Screens};
use actix::prelude::*;
use std::sync::Arc;

/// The parts of the server with which sessions are made.
#[derive(Clone)]
pub struct Launch {
    /// The parts of the server that every session uses.
    pub context: SessionContext,
    /// Tracks the screens.
    pub screens: Screens,
    /// Writes recordings.
    pub recorder: Recorder,
    /// Where is counted.
    pub metrics: Arc<Metrics>,
    /// Lines of scrollback that each screen keeps.
    pub scrollback: usize,
}

impl Launch {
    /// Starts the actor of a held session.
    pub(crate) fn session(
        self,
        record: Record,
        mut held: Held,
        arrival: Arrival,
    ) -> (Addr<Session>, Arc<SessionHandle>) {
        let Launch { context, screens, recorder, metrics, scrollback } = self;
        let session = &record.row.session;
        let (name, what) = (session.name.clone(), session.recording);
        // The screen needs the actor's address, and the actor is made of the screen.
        let actor = Context::<Session>::new();
        let heard = actor.address();
        if !record.has_ended() {
            context.notices.listen(held.id, heard.clone().recipient());
        }
        let screen = screens.track(Origin {
            id: held.id,
            ring: held.ring.clone(),
            size: (held.cols, held.rows),
            checkpoint: held.checkpoint.take(),
            restored: arrival == Arrival::Restored,
            options: Options { scrollback },
            events: Box::new(move |told| heard.do_send(Seen(told))),
        });
        let (holder, store) = (context.holder.clone(), context.store.clone());
        let recorded = (what != Recording::Off).then(|| {
            recorder.record(Subject {
                id: held.id,
                name,
                recording: what,
                ring: held.ring.clone(),
                holder: holder.clone(),
                size: (held.cols, held.rows),
                reader: screen.reader(),
            })
        });
        // A client that asks before the actor has run sees the actor's state, not the last row.
        let shown = record.shown(now());
        let handle =
            SessionHandle::new(shown, held.ring, held.wake, holder, store, screen, metrics);
        let handle = Arc::new(handle.recorded(recorded));
        let causes = Blob::from_bytes(&held.blob).map(|blob| blob.causes).unwrap_or_default();
        let record = record.with_causes(causes);
        (Session::launch(actor, context, handle.clone(), record, arrival), handle)
    }
}
