//! The session's actor: owns its connections and its destroy timer, feeds events to the
//! state machine and answers requests. It hears of state, not of bytes.

use super::connection::Attachment;
use super::effects::now;
use super::flow::{Flow, FlowInput, STALL_LIMIT};
use super::handle::SessionHandle;
use super::in_use::Uses;
use super::notifications::Telling;
use super::record::{Observed, Record};
use super::requests::{
    Attach, Attached, ConnectionEvent, Detach, Dismiss, Killed, Noticed, Resize, Seen,
    SessionEnded, Shutdown, TakeControl,
};
use super::size::Sizing;
use super::state_broadcast::Announcing;
use crate::events::Bus;
use crate::holder::Holder;
use crate::id::ClientKey;
use crate::lifecycle::{EndReason, Event, Exit, Refused};
use crate::protocol::{Cause, CloseCode, Mode, ServerMessage, Viewer};
use crate::store::StoreHandle;
use crate::tree::Tree;
use actix::prelude::*;
use slog::{Logger, debug};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a recorder that makes no progress may hold a session back that is being ended.
const END_STALL_LIMIT: Duration = Duration::from_millis(500);

/// What every session needs of the server.
#[derive(Clone)]
pub struct SessionContext {
    /// Who writes state down.
    pub store: StoreHandle,
    /// Who holds the PTY.
    pub holder: Holder,
    /// Whom to tell of the end.
    pub registry: Recipient<SessionEnded>,
    /// Where what happens is told.
    pub events: Bus,
    /// After how long without output that is told; `None`: never.
    pub quiet_after: Option<Duration>,
    /// Where transitions are logged.
    pub log: Logger,
}

/// One attached client.
pub(super) struct Client {
    pub(super) recipient: Recipient<ConnectionEvent>,
    key: ClientKey,
    name: String,
    mode: Mode,
    follows: bool,
    size: Option<(u16, u16)>,
    cause: Option<Cause>,
}

/// One PTY session.
pub struct Session {
    pub(super) context: SessionContext,
    pub(super) link: Arc<SessionHandle>,
    pub(super) record: Record,
    pub(super) clients: BTreeMap<u64, Client>,
    /// Clients that came when the end was decided: served, and not counted.
    late: BTreeMap<u64, Recipient<ConnectionEvent>>,
    /// Whoever is attached has been told of the end.
    pub(super) end_told: bool,
    next_connection: u64,
    /// The destroy timer, with the generation it was armed for.
    pub(super) timer: Option<SpawnHandle>,
    pub(super) uses: Uses,
    flow: Flow,
    /// The program waits for room in the ring.
    stalled: bool,
    pub(super) sizing: Sizing,
    look: Option<SpawnHandle>,
    pub(super) telling: Telling,
    pub(super) announcing: Announcing,
    /// The tree was seen empty, the leader's exit status is still to come.
    pub(super) awaiting_exit: bool,
    pub(super) waiting_for_end: Vec<oneshot::Sender<Killed>>,
    stopping: bool,
}

/// Where a session stands when its actor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The holder has just spawned it.
    Spawned,
    /// The same, and whoever asked for it is about to attach: output beyond the ring waits for
    /// that client as for those of a restored session.
    Awaited,
    /// The holder held it while there was no server, also past its end: then what is left of it
    /// is completed.
    Restored,
}

