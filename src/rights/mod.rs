//! Rights: who may do what with which session.
//!
//! - `principal`: [`Principal`], whom a request speaks for: its [`Role`] and [`Scope`].
//! - `action`: [`Action`], what a request is about to do, and the role that it needs.
//! - `decision`: [`decide`], the one pure rule of all.
//! - `secret`: random secrets, of which only the [`Digest`] is ever kept.
//! - `pass`: [`Pass`], what a request has proved its rights with.
//! - `subscription`: [`Subscription`], a browser that is told by web push.
//! - `tables`: the tokens, share links, logins and codes that are in force, in memory.
//! - `visits`: [`Visit`], a request that another machine of the fleet passes on.
//! - `grants`: [`Grants`], the same for everybody at once, and kept in the database.

mod action;
mod decision;
mod grants;
mod pass;
mod principal;
mod secret;
mod subscription;
mod tables;
mod visits;

pub use action::Action;
pub use decision::{Decision, decide};
pub use grants::{Grants, GrantsError, Login, NewShare, NewToken};
pub use pass::{LoginsOf, Pass};
pub use principal::{Facts, Kind, Principal, Role, Scope};
pub use secret::{Digest, random};
pub use subscription::Subscription;
pub use tables::ListedLogin;
pub use visits::{PRINCIPAL_MAX, Visit, Vouched};
