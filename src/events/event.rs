//! One event, as it is told.

use super::EventId;
use crate::id::SessionId;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session was started.
    Created,
    /// Its status changed, and it goes on.
    Status,
    /// It is over, and its final record written (or queued).
    Ended,
    /// It has another name, or none.
    Renamed,
    /// An administrator has changed its labels, its timeout or a policy.
    Changed,
    /// Its window title changed (OSC 0, 2).
    Title,
    /// It rang (BEL).
    Bell,
    /// It has something to say (OSC 9, 99, 777).
    Notification,
    /// A command began or ended, or a prompt is shown (OSC 133).
    Command,
    /// Its shell is in another directory (OSC 7).
    Cwd,
    /// There was output, and then none for some time.
    Quiet,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::Created,
        Kind::Status,
        Kind::Ended,
        Kind::Renamed,
        Kind::Changed,
        Kind::Title,
        Kind::Bell,
        Kind::Notification,
        Kind::Command,
        Kind::Cwd,
        Kind::Quiet,
    ];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Created => "session.created",
            Kind::Status => "session.status",
            Kind::Ended => "session.ended",
            Kind::Renamed => "session.renamed",
            Kind::Changed => "session.changed",
            Kind::Title => "session.title",
            Kind::Bell => "session.bell",
            Kind::Notification => "session.notification",
            Kind::Command => "session.command",
            Kind::Cwd => "session.cwd",
            Kind::Quiet => "session.quiet",
        }
    }

    /// The one of this name, with `session.` before it or without.
    #[must_use]
    pub fn named(name: &str) -> Option<Kind> {
        let is = |kind: &Kind| {
            let full = kind.as_str();
            full == name || full.strip_prefix("session.") == Some(name)
        };
        Kind::ALL.into_iter().find(is)
    }
}

/// Something that has happened to a session.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events.
    pub id: EventId,
    /// What has happened.
    pub kind: Kind,
    /// To which session.
    pub session: SessionId,
    /// JSON, one line: `session`, `name`, `at`, and what belongs to the kind.
    pub data: String,
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
