//! Now and then, what the registry, the holder and the database say of each session is
//! compared. What differs in the same way twice in a row is logged, counted and mended.

use super::compare::{Difference, Facts, compare};
use super::discover::{self, Found, RestoreError, Sources};
use crate::id::SessionId;
use crate::lifecycle::Now;
use crate::registry::requests::Repairs;
use crate::store::StoreError;
use crate::tree;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// The interval between two passes. A pass costs about as much as a listing of all sessions.
pub(in crate::registry) const EVERY: Duration = Duration::from_secs(30);

/// Asks the holder and the database, for a comparison with what the registry knows.
pub(in crate::registry) async fn survey(sources: &Sources) -> Result<Facts, RestoreError> {
    let held: HashSet<_> = sources.holder.list().await?.iter().map(|entry| entry.id).collect();
    // Asked last: what was saved until now is in it.
    let live = sources.store.load_live().await?.rows.into_iter();
    let mut rows: HashMap<_, _> = live.map(|row| (row.session.id, row)).collect();
    for &id in &held {
        if rows.contains_key(&id) {
            continue;
        }
        match sources.store.get(id).await {
            Ok(row) => rows.extend(row.map(|row| (id, row))),
            // A row that cannot be read counts as missing and is written anew.
            Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Facts { held, rows, ..Facts::default() })
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
