//! `stayd rm`: removes what is kept of ended sessions.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::fleet::{self, Sessions};
use super::key::node;
use super::kill::{code_with, each, sessions};
use super::out;
use super::progress::Progress;
use super::resolve::resolve_ended;
use crate::config::PathFlags;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Ids, unique beginnings of ids, or names of ended sessions
    #[arg(required_unless_present = "ended", value_name = "SESSION")]
    sessions: Vec<String>,
    /// Remove all sessions that have ended
    #[arg(long, conflicts_with = "sessions")]
    ended: bool,
    /// With --ended: of this machine of the fleet, or of all of them
    // `requires` alone does not count beside what conflicts with the required one.
    #[arg(long, value_name = "NODE", value_parser = node)]
    #[arg(requires = "ended", conflicts_with = "sessions")]
    node: Option<String>,
    /// Print the records that are removed, as the API returns them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn rm(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let (words, missing) = match flags.ended {
            true => ended(&client, flags.node.as_deref()).await?,
            false => (flags.sessions, Vec::new()),
        };
        let _progress = Progress::on("removing ended sessions");
        let (code, removed) = each(&words, flags.json, async |word| {
            let key = resolve_ended(&client, word).await?;
            client.remove(&key).await?.json()
        })
        .await?;
        if flags.ended && !flags.json {
            out::message(&match words.len() {
                0 => "stayd: no session that has ended is kept".into(),
                _ => format!("stayd: removed {}", sessions(removed)),
            });
        }
        Ok(code_with(code, &missing))
    })
}

/// All ended sessions, and the machines that were not asked.
async fn ended(client: &Client, node: Option<&str>) -> Result<(Vec<String>, Vec<String>), Failure> {
    let Sessions { sessions, missing } = fleet::sessions(client, node, true).await?;
    let ended = sessions.iter().filter(|listed| !listed.session.status.is_live());
    Ok((ended.map(|listed| listed.key().to_string()).collect(), missing))
}
