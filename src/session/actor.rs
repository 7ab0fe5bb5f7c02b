//! The session's actor: feeds events to its record and does what that says. It hears of state,
//! not of bytes. What it decides with are parts that it owns and that do not know it; this is
//! the only file that implements it.

use super::attachment::{
    Attach, Attached, Attachment, ConnectionEvent, Detach, Looking, TakeControl,
};
use super::attending::Attending;
use super::clients::Clients;
use super::context::SessionContext;
use super::flow::{Arrival, Tail};
use super::handle::SessionHandle;
use super::idle_output::{IdleInput, IdleOutput};
use super::notifications::{News, Notifications, changes, tell_end};
use super::processes::{self, end_tree};
use super::record::{Applied, Observed, Record};
use super::remains::{AwaitedEnd, Remains};
use super::requests::{
    Dismiss, Expected, Kill, Killed, NotDone, Noticed, Patch, Report, Resize, Seen, Shutdown,
    Signal, SignalError, StopForRestart,
};
use super::size::{Sizing, wanted};
use super::timers::{DestroyTimer, Timer, Timers, Use, Uses, check_work_every, now};
use crate::attention::{Older, Says};
use crate::lifecycle::{Effect, EndReason, Event, Exit, Refused};
use crate::protocol::{self, AttentionState, Cause, CloseCode, rfc3339};
use crate::store::Change;
use crate::tree::{self, ProcessId};
use actix::prelude::*;
use chrono::Utc;
use slog::{debug, info};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A killed session waits this long for its leader's exit status after its tree is empty.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// One PTY session.
pub struct Session {
    context: SessionContext,
    handle: Arc<SessionHandle>,
    record: Record,
    clients: Clients,
    tail: Tail,
    idle_output: IdleOutput,
    sizing: Sizing,
    destroy: DestroyTimer,
    uses: Uses,
    notifications: Notifications,
    attending: Attending,
    timers: Timers,
    end: AwaitedEnd,
    stopping: bool,
}

impl Session {
    /// Starts a session in `actor`.
    pub(super) fn launch(
        actor: Context<Self>,
        context: SessionContext,
        handle: Arc<SessionHandle>,
        record: Record,
        arrival: Arrival,
    ) -> Addr<Self> {
        let over = record.has_ended();
        if arrival == Arrival::Restored && !over {
            // A server may have died between the spawn and the row that knows the process.
            context.store.save(record.unchanged());
        }
        let tail = Tail::of(&handle, arrival, over);
        let idle_output =
            IdleOutput::new(context.idle_ring_bytes, arrival == Arrival::Restored, Instant::now());
        actor.run(Session {
            notifications: Notifications::new(&record.row.session, context.quiet_after),
            attending: Attending::new(&record.row, context.agents.clone()),
            context,
            handle,
            record,
            clients: Clients::default(),
            tail,
            idle_output,
            sizing: Sizing::default(),
            destroy: DestroyTimer::default(),
            uses: Uses::default(),
            timers: Timers::default(),
            end: AwaitedEnd::new(over),
            stopping: false,
        })
    }

    /// Feeds one event to the record and does what that says.
    fn apply(
        &mut self,
        event: Event,
        cause: Option<Cause>,
        ctx: &mut Context<Self>,
    ) -> Result<(), Refused> {
        // Coming and going is activity, also where nothing is typed or printed.
        if matches!(event, Event::Attached | Event::Detached) && self.record.too_late().is_none() {
            self.handle.touch(Utc::now());
        }
        let observed = Some(self.observed());
        let applied = self.record.apply_by(event, cause, observed, now())?;
        self.execute(applied, ctx);
        Ok(())
    }

    /// The same where a refusal only means that the event came too late.
    fn apply_or_log(&mut self, event: Event, ctx: &mut Context<Self>) {
        self.apply(event, None, ctx).unwrap_or_else(|refused| self.log_refused(refused));
    }

    fn log_refused(&self, refused: Refused) {
        debug!(self.context.log, "event refused"; "session" => %self.handle.id(), "why" => %refused);
    }

