//! `stayd kill`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::progress::Progress;
use super::resolve::resolve;
use crate::config::PathFlags;
use clap::Args;
use serde_json::{Value, json};

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
    actix::System::new().block_on(each(&flags.sessions, flags.json, async |word| {
        let id = resolve(&client, word).await?;
        let answer = {
            let _progress = Progress::on(format!("ending {word}, with everything that runs in it"));
            client.kill(&id.to_string()).await?
        };
        if answer.status == 202 {
            out::message(&format!("stayd: {word} is ending; its processes are not gone yet"));
        }
        answer.json()
    }))
}

/// Applies a verb to several sessions; failures do not stop it. The exit code is that of the first
/// failure. With `json` the sessions are printed as the API gives them.
pub(super) async fn each(
    words: &[String],
    json: bool,
    one: impl AsyncFn(&str) -> Result<Value, Failure>,
) -> Result<u8, Failure> {
    let (mut code, mut sessions) = (0, Vec::new());
    for word in words {
        match one(word).await {
            Ok(session) => sessions.push(session),
            Err(failure) => {
                out::message(&match failure {
                    // These failures name the session themselves.
                    Failure::NoSuchSession(_) | Failure::Ended { .. } => {
                        format!("stayd: {failure}")
                    }
                    _ => format!("stayd: {word}: {failure}"),
                });
                code = if code == 0 { failure.exit_code() } else { code };
            }
        }
    }
    if json {
        out::json(&json!({ "sessions": sessions }))?;
    }
    Ok(code)
}
