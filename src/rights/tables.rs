//! The tables of what is granted, in memory. They know no disk and no clock: what is taken out of them
//! opens nothing any more, and [`super::Grants`] has it written.

use super::pass::{LoginsOf, Pass, Subject};
use super::principal::{Kind, Principal, Role, Scope};
use super::secret::Digest;
use super::subscription::Subscription;
use crate::id::SessionId;
use crate::protocol::Mode;
use crate::relay::NodeName;
use crate::store::{GrantRows, LoginRow, ShareRow, TokenRow};
use chrono::{DateTime, Utc};
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use uuid::Uuid;

/// The most logins that are made with one secret.
pub(super) const LOGINS_MAX: usize = 64;
/// The most share links at once …
pub(super) const SHARES_MAX: usize = 1000;
/// … and those that one token has made: a tenth, so that none takes all. The owner may have all.
pub(super) const SHARES_OF_ONE_MAX: usize = SHARES_MAX / 10;
/// The most subscriptions at once …
pub(super) const PUSHES_MAX: usize = 1000;
/// … and those that were made with one secret: the browsers of a person.
pub(super) const PUSHES_OF_ONE_MAX: usize = 16;
/// How many one-time codes wait to be used at once.
pub(super) const CODES_MAX: usize = 16;
/// How many ended secrets are remembered.
const ENDED_MAX: usize = 1000;

/// A login that is in force, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLogin {
    /// Says nothing of the cookie.
    pub id: Uuid,
    /// Whom it speaks for.
    pub principal: Principal,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A one-time code.
pub(super) struct Code {
    pub(super) digest: Digest,
    /// What it was made with.
    pub(super) by: Pass,
    pub(super) expires_at: DateTime<Utc>,
}

/// Why there can be no such share link.
pub(super) enum NoShare {
    /// There are so many already.
    TooMany(usize),
    /// Its maker has so many already.
    TooManyOfOne(usize),
    /// Its maker has no rights any more.
    MakerEnded,
}

/// All tables.
#[derive(Default)]
pub(super) struct Tables {
    /// The token of `--admin-token-file`.
    pub(super) admin: Option<Digest>,
    pub(super) tokens: HashMap<Digest, TokenRow>,
    pub(super) shares: HashMap<Digest, ShareRow>,
    pub(super) logins: HashMap<Digest, LoginRow>,
    pub(super) pushes: HashMap<Uuid, Subscription>,
    pub(super) codes: Vec<Code>,
    /// Removals that are not written yet.
    pub(super) unwritten: Vec<Digest>,
    pub(super) unwritten_pushes: Vec<Uuid>,
    /// What was removed last: whoever still comes with it does not guess.
    ended: VecDeque<Digest>,
}

impl Tables {
    pub(super) fn new(admin: Option<Digest>, rows: GrantRows) -> Tables {
        let GrantRows { tokens, shares, logins, pushes } = rows;
        let mut tables = Tables {
            admin,
            tokens: tokens.into_iter().map(|row| (Digest(row.digest), row)).collect(),
            shares: shares.into_iter().map(|row| (Digest(row.digest), row)).collect(),
            logins: logins.into_iter().map(|row| (Digest(row.digest), row)).collect(),
            pushes: pushes.into_iter().filter_map(Subscription::of).map(|it| (it.id, it)).collect(),
            ..Tables::default()
        };
        let mut shares = std::mem::take(&mut tables.shares);
        // A server that was killed may have left the links of a token that is gone.
        shares.retain(|_, share| tables.maker(share).is_some());
        Tables { shares, ..tables }
    }

    /// Whom a token, or the secret of a share link, speaks for.
    pub(super) fn by_secret(
        &self,
        digest: Digest,
        now: DateTime<Utc>,
    ) -> Option<(Principal, Pass)> {
        let subjects = [Subject::Admin(digest), Subject::Token(digest), Subject::Share(digest)];
        subjects.into_iter().find_map(|subject| {
            let principal = self.principal(subject, now)?;
            Some((principal, Pass { subject, login: None }))
        })
    }

    /// Whom a login's cookie speaks for.
    pub(super) fn by_cookie(
        &self,
        digest: Digest,
        now: DateTime<Utc>,
    ) -> Option<(Principal, Pass)> {
        let login = self.logins.get(&digest).filter(|login| login.expires_at > now)?;
        let subject = login.subject.parse().ok()?;
        let principal = self.principal(subject, now)?;
        Some((principal, Pass { subject, login: Some(digest) }))
    }

