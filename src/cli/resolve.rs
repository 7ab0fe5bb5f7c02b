//! Resolves an argument to a session: a name, an id, or the beginning of one, behind the name of a
//! machine of the fleet or not (`NODE/NAME`). Without a machine the server's own sessions come
//! first; what it has not is looked for in the fleet.

use super::client::{Client, Of, listed, read};
use super::ended::how;
use super::failure::Failure;
use super::fleet;
use super::key::{Key, Listed, parts};
use super::out;
use super::retry::Retries;
use crate::id::SessionId;
use crate::protocol::{Session, Transition, span};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::cmp::Reverse;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Longer than this the machine of a full id is not asked for, which is found without it, too.
const ASIDE: Duration = Duration::from_secs(2);
/// So many sessions are told to choose among.
const TOLD_MAX: usize = 20;

/// The session that an argument names. A full id may be of an ended session; a name or a beginning
/// must be of a live one.
///
/// # Errors
/// An ended session's failure says how it ended.
pub(super) async fn resolve(client: &Client, word: &str) -> Result<Key, Failure> {
    match find(client, word).await? {
        (_, Some(how)) => Err(Failure::Ended { word: word.into(), how }),
        (key, None) => Ok(key),
    }
}

/// The session that an argument names, live or ended: live ones take precedence, then the newest.
pub(super) async fn resolve_any(client: &Client, word: &str) -> Result<Key, Failure> {
    find(client, word).await.map(|(key, _)| key)
}

/// The live session to which somebody was attached last, or which was started since. `here` is the
/// session that this command runs in, which is not meant. Where the server has none, it is the only one of
/// the other machines.
pub(super) async fn used_last(client: &Client, here: Option<SessionId>) -> Result<Key, Failure> {
    let mut live = client.sessions(false).await?;
    live.retain(|session| Some(session.id) != here);
    // Output is activity, too, so that the activity is the latest that the use can be.
    live.sort_by_key(|session| Reverse(session.last_activity_at));
    let mut last: Option<(DateTime<Utc>, SessionId)> = None;
    for session in live {
        if last.is_some_and(|(at, _)| session.last_activity_at <= at) {
            break;
        }
        let history = client.transitions(&session.id.into()).await?;
        let used = read::<Vec<Transition>>(&history["transitions"])?;
        let used = used.iter().map(|transition| transition.at).max();
        let used = used.unwrap_or(session.created_at);
        if last.is_none_or(|(at, _)| at < used) {
            last = Some((used, session.id));
        }
    }
    match last {
        Some((_, id)) => Ok(id.into()),
        None => only_elsewhere(client, here).await,
    }
}

/// The only session of the other machines that are online. Of several one has to be named: somebody else may
/// work in any of them.
async fn only_elsewhere(client: &Client, here: Option<SessionId>) -> Result<Key, Failure> {
    let Some(fleet) = fleet::of(client).await? else { return Err(Failure::NoSession) };
    let is_online = |listed: &Listed| {
        let node = fleet.nodes.iter().find(|node| Some(&node.name) == listed.node.as_ref());
        node.is_some_and(|node| node.is_online() && !node.is_self)
    };
    let page = client.page(Of::Directory(fleet::ALL), false, None).await?;
    let mut there: Vec<Listed> = page.sessions.iter().map(listed).collect::<Result<_, _>>()?;
    there.retain(|listed| is_online(listed) && Some(listed.session.id) != here);
    match &there[..] {
        [] => Err(Failure::NoSession),
        [only] => {
            out::message(&format!("[no session runs on this server; {} does]", only.word()));
            Ok(only.key())
        }
        _ => {
            let mut words: Vec<_> = there.iter().map(|it| format!("\n  {}", it.word())).collect();
            words.sort();
            let more = words.len().saturating_sub(TOLD_MAX);
            words.truncate(TOLD_MAX);
            if more > 0 {
                words.push(format!("\n  and {more} more: stayd ls --node all"));
            }
            let text = "no session runs on this server; name one of the other machines'";
            Err(Failure::Usage(format!("{text}:{}", words.concat())))
        }
    }
}

/// The ended session that an argument names, the newest of those with this name.
///
/// # Errors
/// The failure of a session that still runs says how to end it.
pub(super) async fn resolve_ended(client: &Client, word: &str) -> Result<Key, Failure> {
    let (node, name) = parts(word)?;
    if let Ok(id) = name.parse() {
        return full_id(client, node, id).await;
    }
    let look = async |of| {
        let all = client.listed(of, true).await?;
        let (live, ended): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|listed| listed.session.status.is_live());
        match pick(&ended, name) {
            Err(Failure::NoSuchSession(_)) if pick(&live, name).is_ok() => {
                Err(Failure::Other(format!("it still runs; `stayd kill {word}` ends it")))
            }
            found => found,
        }
    };
    everywhere(client, node, word, look).await
}

/// The session, and how it ended if it has. Ended sessions are requested only if no live one
/// matches.
async fn find(client: &Client, word: &str) -> Result<(Key, Option<String>), Failure> {
    let (node, name) = parts(word)?;
    if let Ok(id) = name.parse() {
        return Ok((full_id(client, node, id).await?, None));
    }
    let look = async |of| match pick(&client.listed(of, false).await?, name) {
        Err(Failure::NoSuchSession(_)) => {
            let all = client.listed(of, true).await?;
            let key = pick(&all, name)?;
            // The session may have been started since the first request.
            let ended = all.iter().find(|it| it.key() == key && !it.session.status.is_live());
            Ok((key, ended.map(|listed| self::ended(&listed.session, Utc::now()))))
        }
        found => found.map(|key| (key, None)),
    };
    everywhere(client, node, word, look).await
}

