//! Which machine a request is for, by its path and query.

use crate::id::SessionId;

/// What all paths begin with.
const API: &str = "/api/v1/";
/// The paths that are of one machine: `/api/v1/nodes/{node}/…`.
const NODES: &str = "/api/v1/nodes/";
/// What may be asked of another machine, below `/api/v1/`: what is about sessions. Tokens, logins, backups and
/// what browsers subscribe to are each machine's own.
const OF_SESSIONS: [&str; 6] = ["sessions", "events", "profiles", "shares", "audit", "reconcile"];

/// Whom a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Whoever is asked.
    Here,
    /// The machine of this name; the path, with its query, is the same request there.
    Node { name: String, path: String },
    /// The machine that has this session, as it is known by its id.
    Session(SessionId),
    /// A machine, for what is asked of none but itself.
    NotOfNodes,
}

/// What a path asks of the machine that it names: `/api/v1/nodes/gpu/sessions` asks `/api/v1/sessions`.
pub(in crate::http) fn local_path(path: &str) -> Option<String> {
    let (_, rest) = path.strip_prefix(NODES)?.split_once('/')?;
    let first = rest.split('/').next().unwrap_or_default();
    OF_SESSIONS.contains(&first).then(|| format!("{API}{rest}"))
}

/// Whom a request is for.
pub(super) fn target(path: &str, query: &str) -> Target {
    if let Some((name, _)) = path.strip_prefix(NODES).and_then(|rest| rest.split_once('/')) {
        return match local_path(path) {
            Some(local) => {
                Target::Node { name: name.to_owned(), path: with_query(&encoded(&local), query) }
            }
            None => Target::NotOfNodes,
        };
    }
    if ["/api/v1/events", "/api/v1/profiles", "/mcp"].contains(&path) {
        let is_node = |pair: &&str| pair.starts_with("node=");
        return match query.split('&').find(is_node) {
            Some(pair) => {
                let rest: Vec<&str> = query.split('&').filter(|pair| !is_node(pair)).collect();
                let name = pair.trim_start_matches("node=").to_owned();
                Target::Node { name, path: with_query(path, &rest.join("&")) }
            }
            None if path == "/api/v1/events" => {
                let session = query.split('&').find_map(|pair| pair.strip_prefix("session="));
                let id = session.and_then(|key| key.parse().ok());
                id.map_or(Target::Here, Target::Session)
            }
            None => Target::Here,
        };
    }
    let session = path.strip_prefix("/api/v1/sessions/").or_else(|| {
        let (_, session) = path.strip_prefix("/ws/")?.split_once('/')?;
        Some(session)
    });
    let id = session.and_then(|rest| rest.split('/').next()?.parse().ok());
    id.map_or(Target::Here, Target::Session)
}

/// A path as a request has it. The framework has decoded it, all but `%2F`, `%25` and `%2B`, which stay as they are.
fn encoded(path: &str) -> String {
    let stays = |byte: u8| byte.is_ascii_graphic() && !br##""#<>?\^`{|}"##.contains(&byte);
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match stays(byte) {
            true => text.push(byte.into()),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn with_query(path: &str, query: &str) -> String {
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_whom_it_is_for() {
        let id = SessionId::generate();
        let node = |name: &str, path: &str| Target::Node { name: name.into(), path: path.into() };
        for (path, query, is) in [
            ("/", "", Target::Here),
            ("/api/v1/nodes", "", Target::Here),
            ("/api/v1/sessions", "node=all", Target::Here),
            ("/api/v1/sessions/build", "", Target::Here),
            (&format!("/api/v1/sessions/{id}"), "", Target::Session(id)),
            (&format!("/api/v1/sessions/{id}/attach"), "x=1", Target::Session(id)),
            (&format!("/ws/terminal/{id}"), "", Target::Session(id)),
            (
                "/api/v1/nodes/gpu/sessions/a%2Fb/screen",
                "x=1",
                node("gpu", "/api/v1/sessions/a%2Fb/screen?x=1"),
            ),
            (
                "/api/v1/nodes/gpu/sessions/a b?ü#%25/screen",
                "x=1",
                node("gpu", "/api/v1/sessions/a%20b%3F%C3%BC%23%25/screen?x=1"),
            ),
            ("/api/v1/nodes/gpu/events", "", node("gpu", "/api/v1/events")),
            ("/api/v1/nodes/gpu/tokens", "", Target::NotOfNodes),
            ("/api/v1/nodes/gpu/nodes/gpu/sessions", "", Target::NotOfNodes),
            ("/api/v1/nodes/gpu/", "", Target::NotOfNodes),
            ("/mcp", "a=b&node=gpu", node("gpu", "/mcp?a=b")),
            ("/api/v1/events", "node=gpu", node("gpu", "/api/v1/events")),
            ("/api/v1/events", "", Target::Here),
            ("/api/v1/events", "session=work", Target::Here),
            ("/api/v1/events", &format!("type=x&session={id}"), Target::Session(id)),
            ("/mcp", &format!("session={id}"), Target::Here),
        ] {
            assert_eq!(target(path, query), is, "{path}?{query}");
        }
    }
}
