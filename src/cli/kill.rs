//! `stayd kill`.

use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::out;
use super::resolve::resolve;
use crate::config::Place;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Ids, unique beginnings of ids, or names
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<String>,
    #[command(flatten)]
    server: ServerFlags,
}

/// Kills all that it can; the exit code is that of the first that it could not.
pub(super) fn kill(place: &Place, flags: Flags) -> Result<u8, Failure> {
    let client = Client::new(Endpoint::find(place, &flags.server)?);
    actix::System::new().block_on(async {
        let mut code = 0;
        for word in &flags.sessions {
            if let Err(failure) = one(&client, word).await {
                out::message(&format!("stayd: {failure}"));
                code = if code == 0 { failure.exit_code() } else { code };
            }
        }
        Ok(code)
    })
}

async fn one(client: &Client, word: &str) -> Result<(), Failure> {
    let id = resolve(client, word).await?;
    let answer = client.kill(&id.to_string()).await?;
    if answer.status == 202 {
        out::message(&format!("stayd: {word} is ending; its processes are not gone yet"));
    }
    Ok(())
}
