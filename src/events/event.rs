//! One event, as it is published.

use super::id::EventId;
use crate::id::SessionId;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The session was started.
    Created,
    /// Its status changed, and it has not ended.
    Status,
    /// It has ended, and its final record is written or queued.
    Ended,
    /// All that was kept of it has been removed.
    Removed,
    /// Its name changed or was removed.
    Renamed,
    /// An administrator changed its labels, its timeout or a policy.
    Changed,
    /// Its window title changed (OSC 0, 2).
    Title,
    /// The program rang the bell (BEL).
    Bell,
    /// The program sent a notification (OSC 9, 99, 777).
    Notification,
    /// A command began or ended, or a prompt is shown (OSC 133).
    Command,
    /// Its shell changed the directory (OSC 7).
    Cwd,
    /// There was output, and then none for the time that the settings say.
    Quiet,
    /// Its program does something else, or needs somebody.
    Attention,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 13] = [
        Kind::Created,
        Kind::Status,
        Kind::Ended,
        Kind::Removed,
        Kind::Renamed,
        Kind::Changed,
        Kind::Title,
        Kind::Bell,
        Kind::Notification,
        Kind::Command,
        Kind::Cwd,
        Kind::Quiet,
        Kind::Attention,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Created => "session.created",
            Kind::Status => "session.status",
            Kind::Ended => "session.ended",
            Kind::Removed => "session.removed",
            Kind::Renamed => "session.renamed",
            Kind::Changed => "session.changed",
            Kind::Title => "session.title",
            Kind::Bell => "session.bell",
            Kind::Notification => "session.notification",
            Kind::Command => "session.command",
            Kind::Cwd => "session.cwd",
            Kind::Quiet => "session.quiet",
            Kind::Attention => "session.attention",
        }
    }

    /// The kind with this name, with or without `session.` before it.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        let is = |kind: &Kind| {
            let full = kind.as_str();
            full == name || full.strip_prefix("session.") == Some(name)
        };
        Kind::ALL.into_iter().find(is)
    }
}

/// An event of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its position among all events.
    pub id: EventId,
    /// Its kind.
    pub kind: Kind,
    /// The session.
    pub session: SessionId,
    /// The name of the principal that created the session.
    pub owner: Option<String>,
    /// Which token of that name, if it was one.
    pub owner_token: Option<Uuid>,
    /// The session's labels at that time.
    pub labels: BTreeMap<String, String>,
    /// Somebody was looking at one of the session's clients.
    pub looked_at: bool,
    /// The session's JSON at that time, where [`Bus::keep_sessions`](super::Bus::keep_sessions) has asked
    /// for it: of ends and of what programs do.
    pub view: Option<String>,
    /// One line of JSON: `session`, `name`, `at`, and the members of the kind.
    pub data: String,
}

impl Event {
    /// The memory of its texts, in bytes.
    pub(super) fn size(&self) -> usize {
        let labels = self.labels.iter().map(|(key, value)| key.len() + value.len());
        let view = self.view.as_ref().map_or(0, String::len);
        self.data.len() + view + labels.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_both_of_its_names() {
        for kind in Kind::ALL {
            let full = kind.as_str();
            assert_eq!(Kind::named(full), Some(kind));
            assert_eq!(Kind::named(full.strip_prefix("session.").unwrap()), Some(kind));
        }
        assert_eq!(Kind::named("session."), None);
        assert_eq!(Kind::named(""), None);
    }
}