    fn observed(&self) -> Observed {
        Observed {
            clients: self.clients.viewers(self.handle.controller()),
            last_activity_at: self.handle.last_activity_at(),
            offset: self.handle.ring().head(),
        }
    }

    /// Does what the record says: arms or cancels the destroy timer, writes the change, tells of
    /// it, and begins or completes the end.
    fn execute(&mut self, Applied { change, effects }: Applied, ctx: &mut Context<Self>) {
        let has = |wanted| effects.contains(&wanted);
        let (ended, ends) = (has(Effect::Ended), has(Effect::EndTree));
        let announce = has(Effect::Announce) && !ended;
        for effect in effects {
            match effect {
                Effect::ArmTimer { generation, boot_ms } => self.destroy.arm(generation, boot_ms),
                Effect::CancelTimer => self.destroy.disarm(),
                _ => continue,
            }
            let after = self.destroy.check_after(tree::boottime_ms());
            self.timers.set(Timer::Countdown, after, ctx);
        }
        self.watch_work(ctx);
        let Some(change) = change else { return };
        self.handle.publish(&change.row.session);
        self.context.note(&change);
        self.context.leave_with_holder(&self.record);
        if ended {
            self.finish(change, ctx);
        } else if ends {
            self.end_tree(change, ctx);
        } else {
            self.context.store.save(change);
        }
        if announce {
            self.tell_state(ctx);
        }
    }

    /// Writes the row behind, with no change of status.
    fn save(&mut self) {
        self.refresh();
        self.context.save(&self.record);
    }

    /// Brings the row up to date, and publishes it.
    fn refresh(&mut self) {
        self.record.refresh(Some(self.observed()), now());
        self.handle.publish(&self.record.row.session);
    }

    /// Publishes and tells what the notifications have decided on, and looks again when they say.
    fn tell_news(&mut self, news: News, timer: Timer, ctx: &mut Context<Self>) {
        if news.publish {
            self.handle.publish(&self.record.row.session);
        }
        self.context.tell(&self.record.row.session, news.events);
        if news.check_after.is_some() {
            self.timers.set(timer, news.check_after, ctx);
        }
    }

    /// Tells clients the state, now or after they have been left alone for a moment.
    fn tell_state(&mut self, ctx: &mut Context<Self>) {
        if let Some(rest) = self.clients.tell_state(&self.record.row.session) {
            self.timers.set(Timer::State, Some(rest), ctx);
        }
    }

    /// Checks the destroy timer. Where a request uses the session, the deadline is pushed
    /// ahead once more, even if that is behind time: the timer is stale then.
    fn count_down(&mut self, ctx: &mut Context<Self>) {
        let Some(generation) = self.destroy.fire(tree::boottime_ms()) else {
            self.apply_or_log(Event::ClockJumped, ctx);
            let after = self.destroy.check_after(tree::boottime_ms());
            return self.timers.set(Timer::Countdown, after, ctx);
        };
        if self.uses.push_after().is_some() {
            self.apply_or_log(Event::Used, ctx);
        }
        // What the program did since it was looked at last counts, too.
        if self.record.life().is_kept_by_work() {
            self.check_flow(ctx);
            self.check_work(ctx);
        }
        self.apply_or_log(Event::TimerFired { generation }, ctx);
    }

    /// Has the shell's foreground looked at while the countdown depends on it.
    fn watch_work(&mut self, ctx: &mut Context<Self>) {
        let life = self.record.life();
        if life.is_kept_by_work() && !self.timers.is_set(Timer::Work) {
            self.timers.set(Timer::Work, Some(check_work_every(life.timeouts().idle_s)), ctx);
        }
    }

    /// Puts the end off if a command runs in the foreground, until that is looked at again.
    fn check_work(&mut self, ctx: &mut Context<Self>) {
        let life = self.record.life();
        if !life.is_kept_by_work() {
            return;
        }
        let every = check_work_every(life.timeouts().idle_s);
        let process = self.record.row.process.as_ref();
        if process.is_some_and(ProcessId::has_foreground_command) {
            let for_ms = u64::try_from(every.as_millis()).unwrap_or_default();
            self.apply_or_log(Event::Busy { for_ms }, ctx);
        }
        self.timers.set(Timer::Work, Some(every), ctx);
    }

