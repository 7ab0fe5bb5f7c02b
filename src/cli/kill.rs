//! `stayd kill`.

use super::client::Client;
use super::each::each;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::progress::Progress;
use super::resolve::resolve;
use crate::config::PathFlags;
use clap::Args;
use serde_json::Value;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Ids, unique beginnings of ids, or names
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<String>,
    /// Print the final records as the API returns them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn kill(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new()
        .block_on(each(&flags.sessions, flags.json, async |word| one(&client, word).await))
}

async fn one(client: &Client, word: &str) -> Result<Value, Failure> {
    let id = resolve(client, word).await?;
    let answer = {
        let _progress = Progress::on(format!("ending {word}, with everything that runs in it"));
        client.kill(&id.to_string()).await?
    };
    if answer.status == 202 {
        out::message(&format!("stayd: {word} is ending; its processes are not gone yet"));
    }
    answer.json()
}
