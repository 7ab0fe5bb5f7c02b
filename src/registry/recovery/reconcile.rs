//! Now and then, what the registry, the holder and the database say of each session is
//! compared. What differs in the same way twice in a row is logged, counted and mended.

use super::compare::{Difference, Facts, Known, compare};
use super::discover::{self, Found, RestoreError, Sources};
use crate::holder::wire::Entry;
use crate::id::SessionId;
use crate::lifecycle::Now;
use crate::registry::requests::Repairs;
use crate::store::{Live, Row, StoreError};
use crate::tree;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Between two passes. One costs about as much as a listing of all sessions.
pub(in crate::registry) const EVERY: Duration = Duration::from_secs(30);

/// The holder's and the database's view, to be compared with the registry.
pub(in crate::registry) struct Survey {
    held: Vec<Entry>,
    live: Live,
    /// The rows of sessions that are held and have no live one.
    others: HashMap<SessionId, Row>,
}

/// Asks the holder and the database.
pub(in crate::registry) async fn survey(sources: &Sources) -> Result<Survey, RestoreError> {
    let held = sources.holder.list().await?;
    // Asked last: what was saved until now is in it.
    let live = sources.store.load_live().await?;
    let ids: HashSet<_> = live.rows.iter().map(|row| row.session.id).collect();
    let mut others = HashMap::new();
    for entry in held.iter().filter(|entry| !ids.contains(&entry.id)) {
        match sources.store.get(entry.id).await {
            Ok(row) => others.extend(row.map(|row| (entry.id, row))),
            // A row that cannot be read counts as missing and is written anew.
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Survey { held, live, others })
}

impl Survey {
    /// Together with what the registry knows; `busy` sessions are left alone.
    pub(in crate::registry) fn with(
        self,
        registry: HashMap<SessionId, Known>,
        busy: HashSet<SessionId>,
    ) -> Facts {
        let live = self.live.rows.into_iter().map(|row| (row.session.id, row));
        Facts {
            registry,
            held: self.held.iter().map(|entry| entry.id).collect(),
            rows: live.chain(self.others).collect(),
            busy,
        }
    }
}

/// The differences of the last pass, and the repairs of all passes.
#[derive(Default)]
pub(in crate::registry) struct Reconciliation {
    differences: BTreeMap<SessionId, Difference>,
    repairs: Repairs,
}

impl Reconciliation {
    /// Differences that are as the pass before found them: they are to be mended, and count as
    /// mended.
    pub(in crate::registry) fn lasting(&mut self, facts: &Facts) -> Vec<(SessionId, Difference)> {
        let before = std::mem::replace(&mut self.differences, compare(facts));
        let is_lasting =
            |id: &SessionId, difference: &mut Difference| before.get(id) == Some(&*difference);
        let lasting: Vec<_> = self.differences.extract_if(.., is_lasting).collect();
        for (_, difference) in &lasting {
            *self.repairs.0.entry(difference.kind()).or_default() += 1;
        }
        lasting
    }

    pub(in crate::registry) fn repairs(&self) -> &Repairs {
        &self.repairs
    }
}

/// Sessions that the holder holds and the registry does not know.
pub(in crate::registry) async fn adopt_missing(
    sources: &Sources,
    missing: &[SessionId],
    at: Now,
) -> Result<Vec<Found>, RestoreError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let boot_id = tree::boot_id().unwrap_or_default();
    let mut found = Vec::new();
    for held in discover::adopt(sources).await? {
        let id = held.as_ref().map_or_else(|unusable| unusable.entry.id, |held| held.id);
        if missing.contains(&id) {
            found.extend(discover::look_up(sources, id, held, &boot_id, at).await?);
        }
    }
    Ok(found)
}