    /// Looks after the ring's tail and `last_activity_at`.
    fn check_flow(&mut self, ctx: &mut Context<Self>) {
        let ends = self.record.life().ending().is_some();
        let checked = self.tail.check(&self.handle, self.clients.followers(), ends);
        if checked.active {
            let session = &mut self.record.row.session;
            let news = self.notifications.heard_output(session, Instant::now());
            self.tell_news(news, Timer::Quiet, ctx);
            if let Some(after) = self.idle_output.heard_output(Instant::now()) {
                self.timers.set(Timer::IdleOutput, Some(after), ctx);
            }
            if let Some(after) = self.attending.heard_output() {
                self.timers.set(Timer::Look, Some(after), ctx);
            }
            if self.record.life().is_kept_by_work() {
                self.apply_or_log(Event::Busy { for_ms: 0 }, ctx);
            }
        }
        self.timers.set(Timer::Tail, checked.again, ctx);
        if checked.noticed {
            ctx.notify(Noticed::Output);
        }
    }

    /// Looks at what the program does: which it is, and what its screen shows.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.record.is_ending() {
            return;
        }
        self.note_typed();
        self.handle.metrics().looks.inc();
        let row = &self.record.row;
        match self.attending.look(row.process.as_ref(), &row.session.command) {
            None => self.looked(None, ctx),
            Some(agent) => {
                let seen = self.handle.screen().inspect(move |screen| agent.look(screen));
                ctx.spawn(seen.into_actor(self).map(|seen, actor, ctx| {
                    actor.looked(seen.and_then(|inspection| inspection.seen), ctx);
                }));
            }
        }
    }

    /// A look is over; `says`: what rules say of the screen.
    fn looked(&mut self, says: Option<Says>, ctx: &mut Context<Self>) {
        if let Some(again) = self.attending.looked(says) {
            self.timers.set(Timer::Look, Some(again), ctx);
        }
        self.tell_attention(ctx);
    }

    /// What was typed before comes before what is heard now.
    fn note_typed(&mut self) {
        if let Some(at) = self.handle.take_answered() {
            self.attending.typed(at);
        }
    }

    /// Keeps and tells what the program does, if that has changed.
    fn tell_attention(&mut self, ctx: &mut Context<Self>) {
        if self.record.has_ended() {
            return;
        }
        let change = self.attending.conclude(&mut self.record.row, Instant::now());
        if change.save {
            self.handle.publish(&self.record.row.session);
            self.context.store.save(self.record.unchanged());
        }
        self.context.tell(&self.record.row.session, change.event);
        if change.later.is_some() {
            self.timers.set(Timer::Attention, change.later, ctx);
        }
        if !self.timers.is_set(Timer::Program) {
            self.timers.set(Timer::Program, self.attending.check_program_after(), ctx);
        }
    }

    /// Has old output discarded if the session is idle. What an ended one has printed is kept for
    /// those who come late.
    fn check_idle_output(&mut self, ctx: &mut Context<Self>) {
        if self.record.life().ending().is_some() {
            return;
        }
        let ring = self.handle.ring();
        // In this order: nobody begins to need what was unneeded, but output comes.
        let unneeded = self.handle.unneeded();
        let input = IdleInput { head: ring.head(), oldest: ring.oldest(), unneeded };
        let decision = self.idle_output.check(Instant::now(), input);
        if let Some(before) = decision.discard {
            self.handle.discard(before);
        }
        self.timers.set(Timer::IdleOutput, decision.again, ctx);
    }

    /// Clients, or what they want, have changed.
    fn resized_by_clients(&mut self, ctx: &mut Context<Self>) {
        let after = self.sizing.changed(Instant::now());
        self.timers.set(Timer::Size, after, ctx);
        if after.is_none() {
            self.adapt(ctx);
        }
    }

    /// Gives the terminal the size that its clients and the policy ask for, and tells
    /// everybody if who is attached looks different now.
    fn adapt(&mut self, ctx: &mut Context<Self>) {
        self.sizing.adapted();
        self.show_clients(ctx);
        let session = &self.record.row.session;
        let size = wanted(session.size_policy, &session.clients);
        if size.is_some_and(|size| self.set_size(size)) {
            let quiet = self.sizing.resized();
            self.timers.set(Timer::Size, Some(quiet), ctx);
        }
    }

    /// Tells everybody who is attached if that looks different now.
    fn show_clients(&mut self, ctx: &mut Context<Self>) {
        let viewers = self.clients.viewers(self.handle.controller());
        if viewers != self.record.row.session.clients {
            self.record.row.session.clients = viewers;
            self.handle.publish(&self.record.row.session);
            self.tell_state(ctx);
        }
    }

    /// True if the terminal had another size.
    fn set_size(&mut self, (cols, rows): (u16, u16)) -> bool {
        let changes = self.record.resize((cols, rows), self.handle.ring().size());
        if changes {
            self.handle.resize(cols, rows);
            self.save();
        }
        changes
    }

    /// Serves a client that comes too late to be counted: what there is, and the end.
    fn attach_late(&mut self, attach: Attach, ctx: &mut Context<Self>) -> Attached {
        let view = self.handle.view();
        let farewell = ConnectionEvent::farewell(&view).filter(|_| self.end.is_told());
        let connection = self.clients.attach_late(attach.recipient, farewell);
        Attached { attachment: Attachment::new(&ctx.address(), connection), view }
    }

    fn detach(&mut self, connection: u64, ctx: &mut Context<Self>) {
        if self.stopping {
            return;
        }
        let Some(cause) = self.clients.detach(connection, &self.handle) else { return };
        let detached = self.apply(Event::Detached, cause, ctx);
        detached.unwrap_or_else(|refused| self.log_refused(refused));
        self.resized_by_clients(ctx);
        self.check_flow(ctx);
    }

    /// Ends the process tree, now that the end is decided. The leader's exit status may come a
    /// moment after the tree was seen empty, so the end waits for it.
    fn end_tree(&mut self, intent: Change, ctx: &mut Context<Self>) {
        self.check_flow(ctx);
        let end = self.context.end_tree(intent, self.context.tree(&self.record));
        ctx.spawn(end.into_actor(self).map(|(), session, ctx| {
            if session.handle.ring().ended().is_some() {
                ctx.notify(Noticed::Exited);
            }
            session.timers.set(Timer::Exit, Some(EXIT_GRACE), ctx);
        }));
    }

    /// The leader has ended and its output is drained. Where its session is being ended and only
    /// waits for this, the end is complete.
    fn leader_ended(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.check_flow(ctx);
        self.apply_or_log(Event::LeaderExited(exit), ctx);
        if self.timers.cancel(Timer::Exit, ctx) {
            self.apply_or_log(Event::TreeEmpty, ctx);
        }
    }

    /// Ends what is left of a session that the holder does not hold.
    fn lost(&mut self, ctx: &mut Context<Self>) {
        let (tree, log) = (self.context.tree(&self.record), self.context.log.clone());
        let swept = async move { end_tree(&tree, &log).await };
        ctx.spawn(swept.into_actor(self).map(|_, session, ctx| {
            session.apply_or_log(Event::Orphaned, ctx);
        }));
    }

    /// The end: written, then told, then completed.
    fn finish(&mut self, last: Change, ctx: &mut Context<Self>) {
        let mut session = last.row.session.clone();
        let looked_at = self.clients.are_looked_at();
        info!(self.context.log, "ended"; "session" => %session.id,
            "at" => session.ended_at.map(rfc3339), "exit_code" => session.exit_code,
            "exit_signal" => session.exit_signal);
        let written = self.context.remains(&self.handle).write(last);
        ctx.spawn(written.into_actor(self).map(move |(persisted, remains), actor, ctx| {
            if session.restart_at != actor.record.row.session.restart_at {
                // Somebody wanted it gone meanwhile.
                session.restart_at = actor.record.row.session.restart_at;
                actor.context.store.save(actor.record.unchanged());
                actor.handle.publish(&session);
            }
            if persisted {
                // Before anybody is told, so that whoever hears of it finds its name free.
                actor.context.leave_registry(&actor.record, false);
                actor.context.notices.leave(session.id, &ctx.address().recipient());
            }
            tell_end(&actor.context.events, &session, looked_at);
            if let Some(farewell) = ConnectionEvent::farewell(&session) {
                actor.clients.tell_all(&farewell);
            }
            actor.end.tell(&Killed { session, persisted });
            actor.complete(persisted, remains, ctx);
        }));
    }

    /// Has everything of an ended session written, however long that takes: until then the
    /// holder keeps it for a server after this one.
    fn complete(&mut self, persisted: bool, remains: Remains, ctx: &mut Context<Self>) {
        let completed = remains.complete(persisted);
        ctx.spawn(completed.into_actor(self).map(|(), actor, _| {
            actor.context.leave_registry(&actor.record, true);
        }));
    }

    /// Decides the end, unless it is decided already, and answers once it is written and told.
    fn kill(
        &mut self,
        cause: Option<Cause>,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<Killed, NotDone>> {
        let Some(end) = self.end.wait() else { return refuse(Refused::Ended) };
        if !self.record.is_ending()
            && let Err(refused) = self.apply(Event::KillRequested, cause, ctx)
        {
            return refuse(refused);
        }
        Box::pin(end)
    }

    /// Refuses what is asked for if the session is not as it was expected: as everybody else
    /// sees it, which only this actor changes.
    fn check(&self, expected: Option<&Expected>) -> Result<(), NotDone> {
        expected.map_or(Ok(()), |expected| expected.check(self.handle.view()))
    }

    /// Changes what an administrator may change, and tells of it.
    fn change(&mut self, patch: Patch, ctx: &mut Context<Self>) -> Result<(), NotDone> {
        if self.record.has_ended() {
            return Err(Refused::Ended.into());
        }
        self.check(patch.expected.as_ref())?;
        let (idle_timeout_s, policy) = (patch.idle_timeout_s, patch.size_policy);
        let idle_when = patch.idle_when;
        let old = self.record.row.session.clone();
        patch.write_to(&mut self.record.row.session);
        if let Some(idle_when) = idle_when {
            self.apply(Event::IdleWhenChanged(idle_when), None, ctx)?;
        }
        if let Some(idle_timeout_s) = idle_timeout_s {
            self.apply(Event::IdleTimeoutChanged(idle_timeout_s), None, ctx)?;
        }
        if policy.is_some() {
            self.adapt(ctx);
        }
        // A client that hears of it and looks must find it.
        self.refresh();
        let session = &self.record.row.session;
        self.context.tell(session, changes(&old, session));
        Ok(())
    }
}

