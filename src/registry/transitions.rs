//! Transitions of sessions that have no actor.

use crate::id::SessionId;
use crate::lifecycle::{Now, Reason, Status};
use crate::protocol::Cause;
use crate::store::NewTransition;
use slog::{Logger, info};

/// A transition of a session that nobody is attached to: a row to be, and a log line.
pub(super) fn transition(
    log: &Logger,
    id: SessionId,
    at: Now,
    from: Option<Status>,
    to: Status,
    reason: Reason,
) -> NewTransition {
    transition_by(log, id, at, from, to, reason, None)
}

/// The same where somebody asked for it.
pub(super) fn transition_by(
    log: &Logger,
    id: SessionId,
    at: Now,
    from: Option<Status>,
    to: Status,
    reason: Reason,
    cause: Option<Cause>,
) -> NewTransition {
    info!(log, "transition"; "session" => %id, "from" => from.map(Status::as_str),
        "to" => to.as_str(), "reason" => reason.as_str(), "connections" => 0,
        "caused_by" => cause.as_ref().map(|cause| cause.token.clone()),
        "address" => cause.as_ref().and_then(|cause| cause.address.clone()));
    NewTransition {
        at: at.wall,
        from,
        to,
        reason: reason.as_str().to_owned(),
        active_connections: 0,
        cause,
    }
}
