//! The changes that the database does not have yet. Of several of one row only the last counts, so that
//! a disk that is full for hours takes no more memory than what there is to deliver.

use crate::id::SessionId;
use crate::store::{DeliveryChange, DeliveryRow, FollowedRow};
use std::collections::BTreeMap;

/// Changes that are written in one transaction.
const AT_ONCE: usize = 500;

/// The changes that are to be written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    deliveries: BTreeMap<i64, DeliveryChange>,
    followed: BTreeMap<SessionId, DeliveryChange>,
}

impl Ledger {
    /// There is a delivery, or it was tried once more.
    pub(super) fn put(&mut self, row: DeliveryRow) {
        self.deliveries.insert(row.seq, DeliveryChange::Put(row));
    }

    /// It is over.
    pub(super) fn remove(&mut self, seq: i64) {
        self.deliveries.insert(seq, DeliveryChange::Remove(seq));
    }

    /// So far is a session followed.
    pub(super) fn follow(&mut self, session: SessionId, since: Option<String>) {
        let row = FollowedRow { session, since };
        self.followed.insert(session, DeliveryChange::Follow(row));
    }

    /// It has ended.
    pub(super) fn unfollow(&mut self, session: SessionId) {
        self.followed.insert(session, DeliveryChange::Unfollow(session));
    }

    /// Takes what is to be written next. The deliveries come first: a crash between two transactions
    /// then makes a delivery of what has one, which has the same id.
    pub(super) fn take(&mut self) -> Vec<DeliveryChange> {
        let mut changes = Vec::new();
        while changes.len() < AT_ONCE
            && let Some((_, change)) = self.deliveries.pop_first()
        {
            changes.push(change);
        }
        while changes.len() < AT_ONCE
            && let Some((_, change)) = self.followed.pop_first()
        {
            changes.push(change);
        }
        changes
    }

    /// Takes back what could not be written. What has come meanwhile is newer.
    pub(super) fn put_back(&mut self, changes: Vec<DeliveryChange>) {
        for change in changes {
            match &change {
                DeliveryChange::Put(DeliveryRow { seq, .. }) | DeliveryChange::Remove(seq) => {
                    self.deliveries.entry(*seq).or_insert(change);
                }
                DeliveryChange::Follow(FollowedRow { session, .. })
                | DeliveryChange::Unfollow(session) => {
                    self.followed.entry(*session).or_insert(change);
                }
                DeliveryChange::Clear => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_row_the_last_change_counts_also_over_a_failure() {
        let (mut ledger, session) = (Ledger::default(), SessionId::generate());
        let row = |attempts| DeliveryRow {
            seq: 1,
            hook: "bell".into(),
            session,
            word: "done".into(),
            event: "e".into(),
            payload: "{}".into(),
            attempts,
        };
        ledger.put(row(0));
        ledger.put(row(1));
        ledger.follow(session, None);
        let taken = ledger.take();
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0], DeliveryChange::Put(row(1)));
        ledger.remove(1);
        ledger.put_back(taken);
        ledger.unfollow(session);
        let last = [DeliveryChange::Remove(1), DeliveryChange::Unfollow(session)];
        assert_eq!(ledger.take(), last);
        assert!(ledger.take().is_empty());
    }
}
