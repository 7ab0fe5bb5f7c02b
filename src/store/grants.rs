//! Tokens, share links, logins and subscriptions as rows. Of each secret there is only its digest.

use super::columns::{json, word, word_or_null};
use super::error::StoreError;
use crate::id::SessionId;
use crate::protocol::{Mode, rfc3339};
use crate::push::Subscriber;
use crate::relay::NodeName;
use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use uuid::Uuid;

/// SHA-256 of a secret.
pub type Digest = [u8; 32];

/// A row of `tokens`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Unique.
    pub name: String,
    /// Of the token.
    pub digest: Digest,
    /// `viewer`, `controller` or `admin`.
    pub role: String,
    /// The sessions that exist for it.
    pub scope: serde_json::Value,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The name of the principal that made it.
    pub created_by: String,
    /// When it ends; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A row of `shares`, or of `shares_elsewhere`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRow {
    /// UUID v7.
    pub id: SessionId,
    /// The machine of the fleet that has the session; `None`: this one.
    pub node: Option<NodeName>,
    /// The session that it opens.
    pub session: SessionId,
    /// Of the link's secret.
    pub digest: Digest,
    /// Whether one may type with it.
    pub mode: Mode,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The name of the principal that made it.
    pub created_by: String,
    /// Which token of that name; `None`: it was the owner.
    pub created_by_token: Option<Uuid>,
    /// When it ends; `None`: with the session's row.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A row of `logins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRow {
    /// Of the cookie.
    pub digest: Digest,
    /// What it was made with.
    pub subject: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// A row of `push_subscriptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushRow {
    /// Its id, which may be shown.
    pub id: Uuid,
    /// What it was made with.
    pub subject: String,
    /// The login that it was made by; `None`: by none.
    pub login: Option<Digest>,
    /// Where and how the browser is reached.
    pub subscriber: Subscriber,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub struct GrantRows {
    /// By name.
    pub tokens: Vec<TokenRow>,
    /// By id.
    pub shares: Vec<ShareRow>,
    /// In no order.
    pub logins: Vec<LoginRow>,
    /// In no order.
    pub pushes: Vec<PushRow>,
}

/// A change of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantChange {
    /// A new token.
    AddToken(TokenRow),
    /// A new share link.
    AddShare(ShareRow),
    /// A new login.
    AddLogin(LoginRow),
    /// Whatever has one of these digests ends, and the subscriptions that were made with it.
    Remove(Vec<Digest>),
    /// A new subscription, in place of another of the same endpoint.
    AddPush(PushRow),
    /// These subscriptions end.
    RemovePushes(Vec<Uuid>),
}

impl GrantChange {
    /// Makes the change in an open transaction.
    pub(super) fn write(&self, to: &Connection) -> Result<(), StoreError> {
        match self {
            GrantChange::AddToken(token) => {
                let TokenRow { name, digest, role, scope, created_at, created_by, expires_at } =
                    token;
                to.prepare_cached(
                    "INSERT INTO tokens
                         (name, digest, role, scope, created_at, created_by, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    name,
                    digest,
                    role,
                    json(scope)?,
                    rfc3339(*created_at),
                    created_by,
                    expires_at.map(rfc3339),
                ])?;
            }
            GrantChange::AddShare(share) => {
                let ShareRow { id, session, digest, mode, created_at, created_by, .. } = share;
                let ShareRow { node, created_by_token, expires_at, .. } = share;
                let mut values = vec![
                    Value::from(id.to_string()),
                    Value::from(session.to_string()),
                    Value::from(digest.to_vec()),
                    Value::from(mode.as_str().to_owned()),
                    Value::from(rfc3339(*created_at)),
                    Value::from(created_by.clone()),
                    Value::from(created_by_token.map(|token| token.to_string())),
                    Value::from(expires_at.map(rfc3339)),
                ];
                let sql = match node {
                    None => {
                        "INSERT INTO shares
                             (id, session_id, digest, mode, created_at, created_by,
                              created_by_token, expires_at)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                    }
                    Some(node) => {
                        values.push(Value::from(node.to_string()));
                        "INSERT INTO shares_elsewhere
                             (id, session_id, digest, mode, created_at, created_by,
                              created_by_token, expires_at, node)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                    }
                };
                to.prepare_cached(sql)?.execute(params_from_iter(values))?;
            }
            GrantChange::AddLogin(LoginRow { digest, subject, created_at, expires_at }) => {
                to.prepare_cached(
                    "INSERT INTO logins (digest, subject, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    digest,
                    subject,
                    rfc3339(*created_at),
                    rfc3339(*expires_at)
                ])?;
            }
            GrantChange::Remove(digests) => {
                for digest in digests {
                    for table in ["tokens", "shares", "shares_elsewhere", "logins"] {
                        let sql = format!("DELETE FROM {table} WHERE digest = ?1");
                        to.prepare_cached(&sql)?.execute([digest])?;
                    }
                    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    to.prepare_cached(
                        "DELETE FROM push_subscriptions WHERE login = ?1 OR subject = 'token:' || ?2",
                    )?
                    .execute(params![digest, hex])?;
                }
            }
            GrantChange::AddPush(row) => {
                let PushRow { id, subject, login, subscriber, created_at } = row;
                let Subscriber { endpoint, p256dh, auth } = subscriber;
                to.prepare_cached(
                    "INSERT OR REPLACE INTO push_subscriptions
                         (id, subject, login, endpoint, p256dh, auth, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    id.to_string(),
                    subject,
                    login,
                    endpoint,
                    p256dh,
                    auth,
                    rfc3339(*created_at)
                ])?;
            }
            GrantChange::RemovePushes(ids) => {
                for id in ids {
                    to.prepare_cached("DELETE FROM push_subscriptions WHERE id = ?1")?
                        .execute([id.to_string()])?;
                }
            }
        }
        Ok(())
    }
}