    /// Whether a secret that opens nothing has opened something before, as far as is remembered.
    pub(super) fn has_ended(&self, digest: &Digest) -> bool {
        self.tokens.contains_key(digest)
            || self.shares.contains_key(digest)
            || self.logins.contains_key(digest)
            || self.ended.contains(digest)
    }

    /// Why a pass opens nothing any more; `None`: it does.
    pub(super) fn why_ended(&self, pass: &Pass, now: DateTime<Utc>) -> Option<&'static str> {
        if self.principal(pass.subject, now).is_none() {
            return Some(match pass.subject {
                Subject::Share(_) => "the share link has ended",
                _ => "the token is no longer valid",
            });
        }
        let login = self.logins.get(pass.login.as_ref()?);
        login.is_none_or(|login| login.expires_at <= now).then_some("the login has ended")
    }

    /// When a pass ends, as far as is known.
    pub(super) fn expires_at(&self, pass: &Pass) -> Option<DateTime<Utc>> {
        let secret = match &pass.subject {
            Subject::Owner | Subject::Admin(_) | Subject::Visit(_) => None,
            Subject::Token(digest) => self.tokens.get(digest)?.expires_at,
            Subject::Share(digest) => self.shares.get(digest)?.expires_at,
        };
        let login = pass.login.and_then(|login| self.logins.get(&login));
        let login = login.map(|login| login.expires_at);
        secret.into_iter().chain(login).min()
    }

    /// Whom a subject speaks for; `None`: it opens nothing now.
    pub(super) fn principal(&self, subject: Subject, now: DateTime<Utc>) -> Option<Principal> {
        match subject {
            Subject::Owner => Some(Principal::owner()),
            // Known to those that are under way alone.
            Subject::Visit(_) => None,
            Subject::Admin(digest) => (self.admin == Some(digest)).then(Principal::owner),
            Subject::Token(digest) => {
                let row = self.tokens.get(&digest).filter(|row| in_force(row.expires_at, now))?;
                Some(Principal {
                    name: row.name.clone(),
                    kind: Kind::Token,
                    token: Some(digest.id()),
                    role: serde_json::from_value(row.role.as_str().into()).ok()?,
                    // A scope that cannot be read is no scope: the token opens nothing.
                    scope: serde_json::from_value(row.scope.clone()).ok()?,
                    maker: None,
                })
            }
            Subject::Share(digest) => {
                let row = self.shares.get(&digest).filter(|row| in_force(row.expires_at, now))?;
                // A link ends with the token of who has made it.
                let maker = self.principal(self.maker(row)?, now)?;
                Some(Principal {
                    name: format!("share-{}", row.id),
                    kind: Kind::Share,
                    token: None,
                    role: match row.mode {
                        Mode::Ro => Role::Viewer,
                        Mode::Rw => Role::Controller,
                    },
                    scope: Scope::Sessions(vec![row.session]),
                    maker: Some(Box::new(maker)),
                })
            }
        }
    }

    /// The token of this name, in force or not.
    pub(super) fn token_named(&self, name: &str) -> Option<&TokenRow> {
        self.tokens.values().find(|token| token.name == name)
    }

    pub(super) fn take_token(&mut self, name: &str) -> Option<Digest> {
        let digest = Digest(self.token_named(name)?.digest);
        self.tokens.remove(&digest).map(|_| digest)
    }

    /// Whose link it is: the owner's, or that of a token, in force or not. A later token of the same
    /// name is another.
    fn maker(&self, share: &ShareRow) -> Option<Subject> {
        let Some(id) = share.created_by_token else {
            return (share.created_by == Principal::OWNER).then_some(Subject::Owner);
        };
        let digest = Digest(self.token_named(&share.created_by)?.digest);
        (digest.id() == id).then_some(Subject::Token(digest))
    }

    /// Refuses a link for which there is no room, or whose maker has no rights any more.
    pub(super) fn check_share(&self, share: &ShareRow, now: DateTime<Utc>) -> Result<(), NoShare> {
        if self.shares.len() >= SHARES_MAX {
            return Err(NoShare::TooMany(SHARES_MAX));
        }
        if let Some(token) = share.created_by_token {
            let by_it = |share: &&ShareRow| share.created_by_token == Some(token);
            if self.shares.values().filter(by_it).count() >= SHARES_OF_ONE_MAX {
                return Err(NoShare::TooManyOfOne(SHARES_OF_ONE_MAX));
            }
        }
        let maker = self.maker(share).and_then(|maker| self.principal(maker, now));
        maker.map(drop).ok_or(NoShare::MakerEnded)
    }

    /// Adds a link that is written. Meanwhile its maker may have lost its rights, and others may have
    /// taken the room.
    pub(super) fn add_share(
        &mut self,
        share: &ShareRow,
        now: DateTime<Utc>,
    ) -> Result<(), NoShare> {
        self.check_share(share, now)?;
        self.shares.insert(Digest(share.digest), share.clone());
        Ok(())
    }

    /// Those share links that are in force, oldest first.
    pub(super) fn shares_where(
        &self,
        is_meant: impl Fn(&ShareRow) -> bool,
        now: DateTime<Utc>,
    ) -> Vec<ShareRow> {
        let stands = |share: &ShareRow| self.principal(Subject::Share(Digest(share.digest)), now);
        let is_of = |share: &&ShareRow| is_meant(share) && stands(share).is_some();
        let mut shares: Vec<_> = self.shares.values().filter(is_of).cloned().collect();
        shares.sort_by_key(|share| share.id);
        shares
    }

    pub(super) fn take_share(&mut self, session: SessionId, id: SessionId) -> Option<Digest> {
        let is_it = |share: &&ShareRow| share.session == session && share.id == id;
        let digest = Digest(self.shares.values().find(is_it)?.digest);
        self.shares.remove(&digest).map(|_| digest)
    }

    /// Takes the share links out whose session another machine has, for which this holds.
    pub(super) fn take_shares_elsewhere(
        &mut self,
        is_meant: impl Fn(&NodeName, &ShareRow) -> bool,
    ) -> Vec<Digest> {
        let is_it = |share: &ShareRow| share.node.as_ref().is_some_and(|it| is_meant(it, share));
        self.shares.extract_if(|_, share| is_it(share)).map(|(taken, _)| taken).collect()
    }

    /// Takes the share links out that were made with this token.
    pub(super) fn take_shares_by(&mut self, token: Uuid) -> Vec<Digest> {
        self.shares
            .extract_if(|_, share| share.created_by_token == Some(token))
            .map(|(taken, _)| taken)
            .collect()
    }

    /// The logins that are in force, newest first.
    pub(super) fn logins(&self, of: LoginsOf, now: DateTime<Utc>) -> Vec<ListedLogin> {
        let listed = |(digest, login): (&Digest, &LoginRow)| {
            let subject = login.subject.parse().ok()?;
            let is_seen = login.expires_at > now && of.has(subject);
            let principal = self.principal(subject, now).filter(|_| is_seen)?;
            let LoginRow { created_at, expires_at, .. } = *login;
            Some(ListedLogin { id: digest.id(), principal, created_at, expires_at })
        };
        let mut logins: Vec<_> = self.logins.iter().filter_map(listed).collect();
        logins.sort_by_key(|login| (Reverse(login.created_at), login.id));
        logins
    }

    /// How many logins are in force that were made with this subject's secret.
    pub(super) fn count_logins(&self, subject: &str, now: DateTime<Utc>) -> usize {
        let is_of = |login: &&LoginRow| login.subject == subject && login.expires_at > now;
        self.logins.values().filter(is_of).count()
    }

    /// Adds a login, and takes out those that it replaces.
    pub(super) fn add_login(&mut self, row: LoginRow) -> Vec<Digest> {
        let same = self.logins.values().filter(|login| login.subject == row.subject);
        let mut same: Vec<_> = same.map(|login| (login.created_at, login.digest)).collect();
        same.sort();
        same.truncate((same.len() + 1).saturating_sub(LOGINS_MAX));
        let surplus: Vec<_> = same.into_iter().map(|(_, digest)| Digest(digest)).collect();
        for digest in &surplus {
            self.logins.remove(digest);
        }
        self.logins.insert(Digest(row.digest), row);
        surplus
    }

    pub(super) fn take_login(&mut self, id: Uuid, of: LoginsOf) -> Option<Digest> {
        let is_it = |(digest, login): (&Digest, &LoginRow)| {
            let is_seen = login.subject.parse().is_ok_and(|subject| of.has(subject));
            (is_seen && digest.id() == id).then_some(*digest)
        };
        let digest = self.logins.iter().find_map(is_it)?;
        self.logins.remove(&digest).map(|_| digest)
    }

    /// Takes the logins out that were made with a secret.
    pub(super) fn take_logins_of(&mut self, subject: Subject) -> Vec<Digest> {
        let subject = subject.to_string();
        self.logins
            .extract_if(|_, login| login.subject == subject)
            .map(|(taken, _)| taken)
            .collect()
    }

    /// Says which subscriptions make room for a new one; `None`: there is no room. Another of the same
    /// browser makes room, and so does the oldest of who has too many.
    pub(super) fn room_for_push(&self, new: &Subscription) -> Option<Vec<Uuid>> {
        let is_same = |it: &&Subscription| it.subscriber.endpoint == new.subscriber.endpoint;
        let mut room: Vec<Uuid> = self.pushes.values().filter(is_same).map(|it| it.id).collect();
        let is_own = |it: &&Subscription| it.pass.subject == new.pass.subject && !is_same(it);
        let mut own: Vec<_> = self.pushes.values().filter(is_own).collect();
        own.sort_by_key(|it| (it.created_at, it.id));
        let surplus = (own.len() + 1).saturating_sub(PUSHES_OF_ONE_MAX);
        room.extend(own[..surplus].iter().map(|it| it.id));
        (self.pushes.len() - room.len() < PUSHES_MAX).then_some(room)
    }

    /// A subscription, and whom it speaks for; `None`: there is none, or it has ended.
    pub(super) fn push(&self, id: Uuid, now: DateTime<Utc>) -> Option<(&Subscription, Principal)> {
        let subscription = self.pushes.get(&id)?;
        let stands = self.why_ended(&subscription.pass, now).is_none();
        let principal = self.principal(subscription.pass.subject, now).filter(|_| stands)?;
        Some((subscription, principal))
    }

    /// Takes the subscriptions out that were made with one of these secrets or logins.
    pub(super) fn take_pushes_of(&mut self, ended: &[Digest]) -> Vec<Uuid> {
        let is_of = |it: &Subscription| {
            let by_login = it.pass.login.is_some_and(|login| ended.contains(&login));
            let by_secret = match it.pass.subject {
                Subject::Owner | Subject::Visit(_) => false,
                Subject::Admin(digest) | Subject::Token(digest) | Subject::Share(digest) => {
                    ended.contains(&digest)
                }
            };
            by_login || by_secret
        };
        self.pushes.extract_if(|_, it| is_of(it)).map(|(id, _)| id).collect()
    }

    /// Takes the subscriptions out that speak for nobody any more.
    pub(super) fn take_ended_pushes(&mut self, now: DateTime<Utc>) -> Vec<Uuid> {
        let ended: Vec<Uuid> =
            self.pushes.keys().filter(|id| self.push(**id, now).is_none()).copied().collect();
        self.pushes.retain(|id, _| !ended.contains(id));
        ended
    }

    /// Adds a code, in place of the oldest if too many wait.
    pub(super) fn add_code(&mut self, code: Code, now: DateTime<Utc>) {
        self.codes.retain(|code| code.expires_at > now);
        let surplus = (self.codes.len() + 1).saturating_sub(CODES_MAX);
        self.codes.drain(..surplus);
        self.codes.push(code);
    }

    /// Uses a code up.
    pub(super) fn redeem(
        &mut self,
        digest: Digest,
        now: DateTime<Utc>,
    ) -> Option<(Principal, Pass)> {
        let at = self.codes.iter().position(|code| code.digest == digest)?;
        let Code { by, expires_at, .. } = self.codes.swap_remove(at);
        let stands = by.login.is_none_or(|login| self.logins.contains_key(&login));
        let principal = self.principal(by.subject, now);
        let principal = principal.filter(|_| stands && expires_at > now)?;
        Some((principal, Pass { subject: by.subject, login: None }))
    }

    /// Takes out what has expired. An expired token stays in the list, where its owner sees why it
    /// opens nothing.
    pub(super) fn take_expired(&mut self, now: DateTime<Utc>) -> Vec<Digest> {
        let shares = self.shares.extract_if(|_, share| !in_force(share.expires_at, now));
        let mut expired: Vec<_> = shares.map(|(digest, _)| digest).collect();
        let logins = self.logins.extract_if(|_, login| login.expires_at <= now);
        expired.extend(logins.map(|(digest, _)| digest));
        expired
    }

    /// Remembers secrets that have ended, the latest of them.
    pub(super) fn remember_ended(&mut self, ended: &[Digest]) {
        self.ended.extend(ended);
        let surplus = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..surplus);
    }
}

/// Whether what ends then still counts; `None`: it has no end.
pub(super) fn in_force(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    expires_at.is_none_or(|at| at > now)
}
