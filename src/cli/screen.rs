//! `stayd screen`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::resolve::resolve_any;
use crate::config::PathFlags;
use clap::{Args, ValueEnum};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    session: String,
    /// Plain text, text with colours, or JSON with everything
    #[arg(long, short, value_enum, default_value_t)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Lines above the screen that have scrolled off
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    scrollback: usize,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Ansi,
    Json,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Ansi => "ansi",
            Format::Json => "json",
        }
    }
}

pub(super) fn screen(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let format = if flags.json { Format::Json } else { flags.format };
    let screen = actix::System::new().block_on(async {
        let id = resolve_any(&client, &flags.session).await?;
        client.screen(&id.to_string(), format.as_str(), flags.scrollback).await
    })?;
    out::bytes(&screen)?;
    if format == Format::Json {
        out::bytes(b"\n")?;
    }
    Ok(0)
}
