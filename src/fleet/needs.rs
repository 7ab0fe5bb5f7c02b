//! What a member's user in NATS has to be allowed, line for line as docs/fleet/nats-tls.conf grants it, and a
//! subject by which each line can be tried without doing anything.

use crate::relay::NodeName;

/// A kind of request to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Publish,
    Subscribe,
}

/// The members that need a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    Edges,
    Nodes,
}

/// One line of a user's permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) asks: Asks,
    /// The line, for this machine.
    pub(super) grant: String,
    /// A subject that it allows. An empty message to it is heeded by nobody.
    pub(super) tried: String,
    /// Whether the line has the machine's name.
    pub(super) is_of_name: bool,
    /// Whether edges alone need it.
    pub(super) is_of_edges: bool,
}

use Asks::{Publish, Subscribe};
use Who::{Edges, Everybody, Nodes};

/// NAME stands for the machine's; the third is what is tried, where that is not the line itself.
const ALL: [(Who, Asks, &str, &str); 27] = [
    (Everybody, Publish, "stayd.edge.*.NAME.>", "stayd.edge.NAME.NAME.doctor"),
    (Everybody, Publish, "$KV.stayd-nodes.NAME", ""),
    (Everybody, Publish, "$KV.stayd-sessions.NAME.>", "$KV.stayd-sessions.NAME.doctor"),
    (Nodes, Publish, "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.NAME", ""),
    (Edges, Publish, "stayd.node.*.NAME.>", "stayd.node.NAME.NAME.doctor"),
    (Edges, Publish, "$KV.stayd-placements.*", "$KV.stayd-placements.doctor"),
    (Edges, Publish, "$JS.API.INFO", ""),
    (Edges, Publish, "$JS.API.STREAM.CREATE.KV_stayd-nodes", ""),
    (Edges, Publish, "$JS.API.STREAM.CREATE.KV_stayd-sessions", ""),
    (Edges, Publish, "$JS.API.STREAM.CREATE.KV_stayd-placements", ""),
    (Edges, Publish, "$JS.API.STREAM.INFO.KV_stayd-nodes", ""),
    (Edges, Publish, "$JS.API.STREAM.INFO.KV_stayd-sessions", ""),
    (Edges, Publish, "$JS.API.STREAM.INFO.KV_stayd-placements", ""),
    (
        Edges,
        Publish,
        "$JS.API.DIRECT.GET.KV_stayd-nodes.>",
        "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.NAME",
    ),
    (
        Edges,
        Publish,
        "$JS.API.DIRECT.GET.KV_stayd-sessions.>",
        "$JS.API.DIRECT.GET.KV_stayd-sessions.$KV.stayd-sessions.NAME.doctor",
    ),
    (
        Edges,
        Publish,
        "$JS.API.DIRECT.GET.KV_stayd-placements.>",
        "$JS.API.DIRECT.GET.KV_stayd-placements.$KV.stayd-placements.doctor",
    ),
    (Edges, Publish, "$JS.API.CONSUMER.CREATE.KV_stayd-nodes", ""),
    (
        Edges,
        Publish,
        "$JS.API.CONSUMER.CREATE.KV_stayd-nodes.>",
        "$JS.API.CONSUMER.CREATE.KV_stayd-nodes.doctor.$KV.stayd-nodes.>",
    ),
    (Edges, Publish, "$JS.API.CONSUMER.CREATE.KV_stayd-sessions", ""),
    (
        Edges,
        Publish,
        "$JS.API.CONSUMER.CREATE.KV_stayd-sessions.>",
        "$JS.API.CONSUMER.CREATE.KV_stayd-sessions.doctor.$KV.stayd-sessions.>",
    ),
    (
        Edges,
        Publish,
        "$JS.API.CONSUMER.DELETE.KV_stayd-nodes.*",
        "$JS.API.CONSUMER.DELETE.KV_stayd-nodes.doctor",
    ),
    (
        Edges,
        Publish,
        "$JS.API.CONSUMER.DELETE.KV_stayd-sessions.*",
        "$JS.API.CONSUMER.DELETE.KV_stayd-sessions.doctor",
    ),
    (Edges, Publish, "$JS.FC.KV_stayd-nodes.>", "$JS.FC.KV_stayd-nodes.doctor"),
    (Edges, Publish, "$JS.FC.KV_stayd-sessions.>", "$JS.FC.KV_stayd-sessions.doctor"),
    (Everybody, Subscribe, "stayd.node.NAME.>", ""),
    (Everybody, Subscribe, "_INBOX_stayd.NAME.>", ""),
    (Edges, Subscribe, "stayd.edge.NAME.>", ""),
];

