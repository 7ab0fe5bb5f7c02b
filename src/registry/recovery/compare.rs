//! Registry, holder and rows compared. Pure: facts in, differences out.

use crate::id::SessionId;
use crate::lifecycle::Status;
use crate::protocol::Session;
use crate::store::Row;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The state of a session, as the registry or its row has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct State {
    pub(in crate::registry) status: Status,
    pub(in crate::registry) active_connections: u32,
    pub(in crate::registry) name: Option<String>,
    pub(in crate::registry) pid: Option<i32>,
    /// Columns and rows.
    pub(in crate::registry) size: (u16, u16),
    /// Unix time in milliseconds, as rows have it.
    pub(in crate::registry) destroy_at: Option<i64>,
}

impl State {
    pub(in crate::registry) fn of(session: &Session) -> Self {
        State {
            status: session.status,
            active_connections: session.active_connections,
            name: session.name.clone(),
            pid: session.pid,
            size: (session.cols, session.rows),
            destroy_at: session.destroy_at.map(|at| at.timestamp_millis()),
        }
    }
}

/// A session of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Known {
    pub(in crate::registry) state: State,
    /// Its ring says that the leader has ended and all its output is there.
    pub(in crate::registry) exited: bool,
}

/// All that is known of all sessions at about one moment.
#[derive(Debug, Default)]
pub(in crate::registry) struct Facts {
    pub(in crate::registry) registry: HashMap<SessionId, Known>,
    pub(in crate::registry) held: HashSet<SessionId>,
    /// The rows of live sessions, and those of held ones.
    pub(in crate::registry) rows: HashMap<SessionId, Row>,
    /// Being started or swept, which changes the three one after the other.
    pub(in crate::registry) busy: HashSet<SessionId>,
}

/// A difference between the registry, the holder and the row of one session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::registry) enum Difference {
    /// The holder has the session, whose row is live or missing; the registry does not know it.
    #[error("held, but not known: adopted")]
    Unadopted,
    /// The session's row has ended, but the holder still has the session.
    #[error("ended, but still held: forgotten")]
    Unforgotten,
    /// The registry has the session, the holder does not.
    #[error("known, but not held: ended")]
    Lost,
    /// The session lives and has no row.
    #[error("no row: written again")]
    RowMissing,
    /// The session's row says something else.
    #[error("the row says {row:?}, it is {session:?}: written again")]
    RowDiffers { row: State, session: State },
    /// The session's row is live, but neither the registry nor the holder knows it.
    #[error("a live row without a session: ended")]
    RowAlone,
    /// The leader has ended, and the session has not noticed.
    #[error("its leader has ended: noticed")]
    ExitUnnoticed,
}

impl Difference {
    /// The name in logs and counters.
    pub(in crate::registry) fn kind(&self) -> &'static str {
        match self {
            Difference::Unadopted => "unadopted",
            Difference::Unforgotten => "unforgotten",
            Difference::Lost => "lost",
            Difference::RowMissing => "row_missing",
            Difference::RowDiffers { .. } => "row_differs",
            Difference::RowAlone => "row_alone",
            Difference::ExitUnnoticed => "exit_unnoticed",
        }
    }
}

/// At most one difference a session: the one to be mended first.
pub(in crate::registry) fn compare(facts: &Facts) -> BTreeMap<SessionId, Difference> {
    let ids: BTreeSet<SessionId> = facts
        .registry
        .keys()
        .chain(&facts.held)
        .chain(facts.rows.keys())
        .filter(|id| !facts.busy.contains(id))
        .copied()
        .collect();
    let differs = |id: SessionId| {
        let (known, row) = (facts.registry.get(&id), facts.rows.get(&id));
        one(known, facts.held.contains(&id), row).map(|difference| (id, difference))
    };
    ids.into_iter().filter_map(differs).collect()
}

