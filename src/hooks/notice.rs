//! What a hook is told, and whether it is told at all.

use crate::config::{Hook, HookWord};
use crate::events::Event;
use crate::id::SessionId;
use crate::protocol::Session;
use crate::push::message;
use crate::rights::{self, Action, Facts, Principal};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Blocked,
    Done,
    /// `failed`: with the status `ERROR`.
    Ended {
        failed: bool,
    },
}

/// Something that hooks may be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
    pub(super) session: SessionId,
    pub(super) happened: Happened,
    /// Since when it is so: with the session, this is which of all notices it is.
    pub(super) at: String,
    /// Somebody was looking at the session.
    pub(super) looked_at: bool,
    /// Whose session it is.
    whose: Whose,
    /// The session's JSON.
    view: Value,
}

/// The facts that decide for whom a session exists.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Whose {
    owner: Option<String>,
    owner_token: Option<Uuid>,
    labels: BTreeMap<String, String>,
}

impl From<&Session> for Whose {
    fn from(session: &Session) -> Self {
        let (owner, labels) = (session.owner.clone(), session.labels.clone());
        Whose { owner, owner_token: session.owner_token, labels }
    }
}

impl From<&Event> for Whose {
    fn from(event: &Event) -> Self {
        let (owner, labels) = (event.owner.clone(), event.labels.clone());
        Whose { owner, owner_token: event.owner_token, labels }
    }
}

/// The part that a hook takes in a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is about something else.
    Other,
    /// Somebody is looking.
    LookedAt,
    /// The hook is told, under this word.
    Tell(HookWord),
}

impl Notice {
    /// What a session's JSON gives reason to tell; `None`: nothing.
    pub(super) fn of(view: Value, looked_at: bool, whose: Whose) -> Option<Notice> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let session = view["id"].as_str()?.parse().ok()?;
        let attention = &view["attention"];
        let (happened, at) = match (view["status"].as_str()?, attention["state"].as_str()) {
            (status @ ("TERMINATED" | "ERROR"), _) => {
                (Happened::Ended { failed: status == "ERROR" }, text(&view["ended_at"])?)
            }
            (_, Some("blocked")) => (Happened::Blocked, text(&attention["since"])?),
            (_, Some("done")) => (Happened::Done, text(&attention["since"])?),
            _ => return None,
        };
        Some(Notice { session, happened, at, looked_at, whose, view })
    }

    /// Whether the session has ended.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.happened, Happened::Ended { .. })
    }

    /// The same id whoever finds out, and however often it is tried.
    pub(super) fn id(&self) -> Uuid {
        let what = match self.happened {
            Happened::Blocked => "blocked",
            Happened::Done => "done",
            Happened::Ended { .. } => "ended",
        };
        let text = format!("stayd hook {} {what} {}", self.session, self.at);
        Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes())
    }

    /// Brings what changes all the time up to date.
    pub(super) fn update(&mut self, offset: u64, last_activity_at: &str) {
        self.view["offset"] = json!(offset);
        self.view["last_activity_at"] = json!(last_activity_at);
    }

    /// Whether this hook is told.
    pub(super) fn decide(&self, hook: &Hook) -> Decision {
        let (on, view) = (|word| hook.on.contains(&word), &self.view);
        let word = match self.happened {
            Happened::Blocked if on(HookWord::Blocked) => HookWord::Blocked,
            Happened::Done if on(HookWord::Done) => HookWord::Done,
            Happened::Ended { failed: true } if on(HookWord::Error) => HookWord::Error,
            Happened::Ended { .. } if on(HookWord::Ended) => HookWord::Ended,
            _ => return Decision::Other,
        };
        let has = |(key, value): (&String, &String)| view["labels"][key] == value.as_str();
        let is_of_profile =
            hook.profile.as_ref().is_none_or(|profile| view["profile"] == profile.as_str());
        if !is_of_profile || !hook.labels.iter().all(has) {
            Decision::Other
        } else if self.looked_at && !hook.always {
            Decision::LookedAt
        } else {
            Decision::Tell(word)
        }
    }

    /// Under which word browsers are told; `None`: they are not. An end that was asked for, or went well, is
    /// nothing that somebody is called for.
    pub(super) fn push_word(&self) -> Option<HookWord> {
        match self.happened {
            Happened::Blocked => Some(HookWord::Blocked),
            Happened::Done => Some(HookWord::Done),
            Happened::Ended { failed: true } => Some(HookWord::Error),
            Happened::Ended { failed: false } => None,
        }
    }

    /// Whether the session exists for this principal, by the rule of all requests.
    pub(super) fn is_for(&self, principal: &Principal) -> bool {
        let Whose { owner, owner_token, labels } = &self.whose;
        let owner = owner.as_deref();
        let facts = Facts { id: self.session, owner, owner_token: *owner_token, labels };
        rights::decide(principal, Action::Read, Some(facts)) == rights::Decision::Allowed
    }

    /// What browsers are told.
    pub(super) fn message(&self, word: HookWord) -> String {
        message(word.as_str(), &self.at, &self.view)
    }

    /// The JSON of all attempts, which [`body`] completes.
    pub(super) fn payload(&self, word: HookWord) -> String {
        json!({
            "event": word.as_str(),
            "id": self.id(),
            "at": self.at,
            "session": self.view,
            "attention": self.view["attention"],
        })
        .to_string()
    }
}

