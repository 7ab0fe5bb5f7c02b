//! Applies what was found: sessions are brought to life, swept up or completed, and differences
//! are mended.

use super::compare::{Difference, Facts, Known, State};
use super::discover::{self, Found};
use super::reconcile::{adopt_missing, survey};
use super::sweep::Swept;
use crate::holder::Held;
use crate::id::SessionId;
use crate::lifecycle::{Event, Now};
use crate::registry::afterlife::{await_restart, forget, keep_ended};
use crate::registry::requests::{Mended, SessionRef};
use crate::registry::retention::forget_recordings;
use crate::registry::table::Registry;
use crate::registry::transit::Way;
use crate::session::{Arrival, Noticed, Record, Revival, log_transition, now};
use crate::store::Row;
use actix::prelude::*;
use slog::{info, warn};
use std::collections::{HashMap, HashSet};

/// Brings to life what was found, and sweeps up the rest; `again` waits to be started.
pub(in crate::registry) fn restore(
    registry: &mut Registry,
    found: Vec<Found>,
    again: Vec<Revival>,
    at: Now,
    ctx: &mut Context<Registry>,
) {
    let (mut held, mut over) = (0, 0);
    for revival in again {
        let id = revival.row.session.id;
        await_restart(registry, revival, !found.iter().any(|found| found.id() == id), ctx);
    }
    for found in found {
        match found {
            Found::Held { .. } => held += 1,
            Found::Ended { .. } => {}
            Found::Over { .. } => over += 1,
        }
        apply(registry, found, at, ctx);
    }
    info!(registry.log, "restored"; "held" => held, "lost" => over);
    registry.restored.send_replace(true);
    forget_recordings(registry, ctx);
}

/// Does with one session what its state asks for.
fn apply(registry: &mut Registry, found: Found, at: Now, ctx: &mut Context<Registry>) {
    match found {
        Found::Held { row, saved, held, news } => {
            if let Some(news) = news {
                registry.store.save(*news);
            }
            registry.admit(Record::restore(row, saved, at), held, Arrival::Restored, ctx);
        }
        Found::Ended { row, exited: true, held } => complete_ended(registry, row, held, ctx),
        Found::Ended { row, exited: false, held } => {
            let sweeper = registry.sweeper.clone();
            registry.transit.begin(Way::Leaving, row.session.id);
            let end = async move {
                sweeper.end_tree(&row).await;
                row
            };
            ctx.spawn(end.into_actor(registry).map(|row, registry, ctx| {
                complete_ended(registry, row, held, ctx);
            }));
        }
        Found::Over { row, saved, event: Event::SpawnFailed }
            if row.session.restart_at.is_some() =>
        {
            let (revival, failed) = Record::undo_start(row, saved, at);
            log_transition(&registry.log, &failed);
            registry.store.save(failed);
            await_restart(registry, revival, true, ctx);
        }
        Found::Over { row, saved, event } => {
            let id = row.session.id;
            registry.transit.begin(Way::Sweeping, id);
            let swept = registry.sweeper.clone().sweep(Record::restore(row, saved, at), event);
            ctx.spawn(swept.into_actor(registry).map(move |swept, registry, ctx| {
                let Swept { revival, forgotten } = swept;
                registry.transit.end(Way::Sweeping, id);
                if let Some(revival) = revival {
                    await_restart(registry, revival, forgotten, ctx);
                }
            }));
        }
    }
}

/// A session whose end is written: its recording and its last screen may not be, and its
/// output may be unread.
fn complete_ended(
    registry: &mut Registry,
    row: Row,
    held: Option<Held>,
    ctx: &mut Context<Registry>,
) {
    let id = row.session.id;
    let Some(held) = held else { return forget(registry, id, ctx) };
    let session = registry.launch(Record::ended(row, now()), held, Arrival::Restored, ctx);
    keep_ended(registry, session);
    registry.transit.end(Way::Leaving, id);
}

/// Runs one pass of reconciliation. Returns what it mended.
pub(in crate::registry) fn reconcile(
    registry: &mut Registry,
) -> ResponseActFuture<Registry, Vec<Mended>> {
    let sources = registry.sources();
    let survey = async move { survey(&sources).await };
    Box::pin(survey.into_actor(registry).then(|survey, registry, _| {
        let facts = match survey {
            Ok(facts) => Facts { registry: known(registry), busy: busy(registry), ..facts },
            Err(error) => {
                warn!(registry.log, "sessions cannot be compared with what is written of them";
                    "error" => %error);
                Facts::default()
            }
        };
        let lasting = registry.reconciliation.lasting(&facts);
        mend(registry, lasting, facts)
    }))
}

fn known(registry: &Registry) -> HashMap<SessionId, Known> {
    let known = |(id, session): (&SessionId, &SessionRef)| {
        let (ring, mut state) = (session.handle.ring(), State::of(&session.handle.view()));
        // The holder knows best which size the terminal has.
        state.size = ring.size().unwrap_or(state.size);
        (*id, Known { state, exited: ring.ended().is_some() })
    };
    registry.sessions.iter().map(known).collect()
}

/// Sessions in transit, and those that have ended and are held until they have been kept for
/// long enough.
fn busy(registry: &Registry) -> HashSet<SessionId> {
    registry.transit.ids().chain(registry.ended.held()).collect()
}

fn mend(
    registry: &mut Registry,
    lasting: Vec<(SessionId, Difference)>,
    mut facts: Facts,
) -> ResponseActFuture<Registry, Vec<Mended>> {
    let (mut mended, mut missing, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    let (sources, at) = (registry.sources(), now());
    for (id, difference) in lasting {
        let kind = difference.kind();
        warn!(registry.log, "a difference is mended"; "session" => %id, "kind" => kind,
            "difference" => %difference);
        mended.push(Mended { session: id, kind });
        match difference {
            Difference::Unadopted | Difference::Unforgotten => missing.push(id),
            Difference::Lost => registry.notice(id, Noticed::Lost),
            Difference::RowMissing | Difference::RowDiffers { .. } => {
                registry.notice(id, Noticed::Rewrite);
            }
            Difference::ExitUnnoticed => registry.notice(id, Noticed::Exited),
            Difference::RowAlone => {
                alone.extend(facts.rows.remove(&id).map(|row| discover::not_held(row, "", at)));
            }
        }
    }
    let adopted = async move { adopt_missing(&sources, &missing, at).await };
    Box::pin(adopted.into_actor(registry).map(move |found, registry, ctx| {
        let found = found.unwrap_or_else(|error| {
            warn!(registry.log, "what is held cannot be adopted"; "error" => %error);
            Vec::new()
        });
        for found in found.into_iter().chain(alone) {
            // Another pass may have adopted it meanwhile, or it is in transit.
            let id = found.id();
            let is_busy = registry.transit.contains(id) || registry.ended.is_held(id);
            if !registry.sessions.contains_key(&id) && !is_busy {
                apply(registry, found, at, ctx);
            }
        }
        mended
    }))
}
