//! A session's JSON, and the request that creates one.

use super::time::{millis, millis_or_null, rfc3339};
use super::{Attention, IdleWhen, Mode, Recording, RestartPolicy, SIZE_MAX, Signs, SizePolicy};
use crate::id::SessionId;
use crate::lifecycle::{EndReason, Status};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Close codes of WebSockets; the reason text says whether to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1000: the session has ended.
    Ended,
    /// 1001: the server is stopping; reconnect.
    GoingAway,
    /// 1002: the client violated the WebSocket protocol.
    ProtocolError,
    /// 1008: the request is not allowed.
    NotAllowed,
    /// 1009: a frame was too long, or the input window was exceeded.
    TooMuch,
    /// 4404: no such session; do not retry.
    NoSuchSession,
    /// 4409: another connection of this client has taken over; do not retry.
    TakenOver,
    /// 4410: the session is ending or has ended; do not retry.
    Gone,
}

impl CloseCode {
    /// The code on the wire (RFC 6455, section 7.4).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            CloseCode::Ended => 1000,
            CloseCode::GoingAway => 1001,
            CloseCode::ProtocolError => 1002,
            CloseCode::NotAllowed => 1008,
            CloseCode::TooMuch => 1009,
            CloseCode::NoSuchSession => 4404,
            CloseCode::TakenOver => 4409,
            CloseCode::Gone => 4410,
        }
    }
}

/// A session as clients and administrators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// UUID v7.
    pub id: SessionId,
    /// Unique among live sessions.
    pub name: Option<String>,
    /// The profile that named the command, if one did.
    pub profile: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Directory in which the command was started.
    pub cwd: String,
    /// The session's status.
    pub status: Status,
    /// Attached clients.
    pub active_connections: u32,
    /// When the session was requested.
    #[serde(serialize_with = "millis")]
    pub created_at: DateTime<Utc>,
    /// When its program was started, at its creation or at its last restart.
    #[serde(default, serialize_with = "millis_or_null")]
    pub started_at: Option<DateTime<Utc>>,
    /// When its row was last written.
    #[serde(serialize_with = "millis")]
    pub updated_at: DateTime<Utc>,
    /// Last input, output, attach or detach.
    #[serde(serialize_with = "millis")]
    pub last_activity_at: DateTime<Utc>,
    /// When it will be destroyed unless somebody attaches.
    #[serde(serialize_with = "millis_or_null")]
    pub destroy_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(serialize_with = "millis_or_null")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// Exit code of the leader, if it exited.
    pub exit_code: Option<i32>,
    /// Signal that ended the leader, if one did.
    pub exit_signal: Option<i32>,
    /// Process id of the leader.
    pub pid: Option<i32>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Seconds from the last client's detaching to destruction; null means never.
    pub idle_timeout_s: Option<u64>,
    /// The timeout that a session had which is now kept for good; null: it is not, or was so from the
    /// start.
    #[serde(default)]
    pub idle_timeout_before_s: Option<u64>,
    /// What counts as idle.
    #[serde(default)]
    pub idle_when: IdleWhen,
    /// Seconds in which the first client must attach; null means no limit.
    pub first_attach_timeout_s: Option<u64>,
    /// Labels, which administrators choose freely.
    pub labels: BTreeMap<String, String>,
    /// Window title, once a program has set one.
    pub title: Option<String>,
    /// Bytes of output printed so far.
    pub offset: u64,
    /// The state that its program has reported to the terminal.
    #[serde(flatten)]
    pub signs: Signs,
    /// What its program is doing, and whether it needs somebody.
    #[serde(default)]
    pub attention: Attention,
    /// The policy for the terminal's size.
    #[serde(default)]
    pub size_policy: SizePolicy,
    /// The policy for starting its command again when it ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// The number of restarts, by request or by policy.
    #[serde(default)]
    pub restarts: u32,
    /// When its command will be started again, if it has ended and a restart is pending.
    #[serde(default, serialize_with = "millis_or_null")]
    pub restart_at: Option<DateTime<Utc>>,
    /// The extent of its recording.
    #[serde(default)]
    pub recording: Recording,
    /// The attached clients.
    #[serde(default)]
    pub clients: Vec<Viewer>,
    /// The machine that it is on, where the server belongs to a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The name of the principal that created it, if one is known.
    #[serde(default)]
    pub owner: Option<String>,
    /// Which token of that name, if it was one: a name is used again, a token is not.
    #[serde(skip)]
    pub owner_token: Option<Uuid>,
    /// Set from the moment its end begins until it has ended.
    #[serde(skip)]
    pub ending: bool,
}

