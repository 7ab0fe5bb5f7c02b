//! `stayd kill`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::fleet::{self, Sessions};
use super::inside;
use super::key::node;
use super::out;
use super::progress::Progress;
use super::resolve::resolve;
use crate::config::PathFlags;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Ids, unique beginnings of ids, or names
    #[arg(required_unless_present = "all", value_name = "SESSION")]
    sessions: Vec<String>,
    /// End all sessions, after a question
    #[arg(long, conflicts_with = "sessions")]
    all: bool,
    /// With --all: of this machine of the fleet, or of all of them
    // `requires` alone does not count beside what conflicts with the required one.
    #[arg(long, value_name = "NODE", value_parser = node)]
    #[arg(requires = "all", conflicts_with = "sessions")]
    node: Option<String>,
    /// With --all: do not ask
    #[arg(long, short, requires = "all")]
    yes: bool,
    /// Print the final records as the API returns them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn kill(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let (words, missing) = match flags.all {
            true => match all(&client, flags.node.as_deref(), flags.yes).await? {
                Some(found) => found,
                None => return Ok(1),
            },
            false => (flags.sessions, Vec::new()),
        };
        let (code, ended) = each(&words, flags.json, async |word| {
            let key = resolve(&client, word).await?;
            let answer = {
                let what = format!("ending {word}, with everything that runs in it");
                let _progress = Progress::on(what);
                client.kill(&key).await?
            };
            if answer.status == 202 {
                out::message(&format!("stayd: {word} is ending; its processes are not gone yet"));
            }
            answer.json()
        })
        .await?;
        if flags.all && !flags.json {
            out::message(&format!("stayd: ended {}", sessions(ended)));
        }
        Ok(code_with(code, &missing))
    })
}

/// All live sessions, the one that this command runs in last, and the machines that were not asked;
/// `None` if the user does not want them ended.
async fn all(
    client: &Client,
    node: Option<&str>,
    yes: bool,
) -> Result<Option<(Vec<String>, Vec<String>)>, Failure> {
    let Sessions { sessions: mut live, missing } = fleet::sessions(client, node, false).await?;
    if !yes && !live.is_empty() {
        if !io::stdin().is_terminal() {
            let how = "kill --all asks first, and standard input is no terminal: add --yes";
            return Err(Failure::Usage(how.into()));
        }
        let what = sessions(live.len());
        let whose = match node {
            Some(fleet::ALL) => {
                let nodes: BTreeSet<_> = live.iter().map(|listed| &listed.node).collect();
                match nodes.len() {
                    1 => " of 1 machine".into(),
                    count => format!(" of {count} machines"),
                }
            }
            Some(node) => format!(" of {node}"),
            None => String::new(),
        };
        if !out::confirm(&format!("End {what}{whose}, with everything that runs in them?"))? {
            return Ok(None);
        }
    }
    let here = inside::shown_in();
    live.sort_by_key(|listed| Some(listed.session.id) == here);
    Ok(Some((live.iter().map(|listed| listed.key().to_string()).collect(), missing)))
}

/// Says which machines were not asked, which is a failure if nothing else is.
pub(super) fn code_with(code: u8, missing: &[String]) -> u8 {
    missing.iter().for_each(|why| out::message(&format!("stayd: nothing was done on {why}")));
    if code == 0 && !missing.is_empty() { 1 } else { code }
}

/// A number of sessions, in words.
pub(super) fn sessions(count: usize) -> String {
    if count == 1 { "1 session".into() } else { format!("{count} sessions") }
}

/// Applies a verb to several sessions; failures do not stop it. Returns the exit code, which is that of
/// the first failure, and the number of sessions that it was done to. With `json` the sessions are printed as the API gives them.
pub(super) async fn each(
    words: &[String],
    json: bool,
    one: impl AsyncFn(&str) -> Result<Value, Failure>,
) -> Result<(u8, usize), Failure> {
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
    let count = sessions.len();
    if json {
        out::json(&json!({ "sessions": sessions }))?;
    }
    Ok((code, count))
}