fn refuse<T: 'static, E: 'static>(why: impl Into<E>) -> ResponseFuture<Result<T, E>> {
    Box::pin(std::future::ready(Err(why.into())))
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.record.has_ended() {
            return self.complete(true, self.context.remains(&self.handle), ctx);
        }
        let applied = self.record.start(self.observed(), now());
        self.execute(applied, ctx);
        if let Some(after) = self.attending.heard_output() {
            // The program that a server before this one knew of may be gone.
            self.timers.set(Timer::Look, Some(after), ctx);
        }
        // A server that died may not have told the holder that there is room again.
        self.handle.release(self.handle.ring().tail());
        if let Some(after) = self.idle_output.first_check() {
            self.handle.keep_for_returning();
            self.timers.set(Timer::IdleOutput, Some(after), ctx);
        }
        self.check_flow(ctx);
        // The leader may have ended before this actor listened.
        if self.handle.ring().ended().is_some() {
            ctx.notify(Noticed::Exited);
        }
    }

    fn stopped(&mut self, ctx: &mut Self::Context) {
        self.context.notices.leave(self.handle.id(), &ctx.address().recipient());
    }
}

impl Handler<Timer> for Session {
    type Result = ();

    fn handle(&mut self, timer: Timer, ctx: &mut Self::Context) {
        self.timers.fired(timer);
        match timer {
            Timer::Tail => self.check_flow(ctx),
            Timer::Countdown => self.count_down(ctx),
            Timer::Use => {
                self.apply_or_log(Event::Used, ctx);
                self.timers.set(Timer::Use, self.uses.push_after(), ctx);
            }
            Timer::Work => self.check_work(ctx),
            Timer::Size if self.sizing.quiet() => self.adapt(ctx),
            Timer::Title => {
                let news = self.notifications.spaced(&self.record.row.session);
                self.tell_news(news, Timer::Title, ctx);
            }
            Timer::Look => self.look(ctx),
            Timer::Program if self.attending.is_program_over() => self.look(ctx),
            Timer::Program => {
                self.timers.set(timer, self.attending.check_program_after(), ctx);
            }
            Timer::Attention => self.tell_attention(ctx),
            Timer::Quiet => {
                // Output since the last check counts.
                self.check_flow(ctx);
                // Quiet is not reported of a session that is being ended.
                if !self.record.is_ending() {
                    let session = &mut self.record.row.session;
                    let news = self.notifications.quiet(session, Instant::now(), Utc::now());
                    self.tell_news(news, Timer::Quiet, ctx);
                }
            }
            Timer::IdleOutput => {
                // Output since the last check counts.
                self.check_flow(ctx);
                self.check_idle_output(ctx);
            }
            // They hear of the end by its own message.
            Timer::State if self.clients.rested() && !self.record.has_ended() => {
                self.tell_state(ctx);
            }
            Timer::Exit => self.apply_or_log(Event::TreeEmpty, ctx),
            Timer::Size | Timer::State => {}
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
            let reason = self.record.row.session.end_reason;
            let by_itself = reason.is_some_and(EndReason::is_by_itself);
            return if attach.resumes || by_itself {
                Ok(self.attach_late(attach, ctx))
            } else {
                Err(refused)
            };
        }
        let (cause, older) = (attach.cause.clone(), self.clients.of(attach.key));
        let connection = self.clients.attach(attach, &self.handle);
        // Counted before the one it replaces goes, so that the session does not idle between.
        if let Err(refused) = self.apply(Event::Attached, cause, ctx) {
            self.clients.detach(connection, &self.handle);
            return Err(refused);
        }
        if let Some((older, recipient)) = older {
            let why = "another connection of this client took over";
            recipient.do_send(ConnectionEvent::Close(CloseCode::TakenOver, why));
            self.detach(older, ctx);
        }
        self.resized_by_clients(ctx);
        self.check_flow(ctx);
        let attachment = Attachment::new(&ctx.address(), connection);
        Ok(Attached { attachment, view: self.handle.view() })
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
        if self.clients.take_control(take.connection, &self.handle) {
            self.resized_by_clients(ctx);
        }
    }
}