impl Session {
    /// The entity tag (RFC 9110). It changes with everything that an administrator decides by: the
    /// session's name, labels and policies, its status and its end. Output, input, sizes, clients,
    /// `destroy_at` and what the program reports change all the time and do not count. The tag is
    /// the same after a restart of the server. It is made of nothing but fields of the session's JSON
    /// (and of whether it is ending), so that the tag of a session [without its
    /// surroundings](Session::without_surroundings) tells nothing of those.
    #[must_use]
    pub fn tag(&self) -> String {
        let words = (
            (self.id, &self.name, &self.labels, self.status, self.ending),
            (self.idle_timeout_s, self.idle_when, self.first_attach_timeout_s),
            (self.size_policy, self.recording),
            (self.restart, self.restarts, self.restart_at.map(rfc3339)),
            (self.ended_at.map(rfc3339), self.end_reason, self.exit_code, self.exit_signal),
        );
        // Strings, numbers and sorted maps of them cannot fail to be written.
        let words = serde_json::to_string(&words).unwrap_or_default();
        Uuid::new_v5(&Uuid::NAMESPACE_OID, words.as_bytes()).to_string()
    }

    /// What a share link shows of the session.
    #[must_use]
    pub fn without_surroundings(mut self) -> Session {
        self.command.clear();
        self.cwd.clear();
        self.labels.clear();
        self.pid = None;
        (self.owner, self.owner_token) = (None, None);
        self.profile = None;
        self.signs.cwd_now = None;
        if let Some(shell) = &mut self.signs.shell {
            shell.command = None;
        }
        self.attention.message = None;
        self.clients.iter_mut().for_each(Viewer::hide_name);
        self
    }

    /// A new session without attached clients.
    #[must_use]
    pub fn begun(id: SessionId, now: DateTime<Utc>) -> Self {
        Session {
            id,
            name: None,
            profile: None,
            command: Vec::new(),
            cwd: "/".to_owned(),
            status: Status::Running,
            active_connections: 0,
            created_at: now,
            started_at: None,
            updated_at: now,
            last_activity_at: now,
            destroy_at: None,
            ended_at: None,
            end_reason: None,
            exit_code: None,
            exit_signal: None,
            pid: None,
            cols: 80,
            rows: 24,
            idle_timeout_s: None,
            idle_timeout_before_s: None,
            idle_when: IdleWhen::default(),
            first_attach_timeout_s: None,
            labels: BTreeMap::new(),
            title: None,
            offset: 0,
            signs: Signs::default(),
            attention: Attention::unknown(now),
            size_policy: SizePolicy::default(),
            restart: RestartPolicy::default(),
            restarts: 0,
            restart_at: None,
            recording: Recording::default(),
            clients: Vec::new(),
            owner: None,
            node: None,
            owner_token: None,
            ending: false,
        }
    }
}

/// One row of a session's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The entry's number, which counts up over all sessions.
    pub seq: i64,
    /// The session.
    pub session_id: SessionId,
    /// The time of the transition.
    #[serde(serialize_with = "millis")]
    pub at: DateTime<Utc>,
    /// The status before; null for the creation.
    pub from_status: Option<Status>,
    /// The new status.
    pub to_status: Status,
    /// The cause: `created`, `attached`, `detached`, `restarted`, or an end reason.
    pub reason: String,
    /// The number of clients attached after it.
    pub active_connections: u32,
    /// The principal who requested it, by the name of the token; null if nobody did.
    pub caused_by: Option<String>,
    /// The address of that principal's client.
    pub address: Option<String>,
}

impl Transition {
    /// Takes away who asked for it.
    pub fn hide_cause(&mut self) {
        (self.caused_by, self.address) = (None, None);
    }
}

/// The client behind a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// The name of the client's token.
    pub token: String,
    /// Which token of that name, if it is one. It is not kept with the causes of what was done.
    #[serde(skip)]
    pub token_id: Option<Uuid>,
    /// The client's address, if it is known.
    pub address: Option<String>,
}

/// Body of `POST /api/v1/sessions`. Every member may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    /// Unique among live sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The machine of the fleet to start on, or `any`. Missing: the one that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Labels that the machine must have; they mean `any`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: BTreeMap<String, String>,
    /// A profile of the settings; default: `shell`, unless a command is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Program and arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Directory to start in; default: the home directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables added to the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Columns, 1–1000; default 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cols: Option<u16>,
    /// Rows, 1–1000; default 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u16>,
    /// Seconds from the last client's detaching to destruction. Missing: the server's default;
    /// null: never destroyed.
    #[serde(default, with = "present", skip_serializing_if = "Option::is_none")]
    pub idle_timeout_s: Option<Option<u64>>,
    /// What counts as idle. Missing: the profile's, or the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_when: Option<IdleWhen>,
    /// Seconds in which the first client must attach. Missing or null: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_attach_timeout_s: Option<u64>,
    /// Labels, which administrators choose freely.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The policy for the terminal's size. Missing: the profile's, or `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_policy: Option<SizePolicy>,
    /// The policy for restarts. Missing: the profile's, or `never`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// The extent of the recording. Missing: the profile's, or `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
    /// Whether the client is about to attach to this session at offset 0. Output beyond the ring
    /// then waits for it, up to 3 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_client: Option<bool>,
}

