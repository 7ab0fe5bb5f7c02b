//! The tokens, share links, logins and one-time codes that are in force. They are looked up in
//! memory and kept in the database. What adds rights counts once it is written; what takes them
//! away counts at once, and is written until that succeeds.

use super::pass::{LoginsOf, Pass, Subject};
use super::principal::{Principal, Role, Scope, check_token_name};
use super::secret::{Digest, random};
use super::subscription::Subscription;
use super::tables::{Code, LOGINS_MAX, ListedLogin, NoShare, PUSHES_MAX, Tables, in_force};
use super::visits::{Visit, Visits};
use crate::id::SessionId;
use crate::protocol::Mode;
use crate::push::Subscriber;
use crate::relay::NodeName;
use crate::store::{GrantChange, LoginRow, ShareRow, StoreError, StoreHandle, TokenRow};
use actix_web::rt::spawn;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::timeout;
use uuid::Uuid;

/// The rule for a token of the operator's own.
const SECRET_RULE: &str = "must hold 16 or more letters, digits, '-', '.', '_', '~'";
/// The shortest one, in characters.
const SECRET_MIN: usize = 16;
/// The most tokens at once.
const TOKENS_MAX: usize = 1000;
/// How long a login lasts, in seconds: 30 days.
const LOGIN_S: i64 = 30 * 24 * 3600;
/// How long a one-time code waits to be used, in seconds.
const CODE_S: i64 = 600;
/// How long somebody is kept waiting for a login or an end of rights to be written.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
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
    /// The principal that makes it has no rights any more.
    #[error(
        "the share link is not made, because the token {0:?} has been removed or has expired \
         meanwhile; make it with a token that is in force"
    )]
    MakerEnded(String),
    /// No more can be made.
    #[error("there are {0} already, which is the most; end one that is not needed")]
    TooMany(String),
    /// So many are logged in by one share link that no more can be.
    #[error(
        "there are {LOGINS_MAX} logins by this share link already, which is the most; log out where \
         it is not needed, or have another link made"
    )]
    TooManyLogins,
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
#[derive(Clone, Debug)]
pub struct NewShare {
    /// The machine of the fleet that has the session; `None`: this one.
    pub node: Option<NodeName>,
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

/// Everything that is granted; one instance for the whole server.
pub struct Grants {
    /// `None` in tests, which keep nothing.
    store: Option<StoreHandle>,
    tables: Mutex<Tables>,
    visits: Arc<Visits>,
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
        let rows = store.grants().await.map_err(GrantsError::Store)?;
        let tables = Tables::new(admin_token.map(Digest::of), rows);
        Ok(Grants { store: Some(store), tables: Mutex::new(tables), visits: Arc::default() })
    }

    /// Nothing but the operator's token; what is added is not kept.
    #[cfg(test)]
    pub(crate) fn in_memory(admin_token: &str) -> Grants {
        let admin = Some(Digest::of(admin_token));
        let tables = Mutex::new(Tables::new(admin, Default::default()));
        Grants { store: None, tables, visits: Arc::default() }
    }

    /// Whom a token, or the secret of a share link, speaks for.
    pub fn by_secret(&self, secret: &str) -> Option<(Principal, Pass)> {
        self.tables().by_secret(Digest::of(secret), Utc::now())
    }

    /// Whether a secret that opens nothing has opened something before, as far as is remembered.
    pub fn has_ended(&self, secret: &str) -> bool {
        self.tables().has_ended(&Digest::of(secret))
    }

    /// Whom a login's cookie speaks for.
    pub fn by_cookie(&self, cookie: &str) -> Option<(Principal, Pass)> {
        self.tables().by_cookie(Digest::of(cookie), Utc::now())
    }

    /// The user that runs the server, who has come over the unix socket.
    #[must_use]
    pub fn owner() -> (Principal, Pass) {
        (Principal::owner(), Pass { subject: Subject::Owner, login: None })
    }

    /// Another machine passes a request on. `revoked` turns true once that machine says that its
    /// rights have ended.
    #[must_use]
    pub fn visit(&self, principal: Principal, revoked: Arc<AtomicBool>) -> Visit {
        self.visits.begin(principal, revoked)
    }

