//! A session's entity tag.

use super::Session;
use uuid::Uuid;

impl Session {
    /// Another one once anything has changed that an administrator decides by: what the
    /// session is called and meant to do, its status and its end. Output, input, sizes, who
    /// is attached, `destroy_at` (which whoever uses the session pushes ahead) and what the
    /// program says of itself change all the time and do not count. The same after a restart of the server.
    #[must_use]
    pub fn tag(&self) -> String {
        let words = (
            (self.id, &self.name, &self.labels, self.status, self.ending),
            (self.idle_timeout_s, self.first_attach_timeout_s),
            (self.size_policy, self.recording),
            (self.restart, self.restarts, self.restart_at.map(super::rfc3339)),
            (self.ended_at.map(super::rfc3339), self.end_reason, self.exit_code, self.exit_signal),
        );
        // Strings, numbers and sorted maps of them: nothing that could fail to be written.
        let words = serde_json::to_string(&words).unwrap_or_default();
        Uuid::new_v5(&Uuid::NAMESPACE_OID, words.as_bytes()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use crate::id::SessionId;
    use crate::lifecycle::Status;
    use crate::protocol::Session;
    use chrono::{TimeDelta, Utc};

    #[test]
    fn a_tag_changes_with_what_is_decided_by_and_with_nothing_else() {
        let now = Utc::now();
        let session = Session::begun(SessionId::generate(), now);
        let tag = session.tag();
        let later = now + TimeDelta::seconds(1);
        let changes: [fn(&mut Session); 7] = [
            |session| session.name = Some("a".into()),
            |session| drop(session.labels.insert("k".into(), "v".into())),
            |session| session.status = Status::Idle,
            |session| session.idle_timeout_s = Some(1),
            |session| session.ending = true,
            |session| session.restarts = 1,
            |session| session.exit_code = Some(0),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut other = session.clone();
            change(&mut other);
            assert_ne!(other.tag(), tag, "{n}");
        }
        let same = Session {
            offset: 7,
            updated_at: later,
            last_activity_at: later,
            destroy_at: Some(later),
            title: Some("vim".into()),
            cols: 100,
            active_connections: 2,
            ..session
        };
        assert_eq!(same.tag(), tag);
    }
}
