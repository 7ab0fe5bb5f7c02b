//! `GET /api/v1/backup`: a copy of the database while it is being written.

use super::api::{Api, HeadOnly, store_problem};
use super::problem::{Problem, code};
use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::{sleep, timeout};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use chrono::Utc;
use futures_util::stream;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// The most copies that may be made or downloaded at once: each takes as much room as the database.
pub const COPIES: usize = 4;
/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// The longest that a request waits for its turn before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a client may read nothing of its copy before the download is given up.
const STALL: Duration = Duration::from_secs(30);

pub(super) async fn backup(api: Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    let name = format!("attachment; filename=\"stayd-{}.db\"", Utc::now().format("%Y%m%dT%H%M%SZ"));
    response
        .content_type("application/vnd.sqlite3")
        .insert_header((header::CONTENT_DISPOSITION, name));
    if request.extensions().contains::<HeadOnly>() {
        // The length of a copy is known only once it is made, which a `HEAD` is not worth.
        return Ok(response.streaming(stream::empty::<io::Result<Bytes>>()));
    }
    let turn = timeout(PATIENCE, api.copies.clone().acquire_owned()).await;
    // The semaphore is never closed.
    let Ok(Ok(turn)) = turn else {
        let detail = format!(
            "{COPIES} other copies are being made or fetched; one that nobody reads is given up \
             after {} s: try again then",
            STALL.as_secs()
        );
        let problem = Problem::new(code::UNAVAILABLE, detail);
        return Err(problem.retry_after(30));
    };
    let file = api.store.backup().await.map_err(|error| store_problem(&error))?;
    let prepared = spawn_blocking(move || file.metadata().map(|metadata| (metadata.len(), file)));
    let prepared = prepared.await.map_err(io::Error::other).and_then(|prepared| prepared);
    let (length, file) =
        prepared.map_err(|error| Problem::new(code::INTERNAL, error.to_string()))?;
    let fetched = Fetched { copy: Some((Arc::new(file), turn)), last: Instant::now() };
    let fetched = Arc::new(Mutex::new(fetched));
    actix_web::rt::spawn(give_up_when_stalled(Arc::downgrade(&fetched)));
    let pieces = stream::try_unfold((fetched, 0), |(fetched, offset)| async move {
        let file = lock(&fetched).file()?;
        let piece = spawn_blocking(move || piece(&file, offset)).await??;
        lock(&fetched).last = Instant::now();
        let next = offset + piece.len() as u64;
        Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, (fetched, next))))
    });
    Ok(response.body(SizedStream::new(length, Box::pin(pieces))))
}

/// A copy on its way to the client.
struct Fetched {
    /// The file takes room on the disk, and the permit is held, until all is sent. `None`: given
    /// up.
    copy: Option<(Arc<File>, OwnedSemaphorePermit)>,
    /// When a piece of it was last polled.
    last: Instant,
}

impl Fetched {
    fn file(&mut self) -> io::Result<Arc<File>> {
        self.last = Instant::now();
        let given_up = || io::Error::new(io::ErrorKind::TimedOut, "nobody has read it for long");
        self.copy.as_ref().map(|(file, _)| file.clone()).ok_or_else(given_up)
    }
}

/// Ends a download that nobody reads. A body is polled only when the socket takes more, so it
/// cannot notice this by itself.
async fn give_up_when_stalled(fetched: Weak<Mutex<Fetched>>) {
    while let Some(fetched) = fetched.upgrade() {
        let left = {
            let mut fetched = lock(&fetched);
            let left = STALL.saturating_sub(fetched.last.elapsed());
            if left.is_zero() {
                fetched.copy = None;
                return;
            }
            left
        };
        drop(fetched);
        sleep(left).await;
    }
}

fn lock(fetched: &Mutex<Fetched>) -> MutexGuard<'_, Fetched> {
    fetched.lock().unwrap_or_else(PoisonError::into_inner)
}

fn piece(file: &File, offset: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE];
    let read = file.read_at(&mut piece, offset)?;
    piece.truncate(read);
    Ok(piece.into())
}
