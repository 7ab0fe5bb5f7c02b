//! `stayd share`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::{printable, render};
use super::key::word;
use super::out;
use super::resolve::resolve;
use crate::config::{PathFlags, Seconds};
use actix_web::http::Method;
use clap::Args;
use serde_json::{Value, json};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name
    #[arg(required_unless_present = "list")]
    session: Option<String>,
    /// Whoever has the link may also type
    #[arg(long, conflicts_with_all = ["list", "end"])]
    write: bool,
    /// How long the link is valid: 90s, 30m, 8h, 7d [default: 1h]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["list", "end"])]
    expires: Option<Seconds>,
    /// List the session's links instead, or without a session those of all
    #[arg(long)]
    list: bool,
    /// End the link with this id instead
    #[arg(long, value_name = "ID", conflicts_with = "list")]
    end: Option<String>,
    /// Print the API's response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn share(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let Some(session) = &flags.session else {
            let answer = client.call_at(Method::GET, "/api/v1/shares", None).await?;
            return show(&answer, flags.json, table_of_all);
        };
        let path = format!("{}/shares", resolve(&client, session).await?.path());
        if let Some(share) = &flags.end {
            client.call_at(Method::DELETE, &format!("{path}/{share}"), None).await?;
            return Ok(0);
        }
        if flags.list {
            let answer = client.call_at(Method::GET, &path, None).await?;
            return show(&answer, flags.json, table);
        }
        let mut body = json!({ "mode": if flags.write { "rw" } else { "ro" } });
        if let Some(Seconds(seconds)) = flags.expires {
            body["expires_s"] = seconds.into();
        }
        let answer = client.call_at(Method::POST, &path, Some(body)).await?;
        let text = |name: &str| printable(answer[name].as_str().unwrap_or_default());
        match flags.json {
            true => out::json(&answer)?,
            false => {
                out::print(&format!("{}\n", text("url")))?;
                let share = text("id");
                out::message(&format!("[end the link: stayd share {session} --end {share}]"));
            }
        }
        Ok(0)
    })
}

fn show(answer: &Value, as_json: bool, table: impl Fn(&Value) -> String) -> Result<u8, Failure> {
    match as_json {
        true => out::json(answer)?,
        false => out::print(&table(answer))?,
    }
    Ok(0)
}

fn table_of_all(answer: &Value) -> String {
    let rows = answer["shares"].as_array().into_iter().flatten().map(|share| {
        let session = &share["session"];
        let name = session["name"].as_str().or(session["id"].as_str()).unwrap_or("-");
        let session = word(session["node"].as_str(), name);
        let text = |name: &str| printable(share[name].as_str().unwrap_or("-"));
        let [id, mode, expires, by] = ["id", "mode", "expires_at", "created_by"].map(text);
        vec![printable(&session), id, mode, expires, by]
    });
    render(&["SESSION", "ID", "MODE", "EXPIRES", "BY"], rows)
}

fn table(answer: &Value) -> String {
    let rows = answer["shares"].as_array().into_iter().flatten().map(|share| {
        let text = |name: &str| printable(share[name].as_str().unwrap_or("-"));
        ["id", "mode", "expires_at", "created_by"].map(text).to_vec()
    });
    render(&["ID", "MODE", "EXPIRES", "BY"], rows)
}
