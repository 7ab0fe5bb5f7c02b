//! `stayd token`.

use super::failure::Failure;
use super::out;
use crate::config::{self, PathFlags};
use crate::http::tokens::{self, TokensError};
use crate::private;
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Create a token and print it, this once
    Add(Add),
    /// List the names of the tokens; "owner" is the main one, in the file `token`
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Remove a token: neither it nor the logins made with it are accepted any more
    Rm(Rm),
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// Name of the token's owner: letters, digits, '-', '_', '.'
    name: String,
}

#[derive(Args, Debug)]
pub(super) struct Ls {
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Rm {
    /// Name of the token's owner
    name: String,
}

pub(super) fn token(paths: &PathFlags, what: What) -> Result<u8, Failure> {
    let dir = config::state_dir(paths)?;
    if !dir.exists() {
        let dir = dir.display();
        return Err(Failure::Other(format!("{dir} does not exist; `stayd serve` creates it")));
    }
    private::check(&dir)?;
    match what {
        What::Add(flags) => {
            let token = tokens::add(&dir, &flags.name).map_err(failure)?;
            out::print(&format!("{token}\n"))?;
        }
        What::Ls(flags) => {
            let further = tokens::names(&dir).map_err(failure)?;
            let names = std::iter::once("owner").chain(further.iter().map(String::as_str));
            if flags.json {
                let tokens: Vec<_> = names.map(|name| json!({ "name": name })).collect();
                out::print(&format!("{}\n", json!({ "tokens": tokens })))?;
            } else {
                let lines: String = names.map(|name| format!("{name}\n")).collect();
                out::print(&lines)?;
            }
        }
        What::Rm(flags) => tokens::remove(&dir, &flags.name).map_err(failure)?,
    }
    Ok(0)
}

fn failure(error: TokensError) -> Failure {
    match error {
        TokensError::Name | TokensError::Main => Failure::Usage(error.to_string()),
        error => Failure::Other(error.to_string()),
    }
}
