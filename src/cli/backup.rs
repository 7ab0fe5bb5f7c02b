//! `stayd backup`.

use super::client::{Client, UNEXPECTED};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use crate::config::PathFlags;
use clap::Args;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The interval of progress reports.
const TELL_EVERY: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// File for the copy
    file: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn backup(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    let Flags { file, force, server } = flags;
    if !force && file.symlink_metadata().is_ok() {
        return Err(there(&file));
    }
    let client = Client::find(paths, &server)?;
    let beside = Beside(beside(&file)?);
    let failed = |path: &Path| Failure::doing::<io::Error>(path.display().to_string());
    let mut open = OpenOptions::new();
    let copy = open.write(true).create_new(true).mode(0o600).open(&beside.0);
    let copy = copy.map_err(failed(&beside.0))?;
    actix::System::new().block_on(receive(&client, copy, &beside.0))?;
    if force {
        std::fs::rename(&beside.0, &file).map_err(failed(&file))?;
    } else {
        // A hard link, unlike a rename, does not replace a file that was created meanwhile.
        std::fs::hard_link(&beside.0, &file).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => there(&file),
            _ => failed(&file)(error),
        })?;
    }
    Ok(0)
}

async fn receive(client: &Client, mut file: File, path: &Path) -> Result<(), Failure> {
    let failed = || Failure::doing::<io::Error>(path.display().to_string());
    let mut copy = client.backup().await?;
    let length = copy.length.ok_or_else(|| Failure::Other(UNEXPECTED.into()))?;
    let tells = io::stderr().is_terminal();
    let (mut written, mut told) = (0, Instant::now());
    while let Some(piece) = copy.next().await? {
        file.write_all(&piece).map_err(failed())?;
        written += piece.len() as u64;
        if tells && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            out::message(&format!("{} of {} MiB", written >> 20, length >> 20));
        }
    }
    if written != length {
        return Err(Failure::Unreachable("the server's answer broke off".into()));
    }
    file.sync_all().map_err(failed())
}

fn there(file: &Path) -> Failure {
    Failure::Other(format!("{} exists already; --force replaces it", file.display()))
}

/// Writes the copy under a temporary name, so that the file has its name only once it is complete.
fn beside(file: &Path) -> Result<PathBuf, Failure> {
    let name = file.file_name();
    let name = name.ok_or_else(|| Failure::Usage(format!("{} is no file", file.display())))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    Ok(file.with_file_name(hidden))
}

/// Removes a file when dropped.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
