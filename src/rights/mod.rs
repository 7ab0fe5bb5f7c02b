//! Rights: who may do what with which session.
//!
//! - `principal`: [`Principal`], whom a request speaks for: its [`Role`] and [`Scope`].
//! - `action`: [`Action`], what a request is about to do, and the role that it needs.
//! - `decision`: [`decide`], the one pure rule of all.
//! - `secret`: random secrets, of which only the [`Digest`] is ever kept.
//! - `grants`: [`Grants`], the tokens, share links, logins and codes that are in force.

mod action;
mod decision;
mod grants;
mod principal;
mod secret;

pub use action::Action;
pub use decision::{Decision, decide};
pub use grants::{Grants, GrantsError, ListedLogin, Login, LoginsOf, NewShare, NewToken, Pass};
pub use principal::{Facts, Kind, Principal, Role, Scope};
pub use secret::{Digest, random};
