//! `stayd history`: every change of a session's status.

use super::client::{Client, read};
use super::failure::Failure;
use super::grid::{self, printable};
use super::info::Flags;
use super::out;
use super::resolve::resolve_any;
use crate::config::PathFlags;
use crate::lifecycle::Status;
use crate::protocol::Transition;

pub(super) fn history(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let answer = actix::System::new().block_on(async {
        let key = resolve_any(&client, &flags.session).await?;
        client.transitions(&key).await
    })?;
    if flags.json {
        out::json(&answer)?;
        return Ok(0);
    }
    out::print(&table(&read::<Vec<Transition>>(&answer["transitions"])?))?;
    Ok(0)
}

fn table(transitions: &[Transition]) -> String {
    let heading = ["AT", "FROM", "TO", "REASON", "CLIENTS", "BY", "ADDRESS"];
    let rows = transitions.iter().map(|transition| {
        let word = |text: &Option<String>| printable(text.as_deref().unwrap_or("-"));
        let at = transition.at.with_timezone(&chrono::Local);
        vec![
            at.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            transition.from_status.map_or("-", status).to_owned(),
            status(transition.to_status).to_owned(),
            printable(&transition.reason),
            transition.active_connections.to_string(),
            word(&transition.caused_by),
            word(&transition.address),
        ]
    });
    grid::render(&heading, rows)
}

/// A status as people say it: an end is no error of the server, whatever the program's exit code was.
fn status(status: Status) -> &'static str {
    if status.is_live() { status.as_str() } else { "ended" }
}
