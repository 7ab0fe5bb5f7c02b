//! The tokens, share links, logins and one-time codes that are in force. They are looked up in
//! memory and kept in the database. What adds rights counts once it is written; what takes them
//! away counts at once, and is written until that succeeds.

use super::principal::{Kind, Principal, Role, Scope, check_token_name};
use super::secret::{Digest, random};
use crate::id::SessionId;
use crate::protocol::Mode;
use crate::store::{GrantChange, GrantRows, LoginRow, ShareRow, StoreError, StoreHandle, TokenRow};
use actix_web::rt::spawn;
use chrono::{DateTime, TimeDelta, Utc};
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// The rule for a token of the operator's own.
const SECRET_RULE: &str = "must hold 16 or more letters, digits, '-', '.', '_', '~'";
/// The shortest one, in characters.
const SECRET_MIN: usize = 16;
/// The most tokens, and the most share links, at once.
const TOKENS_MAX: usize = 1000;
const SHARES_MAX: usize = 1000;
/// The most logins that are made with one secret; a new one replaces the oldest.
const LOGINS_MAX: usize = 64;
/// How long a login lasts, in seconds: 30 days.
const LOGIN_S: i64 = 30 * 24 * 3600;
/// How long a one-time code waits to be used, in seconds, and how many wait at once.
const CODE_S: i64 = 600;
const CODES_MAX: usize = 16;
/// How long somebody is kept waiting for a login or an end of rights to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
/// How many ended secrets are remembered.
const ENDED_MAX: usize = 1000;
/// The longest life of a token or share link, in seconds: ten years.
const EXPIRES_S_MAX: u64 = 10 * 365 * 24 * 3600;

/// Why a grant was not made or not removed.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The name is taken.
    #[error("there is a token {0:?} already; `stayd token rm {0}` removes it")]
    Taken(String),
    /// There is no such token or share link.
    #[error("there is no {0}")]
    Unknown(String),
    /// No more can be made.
    #[error("there are {0} already, which is the most")]
    TooMany(String),
    /// The system has no randomness to give.
    #[error("the system has no randomness to give: {0}")]
    Randomness(#[from] getrandom::Error),
    /// It was not written, and so not made.
    #[error(transparent)]
    Store(StoreError),
    /// It opens nothing any more, but that is not written yet.
    #[error(
        "it opens nothing any more, but that cannot be written down ({0}): until it can, which is \
         tried again, a server that is started anew would accept it"
    )]
    Unwritten(StoreError),
}

/// What a secret belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// The user that runs the server, on the unix socket or by a code.
    Owner,
    /// The token of `--admin-token-file`.
    Admin(Digest),
    /// A named token.
    Token(Digest),
    /// A share link.
    Share(Digest),
}

/// What a request has proved its rights with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pass {
    subject: Subject,
    login: Option<Digest>,
}

impl Pass {
    /// The id of the login that it is, if it is one.
    #[must_use]
    pub fn login_id(&self) -> Option<Uuid> {
        self.login.map(|digest| digest.id())
    }
}

impl LoginsOf {
    fn has(self, subject: Subject) -> bool {
        match self {
            LoginsOf::All => true,
            LoginsOf::Same(pass) => pass.subject == subject,
        }
    }
}

/// A new token.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// What it may do …
    pub role: Role,
    /// … with which sessions.
    pub scope: Scope,
    /// Seconds until it ends; `None`: it does not.
    pub expires_s: Option<u64>,
}

/// A new share link.
#[derive(Clone, Copy, Debug)]
pub struct NewShare {
    /// The session that it opens.
    pub session: SessionId,
    /// Whether one may type with it.
    pub mode: Mode,
    /// Seconds until it ends; `None`: it ends with the session's row.
    pub expires_s: Option<u64>,
}

/// A new login.
#[derive(Clone, Debug)]
pub struct Login {
    /// The secret of the cookie.
    pub cookie: String,
    /// How long it lasts, in seconds.
    pub age_s: i64,
}

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

/// Whose logins somebody may see and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginsOf {
    /// Everybody's.
    All,
    /// Those that were made with the same secret as this.
    Same(Pass),
}

