//! `stayd keep` and `stayd unkeep`: whether a session stays when nobody is attached.

use super::client::{Client, read};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::key::Key;
use super::out;
use super::resolve::resolve;
use super::staying::stays;
use crate::config::{PathFlags, Seconds};
use crate::protocol::Session;
use chrono::Utc;
use clap::Args;
use serde_json::{Value, json};

#[derive(Args, Debug)]
pub(super) struct Keep {
    /// Id, unique beginning of an id, or name
    session: String,
    /// Print the session as the API returns it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Args, Debug)]
pub(super) struct Unkeep {
    /// Id, unique beginning of an id, or name
    session: String,
    /// Time from the last client's detaching to destruction: 90s, 30m, 8h, 7d [default: what the
    /// session had before it was kept, or else the profile's or the server's]
    #[arg(long, value_name = "TIME")]
    after: Option<Seconds>,
    /// Print the session as the API returns it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn keep(paths: &PathFlags, flags: &Keep) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let key = resolve(&client, &flags.session).await?;
        set(&client, &key, None, flags.json).await
    })
}

pub(super) fn unkeep(paths: &PathFlags, flags: &Unkeep) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let key = resolve(&client, &flags.session).await?;
        let timeout = match flags.after {
            Some(Seconds(seconds)) => Some(seconds),
            None => match client.get::<Session>(&key).await? {
                // It is not kept.
                Session { idle_timeout_s: Some(seconds), .. } => Some(seconds),
                Session { idle_timeout_before_s: Some(seconds), .. } => Some(seconds),
                session => usual(&client, &key, &session).await?,
            },
        };
        set(&client, &key, timeout, flags.json).await
    })
}

/// The timeout that a session which was never without would get if it were started now.
async fn usual(client: &Client, key: &Key, session: &Session) -> Result<Option<u64>, Failure> {
    let answer = client.profiles(key.node.as_deref()).await?;
    let mut profiles = answer["profiles"].as_array().into_iter().flatten();
    let profile = profiles.find(|profile| profile["name"].as_str() == session.profile.as_deref());
    Ok(profile.unwrap_or(&answer)["idle_timeout_s"].as_u64())
}

async fn set(
    client: &Client,
    key: &Key,
    timeout: Option<u64>,
    as_json: bool,
) -> Result<u8, Failure> {
    let answer = client.patch(key, &json!({ "idle_timeout_s": timeout })).await?.json::<Value>()?;
    if as_json {
        out::json(&answer)?;
        return Ok(0);
    }
    let session: Session = read(&answer)?;
    let attached = usize::try_from(session.active_connections).unwrap_or(usize::MAX);
    let word = key.word(session.name.as_deref());
    let said = stays(&word, &session, attached, Utc::now());
    out::message(&format!("[{word}: {said}]"));
    Ok(0)
}