impl Handler<Looking> for Session {
    type Result = ();

    fn handle(&mut self, Looking { connection, looking }: Looking, ctx: &mut Self::Context) {
        self.clients.look(connection, looking);
        if !self.record.has_ended() {
            self.show_clients(ctx);
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
            // An administrator's size counts at once, until a client's next change.
            None => {
                self.apply_or_log(Event::Used, ctx);
                self.sizing.forget();
                self.timers.set(Timer::Size, None, ctx);
                self.set_size(size);
            }
            Some(connection) if self.clients.resize(connection, size, &self.handle) => {
                self.resized_by_clients(ctx);
            }
            Some(_) => {}
        }
        Ok(())
    }
}

impl Handler<Use> for Session {
    type Result = ();

    fn handle(&mut self, used: Use, ctx: &mut Self::Context) {
        self.apply_or_log(Event::Used, ctx);
        self.uses.count(used);
        self.timers.set(Timer::Use, self.uses.push_after(), ctx);
    }
}

impl Handler<Noticed> for Session {
    type Result = ();

    fn handle(&mut self, noticed: Noticed, ctx: &mut Self::Context) {
        match noticed {
            Noticed::Output => self.check_flow(ctx),
            Noticed::Exited => {
                if let Some(exit) = self.handle.ring().ended() {
                    self.leader_ended(exit, ctx);
                }
            }
            Noticed::Rewrite => {
                // Where the record says something else, the terminal is right.
                if let Some((cols, rows)) = self.handle.ring().size() {
                    (self.record.row.session.cols, self.record.row.session.rows) = (cols, rows);
                }
                self.save();
            }
            Noticed::Lost => self.lost(ctx),
            Noticed::ClockJumped => self.apply_or_log(Event::ClockJumped, ctx),
        }
    }
}