    /// Why a pass opens nothing any more; `None`: it does.
    #[must_use]
    pub fn why_ended(&self, pass: &Pass) -> Option<&'static str> {
        match pass.subject {
            Subject::Visit(number) => (!self.visits.has(number))
                .then_some("the token or login has ended on the machine where it was shown"),
            _ => self.tables().why_ended(pass, Utc::now()),
        }
    }

    /// When a pass ends, as far as is known.
    #[must_use]
    pub fn expires_at(&self, pass: &Pass) -> Option<DateTime<Utc>> {
        self.tables().expires_at(pass)
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
            let tables = self.tables();
            if tables.tokens.len() >= TOKENS_MAX {
                return Err(GrantsError::TooMany(format!("{TOKENS_MAX} tokens")));
            }
            match tables.token_named(&row.name) {
                Some(known) if in_force(known.expires_at, now) => {
                    return Err(GrantsError::Taken(row.name));
                }
                same => same.map(|known| Digest(known.digest)),
            }
        };
        let links = expired.map(|old| self.tables().take_shares_by(old.id()));
        let mut old = links.unwrap_or_default();
        old.extend(expired);
        let mut changes = vec![GrantChange::Remove(old.iter().map(|digest| digest.0).collect())];
        changes.push(GrantChange::AddToken(row.clone()));
        self.write(changes).await.map_err(|error| match error {
            // Another request has made it meanwhile.
            StoreError::Refused(_) => GrantsError::Taken(row.name.clone()),
            error => GrantsError::Store(error),
        })?;
        let mut tables = self.tables();
        expired.map(|old| tables.tokens.remove(&old));
        tables.tokens.insert(Digest(row.digest), row.clone());
        Ok((row, secret))
    }

    /// The tokens, by name.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenRow> {
        let mut tokens: Vec<_> = self.tables().tokens.values().cloned().collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tokens
    }

    /// Removes a token, and with it all logins and share links that were made with it.
    ///
    /// # Errors
    /// There is none of this name; or [`GrantsError::Unwritten`].
    pub async fn remove_token(&self, name: &str) -> Result<(), GrantsError> {
        let (digest, mut ended) = {
            let mut tables = self.tables();
            let digest = tables.take_token(name);
            let digest = digest.ok_or_else(|| GrantsError::Unknown(format!("token {name:?}")))?;
            (digest, tables.take_shares_by(digest.id()))
        };
        ended.push(digest);
        self.end(ended, Subject::Token(digest)).await
    }

    /// Makes a share link and returns it with its secret, which is shown once.
    ///
    /// # Errors
    /// There are too many, the link cannot be written, or its maker's token has ended meanwhile.
    pub async fn add_share(
        &self,
        new: NewShare,
        by: &Principal,
    ) -> Result<(ShareRow, String), GrantsError> {
        let (secret, now) = (random()?, Utc::now());
        let row = ShareRow {
            id: SessionId::generate(),
            node: new.node,
            session: new.session,
            digest: Digest::of(&secret).0,
            mode: new.mode,
            created_at: now,
            created_by: by.name.clone(),
            created_by_token: by.token,
            expires_at: expires_at(now, new.expires_s)?,
        };
        let refused = |why| match why {
            NoShare::TooMany(most) => GrantsError::TooMany(format!("{most} share links")),
            NoShare::TooManyOfOne(most) => {
                GrantsError::TooMany(format!("{most} share links that {:?} has made", by.name))
            }
            NoShare::MakerEnded => GrantsError::MakerEnded(by.name.clone()),
        };
        self.tables().check_share(&row, now).map_err(refused)?;
        self.write(vec![GrantChange::AddShare(row.clone())]).await.map_err(GrantsError::Store)?;
        let added = self.tables().add_share(&row, Utc::now());
        if let Err(why) = added {
            // If its removal cannot be written now, it is tried again.
            let _ = self.end_written(vec![Digest(row.digest)]).await;
            return Err(refused(why));
        }
        Ok((row, secret))
    }

    /// The share links of a session that are in force, oldest first.
    #[must_use]
    pub fn shares(&self, session: SessionId) -> Vec<ShareRow> {
        self.tables().shares_where(|share| share.session == session, Utc::now())
    }

    /// The share links of all sessions that are in force, oldest first.
    #[must_use]
    pub fn all_shares(&self) -> Vec<ShareRow> {
        self.tables().shares_where(|_| true, Utc::now())
    }

    /// Ends a share link of a session.
    ///
    /// # Errors
    /// There is no such link; or [`GrantsError::Unwritten`].
    pub async fn remove_share(&self, session: SessionId, id: SessionId) -> Result<(), GrantsError> {
        let digest = self.tables().take_share(session, id);
        let digest = digest.ok_or_else(|| GrantsError::Unknown(format!("share link {id}")))?;
        self.end(vec![digest], Subject::Share(digest)).await
    }

    /// Ends the share links of sessions of other machines that are gone there. It is written by a task.
    pub fn end_shares_elsewhere(self: &Arc<Self>, is_gone: impl Fn(&NodeName, &ShareRow) -> bool) {
        let ended = self.tables().take_shares_elsewhere(is_gone);
        if ended.is_empty() {
            return;
        }
        let grants = self.clone();
        spawn(async move {
            for digest in ended {
                // If it cannot be written now, it is tried again.
                let _ = grants.end(vec![digest], Subject::Share(digest)).await;
            }
        });
    }

    /// Ends the share links of a session that is purged; its rows take theirs along.
    pub fn forget_session(&self, session: SessionId) {
        self.tables().shares.retain(|_, share| share.session != session);
    }

    /// Logs in with what a request has proved its rights with. A token's oldest login makes room for
    /// the newest. A link's does not: several people have it, who must not log each other out.
    ///
    /// # Errors
    /// The system has no randomness to give, or [`GrantsError::TooManyLogins`].
    pub async fn log_in(&self, pass: &Pass) -> Result<Login, GrantsError> {
        let (cookie, now) = (random()?, Utc::now());
        let longest = now + TimeDelta::seconds(LOGIN_S);
        let secret = Pass { login: None, ..*pass };
        let expires_at = self.expires_at(&secret).map_or(longest, |end| end.min(longest));
        let subject = pass.subject.to_string();
        let row = LoginRow { digest: Digest::of(&cookie).0, subject, created_at: now, expires_at };
        let surplus = {
            let mut tables = self.tables();
            let is_of_link = matches!(pass.subject, Subject::Share(_));
            if is_of_link && tables.count_logins(&row.subject, now) >= LOGINS_MAX {
                return Err(GrantsError::TooManyLogins);
            }
            tables.add_login(row.clone())
        };
        let surplus = surplus.iter().map(|digest| digest.0).collect();
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
        if self.tables().logins.remove(&digest).is_none() {
            return Ok(());
        }
        self.end_written(vec![digest]).await
    }

    /// The logins that are in force, newest first.
    #[must_use]
    pub fn logins(&self, of: LoginsOf) -> Vec<ListedLogin> {
        self.tables().logins(of, Utc::now())
    }

    /// Ends a login by its id.
    ///
    /// # Errors
    /// There is no such login, or it is another's; or [`GrantsError::Unwritten`].
    pub async fn end_login(&self, id: Uuid, of: LoginsOf) -> Result<(), GrantsError> {
        let digest = self.tables().take_login(id, of);
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
        let waits = Code { digest: Digest::of(&code), by: *by, expires_at };
        self.tables().add_code(waits, now);
        Ok((code, expires_at))
    }

    /// Uses a code up.
    pub fn redeem(&self, code: &str) -> Option<(Principal, Pass)> {
        self.tables().redeem(Digest::of(code), Utc::now())
    }

    /// Has a browser told what needs somebody, for as long as a pass holds. The same browser has one
    /// subscription, whoever has made it last.
    ///
    /// # Errors
    /// There are too many, or it cannot be written.
    pub async fn subscribe(
        &self,
        subscriber: Subscriber,
        pass: &Pass,
    ) -> Result<Uuid, GrantsError> {
        let (id, pass, created_at) = (Uuid::now_v7(), *pass, Utc::now());
        let new = Subscription { id, pass, subscriber, created_at };
        let too_many = || GrantsError::TooMany(format!("{PUSHES_MAX} push subscriptions"));
        let room = self.tables().room_for_push(&new).ok_or_else(too_many)?;
        let changes =
            vec![GrantChange::RemovePushes(room.clone()), GrantChange::AddPush(new.row())];
        self.write(changes).await.map_err(GrantsError::Store)?;
        // Meanwhile others may have taken the room, or subscribed the same browser.
        let now = {
            let mut tables = self.tables();
            let now = tables.room_for_push(&new);
            for id in now.iter().flatten() {
                tables.pushes.remove(id);
            }
            if now.is_some() {
                tables.pushes.insert(id, new);
            }
            now
        };
        let surplus: Vec<Uuid> = match &now {
            Some(now) => now.iter().filter(|id| !room.contains(id)).copied().collect(),
            None => vec![id],
        };
        if !surplus.is_empty() {
            self.end_pushes(surplus).await?;
        }
        now.map(|_| id).ok_or_else(too_many)
    }

    /// Ends a subscription that was made with the same secret as this pass.
    ///
    /// # Errors
    /// There is none, or it is another's; or it cannot be written yet that it has ended.
    pub async fn unsubscribe(&self, id: Uuid, pass: &Pass) -> Result<(), GrantsError> {
        let is_own = |it: &Subscription| it.pass.is_of_same_secret(pass);
        if !self.tables().pushes.get(&id).is_some_and(is_own) {
            return Err(GrantsError::Unknown(format!("push subscription {id}")));
        }
        self.forget_subscription(id).await
    }

    /// Ends a subscription whose browser is not reached any more.
    ///
    /// # Errors
    /// It cannot be written yet that it has ended.
    pub async fn forget_subscription(&self, id: Uuid) -> Result<(), GrantsError> {
        self.tables().pushes.remove(&id);
        self.end_pushes(vec![id]).await
    }

    async fn end_pushes(&self, ended: Vec<Uuid>) -> Result<(), GrantsError> {
        let written = self.write_in_time(vec![GrantChange::RemovePushes(ended.clone())]).await;
        written.map_err(|error| {
            self.tables().unwritten_pushes.extend(ended);
            GrantsError::Unwritten(error)
        })
    }

    /// Whether anybody has subscribed.
    #[must_use]
    pub fn has_subscriptions(&self) -> bool {
        !self.tables().pushes.is_empty()
    }

    /// The subscriptions that are in force and for whom this holds.
    #[must_use]
    pub fn subscriptions(&self, is_meant: impl Fn(&Subscription, &Principal) -> bool) -> Vec<Uuid> {
        let (tables, now) = (self.tables(), Utc::now());
        let in_force = tables.pushes.keys().filter_map(|id| tables.push(*id, now));
        let meant = in_force.filter(|(subscription, principal)| is_meant(subscription, principal));
        let mut ids: Vec<Uuid> = meant.map(|(subscription, _)| subscription.id).collect();
        ids.sort();
        ids
    }

    /// A subscription that is in force.
    #[must_use]
    pub fn subscription(&self, id: Uuid) -> Option<Subscription> {
        self.tables().push(id, Utc::now()).map(|(subscription, _)| subscription.clone())
    }

    /// Drops what has expired, and writes again what could not be written before.
    pub async fn tidy(&self) {
        let (ended, pushes) = {
            let mut tables = self.tables();
            let mut ended = tables.take_expired(Utc::now());
            ended.append(&mut tables.unwritten);
            let mut pushes = tables.take_ended_pushes(Utc::now());
            pushes.append(&mut tables.unwritten_pushes);
            (ended, pushes)
        };
        if !pushes.is_empty() {
            // If it fails, it is tried again.
            let _ = self.end_pushes(pushes).await;
        }
        if !ended.is_empty() {
            // If it fails, it is tried again.
            let _ = self.end_written(ended).await;
        }
    }

    /// Has a secret's removal written, and that of the logins that were made with it.
    async fn end(&self, mut ended: Vec<Digest>, subject: Subject) -> Result<(), GrantsError> {
        ended.append(&mut self.tables().take_logins_of(subject));
        self.end_written(ended).await
    }

    async fn end_written(&self, ended: Vec<Digest>) -> Result<(), GrantsError> {
        {
            let mut tables = self.tables();
            tables.remember_ended(&ended);
            // Their rows go with those of what they were made with.
            tables.take_pushes_of(&ended);
        }
        let rows = ended.iter().map(|digest| digest.0).collect();
        let written = self.write_in_time(vec![GrantChange::Remove(rows)]).await;
        written.map_err(|error| {
            self.tables().unwritten.extend(ended);
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
            // A write lets others in meanwhile.
            None => {
                yield_now().await;
                Ok(())
            }
        }
    }

    /// A panic elsewhere leaves the tables whole.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
