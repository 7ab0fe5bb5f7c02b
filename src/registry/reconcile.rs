//! Now and then, what the registry, the holder and the database say of each session is
//! compared. What differs in the same way twice in a row is logged, counted and mended.

use super::actor::Registry;
use super::compare::{Difference, Facts, Known, State, compare};
use super::discover::{self, RestoreError, Sources};
use super::requests::{Mended, Reconcile, Repairs};
use crate::holder::wire::Entry;
use crate::id::SessionId;
use crate::session::{Noticed, now};
use crate::store::{Live, Row, StoreError};
use crate::tree;
use actix::prelude::*;
use slog::warn;
use std::collections::HashMap;
use std::time::Duration;

/// Between two passes. One costs about as much as a listing of all sessions.
pub(super) const EVERY: Duration = Duration::from_secs(30);

/// What a pass is told.
struct Reports {
    held: Vec<Entry>,
    live: Live,
}

/// The rows of sessions that are held and have no live one.
type Others = HashMap<SessionId, Row>;

async fn ask(sources: &Sources) -> Result<Reports, RestoreError> {
    let held = sources.holder.list().await?;
    // Asked last: what was saved until now is in it.
    let live = sources.store.load_live().await?;
    Ok(Reports { held, live })
}

async fn others(sources: &Sources, reports: &Reports) -> Result<Others, StoreError> {
    let live: std::collections::HashSet<_> =
        reports.live.rows.iter().map(|row| row.session.id).collect();
    let mut others = Others::new();
    for entry in reports.held.iter().filter(|entry| !live.contains(&entry.id)) {
        match sources.store.get(entry.id).await {
            Ok(row) => others.extend(row.map(|row| (entry.id, row))),
            // As good as missing: it is written anew.
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(others)
}

impl Registry {
    fn facts(&self, reports: Reports, others: Others) -> Facts {
        let known = |(id, session): (&SessionId, &super::SessionRef)| {
            let (ring, mut state) = (session.link.ring(), State::of(&session.link.view()));
            // The holder knows best which size the terminal has.
            state.size = ring.size().unwrap_or(state.size);
            (*id, Known { state, exited: ring.ended().is_some() })
        };
        let live = reports.live.rows.into_iter().map(|row| (row.session.id, row));
        Facts {
            registry: self.sessions.iter().map(known).collect(),
            held: reports.held.iter().map(|entry| entry.id).collect(),
            rows: live.chain(others).collect(),
            busy: self.busy().collect(),
        }
    }

    /// Sessions whose registry entry, holder and row change one after the other now, or which
    /// have ended and are held until they have been kept for long enough.
    fn busy(&self) -> impl Iterator<Item = SessionId> {
        let unsettled = [&self.starting, &self.sweeping, &self.leaving].into_iter().flatten();
        unsettled.copied().chain(self.ended.held())
    }

    /// One pass; what it mended.
    fn pass(&mut self) -> ResponseActFuture<Self, Vec<Mended>> {
        let sources = self.sources();
        let asked = async move {
            let reports = ask(&sources).await?;
            let others = others(&sources, &reports).await?;
            Ok::<_, RestoreError>((reports, others))
        };
        Box::pin(asked.into_actor(self).then(|answers, registry, _| {
            let facts = match answers {
                Ok((reports, others)) => registry.facts(reports, others),
                Err(error) => {
                    warn!(registry.log, "sessions cannot be compared with what is written of them";
                        "error" => %error);
                    Facts::default()
                }
            };
            let before = std::mem::replace(&mut registry.differences, compare(&facts));
            let lasting: Vec<(SessionId, Difference)> = registry
                .differences
                .iter()
                .filter(|&(id, difference)| before.get(id) == Some(difference))
                .map(|(id, difference)| (*id, difference.clone()))
                .collect();
            registry.mend(lasting, facts)
        }))
    }

    fn mend(
        &mut self,
        lasting: Vec<(SessionId, Difference)>,
        mut facts: Facts,
    ) -> ResponseActFuture<Self, Vec<Mended>> {
        let (mut mended, mut to_adopt, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        let (sources, at) = (self.sources(), now());
        for (id, difference) in lasting {
            let kind = difference.kind();
            warn!(self.log, "a difference is mended"; "session" => %id, "kind" => kind,
                "difference" => %difference);
            self.repairs.count(kind);
            self.differences.remove(&id);
            mended.push(Mended { session: id, kind });
            match difference {
                Difference::Unadopted | Difference::Unforgotten => to_adopt.push(id),
                Difference::Lost => self.notice(id, Noticed::Lost),
                Difference::RowMissing | Difference::RowDiffers { .. } => {
                    self.notice(id, Noticed::Rewrite);
                }
                Difference::ExitUnnoticed => self.notice(id, Noticed::Exited),
                Difference::RowAlone => {
                    alone.extend(facts.rows.remove(&id).map(|row| discover::not_held(row, "", at)));
                }
            }
        }
        let looked_up = async move {
            if to_adopt.is_empty() {
                return Ok(Vec::new());
            }
            let boot_id = tree::boot_id().unwrap_or_default();
            let mut found = Vec::new();
            for held in discover::adopt(&sources).await? {
                let id = held.as_ref().map_or_else(|unusable| unusable.entry.id, |held| held.id);
                if to_adopt.contains(&id) {
                    found.extend(discover::look_up(&sources, id, held, &boot_id, at).await?);
                }
            }
            Ok::<_, RestoreError>(found)
        };
        Box::pin(looked_up.into_actor(self).map(move |found, registry, ctx| {
            let found = found.unwrap_or_else(|error| {
                warn!(registry.log, "what is held cannot be adopted"; "error" => %error);
                Vec::new()
            });
            for found in found.into_iter().chain(alone) {
                // It may have been adopted by another pass meanwhile, or somebody is at it.
                let id = found.id();
                let busy = registry.is_unsettled(id) || registry.ended.is_held(id);
                if !registry.sessions.contains_key(&id) && !busy {
                    registry.bring(found, at, ctx);
                }
            }
            mended
        }))
    }

    fn notice(&self, id: SessionId, noticed: Noticed) {
        if let Some(session) = self.sessions.get(&id) {
            session.addr.do_send(noticed);
        }
    }
}

impl Handler<Reconcile> for Registry {
    type Result = ResponseActFuture<Self, Vec<Mended>>;

    fn handle(&mut self, _: Reconcile, _: &mut Self::Context) -> Self::Result {
        if self.stopping {
            return Box::pin(actix::fut::ready(Vec::new()));
        }
        let restored = self.when_restored();
        Box::pin(restored.into_actor(self).then(|(), registry, _| registry.pass()))
    }
}

impl Repairs {
    fn count(&mut self, kind: &'static str) {
        *self.0.entry(kind).or_default() += 1;
    }
}
