//! `stayd report`: a program in a session says what it is doing.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::resolve::resolve;
use crate::config::PathFlags;
use crate::protocol::AttentionState;
use crate::tree;
use actix_web::http::Method;
use clap::Args;
use serde_json::{Value, json};
use std::io::Read;
use std::time::Duration;
use tokio::time::timeout;

/// A hook must not keep the program that runs it waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest message on standard input, in bytes.
const STDIN_MAX: u64 = 1 << 20;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name [default: the session that this command runs in]
    session: Option<String>,
    /// What the program is doing: working, blocked (only a person can make it go on), idle, done, or
    /// unknown, which leaves it to the terminal's signs and the rules
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: AttentionState,
    /// What people are told: what it asks, what it has done
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Take the message from this member of the JSON object on standard input, as hooks of agents get
    /// it; nothing if it has none
    #[arg(long, value_name = "NAME", conflicts_with = "message")]
    message_from: Option<String>,
    /// The report's number; one that is not larger than the last report's is ignored
    #[arg(long, value_name = "NUMBER")]
    seq: Option<u64>,
    /// Exit with 0 whatever happens, and print nothing, as hooks should: outside a session too
    #[arg(long)]
    quiet: bool,
    /// Print the response
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

fn state(text: &str) -> Result<AttentionState, String> {
    AttentionState::named(text)
        .ok_or_else(|| "expected working, blocked, idle, done or unknown".to_owned())
}

pub(super) fn report(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    match reported(paths, flags) {
        Err(_) if flags.quiet => Ok(0),
        done => done,
    }
}

fn reported(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let own = || std::env::var(tree::MARK).ok();
    let Some(session) = flags.session.clone().or_else(own) else {
        let why = "this command runs in no session: say which, as the last argument";
        return Err(Failure::Usage(why.to_owned()));
    };
    let message = match &flags.message_from {
        Some(name) => member(name),
        None => flags.message.clone(),
    };
    let client = Client::find(paths, &flags.server)?;
    let report = json!({ "state": flags.state, "message": message, "seq": flags.seq });
    let answer: Value = actix::System::new().block_on(async {
        let told = async {
            // Whoever may only report cannot look the name up.
            let id = match flags.session {
                None => session,
                Some(_) => resolve(&client, &session).await?.to_string(),
            };
            let path = format!("/api/v1/sessions/{id}/attention");
            client.call_at(Method::POST, &path, Some(report)).await
        };
        let late = || Failure::Unreachable("the server does not answer".to_owned());
        timeout(PATIENCE, told).await.map_err(|_| late())?
    })?;
    if flags.json {
        out::json(&answer)?;
    } else if answer["accepted"] == false && !flags.quiet {
        let last = &answer["last_seq"];
        out::message(&format!("stayd: ignored: the last report has the number {last}"));
    }
    Ok(0)
}

/// A member of the object on standard input, if it is a text.
fn member(name: &str) -> Option<String> {
    let mut text = String::new();
    std::io::stdin().take(STDIN_MAX).read_to_string(&mut text).ok()?;
    let object: Value = serde_json::from_str(&text).ok()?;
    object[name].as_str().map(str::to_owned)
}
