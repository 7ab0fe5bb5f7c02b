//! Resolves an argument to a session: a name, an id, or the beginning of one.

use super::client::{Client, read};
use super::ended::how;
use super::failure::Failure;
use super::table::span;
use crate::id::SessionId;
use crate::protocol::{Session, Transition};
use chrono::{DateTime, Utc};
use std::cmp::Reverse;

/// The session that an argument names. A full id may be of an ended session; a name or a beginning
/// must be of a live one.
///
/// # Errors
/// An ended session's failure says how it ended.
pub(super) async fn resolve(client: &Client, word: &str) -> Result<SessionId, Failure> {
    match find(client, word).await? {
        (_, Some(how)) => Err(Failure::Ended { word: word.into(), how }),
        (id, None) => Ok(id),
    }
}

/// The session that an argument names, live or ended: live ones take precedence, then the newest.
pub(super) async fn resolve_any(client: &Client, word: &str) -> Result<SessionId, Failure> {
    find(client, word).await.map(|(id, _)| id)
}

/// The live session to which somebody was attached last, or which was started since. `here` is the
/// session that this command runs in, which is not meant.
pub(super) async fn used_last(
    client: &Client,
    here: Option<SessionId>,
) -> Result<SessionId, Failure> {
    let mut live = client.sessions(false).await?;
    live.retain(|session| Some(session.id) != here);
    // Output is activity, too, so that the activity is the latest that the use can be.
    live.sort_by_key(|session| Reverse(session.last_activity_at));
    let mut last: Option<(DateTime<Utc>, SessionId)> = None;
    for session in live {
        if last.is_some_and(|(at, _)| session.last_activity_at <= at) {
            break;
        }
        let history = client.transitions(&session.id.to_string()).await?;
        let used = read::<Vec<Transition>>(&history["transitions"])?;
        let used = used.iter().map(|transition| transition.at).max();
        let used = used.unwrap_or(session.created_at);
        if last.is_none_or(|(at, _)| at < used) {
            last = Some((used, session.id));
        }
    }
    last.map(|(_, id)| id).ok_or(Failure::NoSession)
}

/// The ended session that an argument names, the newest of those with this name.
///
/// # Errors
/// The failure of a session that still runs says how to end it.
pub(super) async fn resolve_ended(client: &Client, word: &str) -> Result<SessionId, Failure> {
    if let Ok(id) = word.parse() {
        return Ok(id);
    }
    let (live, ended): (Vec<_>, Vec<_>) =
        client.sessions(true).await?.into_iter().partition(|session| session.status.is_live());
    match pick(&ended, word) {
        Err(Failure::NoSuchSession(_)) if pick(&live, word).is_ok() => {
            Err(Failure::Other(format!("it still runs; `stayd kill {word}` ends it")))
        }
        found => found,
    }
}

/// The session, and how it ended if it has. Ended sessions are requested only if no live one
/// matches.
async fn find(client: &Client, word: &str) -> Result<(SessionId, Option<String>), Failure> {
    if let Ok(id) = word.parse() {
        return Ok((id, None));
    }
    match pick(&client.sessions(false).await?, word) {
        Err(Failure::NoSuchSession(_)) => {
            let all = client.sessions(true).await?;
            let id = pick(&all, word)?;
            // The session may have been started since the first request.
            let ended = all.iter().find(|session| session.id == id && !session.status.is_live());
            Ok((id, ended.map(|session| self::ended(session, Utc::now()))))
        }
        found => found.map(|id| (id, None)),
    }
}

/// Describes how a session ended, and how long ago: "exited 1, 2s ago".
fn ended(session: &Session, now: DateTime<Utc>) -> String {
    let since = session.ended_at.map(|at| format!("{} ago", span(now - at)));
    [how(session), since].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Chooses among sessions: a name takes precedence over the beginning of an id.
fn pick(live: &[Session], word: &str) -> Result<SessionId, Failure> {
    if let Some(named) = live.iter().find(|session| session.name.as_deref() == Some(word)) {
        return Ok(named.id);
    }
    let prefix = word.to_ascii_lowercase();
    let begins = |session: &&Session| session.id.to_string().starts_with(&prefix);
    let found: Vec<_> = live.iter().filter(begins).collect();
    match found[..] {
        _ if word.is_empty() => Err(Failure::Usage("a session's id or name is empty".into())),
        [] => Err(Failure::NoSuchSession(word.into())),
        [one] => Ok(one.id),
        _ => {
            let line = |session: &&Session| match &session.name {
                Some(name) => format!("\n  {} {name}", session.id),
                None => format!("\n  {}", session.id),
            };
            let candidates: String = found.iter().map(line).collect();
            Err(Failure::Usage(format!("{word} is the beginning of several ids:{candidates}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::session;

    #[test]
    fn names_ids_and_beginnings() {
        let live = [
            session("0190d3c0-a1b2-7000-8000-000000000001", Some("web")),
            session("0190d3c0-a1b2-7000-8000-000000000002", None),
            session("0191ffff-a1b2-7000-8000-000000000003", Some("0190")),
        ];
        assert_eq!(pick(&live, "web").unwrap(), live[0].id);
        assert_eq!(pick(&live, "0191").unwrap(), live[2].id);
        assert_eq!(pick(&live, "0191FFFF").unwrap(), live[2].id);
        assert_eq!(pick(&live, "0190").unwrap(), live[2].id, "a name goes before a beginning");
        assert_eq!(pick(&live, &live[1].id.to_string()).unwrap(), live[1].id);
    }

    #[test]
    fn an_end_is_told_with_its_reason_and_age() {
        let mut ended = session("0190d3c0-a1b2-7000-8000-000000000001", Some("web"));
        let now = Utc::now();
        ended.end_reason = Some(crate::lifecycle::EndReason::SpawnFailed);
        ended.exit_code = Some(127);
        ended.ended_at = Some(now - chrono::TimeDelta::seconds(90));
        assert_eq!(super::ended(&ended, now), "not started, 1m ago");
    }

    #[test]
    fn what_is_unknown_or_ambiguous_is_refused() {
        let live = [
            session("0190d3c0-a1b2-7000-8000-000000000001", Some("web")),
            session("0190d3c0-a1b2-7000-8000-000000000002", None),
        ];
        let ambiguous = pick(&live, "0190d").unwrap_err();
        assert_eq!(ambiguous.exit_code(), 2);
        let text = ambiguous.to_string();
        assert!(text.contains("0001 web") && text.contains("0002"), "{text}");
        assert_eq!(pick(&live, "nobody").unwrap_err().exit_code(), 3);
        assert_eq!(pick(&live, "").unwrap_err().exit_code(), 2);
        assert_eq!(pick(&[], "x").unwrap_err().exit_code(), 3);
    }
}
