//! `stayd screen`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::resolve::resolve_any;
use crate::config::PathFlags;
use clap::Args;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    session: String,
    /// Plain text, text with colours, or JSON with everything
    #[arg(long, short, value_parser = ["text", "ansi", "json"], default_value = "text")]
    format: String,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Number of scrollback lines to print above the screen
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    scrollback: usize,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn screen(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let format = if flags.json { "json" } else { &flags.format };
    let screen = actix::System::new().block_on(async {
        let key = resolve_any(&client, &flags.session).await?;
        client.screen(&key, format, flags.scrollback).await
    })?;
    out::bytes(&screen)?;
    if format == "json" {
        out::bytes(b"\n")?;
    }
    Ok(0)
}
