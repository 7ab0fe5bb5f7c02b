//! `stayd rename`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::resolve::resolve;
use crate::config::PathFlags;
use clap::Args;
use serde_json::Value;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name
    session: String,
    /// The new name; without it, the session's name is removed
    name: Option<String>,
    /// Print the session as the API returns it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn rename(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let key = resolve(&client, &flags.session).await?;
        let answer = client.rename(&key, flags.name.as_deref()).await?;
        if flags.json {
            out::json(&answer.json::<Value>()?)?;
        }
        Ok(0)
    })
}