fn one(known: Option<&Known>, held: bool, row: Option<&Row>) -> Option<Difference> {
    let row_lives = row.is_some_and(|row| row.session.status.is_live());
    let Some(known) = known else {
        return match (held, row) {
            (true, Some(_)) if !row_lives => Some(Difference::Unforgotten),
            (true, _) => Some(Difference::Unadopted),
            (false, _) => row_lives.then_some(Difference::RowAlone),
        };
    };
    if !known.state.status.is_live() {
        // The session is ending, and updates its row and the holder itself.
        return None;
    }
    if !held {
        return Some(Difference::Lost);
    }
    let Some(row) = row else { return Some(Difference::RowMissing) };
    // While its tree is being ended the leader's exit decides nothing.
    if known.exited && row.ending.is_none() {
        return Some(Difference::ExitUnnoticed);
    }
    let (row, session) = (State::of(&row.session), known.state.clone());
    (row != session).then_some(Difference::RowDiffers { row, session })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{EndReason, Ending};
    use chrono::{DateTime, Utc};

    fn state(status: Status) -> State {
        let (name, pid, size, destroy_at) = (None, Some(7), (80, 24), Some(5));
        State { status, active_connections: 0, name, pid, size, destroy_at }
    }

    fn known(status: Status) -> Option<Known> {
        Some(Known { state: state(status), exited: false })
    }

    fn row(status: Status) -> Option<Row> {
        let at = DateTime::<Utc>::from_timestamp_millis(5).unwrap();
        let session = Session {
            command: vec!["cat".to_owned()],
            status,
            destroy_at: Some(at),
            pid: Some(7),
            ..Session::begun(SessionId::generate(), at)
        };
        Some(Row::of(session))
    }

    #[test]
    fn every_combination_has_its_verdict() {
        use Status::{Idle, Terminated};
        let kind = |known: Option<Known>, held, row: Option<Row>| {
            one(known.as_ref(), held, row.as_ref()).map(|difference| difference.kind())
        };
        // (registry, holder, row)
        assert_eq!(kind(known(Idle), true, row(Idle)), None);
        assert_eq!(kind(known(Idle), true, None), Some("row_missing"));
        assert_eq!(kind(known(Idle), true, row(Terminated)), Some("row_differs"));
        assert_eq!(kind(known(Idle), true, row(Status::Active)), Some("row_differs"));
        assert_eq!(kind(known(Idle), false, row(Idle)), Some("lost"));
        assert_eq!(kind(known(Idle), false, None), Some("lost"));
        assert_eq!(kind(None, true, row(Idle)), Some("unadopted"));
        assert_eq!(kind(None, true, None), Some("unadopted"));
        assert_eq!(kind(None, true, row(Terminated)), Some("unforgotten"));
        assert_eq!(kind(None, false, row(Idle)), Some("row_alone"));
        assert_eq!(kind(None, false, row(Terminated)), None);
        for (held, row) in [(true, row(Idle)), (false, row(Idle)), (true, None), (false, None)] {
            assert_eq!(kind(known(Terminated), held, row), None, "it is on its way out");
        }
    }

    #[test]
    fn an_exit_counts_unless_the_tree_is_being_ended() {
        let exited = Known { state: state(Status::Idle), exited: true };
        let mut row = row(Status::Idle).unwrap();
        assert_eq!(one(Some(&exited), true, Some(&row)), Some(Difference::ExitUnnoticed));
        row.ending = Some(Ending { reason: EndReason::Killed, since: row.session.created_at });
        assert_eq!(one(Some(&exited), true, Some(&row)), None);
    }

    #[test]
    fn every_field_of_the_state_is_compared() {
        let spoil: [fn(&mut State); 6] = [
            |state| state.status = Status::Active,
            |state| state.active_connections = 1,
            |state| state.name = Some("other".to_owned()),
            |state| state.pid = Some(8),
            |state| state.size.0 = 81,
            |state| state.destroy_at = None,
        ];
        let row = row(Status::Idle);
        for spoil in spoil {
            let mut known = known(Status::Idle).unwrap();
            spoil(&mut known.state);
            let found = one(Some(&known), true, row.as_ref()).unwrap();
            assert_eq!(found.kind(), "row_differs");
            assert!(found.to_string().contains("destroy_at"), "{found}");
        }
    }

    #[test]
    fn what_is_under_way_is_left_alone() {
        let (busy, other) = (SessionId::generate(), SessionId::generate());
        let facts = Facts { held: [busy, other].into(), busy: [busy].into(), ..Facts::default() };
        assert_eq!(compare(&facts), [(other, Difference::Unadopted)].into());
    }
}