/// Reads all rows. One that cannot be read opens nothing: it is left out, and named.
pub(super) fn load(from: &Connection) -> Result<(GrantRows, Vec<String>), StoreError> {
    let mut unreadable = Vec::new();
    let tokens = rows(
        from,
        "SELECT name, digest, role, scope, created_at, created_by, expires_at FROM tokens
         ORDER BY name",
        &mut unreadable,
        |row| {
            let scope: String = row.get(3)?;
            Ok(TokenRow {
                name: row.get(0)?,
                digest: row.get(1)?,
                role: row.get(2)?,
                scope: serde_json::from_str(&scope).unwrap_or_default(),
                created_at: word(row, 4)?,
                created_by: row.get(5)?,
                expires_at: word_or_null(row, 6)?,
            })
        },
    )?;
    let shares = rows(
        from,
        "SELECT id, session_id, digest, mode, created_at, created_by, created_by_token, expires_at,
             NULL FROM shares
         UNION ALL
         SELECT id, session_id, digest, mode, created_at, created_by, created_by_token, expires_at,
             node FROM shares_elsewhere
         ORDER BY id",
        &mut unreadable,
        |row| {
            Ok(ShareRow {
                id: word(row, 0)?,
                session: word(row, 1)?,
                digest: row.get(2)?,
                mode: word(row, 3)?,
                created_at: word(row, 4)?,
                created_by: row.get(5)?,
                created_by_token: word_or_null(row, 6)?,
                expires_at: word_or_null(row, 7)?,
                node: word_or_null(row, 8)?,
            })
        },
    )?;
    let logins = rows(
        from,
        "SELECT digest, subject, created_at, expires_at FROM logins",
        &mut unreadable,
        |row| {
            Ok(LoginRow {
                digest: row.get(0)?,
                subject: row.get(1)?,
                created_at: word(row, 2)?,
                expires_at: word(row, 3)?,
            })
        },
    )?;
    let pushes = rows(
        from,
        "SELECT id, subject, login, endpoint, p256dh, auth, created_at FROM push_subscriptions",
        &mut unreadable,
        |row| {
            let (endpoint, p256dh, auth) = (row.get(3)?, row.get(4)?, row.get(5)?);
            Ok(PushRow {
                id: word(row, 0)?,
                subject: row.get(1)?,
                login: row.get(2)?,
                subscriber: Subscriber { endpoint, p256dh, auth },
                created_at: word(row, 6)?,
            })
        },
    )?;
    Ok((GrantRows { tokens, shares, logins, pushes }, unreadable))
}

fn rows<T>(
    from: &Connection,
    sql: &str,
    unreadable: &mut Vec<String>,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = from.prepare(sql)?;
    let mut found = statement.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        match read(row) {
            Ok(row) => rows.push(row),
            Err(error) if error.sqlite_error_code().is_none() => unreadable.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rows)
}
