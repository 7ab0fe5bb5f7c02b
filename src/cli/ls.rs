//! `stayd ls`.

use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::{out, table};
use crate::config::Place;
use crate::protocol::Session;
use clap::Args;
use serde_json::{Value, json};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Ended sessions too
    #[arg(long, short)]
    all: bool,
    /// Print what the API answers
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn ls(place: &Place, flags: Flags) -> Result<u8, Failure> {
    let endpoint = Endpoint::find(place, &flags.server)?;
    let sessions = actix::System::new().block_on(Client::new(endpoint).list(flags.all))?;
    if flags.json {
        out::json(&json!({ "sessions": sessions, "next": null }))?;
        return Ok(0);
    }
    let unexpected = "the server answered something unexpected";
    let sessions: Vec<Session> =
        serde_json::from_value(Value::Array(sessions)).map_err(Failure::doing(unexpected))?;
    out::print(&table::render(&sessions, chrono::Utc::now()))?;
    Ok(0)
}
