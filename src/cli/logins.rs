//! `stayd logins`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::{printable, render};
use super::out;
use crate::config::PathFlags;
use actix_web::http::Method;
use clap::{Args, Subcommand};
use serde_json::Value;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Flags {
    #[command(subcommand)]
    what: Option<What>,
    /// Print the API's response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Log a browser out
    ///
    /// Everything that was opened with the login ends within two seconds.
    Rm(Rm),
}

#[derive(Args, Debug)]
struct Rm {
    /// Id of the login, as the list has it
    id: String,
    #[command(flatten)]
    server: ServerFlags,
}

const PATH: &str = "/api/v1/logins";

pub(super) fn logins(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let server = match &flags.what {
        Some(What::Rm(flags)) => &flags.server,
        None => &flags.server,
    };
    let client = Client::find(paths, server)?;
    actix::System::new().block_on(async {
        match &flags.what {
            Some(What::Rm(Rm { id, .. })) => {
                client.call_at(Method::DELETE, &format!("{PATH}/{id}"), None).await?;
            }
            None => {
                let answer = client.call_at(Method::GET, PATH, None).await?;
                match flags.json {
                    true => out::json(&answer)?,
                    false => out::print(&table(&answer))?,
                }
            }
        }
        Ok(0)
    })
}

fn table(answer: &Value) -> String {
    let rows = answer["logins"].as_array().into_iter().flatten().map(|login| {
        let text = |name: &str| printable(login[name].as_str().unwrap_or("-"));
        ["id", "principal", "created_at", "expires_at"].map(text).to_vec()
    });
    render(&["ID", "WHO", "SINCE", "EXPIRES"], rows)
}
