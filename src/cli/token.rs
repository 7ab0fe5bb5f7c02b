//! `stayd token`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::{printable, render};
use super::out;
use super::run::pair;
use crate::config::{PathFlags, Seconds};
use actix_web::http::Method;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Create a token and print it, this once
    ///
    /// Without --session, --label or --own, all sessions exist for it.
    Add(Add),
    /// List the tokens, without their secrets
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Remove a token: neither it nor the logins made with it are accepted any more
    ///
    /// Everything that was opened with it ends within two seconds.
    Rm(Rm),
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// Name of the token's owner: letters, digits, '-', '_', '.'
    name: String,
    /// What it may do: look on, also type and start and end sessions, or also manage the server
    #[arg(long, value_parser = ["viewer", "controller", "admin"], default_value = "controller")]
    role: String,
    /// Only this session exists for it, by id or name; may be repeated
    #[arg(long, value_name = "SESSION")]
    session: Vec<String>,
    /// Only sessions with this label exist for it; may be repeated: all must match
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "session")]
    label: Vec<(String, String)>,
    /// Only the sessions that it creates exist for it
    #[arg(long, conflicts_with_all = ["session", "label"])]
    own: bool,
    /// How long it is valid: 90s, 30m, 8h, 7d [default: until it is removed]
    #[arg(long, value_name = "TIME")]
    expires: Option<Seconds>,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Args, Debug)]
pub(super) struct Ls {
    /// Print the API's response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Args, Debug)]
pub(super) struct Rm {
    /// Name of the token's owner
    name: String,
    #[command(flatten)]
    server: ServerFlags,
}

const PATH: &str = "/api/v1/tokens";

pub(super) fn token(paths: &PathFlags, what: What) -> Result<u8, Failure> {
    let server = match &what {
        What::Add(flags) => &flags.server,
        What::Ls(flags) => &flags.server,
        What::Rm(flags) => &flags.server,
    };
    let client = Client::find(paths, server)?;
    actix::System::new().block_on(async {
        match what {
            What::Add(flags) => {
                let answer = client.call_at(Method::POST, PATH, Some(body(&flags))).await?;
                let token = answer["token"].as_str().unwrap_or_default();
                out::print(&format!("{token}\n"))?;
            }
            What::Ls(flags) => {
                let answer = client.call_at(Method::GET, PATH, None).await?;
                match flags.json {
                    true => out::json(&answer)?,
                    false => out::print(&table(&answer))?,
                }
            }
            What::Rm(flags) => {
                client.call_at(Method::DELETE, &format!("{PATH}/{}", flags.name), None).await?;
            }
        }
        Ok(0)
    })
}

fn body(flags: &Add) -> Value {
    let mut body = json!({ "name": flags.name, "role": flags.role });
    if !flags.session.is_empty() {
        body["sessions"] = json!(flags.session);
    }
    if !flags.label.is_empty() {
        let labels = flags.label.iter().map(|(key, value)| (key.clone(), value.clone().into()));
        body["labels"] = labels.collect::<Map<_, _>>().into();
    }
    if flags.own {
        body["own"] = true.into();
    }
    if let Some(Seconds(seconds)) = flags.expires {
        body["expires_s"] = seconds.into();
    }
    body
}

fn table(answer: &Value) -> String {
    let rows = answer["tokens"].as_array().into_iter().flatten().map(|token| {
        let text = |name: &str| printable(token[name].as_str().unwrap_or("-"));
        vec![text("name"), text("role"), scope(&token["scope"]), text("expires_at")]
    });
    render(&["NAME", "ROLE", "SESSIONS", "EXPIRES"], rows)
}

fn scope(scope: &Value) -> String {
    match scope {
        Value::String(word) => word.clone(),
        scope => {
            let ids = scope["sessions"].as_array().into_iter().flatten();
            let ids = ids.filter_map(Value::as_str).map(str::to_owned);
            let labels = scope["labels"].as_object().into_iter().flatten();
            let labels =
                labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
            printable(&ids.chain(labels).collect::<Vec<_>>().join(" "))
        }
    }
}