/// The JSON of one attempt.
pub(super) fn body(payload: &str, attempt: u32) -> String {
    let members = payload.strip_prefix('{').unwrap_or("}");
    format!("{{\"attempt\":{attempt},{members}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HookTarget;
    use crate::lifecycle::Status;
    use crate::protocol::AttentionState;
    use crate::rights::Scope;
    use chrono::Utc;
    use proptest::prelude::*;
    use std::time::Duration;

    fn hook(on: &[HookWord]) -> Hook {
        Hook {
            name: "test".into(),
            key: "test".into(),
            on: on.iter().copied().collect(),
            target: HookTarget::Command(vec!["true".into()]),
            always: false,
            timeout: Duration::from_secs(1),
            labels: BTreeMap::new(),
            profile: None,
        }
    }

    fn session(state: AttentionState, status: Status) -> Session {
        let mut session = Session::begun(SessionId::generate(), Utc::now());
        (session.attention.state, session.status) = (state, status);
        session.labels = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
        session.ended_at = (!status.is_live()).then(Utc::now);
        session
    }

    fn of(state: AttentionState, status: Status, looked_at: bool) -> Option<Notice> {
        let session = session(state, status);
        Notice::of(serde_json::to_value(&session).unwrap(), looked_at, Whose::from(&session))
    }

    fn notice(state: AttentionState, status: Status) -> Option<Notice> {
        of(state, status, false)
    }

    #[test]
    fn an_end_counts_once_under_the_word_that_says_more() {
        let failed = notice(AttentionState::Unknown, Status::Error).unwrap();
        let well = notice(AttentionState::Unknown, Status::Terminated).unwrap();
        let both = hook(&[HookWord::Ended, HookWord::Error]);
        assert_eq!(failed.decide(&both), Decision::Tell(HookWord::Error));
        assert_eq!(well.decide(&both), Decision::Tell(HookWord::Ended));
        assert_eq!(failed.decide(&hook(&[HookWord::Ended])), Decision::Tell(HookWord::Ended));
        assert_eq!(well.decide(&hook(&[HookWord::Error])), Decision::Other);
        let done = hook(&[HookWord::Done]);
        assert_eq!(failed.decide(&done), Decision::Other);
    }

    #[test]
    fn labels_and_the_profile_must_be_those_of_the_session() {
        let blocked = notice(AttentionState::Blocked, Status::Idle).unwrap();
        let mut hook = hook(&[HookWord::Blocked]);
        hook.labels = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
        assert_eq!(blocked.decide(&hook), Decision::Tell(HookWord::Blocked));
        hook.labels.insert("tier".to_owned(), "1".to_owned());
        assert_eq!(blocked.decide(&hook), Decision::Other);
        hook.labels.clear();
        hook.profile = Some("claude".to_owned());
        assert_eq!(blocked.decide(&hook), Decision::Other);
    }

    #[test]
    fn browsers_hear_of_what_exists_for_who_has_subscribed() {
        let blocked = notice(AttentionState::Blocked, Status::Idle).unwrap();
        let of = |scope| Principal { scope, ..Principal::owner() };
        let labels = |team: &str| BTreeMap::from([("team".to_owned(), team.to_owned())]);
        for (scope, hears) in [
            (Scope::All, true),
            (Scope::Own, false),
            (Scope::Sessions(vec![blocked.session]), true),
            (Scope::Sessions(vec![SessionId::generate()]), false),
            (Scope::Labels(labels("web")), true),
            (Scope::Labels(labels("db")), false),
        ] {
            assert_eq!(blocked.is_for(&of(scope.clone())), hears, "{scope:?}");
        }
        let words = [Status::Idle, Status::Error, Status::Terminated]
            .map(|status| notice(AttentionState::Done, status).unwrap().push_word());
        assert_eq!(words, [Some(HookWord::Done), Some(HookWord::Error), None]);
    }

    #[test]
    fn a_body_is_its_payload_and_the_attempt() {
        let done = notice(AttentionState::Done, Status::Active).unwrap();
        let body: Value = serde_json::from_str(&body(&done.payload(HookWord::Done), 3)).unwrap();
        assert_eq!((&body["attempt"], &body["event"]), (&json!(3), &json!("done")));
        assert_eq!(body["attention"], body["session"]["attention"]);
        assert_eq!(body["id"], done.id().to_string());
    }

    proptest! {
        /// Over all events, words, lookers and `always`.
        #[test]
        fn a_hook_is_told_exactly_what_it_asks_for(
            state in prop::sample::select(AttentionState::ALL.to_vec()),
            status in prop::sample::select(Status::ALL.to_vec()),
            words in prop::sample::subsequence(HookWord::ALL.to_vec(), 1..=4),
            looked_at: bool,
            always: bool,
        ) {
            let mut hook = hook(&words);
            hook.always = always;
            let notice = of(state, status, looked_at);
            let wanted = match status {
                Status::Error => words.iter().rev().find(|word| word.is_end()),
                Status::Terminated => words.iter().find(|word| **word == HookWord::Ended),
                _ => words.iter().find(|word| word.as_str() == state.as_str()),
            };
            let decision = notice.map_or(Decision::Other, |notice| notice.decide(&hook));
            prop_assert_eq!(decision, match wanted {
                None => Decision::Other,
                Some(_) if looked_at && !always => Decision::LookedAt,
                Some(word) => Decision::Tell(*word),
            });
        }
    }
}