/// What a machine needs: an edge, or a node.
pub(super) fn needs(name: &NodeName, is_edge: bool) -> Vec<Need> {
    let not = if is_edge { Nodes } else { Edges };
    let named = |text: &str| text.replace("NAME", name.as_str());
    let all = ALL.iter().filter(|(who, ..)| *who != not);
    all.map(|(who, asks, grant, tried)| Need {
        asks: *asks,
        grant: named(grant),
        tried: named(if tried.is_empty() { grant } else { tried }),
        is_of_name: grant.contains("NAME"),
        is_of_edges: *who == Edges,
    })
    .collect()
}

/// Whether `text`, an error of NATS, refuses this. NATS writes subjects in small letters or as they were sent, by its version.
pub(super) fn is_refused(asks: Asks, subject: &str, text: &str) -> bool {
    let kind = match asks {
        Publish => "publish",
        Subscribe => "subscription",
    };
    let this = format!("{kind} to \"{}\"", subject.to_lowercase());
    text.to_lowercase().contains(&this)
}

impl Need {
    /// Whether `text`, an error of NATS, refuses this need.
    pub(super) fn is_refused_by(&self, text: &str) -> bool {
        is_refused(self.asks, &self.tried, text)
    }

    /// Whether NATS answers when this is tried: with this machine's line, or that there is none, or no bucket.
    pub(super) fn is_answered(&self) -> bool {
        self.tried.starts_with("$JS.API.DIRECT.GET.KV_stayd-nodes.")
    }

    /// The bucket that this would make.
    pub(super) fn makes(&self) -> Option<&str> {
        self.grant.strip_prefix("$JS.API.STREAM.CREATE.KV_")
    }

    /// A remedy for a permission that is missing.
    pub(super) fn advice(&self, is_edge: bool) -> String {
        let (does, list) = match self.asks {
            Publish => ("publish", "publish"),
            Subscribe => ("subscribe", "subscribe"),
        };
        let block = if is_edge { "an edge (desk)" } else { "a node (attic)" };
        format!(
            "this machine's user may not {does} to {}: add {:?} to \"{list}\" of its permissions in NATS, as the \
             block of {block} in docs/fleet/nats-tls.conf has it",
            self.tried, self.grant
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a user's block of the file, with what they are for.
    fn granted(user: &str) -> Vec<(Asks, String)> {
        let file = include_str!("../../docs/fleet/nats-tls.conf");
        let (_, block) = file.split_once(&format!("user: {user}\n")).unwrap();
        let block = block.split("user: ").next().unwrap();
        let (publish, subscribe) = block.split_once("subscribe: [").unwrap();
        let (_, publish) = publish.split_once("publish: [").unwrap();
        let quoted = |asks: Asks, text: &str| -> Vec<(Asks, String)> {
            let lines = text.lines().map(str::trim);
            let lines = lines.filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
            lines.map(|line| (asks, line.to_owned())).collect()
        };
        [quoted(Publish, publish), quoted(Subscribe, subscribe)].concat()
    }

    #[test]
    fn it_is_what_the_documentation_grants_and_nothing_else() {
        for (user, is_edge) in [("desk", true), ("attic", false)] {
            let name = NodeName::new(user).unwrap();
            let needs = needs(&name, is_edge);
            let mut needed: Vec<_> =
                needs.into_iter().map(|need| (need.asks as u8, need.grant)).collect();
            let mut granted: Vec<_> =
                granted(user).into_iter().map(|(asks, line)| (asks as u8, line)).collect();
            needed.sort();
            granted.sort();
            assert!(granted.len() > 5);
            assert_eq!(needed, granted, "{user}");
        }
    }

    #[test]
    fn what_is_tried_is_what_the_line_allows() {
        for need in needs(&NodeName::new("desk").unwrap(), true) {
            let (mut line, mut tried) = (need.grant.split('.'), need.tried.split('.'));
            loop {
                match (line.next(), tried.next()) {
                    (Some(">"), Some(_)) | (None, None) => break,
                    (Some("*"), Some(word)) => assert!(!word.is_empty(), "{need:?}"),
                    (one, other) => assert_eq!(one, other, "{need:?}"),
                }
            }
        }
    }

    #[test]
    fn one_of_them_is_answered() {
        for is_edge in [true, false] {
            let needs = needs(&NodeName::new("desk").unwrap(), is_edge);
            assert_eq!(needs.iter().filter(|need| need.is_answered()).count(), 1);
        }
    }

    #[test]
    fn a_refusal_is_recognized() {
        let need = &needs(&NodeName::new("attic").unwrap(), false)[1];
        for text in [
            "Permissions Violation for Publish to \"$kv.stayd-nodes.attic\"",
            "Permissions Violation for Publish to \"$KV.stayd-nodes.attic\"",
        ] {
            assert!(need.is_refused_by(text));
        }
        assert!(!need.is_refused_by("Permissions Violation for Publish to \"$KV.stayd-nodes\""));
        let advice = need.advice(false);
        assert!(advice.contains("\"$KV.stayd-nodes.attic\"") && advice.contains("a node (attic)"));
    }
}
