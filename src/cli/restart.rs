//! `stayd restart`.

use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::out;
use super::progress::Progress;
use super::resolve::resolve_any;
use crate::config::Place;
use clap::Args;
use serde_json::{Value, json};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Ids, unique beginnings of ids, or names; ended sessions too
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<String>,
    /// Print the sessions as the API gives them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// Restarts all that it can; the exit code is that of the first that it could not.
pub(super) fn restart(place: &Place, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::new(Endpoint::find(place, &flags.server)?);
    actix::System::new().block_on(async {
        let (mut code, mut sessions) = (0, Vec::new());
        for word in &flags.sessions {
            match one(&client, word).await {
                Ok(session) => sessions.push(session),
                Err(failure) => {
                    out::message(&format!("stayd: {word}: {failure}"));
                    code = if code == 0 { failure.exit_code() } else { code };
                }
            }
        }
        if flags.json {
            out::json(&json!({ "sessions": sessions }))?;
        }
        Ok(code)
    })
}

async fn one(client: &Client, word: &str) -> Result<Value, Failure> {
    let id = resolve_any(client, word).await?;
    let _progress = Progress::on(format!("ending what runs in {word}, and starting it again"));
    client.restart(&id.to_string()).await?.json()
}