impl Session {
    /// Starts a session in `actor`.
    pub fn launch(
        actor: Context<Self>,
        context: SessionContext,
        link: Arc<SessionHandle>,
        record: Record,
        arrival: Arrival,
    ) -> Addr<Self> {
        let over = record.has_ended();
        let waits = arrival != Arrival::Spawned;
        if waits && !over {
            link.hold();
        }
        if arrival == Arrival::Restored && !over {
            // Its server may have died between the spawn and the row that knows the process.
            context.store.save(record.unchanged());
        }
        let head = link.ring().head();
        let base = link.ring().base();
        let flow = match arrival {
            Arrival::Spawned => Flow::new(base),
            Arrival::Awaited => Flow::awaited(base, Instant::now()),
            Arrival::Restored => Flow::awaited(head, Instant::now()),
        };
        let telling = Telling::new(&record.row.session);
        actor.run(Session {
            context,
            link,
            record,
            clients: BTreeMap::new(),
            late: BTreeMap::new(),
            end_told: over,
            next_connection: 1,
            timer: None,
            uses: Uses::default(),
            flow,
            stalled: false,
            sizing: Sizing::default(),
            look: None,
            telling,
            announcing: Announcing::default(),
            awaiting_exit: false,
            waiting_for_end: Vec::new(),
            stopping: false,
        })
    }

