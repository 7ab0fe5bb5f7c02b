//! Subjects of the fleet's messages, and the names in them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name of a machine, in characters.
const NAME_MAX: usize = 63;
/// The longest word for a stream, in characters.
const WORD_MAX: usize = 40;
/// The word in place of a stream's in messages that say that a side lives.
pub(super) const ALIVE: &str = "alive";

/// The name of a machine of the fleet: 1 to 63 of `a-z0-9-`, without `-` at its ends. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

/// What is no name of a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a machine: a name has 1 to {NAME_MAX} lower-case letters, digits and '-', \
     and begins and ends with a letter or digit"
)]
pub struct NotAName(String);

impl NodeName {
    /// Checks a name.
    ///
    /// # Errors
    /// It is none.
    pub fn new(name: &str) -> Result<NodeName, NotAName> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let is_name = !name.is_empty()
            && name.len() <= NAME_MAX
            && name.bytes().all(plain)
            && !name.starts_with('-')
            && !name.ends_with('-');
        // Words that requests have in the place of a name.
        let is_word = ["all", "any"].contains(&name);
        if is_name && !is_word { Ok(NodeName(name.into())) } else { Err(NotAName(name.to_owned())) }
    }

    /// The name of a machine that is called so by its system: the host name's first part, in lower case.
    #[must_use]
    pub fn of_host(host: &str) -> NodeName {
        let first = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let mut name: String = first.chars().map(plain).collect();
        name.truncate(NAME_MAX);
        NodeName::new(name.trim_matches('-')).unwrap_or_else(|_| NodeName("node".into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = NotAName;

    fn from_str(name: &str) -> Result<NodeName, NotAName> {
        NodeName::new(name)
    }
}

/// Which of a stream's ends is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// The machine that opens streams for its clients.
    Edge,
    /// The machine that has the sessions.
    Node,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            End::Edge => "edge",
            End::Node => "node",
        }
    }
}

/// The subject of messages to this end, on machine `to`, from machine `from`, about a stream. A stream's word is its
/// lane at the edge, a dot, and a number that no other stream of that lane has.
pub(super) fn subject(end: End, to: &NodeName, from: &NodeName, stream: &str) -> String {
    format!("stayd.{}.{to}.{from}.{stream}", end.word())
}

/// All messages to a machine that has sessions.
pub(super) fn all_to_node(name: &NodeName) -> String {
    format!("stayd.{}.{name}.>", End::Node.word())
}

/// All messages about the streams of one lane of an edge.
pub(super) fn all_to_lane(name: &NodeName, lane: usize) -> String {
    format!("stayd.{}.{name}.*.{lane}.*", End::Edge.word())
}

/// All messages by which nodes tell an edge that they live.
pub(super) fn all_alive(name: &NodeName) -> String {
    format!("stayd.{}.{name}.*.{ALIVE}", End::Edge.word())
}

/// From whom, and about which stream, a message is that has come to `name`.
pub(super) fn read<'a>(subject: &'a str, end: End, name: &NodeName) -> Option<(NodeName, &'a str)> {
    let rest = subject.strip_prefix("stayd.")?.strip_prefix(end.word())?.strip_prefix('.')?;
    let (from, stream) = rest.strip_prefix(name.as_str())?.strip_prefix('.')?.split_once('.')?;
    let is_plain =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_word = stream.len() <= WORD_MAX && stream.splitn(2, '.').all(is_plain);
    Some((NodeName::new(from).ok()?, stream)).filter(|_| is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "gpu-1", "0", &"x".repeat(NAME_MAX)] {
            assert_eq!(NodeName::new(good).unwrap().as_str(), good);
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", "-a", "a-", "a.b", "A", "é", "a b", "*", ">", "all", "any", &long] {
            assert!(NodeName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_host_has_a_name() {
        for (host, name) in [
            ("Build-1.example.org", "build-1"),
            ("my_mac", "my-mac"),
            ("", "node"),
            ("---", "node"),
            ("all", "node"),
        ] {
            assert_eq!(NodeName::of_host(host).as_str(), name);
        }
    }

    #[test]
    fn subjects_are_read_as_they_are_written() {
        let [a, b] = ["a", "b-1"].map(|name| NodeName::new(name).unwrap());
        let subject = subject(End::Node, &a, &b, "s1");
        assert_eq!(subject, "stayd.node.a.b-1.s1");
        assert_eq!(read(&subject, End::Node, &a), Some((b.clone(), "s1")));
        assert_eq!(read("stayd.node.a.b-1.2.s1", End::Node, &a), Some((b.clone(), "2.s1")));
        assert_eq!(read(&subject, End::Edge, &a), None);
        assert_eq!(read(&subject, End::Node, &b), None);
        let long = format!("stayd.node.a.b.{}", "x".repeat(WORD_MAX + 1));
        for bad in [
            "",
            "stayd.node.a.b",
            "stayd.node.a.b.",
            "stayd.node.a.b.c.",
            "stayd.node.a.b..d",
            "stayd.node.a.b.c.d.e",
            "stayd.node.a.B.c",
            &long,
        ] {
            assert_eq!(read(bad, End::Node, &a), None, "{bad}");
        }
    }
}
