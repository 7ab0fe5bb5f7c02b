//! `stayd put` and `stayd get`: files into a session's directory, and from there.

use super::client::{Client, Piece};
use super::download;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::key::Key;
use super::out;
use super::progress::Progress;
use super::resolve::resolve;
use super::retry::Retries;
use crate::config::PathFlags;
use crate::pty;
use clap::Args;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Bytes of one request, at most.
const PIECE: u64 = 1 << 20;
/// How long the answer to the last piece is waited for after SIGINT.
const LAST_PIECE: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(super) struct PutFlags {
    /// Id, unique beginning of an id, or name
    session: String,
    /// Files to copy into the session's present directory
    ///
    /// Nothing is replaced: where a name is taken, the copy gets a number. The paths of the copies are
    /// printed.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Copy into the folder uploads of that directory, which is made if there is none
    #[arg(long)]
    apart: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Args, Debug)]
pub(super) struct GetFlags {
    /// Id, unique beginning of an id, or name
    session: String,
    /// The file, from the session's present directory on; ~/x is in the home directory of its account
    path: String,
    /// Write to this file, replacing it; - is standard output [default: a new file of that name here]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn put(paths: &PathFlags, flags: &PutFlags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let mut interrupts = Interrupts::new()?;
        let key = resolve(&client, &flags.session).await?;
        for path in &flags.files {
            // The file before was whole just then.
            if interrupts.has_come {
                return Err(Failure::Interrupted(path.display().to_string()));
            }
            let there = put_one(&client, &key, path, flags.apart, &mut interrupts).await?;
            out::print(&format!("{there}\n"))?;
        }
        Ok(0)
    })
}

/// Copies a file; the path of the copy.
async fn put_one(
    client: &Client,
    key: &Key,
    path: &Path,
    apart: bool,
    interrupts: &mut Interrupts,
) -> Result<String, Failure> {
    let shown = path.display().to_string();
    let failed = || Failure::doing(shown.clone());
    let name = path.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| Failure::Usage(format!("{shown}: a file needs a name in UTF-8")))?;
    let metadata = fs::metadata(path).map_err(failed())?;
    // To open a pipe would be to wait for who writes to it.
    if !metadata.is_file() {
        return Err(Failure::Usage(format!("{shown} is not a regular file")));
    }
    let file = File::open(path).map_err(failed())?;
    let upload = Uuid::now_v7().to_string();
    let _progress = Progress::on(format!("copying {shown}"));
    let (total, mut offset, mut retries) = (metadata.len(), 0, Retries::default());
    loop {
        let mut bytes = vec![0; usize::try_from((total - offset).min(PIECE)).unwrap_or(0)];
        // A file that gets shorter meanwhile is an error.
        file.read_exact_at(&mut bytes, offset).map_err(failed())?;
        let piece = Piece { name, upload: &upload, offset, total, apart };
        let mut sent = pin!(client.put(key, &piece, bytes));
        let answer = tokio::select! {
            answer = &mut sent => answer,
            () = interrupts.next() => {
                // The server may be writing the piece, which would outlive an earlier removal.
                match timeout(LAST_PIECE, sent).await {
                    Ok(Ok((_, Some(there)))) => return Ok(there),
                    _ => Err(Failure::Interrupted(shown.clone())),
                }
            }
        };
        let failure = match answer {
            Ok((_, Some(there))) => return Ok(there),
            Ok((received, None)) if received <= total => {
                (offset, retries) = (received, Retries::default());
                continue;
            }
            Ok(_) => return Err(Failure::Other(format!("{shown}: the server has more of it"))),
            Err(failure) => failure,
        };
        // The server may have the piece already, and takes it once more.
        let wait = if failure.is_passing() { retries.wait_after(&failure) } else { None };
        let failure = match wait {
            Some(wait) => tokio::select! {
                () = sleep(wait) => continue,
                () = interrupts.next() => Failure::Interrupted(shown.clone()),
            },
            None => failure,
        };
        // The first failure is the one to tell. Whoever interrupts once more does not wait.
        tokio::select! {
            _ = client.cancel_put(key, &piece) => {}
            () = interrupts.next() => {}
        }
        return Err(failure);
    }
}

/// SIGINT, unless it was ignored when this program started, as a script's background jobs have it.
struct Interrupts {
    signal: Option<Signal>,
    has_come: bool,
}

impl Interrupts {
    fn new() -> io::Result<Self> {
        let is_ignored = pty::is_ignored(libc::SIGINT);
        let signal = if is_ignored { None } else { Some(signal(SignalKind::interrupt())?) };
        Ok(Interrupts { signal, has_come: false })
    }

    async fn next(&mut self) {
        match &mut self.signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
        self.has_come = true;
    }
}

pub(super) fn get(paths: &PathFlags, flags: &GetFlags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let key = resolve(&client, &flags.session).await?;
        let pieces = client.file(&key, &flags.path).await?;
        let name = Path::new(&flags.path).file_name().map(PathBuf::from);
        let to = match (&flags.output, name) {
            (Some(to), _) if to.as_os_str() == "-" => download::To::Output,
            (Some(to), _) => download::To::Replace(to.clone()),
            (None, Some(name)) => download::To::New(name),
            (None, None) => return Err(Failure::Usage("the path names no file".into())),
        };
        download::save(pieces, to).await?;
        Ok(0)
    })
}