    /// Feeds one event to the state machine and does what it says.
    pub(super) fn step(
        &mut self,
        event: Event,
        cause: Option<Cause>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Refused> {
        let observed = Some(self.observed());
        let applied = self.record.apply_by(event, cause, observed, now())?;
        self.execute(applied, ctx);
        Ok(())
    }

    /// The same where a refusal only means that the event came too late.
    pub(super) fn step_or_log(&mut self, event: Event, ctx: &mut Context<Self>) {
        self.step_by_or_log(event, None, ctx);
    }

    fn step_by_or_log(&mut self, event: Event, cause: Option<Cause>, ctx: &mut Context<Self>) {
        if let Err(refused) = self.step(event, cause, ctx) {
            debug!(self.context.log, "event refused"; "session" => %self.link.id(), "why" => %refused);
        }
    }

    pub(super) fn observed(&self) -> Observed {
        Observed {
            clients: self.viewers(),
            last_activity_at: self.link.last_activity_at(),
            offset: self.link.ring().head(),
        }
    }

    pub(super) fn viewers(&self) -> Vec<Viewer> {
        let controller = self.link.controller();
        self.clients
            .iter()
            .map(|(connection, client)| Viewer {
                client: client.name.clone(),
                mode: client.mode,
                cols: client.size.map(|(cols, _)| cols),
                rows: client.size.map(|(_, rows)| rows),
                controller: *connection == controller,
            })
            .collect()
    }

    pub(super) fn tell_all(&self, event: &ConnectionEvent) {
        let clients = self.clients.values().map(|client| &client.recipient);
        for recipient in clients.chain(self.late.values()) {
            recipient.do_send(event.clone());
        }
    }

    /// Serves a client that comes too late to be counted: what there is, and the end.
    fn attach_late(&mut self, attach: Attach, ctx: &mut Context<Self>) -> Attached {
        let connection = self.next_connection;
        self.next_connection += 1;
        let view = self.link.view();
        match farewell(&view).filter(|_| self.end_told) {
            Some(farewell) => attach.recipient.do_send(farewell),
            None => drop(self.late.insert(connection, attach.recipient)),
        }
        Attached { attachment: Attachment { session: ctx.address(), connection }, view }
    }

    pub(super) fn tree(&self) -> Tree {
        Tree {
            id: self.link.id(),
            leader: self.record.row.process.clone(),
            holder: Some(self.context.holder.pid()),
        }
    }

    fn take_control(&mut self, connection: u64, ctx: &mut Context<Self>) {
        self.link.set_controller(connection);
        self.resized_by_clients(ctx);
    }

    /// Looks after the ring's tail and `last_activity_at`.
    pub(super) fn tend(&mut self, ctx: &mut Context<Self>) {
        let ring = self.link.ring();
        let followers = match self.record.life().ending() {
            // Nothing may hold up the drain of a session that is being ended.
            Some(_) => 0,
            None => self.clients.values().filter(|client| client.follows).count(),
        };
        let sight = FlowInput {
            head: ring.head(),
            tail: self.link.released(),
            capacity: ring.capacity(),
            blocked: ring.blocked(),
            progress: self.link.progress(),
            followers,
            recorded: self.link.recording().is_some(),
            held: self.link.is_held(),
        };
        if sight.blocked && !self.stalled {
            self.link.metrics().stalls.inc();
        }
        self.stalled = sight.blocked;
        let seen = self.flow.seen();
        let tending = self.flow.tend(Instant::now(), &sight);
        if !self.flow.is_holding() {
            self.link.let_go();
        }
        if tending.active {
            self.link.touch(chrono::Utc::now());
            self.link.screen().nudge();
            if let Some(recorded) = self.link.recording() {
                recorded.nudge();
            }
            self.link.metrics().output.inc_by(sight.head.saturating_sub(seen));
            self.heard_output(ctx);
        }
        if let Some(recorded) = self.link.recording() {
            recorded.set_free(tending.free);
        }
        if let Some(offset) = tending.release {
            self.link.release(offset);
        }
        if let Some(recorded) = self.link.recording().filter(|_| sight.blocked) {
            let ends = self.record.life().ending().is_some();
            recorded.check_stall(if ends { END_STALL_LIMIT } else { STALL_LIMIT });
        }
        if let Some(look) = self.look.take() {
            ctx.cancel_future(look);
        }
        if let Some(after) = tending.again {
            self.look = Some(ctx.run_later(after, |session, ctx| {
                session.look = None;
                session.tend(ctx);
            }));
        }
        if let Some(at) = tending.watch_at {
            self.link.ring().request_watch(at);
            // Register, then look again.
            if self.link.ring().head() >= at {
                ctx.notify(Noticed::Output);
            }
        }
    }

    fn detach(&mut self, connection: u64, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        self.late.remove(&connection);
        let Some(client) = self.clients.remove(&connection) else { return };
        if self.link.controller() == connection {
            self.link.set_controller(0);
        }
        self.step_by_or_log(Event::Detached, client.cause, ctx);
        self.resized_by_clients(ctx);
        self.tend(ctx);
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.record.has_ended() {
            return self.complete(true, self.remains(), ctx);
        }
        let applied = self.record.start(self.observed(), now());
        self.execute(applied, ctx);
        // A server that died may not have told the holder that there is room again.
        self.link.release(self.link.ring().tail());
        self.tend(ctx);
        // It may have ended before anybody could be told.
        if self.link.ring().ended().is_some() {
            ctx.notify(Noticed::Exited);
        }
    }
}

impl Handler<Attach> for Session {
    type Result = Result<Attached, Refused>;

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) -> Self::Result {
        if self.stopping {
            return Err(Refused::Ending);
        }
        if let Some(refused) = self.record.too_late() {
            let by_itself = self.record.row.session.end_reason.is_some_and(EndReason::is_by_itself);
            if attach.resumes || by_itself {
                return Ok(self.attach_late(attach, ctx));
            }
            return Err(refused);
        }
        let connection = self.next_connection;
        self.next_connection += 1;
        let older = self.clients.iter().find(|(_, client)| client.key == attach.key);
        let older = older.map(|(connection, client)| (*connection, client.recipient.clone()));
        self.clients.insert(
            connection,
            Client {
                recipient: attach.recipient,
                key: attach.key,
                name: attach.client,
                mode: attach.mode,
                follows: attach.follows,
                size: attach.size,
                cause: attach.cause.clone(),
            },
        );
        let controller = self.link.controller();
        if attach.mode == Mode::Rw {
            self.link.set_controller(connection);
        }
        // Counted before the one it replaces goes, so that the session does not idle between.
        if let Err(refused) = self.step(Event::Attached, attach.cause, ctx) {
            self.clients.remove(&connection);
            self.link.set_controller(controller);
            return Err(refused);
        }
        if let Some((older, recipient)) = older {
            let why = "another connection of this client took over";
            recipient.do_send(ConnectionEvent::Close(CloseCode::TakenOver, why));
            self.detach(older, ctx);
        }
        self.resized_by_clients(ctx);
        self.tend(ctx);
        let attachment = Attachment { session: ctx.address(), connection };
        Ok(Attached { attachment, view: self.link.view() })
    }
}

