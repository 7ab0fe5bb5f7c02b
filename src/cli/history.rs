//! `stayd history`: every change of a session's status.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::{self, printable};
use super::out;
use super::resolve::resolve_any;
use crate::config::PathFlags;
use crate::protocol::Transition;
use clap::Args;
use serde_json::{Value, json};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    session: String,
    /// Print what the API answers
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn history(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let transitions = actix::System::new().block_on(async {
        let id = resolve_any(&client, &flags.session).await?;
        client.transitions(&id.to_string()).await
    })?;
    if flags.json {
        out::json(&json!({ "transitions": transitions }))?;
        return Ok(0);
    }
    let unexpected = "the server answered something unexpected";
    let transitions: Vec<Transition> =
        serde_json::from_value(Value::Array(transitions)).map_err(Failure::doing(unexpected))?;
    out::print(&grid::render(&lines(&transitions)))?;
    Ok(0)
}

fn lines(transitions: &[Transition]) -> Vec<Vec<String>> {
    let heading = ["AT", "FROM", "TO", "REASON", "CLIENTS", "BY", "ADDRESS"];
    let rows = transitions.iter().map(|transition| {
        let word = |text: &Option<String>| printable(text.as_deref().unwrap_or("-"));
        let at = transition.at.with_timezone(&chrono::Local);
        vec![
            at.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            transition.from_status.map_or("-", |status| status.as_str()).to_owned(),
            transition.to_status.as_str().to_owned(),
            printable(&transition.reason),
            transition.active_connections.to_string(),
            word(&transition.caused_by),
            word(&transition.address),
        ]
    });
    std::iter::once(heading.map(str::to_owned).to_vec()).chain(rows).collect()
}
