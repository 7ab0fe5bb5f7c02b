//! Rights on the unix socket: whoever has connected is the owner, unless it runs inside a session.
//!
//! The kernel has checked already that it is a process of the server's user. A process inside a
//! session is told by its parents: the holder starts all sessions and adopts every orphan of theirs
//! (it is a subreaper), so the holder is above all that run in them, whatever they do to their
//! environment, terminal session and process group. The marks of a session (see `tree`) tell those
//! that were started by somebody else in a session's name.
//!
//! This keeps programs in sessions from using the server without their owner's leave. It is no wall
//! between processes of one user: one that can have another start a program outside (a user's
//! systemd, ptrace(2)) is not kept from anything that this user may do.

use super::api::Api;
use super::auth::Access;
use super::openapi;
use super::problem::{Problem, code};
use crate::config::{Control, Profile};
use crate::connections::{Peer, Visitor};
use crate::id::SessionId;
use crate::registry::Roster;
use crate::rights::{Action, Kind, Principal, Role, Scope};
use crate::tree::{self, Keepers, Standing, pidfd};
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, ORIGIN};
use actix_web::{HttpRequest, web};
use std::collections::BTreeMap;
use std::io;

/// Who a process on the unix socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalRights {
    /// A process of the owner's.
    Owner,
    /// A process in a session.
    Inside {
        /// Which, if that is known for sure or by its marks. An orphan that has shed all of them
        /// is in some session.
        session: Option<SessionId>,
        /// What the session's profile grants. Only the session's first process and its living
        /// descendants have it: marks can be forged by programs of other sessions.
        control: Option<Control>,
    },
}

/// Whether a request has come over the unix socket.
pub(super) fn is_local(request: &ServiceRequest) -> bool {
    visitor(request).is_some()
}

fn visitor(request: &ServiceRequest) -> Option<(&Visitor, i32)> {
    let visitor = request.conn_data::<Visitor>()?;
    match visitor.peer() {
        Peer::Local { pid, .. } => Some((visitor, pid)),
        Peer::Tcp(_) | Peer::Fleet => None,
    }
}

/// The process on the unix socket that makes a request.
pub(super) fn pid(request: &HttpRequest) -> Option<i32> {
    match request.conn_data::<Visitor>()?.peer() {
        Peer::Local { pid, .. } => Some(pid),
        Peer::Tcp(_) | Peer::Fleet => None,
    }
}

/// Whether a request shows that somebody passes it on, who had better not: the socket has rights that
/// no page is to have. Programs name no host, or one without a domain; a browser that was led here
/// names the one that it was led by.
pub(super) fn is_passed_on(headers: &HeaderMap) -> bool {
    let passed = ["forwarded", "x-forwarded-for", "x-forwarded-host", "via", "sec-fetch-site"];
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    passed.iter().any(|name| headers.contains_key(*name)) || host.contains('.')
}

/// No browser speaks over a unix socket, so an Origin has been passed on by somebody who had better
/// not: the socket has rights that no page is to have.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let detail = "a request over the unix socket must have no Origin: pages are served over TCP";
    Err(Problem::new(code::FORBIDDEN_ORIGIN, detail))
}

/// Whom a local process speaks for without a token: the owner, or the session that it runs in, if
/// that session's profile grants something.
pub(super) fn admit(request: &ServiceRequest, access: &Access) -> Result<Principal, Problem> {
    let Some((visitor, _)) = visitor(request) else { return Err(unknown("no local process")) };
    if visitor.is_vouched_for() {
        return Ok(Principal::owner());
    }
    match rights(request).map_err(|error| unknown(&error.to_string()))? {
        LocalRights::Owner => {
            visitor.vouch();
            Ok(Principal::owner())
        }
        // Whatever else it may do, it speaks for its own session alone.
        LocalRights::Inside { session: Some(session), .. } if reports(request) => {
            Ok(inside(session, Role::Controller, Scope::Sessions(vec![session])))
        }
        LocalRights::Inside { session: Some(session), control: Some(control) } => {
            let role = match control {
                Control::Viewer => Role::Viewer,
                Control::Controller => Role::Controller,
            };
            Ok(inside(session, role, Scope::All))
        }
        LocalRights::Inside { session, .. } => {
            let name = session.map_or_else(|| "session-unknown".into(), name_of);
            access.note_inside(name, action(request).map_or("authenticate", Action::as_str));
            let which = session.map_or_else(|| "a session".into(), |id| format!("session {id}"));
            let detail = format!(
                "this process runs inside {which}, and processes inside sessions have no access \
                 unless the session's profile says so (control); from outside, or with a token, \
                 it would have"
            );
            Err(Problem::new(code::FORBIDDEN, detail))
        }
    }
}

/// A program inside a session.
fn inside(session: SessionId, role: Role, scope: Scope) -> Principal {
    let name = name_of(session);
    Principal { name, kind: Kind::Session, token: None, role, scope, maker: None }
}

/// The name of the programs inside a session.
fn name_of(session: SessionId) -> String {
    format!("session-{session}")
}

/// Whether a request says what a session's program does.
fn reports(request: &ServiceRequest) -> bool {
    action(request) == Some(Action::Report)
}

fn action(request: &ServiceRequest) -> Option<Action> {
    openapi::action(request.method(), request.match_info().unprocessed()).ok()
}

fn unknown(why: &str) -> Problem {
    let detail = format!("it cannot be told which process is asking ({why}): use a token");
    Problem::new(code::FORBIDDEN, detail)
}

/// Who is asking over the unix socket.
///
/// # Errors
/// The process is gone, or cannot be looked at: then nobody knows who has asked.
pub(super) fn rights(request: &ServiceRequest) -> io::Result<LocalRights> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let (visitor, pid) = visitor(request).ok_or_else(gone)?;
    let api = request.app_data::<web::Data<Api>>().ok_or_else(gone)?;
    let process = visitor.process().ok_or_else(gone)?;
    let found = find(pid, api.holder.keepers(), &api.roster, &api.defaults.profiles)?;
    // If the process still runs, it was this one that was looked at, and not a later one with its
    // pid.
    if pidfd::is_over(process) { Err(gone()) } else { Ok(found) }
}

fn find(
    pid: i32,
    keepers: Keepers,
    roster: &Roster,
    profiles: &BTreeMap<String, Profile>,
) -> io::Result<LocalRights> {
    let marked = || tree::marked_by(pid, roster.ids().into_iter());
    match tree::standing(pid, keepers, |leader| roster.led_by(leader).is_some())? {
        Standing::Outside => Ok(match marked()? {
            None => LocalRights::Owner,
            session => LocalRights::Inside { session, control: None },
        }),
        Standing::Below { child } => Ok(match roster.led_by(child) {
            Some((session, profile)) => {
                let profile = profile.and_then(|name| profiles.get(&name));
                let control = profile.and_then(|profile| profile.control);
                LocalRights::Inside { session: Some(session), control }
            }
            None => LocalRights::Inside { session: marked()?, control: None },
        }),
    }
}
