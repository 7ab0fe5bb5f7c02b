//! `stayd ls`.

use super::client::{Client, read};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::run::pair;
use super::{out, sys, table};
use crate::config::PathFlags;
use crate::protocol::Session;
use clap::Args;
use serde_json::{Value, json};
use std::os::fd::AsFd;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Include ended sessions
    #[arg(long, short)]
    all: bool,
    /// Only sessions that have ended
    #[arg(long, conflicts_with = "all")]
    ended: bool,
    /// Only sessions with this label; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Print only names, or ids of sessions without one
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Print the API's response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn ls(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let ended = flags.all || flags.ended;
    let mut sessions = actix::System::new().block_on(client.list(ended))?;
    if let Some((key, _)) = unknown_label(&sessions, &flags.label) {
        let kind = if ended { "session" } else { "live session" };
        out::message(&format!("stayd: no {kind} has a label {key:?}"));
    }
    sessions.retain(|session| {
        let is_wanted = !flags.ended || !session["ended_at"].is_null();
        let has = |(key, value): &(String, String)| session["labels"][key] == value.as_str();
        is_wanted && flags.label.iter().all(has)
    });
    if flags.json {
        out::json(&json!({ "sessions": sessions, "next": null }))?;
        return Ok(0);
    }
    let sessions: Vec<Session> = sessions.iter().map(read).collect::<Result<_, _>>()?;
    if flags.quiet {
        out::print(&sessions.iter().map(table::word_for).collect::<String>())?;
        return Ok(0);
    }
    let columns = sys::window(std::io::stdout().as_fd()).map(|(columns, _)| columns.into());
    out::print(&table::render(&sessions, chrono::Utc::now(), columns))?;
    Ok(0)
}

/// The first of the wanted labels whose key no session has: it may be mistyped.
fn unknown_label<'a>(
    sessions: &[Value],
    wanted: &'a [(String, String)],
) -> Option<&'a (String, String)> {
    wanted.iter().find(|(key, _)| sessions.iter().all(|session| session["labels"][key].is_null()))
}
