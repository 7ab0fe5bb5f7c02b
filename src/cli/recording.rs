//! `stayd recording`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::resolve::resolve_any;
use crate::config::PathFlags;
use clap::Args;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
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
        let id = resolve_any(&client, &flags.session).await?.to_string();
        let mut pieces = client.recording(&id).await?;
        // Create the file only now: if there is no recording, an older file stays.
        let (mut out, name) = destination(flags)?;
        while let Some(piece) = pieces.next().await? {
            match out.write_all(&piece).and_then(|()| out.flush()) {
                Ok(()) => {}
                // The reader has closed the pipe.
                Err(e) if e.kind() == ErrorKind::BrokenPipe && flags.output.is_none() => break,
                Err(e) => return Err(Failure::doing(name)(e)),
            }
        }
        Ok(0)
    })
}

fn destination(flags: &Flags) -> Result<(Box<dyn Write>, String), Failure> {
    let Some(path) = &flags.output else {
        return Ok((Box::new(io::stdout()), "standard output".to_owned()));
    };
    let name = path.display().to_string();
    // Only the user may read the file, because a screen may have shown secrets.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    Ok((Box::new(file.map_err(Failure::doing(name.clone()))?), name))
}