impl Handler<Seen> for Session {
    type Result = ();

    fn handle(&mut self, Seen(told): Seen, ctx: &mut Self::Context) {
        if !told.again && !self.record.is_ending() {
            self.note_typed();
            told.events.iter().for_each(|event| self.attending.seen(event));
        }
        let news = self.notifications.seen(&mut self.record.row.session, told);
        self.tell_news(news, Timer::Title, ctx);
        self.tell_attention(ctx);
    }
}

impl Handler<Report> for Session {
    type Result = Result<Option<Older>, Refused>;

    fn handle(&mut self, report: Report, ctx: &mut Self::Context) -> Self::Result {
        if let Some(refused) = self.record.too_late() {
            return Err(refused);
        }
        self.note_typed();
        let Report { report, reporter } = report;
        if report.state == AttentionState::Unknown
            && let Some(after) = self.attending.heard_output()
        {
            self.timers.set(Timer::Look, Some(after), ctx);
        }
        let process = self.record.row.process.as_ref();
        let older = self.attending.report(report, process, reporter).err();
        self.tell_attention(ctx);
        Ok(older)
    }
}

impl Handler<Kill> for Session {
    type Result = ResponseFuture<Result<Killed, NotDone>>;

    fn handle(&mut self, kill: Kill, ctx: &mut Self::Context) -> Self::Result {
        if let Err(changed) = self.check(kill.expected.as_ref()) {
            return refuse(changed);
        }
        if self.record.cancel_restart() && self.record.too_late() == Some(Refused::Ending) {
            self.save();
        }
        self.kill(kill.cause, ctx)
    }
}

