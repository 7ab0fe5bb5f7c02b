//! From what somebody typed to a session: a name, an id, or the beginning of one.

use super::client::Client;
use super::failure::Failure;
use crate::id::SessionId;
use crate::protocol::Session;

/// The session that a word means. A full id need not be alive; anything else must.
pub(super) async fn resolve(client: &Client, word: &str) -> Result<SessionId, Failure> {
    match word.parse() {
        Ok(id) => Ok(id),
        Err(_) => pick(&client.sessions(false).await?, word),
    }
}

/// The same where an ended one will do: the live ones go first, then the newest.
pub(super) async fn resolve_any(client: &Client, word: &str) -> Result<SessionId, Failure> {
    match resolve(client, word).await {
        Err(Failure::NoSuchSession(_)) => pick(&client.sessions(true).await?, word),
        found => found,
    }
}

/// Chooses among sessions: a name goes before the beginning of an id.
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
