//! Sessions and their transitions in SQLite, which outlive the server.
//!
//! ```text
//!  sessions, registry ── StoreHandle ──► queue ──► Store (one thread) ──► stayd.db
//!        save, commit, touch               ▲            │  what failed stays, in order
//!                                          └─ 250 ms ───┘  and is tried again
//! ```
//!
//! There is one writer: the [`Store`] actor, alone on its `SyncArbiter` thread. A row and the
//! transition that changed it are written in one transaction. Of the rows that wait, only the
//! latest of each session is written; transitions are all written. What was `save`d while the
//! database was locked or the disk full is written, in order, once that is over.
//!
//! - `handle`: [`StoreHandle`], the handle of all other code
//! - `actor`: [`Store`], the writer
//! - `queue`: the writes that wait
//! - `row`: the types of rows; `once`: idempotency keys
//! - `audit`: the audit log
//! - `deliveries`: what hooks still have to deliver
//! - `grants`: tokens, share links, logins and subscriptions; `reserve`: room for their removal on a full disk
//! - `db`: open, read; `tx`: write; `decode`: from columns to types
//! - `backup`: a copy of the database while it is being written
//! - `inspect`: for `stayd doctor`: reads a database that a server may be using
//! - `error`: what can go wrong

mod actor;
mod audit;
mod backup;
mod columns;
mod db;
mod deliveries;
mod error;
#[cfg(test)]
#[path = "../../tests/fuzz/store.rs"]
mod fuzz;
mod grants;
mod handle;
mod inspect;
mod migrations;
mod once;
mod queue;
mod reserve;
mod row;
mod tx;

#[cfg(test)]
mod tests;

pub use actor::Store;
pub use audit::{AuditEntry, AuditFilter, AuditRow, Outcome};
pub use backup::remove_leftovers;
pub use deliveries::{DeliveryChange, DeliveryRow, DeliveryRows, FollowedRow};
pub use error::{OpenError, StoreError};
pub use grants::{Digest, GrantChange, GrantRows, LoginRow, PushRow, ShareRow, TokenRow};
pub use handle::{Stats, StoreHandle};
pub use inspect::{Inspection, inspect};
pub use once::{Once, OnceOf};
pub use row::{Change, Filter, InScope, Live, NewTransition, Row, Unreadable};
