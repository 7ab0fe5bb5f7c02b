//! `stayd ls`.

use super::client::{Client, Of, listed};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::fleet;
use super::grid::printable;
use super::key::{Listed, node};
use super::nodes::unconnected;
use super::run::pair;
use super::{out, sys, table};
use crate::config::PathFlags;
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
    /// Sessions of this machine of the fleet, or of all, as the server has heard last
    #[arg(long, value_name = "NODE", value_parser = node)]
    node: Option<String>,
    /// Only sessions with this label; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Print only names, or ids of sessions without one
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// With --quiet, for completions: sessions of other machines too, where there are not too many
    #[arg(long, hide = true, requires = "quiet", conflicts_with_all = ["node", "all", "label"])]
    everywhere: bool,
    /// Print the API's response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn ls(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let ended = flags.all || flags.ended;
    let of = flags.node.as_deref().map_or(Of::Server, Of::Directory);
    let (mut sessions, offline) = actix::System::new().block_on(async {
        let mut sessions = client.list(of, ended).await?;
        if flags.everywhere {
            sessions.iter_mut().for_each(|session| session["node"] = Value::Null);
            sessions.extend(others(&client, ended).await);
        }
        let offline = match flags.node {
            Some(_) => offline(&client).await?,
            None => Vec::new(),
        };
        Ok::<_, Failure>((sessions, offline))
    })?;
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
    let mut sessions: Vec<Listed> = sessions.iter().map(listed).collect::<Result<_, _>>()?;
    if flags.node.is_none() && !flags.everywhere {
        // They are the server's own, whose name is not needed.
        sessions.iter_mut().for_each(|listed| listed.node = None);
    }
    if flags.quiet {
        let words = sessions.iter().map(|listed| format!("{}\n", printable(&listed.word())));
        out::print(&words.collect::<String>())?;
        return Ok(0);
    }
    for node in sessions.iter_mut().filter_map(|listed| listed.node.as_mut()) {
        if offline.contains(node) {
            *node += " (offline)";
        }
    }
    let columns = sys::window(std::io::stdout().as_fd()).map(|(columns, _)| columns.into());
    out::print(&table::render(&sessions, chrono::Utc::now(), columns))?;
    Ok(0)
}

/// The machines that are offline, whose sessions are shown as they were last.
///
/// # Errors
/// The server has never heard of its fleet.
async fn offline(client: &Client) -> Result<Vec<String>, Failure> {
    let Ok(Some(fleet)) = fleet::of(client).await else { return Ok(Vec::new()) };
    if !fleet.connected && !fleet.is_plain() {
        let why = unconnected(&fleet, chrono::Utc::now());
        if fleet.heard_at.is_none() {
            return Err(Failure::Other(why));
        }
        out::message(&format!(
            "stayd: {why}: other machines' sessions are shown as they were then"
        ));
    }
    Ok(fleet.offline().map(|node| node.name.clone()).collect())
}

/// Sessions of other machines: a thousand at most, whoever completes them needs no more.
async fn others(client: &Client, ended: bool) -> Vec<Value> {
    let Ok(Some(fleet)) = fleet::of(client).await else { return Vec::new() };
    let page = client.page(Of::Directory("all"), ended, None).await;
    let mut sessions = page.map(|page| page.sessions).unwrap_or_default();
    sessions.retain(|session| session["node"].as_str() != fleet.own.as_deref());
    sessions
}

/// The first of the wanted labels whose key no session has: it may be mistyped.
fn unknown_label<'a>(
    sessions: &[Value],
    wanted: &'a [(String, String)],
) -> Option<&'a (String, String)> {
    wanted.iter().find(|(key, _)| sessions.iter().all(|session| session["labels"][key].is_null()))
}
