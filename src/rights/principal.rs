//! Principals: whom a request speaks for.

use crate::id::{ClientKey, SessionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The longest name of a token, in characters.
const NAME_MAX: usize = 64;

/// What a principal may do, from least to most: each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks on.
    Viewer,
    /// Types, starts and ends sessions.
    Controller,
    /// Also manages the server: tokens, audit, backups.
    Admin,
}

impl Role {
    /// The name in JSON, rows and command lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Controller => "controller",
            Role::Admin => "admin",
        }
    }
}

/// The sessions that exist for a principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of them.
    All,
    /// These alone.
    Sessions(Vec<SessionId>),
    /// Those that have all of these labels.
    Labels(BTreeMap<String, String>),
    /// Those that this principal has created.
    Own,
}

/// What a principal's rights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The user that runs the server: on the unix socket, by a one-time code, or by the token of
    /// `--admin-token-file`.
    Owner,
    /// A named token.
    Token,
    /// A share link.
    Share,
    /// A program inside a session whose profile grants it something.
    Session,
}

/// Whom a request speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The token's name, `owner`, or `share-` or `session-` and an id. It stands in the audit log
    /// and in `caused_by`, and is the `owner` of the sessions that the principal creates.
    pub name: String,
    /// What the rights come from.
    pub kind: Kind,
    /// Which token of that name, if it is one: a later token of the same name is another principal.
    pub token: Option<Uuid>,
    /// What it may do …
    pub role: Role,
    /// … with which sessions.
    pub scope: Scope,
    /// Who has made the link, if it is one.
    pub maker: Option<Box<Principal>>,
}

/// What the scopes look at in a session.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The session's id.
    pub id: SessionId,
    /// The name of the principal that has created it; `None`: nobody known.
    pub owner: Option<&'a str>,
    /// Which token of that name, if it was one.
    pub owner_token: Option<Uuid>,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

impl Principal {
    /// The owner's name.
    pub const OWNER: &'static str = "owner";

    /// The user that runs the server.
    #[must_use]
    pub fn owner() -> Principal {
        Principal {
            name: Principal::OWNER.to_owned(),
            kind: Kind::Owner,
            token: None,
            role: Role::Admin,
            scope: Scope::All,
            maker: None,
        }
    }

    /// What tells it from all others: a later token of the same name has another.
    #[must_use]
    pub fn key(&self) -> String {
        match self.token {
            Some(token) => format!("{} {token}", self.name),
            None => self.name.clone(),
        }
    }

    /// Whether a session that exists for it may cease to: labels can be changed, an id and an owner stay.
    #[must_use]
    pub fn may_lose_sessions(&self) -> bool {
        let by_maker = self.maker.as_ref().is_some_and(|maker| maker.may_lose_sessions());
        by_maker || matches!(self.scope, Scope::Labels(_))
    }

    /// For whom its connections count. The links of one token share places, so that it gets no more by
    /// making links; they are not the token's own, so that nobody with a link shuts its maker out.
    #[must_use]
    pub fn places_key(&self) -> String {
        match &self.maker {
            Some(maker) if maker.kind == Kind::Token => format!("links of {}", maker.key()),
            _ => self.key(),
        }
    }

    /// The key of its client with this name: no other principal has it, not even a later token of
    /// the same name.
    #[must_use]
    pub fn client_key(&self, client: &str) -> ClientKey {
        ClientKey::named(&self.key(), client)
    }

    /// The key of one of its requests that may be repeated.
    #[must_use]
    pub fn request_key(&self, request: &str) -> ClientKey {
        ClientKey::of_request(&self.key(), request)
    }

    /// Whether this session exists for the principal. A link opens nothing that does not exist for who
    /// has made it.
    #[must_use]
    pub fn sees(&self, session: Facts<'_>) -> bool {
        if self.maker.as_ref().is_some_and(|maker| !maker.sees(session)) {
            return false;
        }
        match &self.scope {
            Scope::All => true,
            Scope::Sessions(ids) => ids.contains(&session.id),
            Scope::Labels(labels) => {
                labels.iter().all(|(key, value)| session.labels.get(key) == Some(value))
            }
            Scope::Own => {
                session.owner == Some(self.name.as_str()) && session.owner_token == self.token
            }
        }
    }
}

