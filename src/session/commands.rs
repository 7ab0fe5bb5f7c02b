//! What administrators ask of a session: its end, a restart, signals, changes.

use super::actor::Session;
use super::effects::now;
use super::requests::{
    Kill, Killed, NotDone, Patch, Signal, SignalError, SignalTarget, StopForRestart,
};
use crate::events::Kind;
use crate::lifecycle::{Event, Refused};
use crate::protocol::{self, Cause};
use crate::store::Change;
use actix::prelude::*;
use serde_json::json;
use slog::warn;
use tokio::sync::oneshot;

impl Handler<Kill> for Session {
    type Result = ResponseFuture<Result<Killed, NotDone>>;

    fn handle(&mut self, kill: Kill, ctx: &mut Self::Context) -> Self::Result {
        if let Err(changed) = self.check(kill.expected.as_ref()) {
            return Box::pin(async move { Err(changed) });
        }
        // Whoever wants it gone does not want it back.
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
            return Box::pin(async move { Err(changed) });
        }
        // Who asks last decides whether it stays ended; what has ended, its registry starts.
        if self.record.ask_restart(now()) && self.record.is_ending() {
            self.save();
        }
        self.kill(end.cause, ctx)
    }
}

impl Session {
    fn kill(
        &mut self,
        cause: Option<Cause>,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<Killed, NotDone>> {
        if self.end_told {
            return Box::pin(async { Err(Refused::Ended.into()) });
        }
        let (tell, told) = oneshot::channel();
        self.waiting_for_end.push(tell);
        if !self.record.is_ending()
            && let Err(refused) = self.step(Event::KillRequested, cause, ctx)
        {
            return Box::pin(async move { Err(refused.into()) });
        }
        Box::pin(async move { told.await.map_err(|_| Refused::Ended.into()) })
    }
}

impl Handler<Signal> for Session {
    type Result = ResponseFuture<Result<(), SignalError>>;

    fn handle(&mut self, request: Signal, ctx: &mut Self::Context) -> Self::Result {
        self.used(ctx);
        let event = Event::SignalRequested(request.signal);
        if let Err(refused) = self.step(event, request.cause, ctx) {
            return Box::pin(async move { Err(refused.into()) });
        }
        let (holder, tree, id) = (self.context.holder.clone(), self.tree(), self.link.id());
        let log = self.context.log.clone();
        Box::pin(async move {
            match request.to {
                SignalTarget::Foreground => holder.signal(id, request.signal).await?,
                SignalTarget::Tree => {
                    let result =
                        actix_web::rt::task::spawn_blocking(move || tree.signal(request.signal));
                    if let Err(error) = result.await {
                        warn!(log, "signalling a tree failed"; "session" => %id, "error" => %error);
                    }
                }
            }
            Ok(())
        })
    }
}

impl Handler<Patch> for Session {
    type Result = ResponseFuture<Result<protocol::Session, NotDone>>;

    fn handle(&mut self, patch: Patch, ctx: &mut Self::Context) -> Self::Result {
        if let Err(refused) = self.change(patch, ctx) {
            return Box::pin(async move { Err(refused) });
        }
        self.keep_in_holder();
        // The holder may have no room for all of it, so the answer waits for the row.
        let change = Change { row: self.record.row.clone(), transition: None };
        let (written, view) = (self.context.store.commit_or_queue(change), self.link.view());
        Box::pin(async move {
            // What cannot be written now will be, and whoever looks meanwhile sees it.
            let _ = written.await;
            Ok(view)
        })
    }
}

impl Session {
    fn change(&mut self, patch: Patch, ctx: &mut Context<Self>) -> Result<(), NotDone> {
        if self.record.has_ended() {
            return Err(Refused::Ended.into());
        }
        self.check(patch.expected.as_ref())?;
        let old = self.record.row.session.clone();
        if let Some(name) = patch.name {
            self.record.row.session.name = name;
        }
        if let Some(labels) = patch.labels {
            self.record.row.session.labels = labels;
        }
        if let Some(idle_timeout_s) = patch.idle_timeout_s {
            self.record.row.session.idle_timeout_s = idle_timeout_s;
            self.step(Event::IdleTimeoutChanged(idle_timeout_s), None, ctx)?;
        }
        if let Some(policy) = patch.size_policy {
            self.record.row.session.size_policy = policy;
            self.adapt(ctx);
        }
        if let Some(restart) = patch.restart {
            self.record.row.session.restart = restart;
        }
        // Whoever hears of it and looks must find it.
        self.refresh_row();
        let now = &self.record.row.session;
        let decided = |session: &protocol::Session| {
            json!({
                "labels": session.labels,
                "idle_timeout_s": session.idle_timeout_s,
                "size_policy": session.size_policy,
                "restart": session.restart,
            })
        };
        let (renamed, decided, before) = (now.name != old.name, decided(now), decided(&old));
        if renamed {
            self.tell(Kind::Renamed, json!({ "old_name": old.name }));
        }
        if decided != before {
            self.tell(Kind::Changed, decided);
        }
        Ok(())
    }
}
