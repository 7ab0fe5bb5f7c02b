//! `stayd audit`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::printable;
use super::out;
use crate::config::PathFlags;
use actix_web::http::Method;
use clap::Args;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;

/// How often new entries are asked for.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Go on with new entries until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only of this token, share link (share-ID) or owner
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Only of the session with this id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only this action, such as session.end or login
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Number of entries, the latest ones
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print each entry as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn audit(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let mut after = None;
        loop {
            let query = query(flags, after);
            let answer = client.call_with(Method::GET, "/api/v1/audit", &query, None).await?;
            for entry in answer["entries"].as_array().into_iter().flatten() {
                let line = if flags.json { entry.to_string() } else { line(entry) };
                out::print(&format!("{line}\n"))?;
            }
            if !flags.follow {
                return Ok(0);
            }
            after = Some(answer["last"].as_i64().unwrap_or(0));
            sleep(EVERY).await;
        }
    })
}

fn query(flags: &Flags, after: Option<i64>) -> Vec<(&'static str, String)> {
    let after = after.map(|after| after.to_string());
    let words = [
        ("limit", Some(flags.limit.to_string())),
        ("principal", flags.principal.clone()),
        ("session", flags.session.clone()),
        ("action", flags.action.clone()),
        ("after", after),
    ];
    words.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn line(entry: &Value) -> String {
    let text = |name: &str| printable(entry[name].as_str().unwrap_or("-"));
    let words = ["at", "outcome", "action", "principal", "address", "session_id", "detail"];
    words.map(text).join("  ").trim_end_matches([' ', '-']).to_owned()
}