struct Code {
    digest: Digest,
    by: Pass,
    expires_at: DateTime<Utc>,
}

#[derive(Default)]
struct State {
    tokens: HashMap<Digest, TokenRow>,
    shares: HashMap<Digest, ShareRow>,
    logins: HashMap<Digest, LoginRow>,
    codes: Vec<Code>,
    /// What is removed and not written yet.
    unwritten: Vec<Digest>,
    /// What was removed last: whoever still comes with it does not guess.
    ended: VecDeque<Digest>,
}

impl State {
    fn remember_ended(&mut self, ended: &[Digest]) {
        self.ended.extend(ended);
        let surplus = self.ended.len().saturating_sub(ENDED_MAX);
        self.ended.drain(..surplus);
    }
}

/// Everything that is granted; one instance for the whole server.
pub struct Grants {
    /// `None` in tests, which keep nothing.
    store: Option<StoreHandle>,
    admin: Option<Digest>,
    state: Mutex<State>,
}

impl Grants {
    /// What the database has. `admin_token` is a token of the operator's own, which is the owner's.
    ///
    /// # Errors
    /// The database cannot be read, or the operator's token is too short or has other signs than letters, digits, `-`, `.`, `_`, `~`.
    pub async fn load(
        store: StoreHandle,
        admin_token: Option<&str>,
    ) -> Result<Grants, GrantsError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let good = |token: &&str| token.len() >= SECRET_MIN && token.bytes().all(plain);
        if admin_token.is_some_and(|token| !good(&token)) {
            return Err(GrantsError::Invalid(SECRET_RULE.to_owned()));
        }
        let GrantRows { tokens, shares, logins } =
            store.grants().await.map_err(GrantsError::Store)?;
        let state = State {
            tokens: tokens.into_iter().map(|row| (Digest(row.digest), row)).collect(),
            shares: shares.into_iter().map(|row| (Digest(row.digest), row)).collect(),
            logins: logins.into_iter().map(|row| (Digest(row.digest), row)).collect(),
            ..State::default()
        };
        let admin = admin_token.map(Digest::of);
        Ok(Grants { store: Some(store), admin, state: Mutex::new(state) })
    }

    /// Nothing but the operator's token; what is added is not kept.
    #[cfg(test)]
    pub(crate) fn in_memory(admin_token: &str) -> Grants {
        let admin = Some(Digest::of(admin_token));
        Grants { store: None, admin, state: Mutex::default() }
    }

    /// Whom a token, or the secret of a share link, speaks for.
    pub fn by_secret(&self, secret: &str) -> Option<(Principal, Pass)> {
        let digest = Digest::of(secret);
        let state = self.state();
        let subjects = [Subject::Admin(digest), Subject::Token(digest), Subject::Share(digest)];
        subjects.into_iter().find_map(|subject| {
            let principal = self.principal(&state, subject, Utc::now())?;
            Some((principal, Pass { subject, login: None }))
        })
    }

    /// Whether a secret that opens nothing has opened something before, as far as is remembered.
    pub fn has_ended(&self, secret: &str) -> bool {
        let digest = Digest::of(secret);
        let state = self.state();
        state.tokens.contains_key(&digest)
            || state.logins.contains_key(&digest)
            || state.ended.contains(&digest)
    }

    /// Whom a login's cookie speaks for.
    pub fn by_cookie(&self, cookie: &str) -> Option<(Principal, Pass)> {
        let (digest, now) = (Digest::of(cookie), Utc::now());
        let state = self.state();
        let login = state.logins.get(&digest).filter(|login| login.expires_at > now)?;
        let subject = login.subject.parse().ok()?;
        let principal = self.principal(&state, subject, now)?;
        Some((principal, Pass { subject, login: Some(digest) }))
    }

    /// The user that runs the server, who has come over the unix socket.
    #[must_use]
    pub fn owner() -> (Principal, Pass) {
        (Principal::owner(), Pass { subject: Subject::Owner, login: None })
    }

    /// Why a pass opens nothing any more; `None`: it does.
    #[must_use]
    pub fn why_ended(&self, pass: &Pass) -> Option<&'static str> {
        let (state, now) = (self.state(), Utc::now());
        if self.principal(&state, pass.subject, now).is_none() {
            return Some(match pass.subject {
                Subject::Share(_) => "the share link has ended",
                _ => "the token is no longer valid",
            });
        }
        let login = state.logins.get(pass.login.as_ref()?);
        login.is_none_or(|login| login.expires_at <= now).then_some("the login has ended")
    }

    /// When a pass ends, as far as is known.
    #[must_use]
    pub fn expires_at(&self, pass: &Pass) -> Option<DateTime<Utc>> {
        let state = self.state();
        let secret = match &pass.subject {
            Subject::Owner | Subject::Admin(_) => None,
            Subject::Token(digest) => state.tokens.get(digest)?.expires_at,
            Subject::Share(digest) => state.shares.get(digest)?.expires_at,
        };
        let login = pass.login.and_then(|login| state.logins.get(&login));
        let login = login.map(|login| login.expires_at);
        secret.into_iter().chain(login).min()
    }

    fn principal(&self, state: &State, subject: Subject, now: DateTime<Utc>) -> Option<Principal> {
        match subject {
            Subject::Owner => Some(Principal::owner()),
            Subject::Admin(digest) => (self.admin == Some(digest)).then(Principal::owner),
            Subject::Token(digest) => {
                let row = state.tokens.get(&digest).filter(|row| in_force(row.expires_at, now))?;
                Some(Principal {
                    name: row.name.clone(),
                    kind: Kind::Token,
                    token: Some(digest.id()),
                    role: serde_json::from_value(row.role.as_str().into()).ok()?,
                    // A scope that cannot be read is no scope: the token opens nothing.
                    scope: serde_json::from_value(row.scope.clone()).ok()?,
                })
            }
            Subject::Share(digest) => {
                let row = state.shares.get(&digest).filter(|row| in_force(row.expires_at, now))?;
                // A link ends with the token of who has made it.
                let by_token = state.tokens.values().find(|token| token.name == row.created_by);
                let stands = by_token.is_some_and(|token| in_force(token.expires_at, now));
                if row.created_by != Principal::OWNER && !stands {
                    return None;
                }
                Some(Principal {
                    name: format!("share-{}", row.id),
                    kind: Kind::Share,
                    token: None,
                    role: match row.mode {
                        Mode::Ro => Role::Viewer,
                        Mode::Rw => Role::Controller,
                    },
                    scope: Scope::Sessions(vec![row.session]),
                })
            }
        }
    }

    /// Makes a token and returns it with its secret, which is shown once.
    ///
    /// # Errors
    /// The name is not allowed or taken, or the token cannot be written.
    pub async fn add_token(
        &self,
        new: NewToken,
        by: &str,
    ) -> Result<(TokenRow, String), GrantsError> {
        let NewToken { name, role, scope, expires_s } = new;
        check_token_name(&name).map_err(GrantsError::Invalid)?;
        let (secret, now) = (random()?, Utc::now());
        let row = TokenRow {
            name,
            digest: Digest::of(&secret).0,
            role: role.as_str().to_owned(),
            scope: serde_json::to_value(&scope).unwrap_or_default(),
            created_at: now,
            created_by: by.to_owned(),
            expires_at: expires_at(now, expires_s)?,
        };
        let expired = {
            let state = self.state();
            if state.tokens.len() >= TOKENS_MAX {
                return Err(GrantsError::TooMany(format!("{TOKENS_MAX} tokens")));
            }
            let same = state.tokens.values().find(|known| known.name == row.name);
            match same {
                Some(known) if in_force(known.expires_at, now) => {
                    return Err(GrantsError::Taken(row.name));
                }
                same => same.map(|known| Digest(known.digest)),
            }
        };
        // The links that the expired one has made must not come back with its name.
        let mut old = if expired.is_some() { self.take_shares_by(&row.name) } else { Vec::new() };
        old.extend(expired);
        let mut changes = vec![GrantChange::Remove(old.iter().map(|digest| digest.0).collect())];
        changes.push(GrantChange::AddToken(row.clone()));
        self.write(changes).await.map_err(|error| match error {
            // Another request has made it meanwhile.
            StoreError::Refused(_) => GrantsError::Taken(row.name.clone()),
            error => GrantsError::Store(error),
        })?;
        let mut state = self.state();
        expired.map(|old| state.tokens.remove(&old));
        state.tokens.insert(Digest(row.digest), row.clone());
        Ok((row, secret))
    }

    /// The tokens, by name.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenRow> {
        let mut tokens: Vec<_> = self.state().tokens.values().cloned().collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tokens
    }

    /// Removes a token, and with it all logins and share links that were made with it.
    ///
    /// # Errors
    /// There is none of this name; or [`GrantsError::Unwritten`].
    pub async fn remove_token(&self, name: &str) -> Result<(), GrantsError> {
        let digest = {
            let mut state = self.state();
            let token = state.tokens.values().find(|token| token.name == name);
            let token = token.map(|token| Digest(token.digest));
            token.inspect(|token| drop(state.tokens.remove(token)))
        };
        let digest = digest.ok_or_else(|| GrantsError::Unknown(format!("token {name:?}")))?;
        let mut ended = self.take_shares_by(name);
        ended.push(digest);
        self.end(ended, Subject::Token(digest)).await
    }

    /// Makes a share link and returns it with its secret, which is shown once.
    ///
    /// # Errors
    /// There are too many, or the link cannot be written.
    pub async fn add_share(
        &self,
        new: NewShare,
        by: &str,
    ) -> Result<(ShareRow, String), GrantsError> {
        if self.state().shares.len() >= SHARES_MAX {
            return Err(GrantsError::TooMany(format!("{SHARES_MAX} share links")));
        }
        let (secret, now) = (random()?, Utc::now());
        let row = ShareRow {
            id: SessionId::generate(),
            session: new.session,
            digest: Digest::of(&secret).0,
            mode: new.mode,
            created_at: now,
            created_by: by.to_owned(),
            expires_at: expires_at(now, new.expires_s)?,
        };
        self.write(vec![GrantChange::AddShare(row.clone())]).await.map_err(GrantsError::Store)?;
        self.state().shares.insert(Digest(row.digest), row.clone());
        Ok((row, secret))
    }

    /// The share links of a session that are in force, oldest first.
    #[must_use]
    pub fn shares(&self, session: SessionId) -> Vec<ShareRow> {
        let now = Utc::now();
        let mut shares: Vec<_> = self
            .state()
            .shares
            .values()
            .filter(|share| share.session == session && in_force(share.expires_at, now))
            .cloned()
            .collect();
        shares.sort_by_key(|share| share.id);
        shares
    }

    /// Ends a share link of a session.
    ///
    /// # Errors
    /// There is no such link; or [`GrantsError::Unwritten`].
    pub async fn remove_share(&self, session: SessionId, id: SessionId) -> Result<(), GrantsError> {
        let digest = {
            let mut state = self.state();
            let mut shares = state.shares.values();
            let share = shares.find(|share| share.session == session && share.id == id);
            let share = share.map(|share| Digest(share.digest));
            share.inspect(|share| drop(state.shares.remove(share)))
        };
        let digest = digest.ok_or_else(|| GrantsError::Unknown(format!("share link {id}")))?;
        self.end(vec![digest], Subject::Share(digest)).await
    }

    /// Ends the share links of a session that is purged; its rows take theirs along.
    pub fn forget_session(&self, session: SessionId) {
        self.state().shares.retain(|_, share| share.session != session);
    }

    /// Logs in with what a request has proved its rights with.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub async fn log_in(&self, pass: &Pass) -> Result<Login, GrantsError> {
        let (cookie, now) = (random()?, Utc::now());
        let longest = now + TimeDelta::seconds(LOGIN_S);
        let secret = Pass { login: None, ..*pass };
        let expires_at = self.expires_at(&secret).map_or(longest, |end| end.min(longest));
        let subject = pass.subject.to_string();
        let row = LoginRow { digest: Digest::of(&cookie).0, subject, created_at: now, expires_at };
        let surplus = {
            let mut state = self.state();
            let mut same: Vec<_> = state
                .logins
                .values()
                .filter(|login| login.subject == row.subject)
                .map(|login| (login.created_at, login.digest))
                .collect();
            same.sort();
            same.truncate((same.len() + 1).saturating_sub(LOGINS_MAX));
            let surplus: Vec<_> = same.into_iter().map(|(_, digest)| digest).collect();
            for digest in &surplus {
                state.logins.remove(&Digest(*digest));
            }
            state.logins.insert(Digest(row.digest), row.clone());
            surplus
        };
        // A login that cannot be written lasts until the server stops.
        let changes = vec![GrantChange::Remove(surplus), GrantChange::AddLogin(row)];
        let _ = self.write_in_time(changes).await;
        Ok(Login { cookie, age_s: (expires_at - now).num_seconds() })
    }

    /// Ends a login.
    ///
    /// # Errors
    /// [`GrantsError::Unwritten`].
    pub async fn log_out(&self, cookie: &str) -> Result<(), GrantsError> {
        let digest = Digest::of(cookie);
        // Another secret in the place of a login's ends nothing.
        if self.state().logins.remove(&digest).is_none() {
            return Ok(());
        }
        self.end_written(vec![digest]).await
    }

    /// The logins that are in force, newest first.
    #[must_use]
    pub fn logins(&self, of: LoginsOf) -> Vec<ListedLogin> {
        let (state, now) = (self.state(), Utc::now());
        let listed = |(digest, login): (&Digest, &LoginRow)| {
            let subject = login.subject.parse().ok()?;
            let is_seen = login.expires_at > now && of.has(subject);
            let principal = self.principal(&state, subject, now).filter(|_| is_seen)?;
            let LoginRow { created_at, expires_at, .. } = *login;
            Some(ListedLogin { id: digest.id(), principal, created_at, expires_at })
        };
        let mut logins: Vec<_> = state.logins.iter().filter_map(listed).collect();
        logins.sort_by_key(|login| (Reverse(login.created_at), login.id));
        logins
    }

    /// Ends a login by its id.
    ///
    /// # Errors
    /// There is no such login, or it is another's; or [`GrantsError::Unwritten`].
    pub async fn end_login(&self, id: Uuid, of: LoginsOf) -> Result<(), GrantsError> {
        let digest = {
            let mut state = self.state();
            let is_it = |(digest, login): (&Digest, &LoginRow)| {
                let is_seen = login.subject.parse().is_ok_and(|subject| of.has(subject));
                (is_seen && digest.id() == id).then_some(*digest)
            };
            let digest = state.logins.iter().find_map(is_it);
            digest.inspect(|digest| drop(state.logins.remove(digest)))
        };
        let digest = digest.ok_or_else(|| GrantsError::Unknown(format!("login {id}")))?;
        self.end_written(vec![digest]).await
    }

    /// Makes a code with which one may log in, once, as who has made it, and says when it ends. A login
    /// by a code ends with what the code was made with.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn issue_code(&self, by: &Pass) -> Result<(String, DateTime<Utc>), GrantsError> {
        let (code, now) = (random()?, Utc::now());
        let expires_at = now + TimeDelta::seconds(CODE_S);
        let mut state = self.state();
        state.codes.retain(|code| code.expires_at > now);
        let surplus = (state.codes.len() + 1).saturating_sub(CODES_MAX);
        state.codes.drain(..surplus);
        state.codes.push(Code { digest: Digest::of(&code), by: *by, expires_at });
        Ok((code, expires_at))
    }

    /// Uses a code up.
    pub fn redeem(&self, code: &str) -> Option<(Principal, Pass)> {
        let (digest, now) = (Digest::of(code), Utc::now());
        let mut state = self.state();
        let at = state.codes.iter().position(|code| code.digest == digest)?;
        let Code { by, expires_at, .. } = state.codes.swap_remove(at);
        let stands = by.login.is_none_or(|login| state.logins.contains_key(&login));
        let principal = self.principal(&state, by.subject, now);
        let principal = principal.filter(|_| stands && expires_at > now)?;
        Some((principal, Pass { subject: by.subject, login: None }))
    }

    /// Drops what has expired, and writes again what could not be written before.
    pub async fn tidy(&self) {
        let now = Utc::now();
        let ended = {
            let mut state = self.state();
            let State { shares, logins, .. } = &mut *state;
            let mut ended = Vec::new();
            // An expired token stays in the list, where its owner sees why it opens nothing.
            shares.retain(|digest, share| {
                let stays = in_force(share.expires_at, now);
                ended.extend((!stays).then_some(*digest));
                stays
            });
            logins.retain(|digest, login| {
                let stays = login.expires_at > now;
                ended.extend((!stays).then_some(*digest));
                stays
            });
            ended.append(&mut state.unwritten);
            ended
        };
        if !ended.is_empty() {
            // If it fails, it is tried again.
            let _ = self.end_written(ended).await;
        }
    }

    /// Takes the share links out that this token's principal has made.
    fn take_shares_by(&self, name: &str) -> Vec<Digest> {
        let mut taken = Vec::new();
        self.state().shares.retain(|digest, share| {
            let stays = share.created_by != name;
            taken.extend((!stays).then_some(*digest));
            stays
        });
        taken
    }

    /// Has a secret's removal written, and that of the logins that were made with it.
    async fn end(&self, mut ended: Vec<Digest>, subject: Subject) -> Result<(), GrantsError> {
        let subject = subject.to_string();
        self.state().logins.retain(|digest, login| {
            let stays = login.subject != subject;
            ended.extend((!stays).then_some(*digest));
            stays
        });
        self.end_written(ended).await
    }

    async fn end_written(&self, ended: Vec<Digest>) -> Result<(), GrantsError> {
        self.state().remember_ended(&ended);
        let rows = ended.iter().map(|digest| digest.0).collect();
        let written = self.write_in_time(vec![GrantChange::Remove(rows)]).await;
        written.map_err(|error| {
            self.state().unwritten.extend(ended);
            GrantsError::Unwritten(error)
        })
    }

    /// The same, for what counts already: nobody waits for a disk that does not answer. It is
    /// written when it can be all the same.
    async fn write_in_time(&self, changes: Vec<GrantChange>) -> Result<(), StoreError> {
        let late = |_| StoreError::Unavailable("the disk does not answer".into());
        timeout(WRITTEN_WITHIN, self.write(changes)).await.map_err(late)?
    }

    async fn write(&self, changes: Vec<GrantChange>) -> Result<(), StoreError> {
        match &self.store {
            // In a task of its own: who hangs up meanwhile takes nothing back that counts already.
            Some(store) => {
                let store = store.clone();
                let written = spawn(async move { store.change_grants(changes).await });
                written.await.unwrap_or(Err(StoreError::Stopped))
            }
            None => Ok(()),
        }
    }

    /// A panic elsewhere leaves the tables whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what ends then still counts; `None`: it has no end.
