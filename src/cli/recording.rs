//! `stayd recording`.

use super::client::Client;
use super::download;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::resolve::resolve_any;
use crate::config::PathFlags;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    session: String,
    /// Write to this file, replacing it [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn recording(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let key = resolve_any(&client, &flags.session).await?;
        let pieces = client.recording(&key).await?;
        let to = flags.output.clone().map_or(download::To::Output, download::To::Replace);
        download::save(pieces, to).await?;
        Ok(0)
    })
}
