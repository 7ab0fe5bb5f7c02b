//! `stayd restart`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::kill::each;
use super::progress::Progress;
use super::resolve::resolve_any;
use crate::config::PathFlags;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Ids, unique beginnings of ids, or names; ended sessions too
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<String>,
    /// Print the sessions as the API returns them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn restart(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let restarted =
        actix::System::new().block_on(each(&flags.sessions, flags.json, async |word| {
            let key = resolve_any(&client, word).await?;
            let _progress =
                Progress::on(format!("ending what runs in {word}, and starting it again"));
            client.restart(&key).await?.json()
        }));
    restarted.map(|(code, _)| code)
}