impl Handler<Detach> for Session {
    type Result = ();

    fn handle(&mut self, detach: Detach, ctx: &mut Self::Context) {
        self.detach(detach.connection, ctx);
    }
}

impl Handler<TakeControl> for Session {
    type Result = ();

    fn handle(&mut self, take: TakeControl, ctx: &mut Self::Context) {
        if self.clients.get(&take.connection).is_some_and(|client| client.mode == Mode::Rw) {
            self.take_control(take.connection, ctx);
        }
    }
}

impl Handler<Resize> for Session {
    type Result = Result<(), Refused>;

    fn handle(&mut self, resize: Resize, ctx: &mut Self::Context) -> Self::Result {
        if self.record.has_ended() {
            return Err(Refused::Ended);
        }
        let size = (resize.cols, resize.rows);
        match resize.connection {
            None => {
                self.used(ctx);
                self.resized_by_hand(size, ctx);
            }
            Some(connection) => {
                let Some(client) = self.clients.get_mut(&connection) else { return Ok(()) };
                if client.mode == Mode::Ro {
                    return Ok(());
                }
                client.size = Some(size);
                // A client that tells its size takes control unless the controller has told one.
                let controller = self.clients.get(&self.link.controller());
                if controller.is_none_or(|client| client.size.is_none()) {
                    self.link.set_controller(connection);
                }
                self.resized_by_clients(ctx);
            }
        }
        Ok(())
    }
}

impl Handler<Noticed> for Session {
    type Result = ();

    fn handle(&mut self, noticed: Noticed, ctx: &mut Self::Context) {
        match noticed {
            Noticed::Output => self.tend(ctx),
            Noticed::Exited => {
                if let Some(exit) = self.link.ring().ended() {
                    self.leader_ended(exit, ctx);
                }
            }
            Noticed::Rewrite => {
                self.learn_size();
                self.save();
            }
            Noticed::Lost => self.lost(ctx),
            Noticed::ClockJumped => self.step_or_log(Event::ClockJumped, ctx),
        }
    }
}

impl Handler<Seen> for Session {
    type Result = ();

    fn handle(&mut self, Seen(told): Seen, ctx: &mut Self::Context) {
        self.seen(told, ctx);
    }
}

impl Session {
    fn leader_ended(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.tend(ctx);
        self.step_or_log(Event::LeaderExited(exit), ctx);
        if self.awaiting_exit {
            self.awaiting_exit = false;
            self.step_or_log(Event::TreeEmpty, ctx);
        }
    }
}

impl Handler<Dismiss> for Session {
    type Result = ();

    fn handle(&mut self, _: Dismiss, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Shutdown> for Session {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        // The leader may have ended without having been noticed yet.
        if let Some(exit) = self.link.ring().ended().filter(|_| !self.record.has_ended()) {
            self.leader_ended(exit, ctx);
        }
        // Clients of what has ended have nothing to come back for: they get the rest of the
        // output and the exit, now or once the end is written. The server waits for them for
        // as long as it waits for anybody.
        if self.record.has_ended() {
            return;
        }
        let going = ConnectionEvent::Close(CloseCode::GoingAway, "the server is stopping");
        self.tell_all(&going);
        // It is the server that leaves them.
        self.clients.values_mut().for_each(|client| client.cause = None);
        for connection in self.clients.keys().copied().collect::<Vec<_>>() {
            self.detach(connection, ctx);
        }
        self.stopping = true;
    }
}

/// What ends a client's connection to a session that has ended.
pub(super) fn farewell(session: &crate::protocol::Session) -> Option<ConnectionEvent> {
    if session.restart_at.is_some() {
        return Some(ConnectionEvent::Again);
    }
    Some(ConnectionEvent::End(ServerMessage::Exit {
        code: session.exit_code,
        signal: session.exit_signal,
        reason: session.end_reason?,
    }))
}