/// An attached client, as the others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewer {
    /// The client's name.
    pub client: String,
    /// Its mode.
    pub mode: Mode,
    /// Columns of its own terminal, if it has reported them.
    #[serde(default)]
    pub cols: Option<u16>,
    /// Rows of its own terminal, if it has reported them.
    #[serde(default)]
    pub rows: Option<u16>,
    /// Whether it was the last to type or attach. With the policy `latest` the terminal has its
    /// size.
    #[serde(default)]
    pub controller: bool,
    /// Whether somebody is looking at it, as far as the client says: its window may be behind others.
    /// An older server omits it.
    #[serde(default = "yes")]
    pub looking: bool,
}

fn yes() -> bool {
    true
}

impl Viewer {
    /// Takes the client's name away, for those who are to see that it is there and not who it is.
    pub fn hide_name(&mut self) {
        "somebody".clone_into(&mut self.client);
    }
}

/// Checks that both sides accept a terminal of this size.
///
/// # Errors
/// The number that is out of 1–1000.
pub fn check_size(cols: u32, rows: u32) -> Result<(u16, u16), String> {
    let check = |what: &str, n: u32| match u16::try_from(n) {
        Ok(n) if (1..=SIZE_MAX).contains(&n) => Ok(n),
        _ => Err(format!("{what} must be 1 to {SIZE_MAX}, not {n}")),
    };
    Ok((check("cols", cols)?, check("rows", rows)?))
}

/// The longest timeout in seconds: times in SQLite and on timers are signed milliseconds.
pub const TIMEOUT_MAX_S: u64 = i64::MAX as u64 / 1000;

/// Checks a timeout, so that a row has the same one after a restart.
///
/// # Errors
/// It is too long.
pub fn check_timeout(field: &str, seconds: Option<u64>) -> Result<(), String> {
    match seconds {
        Some(seconds) if seconds > TIMEOUT_MAX_S => {
            Err(format!("{field} must be at most {TIMEOUT_MAX_S}, or null"))
        }
        _ => Ok(()),
    }
}

/// Distinguishes a missing field from one that is null.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Option<u64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<u64>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_missing_timeout_is_not_a_null_one() {
        let parse = |text| serde_json::from_str::<CreateSession>(text).unwrap().idle_timeout_s;
        assert_eq!(parse("{}"), None);
        assert_eq!(parse(r#"{"idle_timeout_s":null}"#), Some(None));
        assert_eq!(parse(r#"{"idle_timeout_s":5}"#), Some(Some(5)));
    }

    #[test]
    fn sizes_have_bounds() {
        assert_eq!(check_size(80, 24), Ok((80, 24)));
        assert!(check_size(0, 24).is_err());
        assert!(check_size(80, 70_000).unwrap_err().contains("rows"));
    }

    #[test]
    fn a_tag_changes_with_what_is_decided_by_and_with_nothing_else() {
        let now = Utc::now();
        let session = Session::begun(SessionId::generate(), now);
        let tag = session.tag();
        let later = now + TimeDelta::seconds(1);
        let changes: [fn(&mut Session); 8] = [
            |session| session.name = Some("a".into()),
            |session| drop(session.labels.insert("k".into(), "v".into())),
            |session| session.status = Status::Idle,
            |session| session.idle_timeout_s = Some(1),
            |session| session.idle_when = IdleWhen::DetachedAndQuiet,
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

    #[test]
    fn a_tag_without_surroundings_tells_nothing_of_them() {
        let session = Session::begun(SessionId::generate(), Utc::now());
        let tag = |session: &Session| session.clone().without_surroundings().tag();
        let mut labelled = session.clone();
        labelled.labels.insert("team".into(), "secret".into());
        labelled.command = vec!["secret".into()];
        labelled.profile = Some("secret".into());
        assert_eq!(tag(&labelled), tag(&session));
        assert_ne!(labelled.tag(), session.tag());
        labelled.name = Some("shown".into());
        assert_ne!(tag(&labelled), tag(&session));
    }
}