fn in_force(expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    expires_at.is_none_or(|at| at > now)
}

fn expires_at(
    now: DateTime<Utc>,
    expires_s: Option<u64>,
) -> Result<Option<DateTime<Utc>>, GrantsError> {
    let Some(seconds) = expires_s else { return Ok(None) };
    if !(1..=EXPIRES_S_MAX).contains(&seconds) {
        let rule = format!("expires_s must be 1 to {EXPIRES_S_MAX} (ten years), not {seconds}");
        return Err(GrantsError::Invalid(rule));
    }
    Ok(i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).map(|life| now + life))
}

/// As the rows of logins spell it.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, digest) = match self {
            Subject::Owner => return f.write_str("owner"),
            Subject::Admin(digest) => ("admin", digest),
            Subject::Token(digest) => ("token", digest),
            Subject::Share(digest) => ("share", digest),
        };
        write!(f, "{kind}:")?;
        digest.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Subject {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "owner" {
            return Ok(Subject::Owner);
        }
        let (kind, hex) = text.split_once(':').ok_or(())?;
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(());
        }
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(drop)?;
        }
        let digest = Digest(digest);
        match kind {
            "admin" => Ok(Subject::Admin(digest)),
            "token" => Ok(Subject::Token(digest)),
            "share" => Ok(Subject::Share(digest)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