/// Checks the name of a new token.
///
/// # Errors
/// The rule that it breaks.
pub(super) fn check_token_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts || name.len() > NAME_MAX || !name.chars().all(plain) {
        return Err(format!(
            "a token's name has 1 to {NAME_MAX} letters, digits, '-', '_', '.', and begins with \
             a letter or digit"
        ));
    }
    if name == Principal::OWNER || name.starts_with("share-") || name.starts_with("session-") {
        return Err(format!("{name:?} is the name of a principal that is no token"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_see_what_they_name() {
        let (mine, other) = (SessionId::generate(), SessionId::generate());
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let more = BTreeMap::from([
            ("team".to_owned(), "a".to_owned()),
            ("env".to_owned(), "dev".to_owned()),
        ]);
        let none = BTreeMap::new();
        let of = |scope| Principal { scope, name: "anna".into(), ..Principal::owner() };
        let facts = |id, owner, labels| Facts { id, owner, owner_token: None, labels };
        for (scope, id, owner, has, sees) in [
            (Scope::All, other, None, &none, true),
            (Scope::Sessions(vec![mine]), mine, None, &none, true),
            (Scope::Sessions(vec![mine]), other, Some("anna"), &more, false),
            (Scope::Sessions(vec![]), mine, None, &none, false),
            (Scope::Labels(labels.clone()), other, None, &more, true),
            (Scope::Labels(more.clone()), other, None, &labels, false),
            (Scope::Own, other, Some("anna"), &none, true),
            (Scope::Own, mine, Some("ben"), &none, false),
            (Scope::Own, mine, None, &none, false),
        ] {
            assert_eq!(of(scope.clone()).sees(facts(id, owner, has)), sees, "{scope:?}");
        }
    }

    #[test]
    fn a_link_sees_its_session_while_its_maker_does() {
        let (id, other) = (SessionId::generate(), SessionId::generate());
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let maker = |scope| Some(Box::new(Principal { scope, ..Principal::owner() }));
        let link = |scope| Principal {
            kind: Kind::Share,
            scope: Scope::Sessions(vec![id]),
            maker: maker(scope),
            ..Principal::owner()
        };
        let sees = |link: &Principal, id, labels| {
            link.sees(Facts { id, owner: None, owner_token: None, labels })
        };
        let (scoped, owners) = (link(Scope::Labels(labels.clone())), link(Scope::All));
        let none = BTreeMap::new();
        assert!(sees(&scoped, id, &labels) && !sees(&scoped, id, &none));
        assert!(sees(&owners, id, &none) && !sees(&owners, other, &labels));
        assert!(!sees(&scoped, other, &labels));
        assert_eq!((scoped.may_lose_sessions(), owners.may_lose_sessions()), (true, false));
    }

    #[test]
    fn a_later_token_of_the_same_name_owns_nothing_of_the_earlier_one() {
        let (token, labels) = (Some(Uuid::now_v7()), BTreeMap::new());
        let owner = Principal::owner();
        let anna = Principal { scope: Scope::Own, name: "anna".into(), token, ..owner };
        let (id, owner) = (SessionId::generate(), Some("anna"));
        let sees = |owner_token| anna.sees(Facts { id, owner, owner_token, labels: &labels });
        assert!(sees(token) && !sees(Some(Uuid::now_v7())) && !sees(None));
        let later = Principal { token: Some(Uuid::now_v7()), ..anna.clone() };
        assert_ne!(anna.client_key("tab"), later.client_key("tab"));
        assert_eq!(anna.client_key("tab"), anna.clone().client_key("tab"));
    }

    #[test]
    fn names_are_plain_and_not_those_of_others() {
        for good in ["anna", "build.2", "0", "a-b_c"] {
            assert!(check_token_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", "-a", ".a", "a b", "é", "owner", "share-1", "session-1", &long] {
            assert!(check_token_name(bad).is_err(), "{bad}");
        }
    }
}
