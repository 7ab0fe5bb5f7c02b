//! Writes what the server sends into a file, or to standard output.

use super::client::Pieces;
use super::failure::Failure;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Where it goes.
pub(super) enum To {
    /// Standard output.
    Output,
    /// This file, in place of what is there.
    Replace(PathBuf),
    /// This file, unless there is one.
    New(PathBuf),
}

/// Writes all of it. What is broken off leaves what has come. It is no error if the reader of
/// standard output has gone away.
pub(super) async fn save(mut pieces: Pieces, to: To) -> Result<(), Failure> {
    // Create the file only now: if there is nothing to write, an older file stays.
    let (mut out, name): (Box<dyn Write>, String) = match &to {
        To::Output => (Box::new(io::stdout()), "standard output".to_owned()),
        To::Replace(path) | To::New(path) => {
            let name = path.display().to_string();
            let file = open(&to, path).map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    Failure::Other(format!("{name} is there already; -o {name} replaces it"))
                }
                _ => Failure::doing(name.clone())(error),
            });
            (Box::new(file?), name)
        }
    };
    while let Some(piece) = pieces.next().await? {
        match out.write_all(&piece).and_then(|()| out.flush()) {
            Ok(()) => {}
            // The reader has closed the pipe.
            Err(e) if e.kind() == ErrorKind::BrokenPipe && matches!(to, To::Output) => break,
            Err(e) => return Err(Failure::doing(name)(e)),
        }
    }
    Ok(())
}

/// Only the user may read the file, because what it gets may be secret.
fn open(to: &To, path: &PathBuf) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match to {
        To::New(_) => options.create_new(true),
        To::Replace(_) | To::Output => options.create(true).truncate(true),
    };
    options.write(true).mode(0o600).open(path)
}