impl Handler<StopForRestart> for Session {
    type Result = ResponseFuture<Result<Killed, NotDone>>;

    fn handle(&mut self, end: StopForRestart, ctx: &mut Self::Context) -> Self::Result {
        if let Err(changed) = self.check(end.expected.as_ref()) {
            return refuse(changed);
        }
        if self.record.ask_restart(now()) && self.record.is_ending() {
            self.save();
        }
        self.kill(end.cause, ctx)
    }
}

impl Handler<Signal> for Session {
    type Result = ResponseFuture<Result<(), SignalError>>;

    fn handle(&mut self, signal: Signal, ctx: &mut Self::Context) -> Self::Result {
        self.apply_or_log(Event::Used, ctx);
        let (event, cause) = (Event::SignalRequested(signal.signal), signal.cause.clone());
        if let Err(refused) = self.apply(event, cause, ctx) {
            return refuse(refused);
        }
        let (holder, log) = (self.context.holder.clone(), self.context.log.clone());
        Box::pin(processes::send(signal, self.context.tree(&self.record), holder, log))
    }
}

impl Handler<Patch> for Session {
    type Result = ResponseFuture<Result<protocol::Session, NotDone>>;

    fn handle(&mut self, patch: Patch, ctx: &mut Self::Context) -> Self::Result {
        if let Err(refused) = self.change(patch, ctx) {
            return refuse(refused);
        }
        self.context.leave_with_holder(&self.record);
        // The holder may have no room for all of it, so the answer waits for the row.
        let written = self.context.store.commit_or_queue(self.record.unchanged());
        let view = self.handle.view();
        Box::pin(async move {
            // A row that cannot be written now is written later, and the view shows it meanwhile.
            let _ = written.await;
            Ok(view)
        })
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
        if let Some(exit) = self.handle.ring().ended().filter(|_| !self.record.has_ended()) {
            self.leader_ended(exit, ctx);
        }
        // Clients of what has ended have nothing to come back for: they get the rest of the
        // output and the exit, now or once the end is written. The server waits for them for
        // as long as it waits for anybody.
        if self.record.has_ended() {
            return;
        }
        let going = ConnectionEvent::Close(CloseCode::GoingAway, "the server is stopping");
        self.clients.tell_all(&going);
        for connection in self.clients.left_by_server() {
            self.detach(connection, ctx);
        }
        self.stopping = true;
    }
}