/// A session by its whole id, with its machine if that is another one. Whatever is wrong with it, the
/// request that it is wanted for tells.
async fn full_id(client: &Client, node: Option<&str>, id: SessionId) -> Result<Key, Failure> {
    let key = Key { node: node.map(str::to_owned), id };
    if key.node.is_some() {
        return Ok(key);
    }
    let found = timeout(ASIDE, client.get::<Value>(&key)).await;
    let node = found.ok().and_then(Result::ok).and_then(|it| Some(it["node"].as_str()?.to_owned()));
    Ok(Key { node: fleet::elsewhere(client, node).await, id })
}

/// Looks at the machine that is named; where none is, at the server's own sessions, and then at those
/// of the fleet.
async fn everywhere<'a, T>(
    client: &Client,
    node: Option<&'a str>,
    word: &str,
    look: impl AsyncFn(Of<'a>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let none = || Failure::NoSuchSession(word.into());
    let mut retries = Retries::default();
    let first = loop {
        match look(node.map_or(Of::Server, Of::Node)).await {
            // A machine that is not offline yet may be back soon.
            Err(failure) if failure.node_away().is_some() && !failure.is_nobody() => {
                sleep(retries.wait_after(&failure).ok_or(failure)?).await;
            }
            found => break found,
        }
    };
    match first {
        Err(Failure::NoSuchSession(_)) => match (fleet::of(client).await?, node) {
            (Some(_), None) => look(Of::Directory("all")).await,
            (Some(_), Some(_)) | (None, None) => Err(none()),
            (None, Some(node)) => Err(Failure::UnknownNode(format!(
                "the server is in no fleet, or does not tell of it, and knows no machine {node:?}"
            ))),
        },
        found => found,
    }
}

/// Describes how a session ended, and how long ago: "exited 1, 2s ago".
fn ended(session: &Session, now: DateTime<Utc>) -> String {
    let since = session.ended_at.map(|at| format!("{} ago", span(now - at)));
    [how(session), since].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Chooses among sessions: a name takes precedence over the beginning of an id.
fn pick(listed: &[Listed], word: &str) -> Result<Key, Failure> {
    if word.is_empty() {
        return Err(Failure::Usage("a session's id or name is empty".into()));
    }
    let named: Vec<_> =
        listed.iter().filter(|it| it.session.name.as_deref() == Some(word)).collect();
    if let Some(first) = named.first() {
        // On one machine several ended ones may have had the name; the first is the newest.
        if named.iter().all(|it| it.node == first.node) {
            return Ok(first.key());
        }
        let mut words: Vec<_> = named.iter().map(|it| format!("\n  {}", it.word())).collect();
        words.sort();
        words.dedup();
        let candidates = words.concat();
        return Err(Failure::Usage(format!("several machines have a {word}:{candidates}")));
    }
    let prefix = word.to_ascii_lowercase();
    let begins = |it: &&Listed| it.session.id.to_string().starts_with(&prefix);
    let found: Vec<_> = listed.iter().filter(begins).collect();
    match found[..] {
        [] => Err(Failure::NoSuchSession(word.into())),
        [one] => Ok(one.key()),
        _ => {
            let line = |it: &&Listed| match &it.session.name {
                Some(name) => format!("\n  {} {name}", it.key()),
                None => format!("\n  {}", it.key()),
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

    fn listed(node: Option<&str>, id: &str, name: Option<&str>) -> Listed {
        Listed { node: node.map(str::to_owned), session: session(id, name) }
    }

    #[test]
    fn names_ids_and_beginnings() {
        let live = [
            listed(None, "0190d3c0-a1b2-7000-8000-000000000001", Some("web")),
            listed(None, "0190d3c0-a1b2-7000-8000-000000000002", None),
            listed(None, "0191ffff-a1b2-7000-8000-000000000003", Some("0190")),
        ];
        assert_eq!(pick(&live, "web").unwrap(), live[0].key());
        assert_eq!(pick(&live, "0191").unwrap(), live[2].key());
        assert_eq!(pick(&live, "0191FFFF").unwrap(), live[2].key());
        assert_eq!(pick(&live, "0190").unwrap(), live[2].key(), "a name goes before a beginning");
        assert_eq!(pick(&live, &live[1].session.id.to_string()).unwrap(), live[1].key());
    }

    #[test]
    fn a_name_on_several_machines_is_refused_and_their_words_are_told() {
        let all = [
            listed(Some("gpu-2"), "0190d3c0-a1b2-7000-8000-000000000001", Some("web")),
            listed(Some("gpu-1"), "0191d3c0-a1b2-7000-8000-000000000002", Some("web")),
            listed(Some("gpu-1"), "0191d3c0-a1b2-7000-8000-000000000003", Some("web")),
            listed(Some("gpu-1"), "0192d3c0-a1b2-7000-8000-000000000004", Some("db")),
        ];
        let several = pick(&all, "web").unwrap_err();
        assert_eq!(several.exit_code(), 2);
        assert_eq!(several.to_string(), "several machines have a web:\n  gpu-1/web\n  gpu-2/web");
        assert_eq!(pick(&all[1..], "web").unwrap(), all[1].key(), "the newest of one machine");
        assert_eq!(pick(&all, "db").unwrap().node.as_deref(), Some("gpu-1"));
        assert_eq!(pick(&all, "0190").unwrap().node.as_deref(), Some("gpu-2"));
        let several = pick(&all, "019").unwrap_err().to_string();
        assert!(
            several.contains("\n  gpu-2/0190d3c0-a1b2-7000-8000-000000000001 web"),
            "{several}"
        );
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
            listed(None, "0190d3c0-a1b2-7000-8000-000000000001", Some("web")),
            listed(None, "0190d3c0-a1b2-7000-8000-000000000002", None),
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
