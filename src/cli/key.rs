//! A session and the machine that is asked for it: what a verb is about.

use super::failure::Failure;
use crate::id::SessionId;
use crate::protocol::Session;
use std::fmt;

/// Which session is meant. Shown as `ID`, or `NODE/ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The machine of the fleet that has it; `None` where the server itself is asked.
    pub(super) node: Option<String>,
    pub(super) id: SessionId,
}

impl Key {
    /// The session's path in the API.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", sessions(self.node.as_deref()), self.id)
    }

    /// The argument that names the session: its name, or its id where it has none, behind the
    /// machine.
    pub(super) fn word(&self, name: Option<&str>) -> String {
        let own = name.map_or_else(|| self.id.to_string(), str::to_owned);
        word(self.node.as_deref(), &own)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word(None))
    }
}

impl From<SessionId> for Key {
    fn from(id: SessionId) -> Self {
        Key { node: None, id }
    }
}

/// A session of a list, and the machine that has it, where the list tells.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) node: Option<String>,
    pub(super) session: Session,
}

impl Listed {
    pub(super) fn key(&self) -> Key {
        Key { node: self.node.clone(), id: self.session.id }
    }

    /// The argument that names it.
    pub(super) fn word(&self) -> String {
        self.key().word(self.session.name.as_deref())
    }
}

/// The path of a machine's sessions in the API.
pub(super) fn sessions(node: Option<&str>) -> String {
    match node {
        Some(node) => format!("/api/v1/nodes/{node}/sessions"),
        None => "/api/v1/sessions".into(),
    }
}

/// `NODE/NAME`, or the name alone.
pub(super) fn word(node: Option<&str>, name: &str) -> String {
    node.map_or_else(|| name.to_owned(), |node| format!("{node}/{name}"))
}

/// Takes `NODE/NAME` apart. A session's name has no slash, so that the first one is the border.
pub(super) fn parts(word: &str) -> Result<(Option<&str>, &str), Failure> {
    match word.split_once('/') {
        None => Ok((None, word)),
        Some((node, name)) if is_node(node) && !name.contains('/') => Ok((Some(node), name)),
        Some(_) => Err(Failure::NoSuchSession(word.into())),
    }
}

/// Whether a text can be the name of a machine, and stand in a path.
pub(super) fn is_node(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let has_dash_outside = text.starts_with('-') || text.ends_with('-');
    (1..=63).contains(&text.len()) && text.bytes().all(is_inner) && !has_dash_outside
}

/// Parses the name of a machine for a flag; `all` and `any` have the form of one.
pub(super) fn node(text: &str) -> Result<String, String> {
    match is_node(text) {
        true => Ok(text.to_owned()),
        false => Err("a machine's name has small letters, digits and dashes".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_stands_before_the_first_slash() {
        assert_eq!(parts("work").unwrap(), (None, "work"));
        assert_eq!(parts("gpu-1/work").unwrap(), (Some("gpu-1"), "work"));
        assert_eq!(parts("gpu-1/").unwrap(), (Some("gpu-1"), ""));
        let long = format!("{}/work", "x".repeat(64));
        for wrong in ["/work", "-a/work", "a-/work", "A/work", "a.b/work", "a/b/c", "../x", &long] {
            assert_eq!(parts(wrong).unwrap_err().exit_code(), 3, "{wrong}");
        }
        assert_eq!(node("gpu-1").as_deref(), Ok("gpu-1"));
        assert!(node("GPU").is_err() && node("").is_err() && node("a/b").is_err());
    }

    #[test]
    fn a_key_has_a_path_and_a_word() {
        let id = "0190d3c0-a1b2-7000-8000-000000000001";
        let own = Key::from(id.parse::<SessionId>().unwrap());
        assert_eq!(own.path(), format!("/api/v1/sessions/{id}"));
        assert_eq!((own.to_string(), own.word(Some("work"))), (id.into(), "work".into()));
        let there = Key { node: Some("gpu-1".into()), ..own };
        assert_eq!(there.path(), format!("/api/v1/nodes/gpu-1/sessions/{id}"));
        assert_eq!(there.to_string(), format!("gpu-1/{id}"));
        assert_eq!(there.word(Some("work")), "gpu-1/work");
    }
}
