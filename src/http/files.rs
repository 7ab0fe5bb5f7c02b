//! Files for a session, and from it: `…/files`. See [`crate::files`].

use super::caller::CallerApi;
use super::problem::{Problem, code};
use super::query::Query;
use crate::files::{FileError, Folder, Upload, UploadId};
use crate::protocol::Session;
use crate::registry::home;
use crate::session::InUse;
use actix_web::HttpResponse;
use actix_web::http::header::{self, ContentDisposition, DispositionParam, DispositionType};
use actix_web::web::{self, Bytes, Path};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use nix::errno::Errno;
use serde::Deserialize;
use serde_json::json;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are read of a file at once.
const CHUNK: usize = 64 << 10;

/// A query that is looked at once the session was found: what is wrong with it is told to nobody else.
type Asked<T> = Result<Query<T>, Problem>;

/// A piece of an upload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PieceQuery {
    name: String,
    upload: String,
    /// The piece's place in the file, in bytes.
    #[serde(default)]
    offset: u64,
    /// The length of the whole file, in bytes.
    total: u64,
    /// Into the folder `uploads`.
    #[serde(default)]
    apart: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelQuery {
    name: String,
    upload: String,
    #[serde(default)]
    apart: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileQuery {
    /// From the session's directory on; `~` is the home directory.
    path: String,
}

/// Takes a piece of an upload. With the last one the file is there, and the answer has its path.
pub(super) async fn put(
    api: CallerApi,
    id: Path<String>,
    query: Asked<PieceQuery>,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    let session = api.live(&id).await?;
    let Query(query) = query?;
    if i64::try_from(query.total).is_err() {
        return Err(Problem::invalid("total must be a length that a file can have"));
    }
    let most = api.defaults.max_upload_bytes;
    if query.total > most {
        let detail = format!("a file may have {most} bytes (max_upload_bytes)");
        return Err(Problem::new(code::PAYLOAD_TOO_LARGE, detail));
    }
    let end = query.offset.saturating_add(body.len() as u64);
    if end > query.total {
        return Err(Problem::invalid(
            "the piece goes beyond the file's end: offset + body > total",
        ));
    }
    let Session { id, pid, .. } = session.handle.view();
    let (key, total, apart) = ((query.upload, query.name), query.total, query.apart);
    let upload = UploadId { session: id, key, total, apart };
    // An upload is use of the session, which does not end meanwhile.
    let _in_use = InUse::of(session.addr.clone());
    let _alone = api.finished.alone(&upload).await;
    if let Some(path) = api.finished.path(&upload) {
        return Ok(created(total, &path));
    }
    let (written, offset) = (upload.clone(), query.offset);
    let parts = api.parts.clone();
    let (received, path) = blocking(move || {
        let (key, name) = (&written.key.0, &written.key.1);
        let upload = Upload { key, name };
        let folder = folder(pid, apart)?;
        let received = folder.write(upload, offset, &body, total)?;
        if received < total {
            if offset == 0 {
                let (path, part) = (folder.path()?, upload.part()?);
                // Without a record it is kept for longer, and is no worse.
                let _ = parts.add(&folder, path.as_ref(), &part);
            }
            return Ok((received, None));
        }
        let name = folder.finish(upload)?;
        let path = folder.path()?;
        parts.forget(path.as_ref(), &upload.part()?);
        Ok((received, Some(format!("{path}/{name}"))))
    })
    .await?;
    let Some(path) = path else {
        return Ok(HttpResponse::Ok().json(json!({ "received": received })));
    };
    api.caller.does("upload", "file", &upload.key.1);
    api.finished.add(upload, &path);
    Ok(created(received, &path))
}

fn created(received: u64, path: &str) -> HttpResponse {
    HttpResponse::Created().json(json!({ "received": received, "path": path }))
}

/// Removes what has come of an upload.
pub(super) async fn cancel(
    api: CallerApi,
    id: Path<String>,
    query: Asked<CancelQuery>,
) -> Result<HttpResponse, Problem> {
    let pid = api.live(&id).await?.handle.view().pid;
    let Query(query) = query?;
    let parts = api.parts.clone();
    blocking(move || {
        let upload = Upload { key: &query.upload, name: &query.name };
        let folder = folder(pid, query.apart)?;
        folder.cancel(upload)?;
        if let Ok(path) = folder.path() {
            parts.forget(path.as_ref(), &upload.part()?);
        }
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A file, whole.
pub(super) async fn get(
    api: CallerApi,
    id: Path<String>,
    query: Asked<FileQuery>,
) -> Result<HttpResponse, Problem> {
    let pid = api.live(&id).await?.handle.view().pid;
    let Query(query) = query?;
    api.caller.does("download", "file", &query.path);
    let name: String = query.path.rsplit('/').next().unwrap_or("file").to_owned();
    let path = in_home(query.path, &home());
    let (file, length) = blocking(move || folder(pid, false)?.open(&path)).await?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' };
    let name = DispositionParam::Filename(name.chars().map(plain).collect());
    let mut response = HttpResponse::Ok();
    response
        .content_type("application/octet-stream")
        .insert_header(ContentDisposition {
            disposition: DispositionType::Attachment,
            parameters: vec![name],
        })
        .insert_header((header::CACHE_CONTROL, "no-store"));
    // Files of the kernel do not say how long they are.
    let length = (length > 0).then_some(length);
    if let Some(length) = length {
        response.no_chunking(length);
    }
    Ok(response.streaming(chunks(file, length)))
}

/// So many bytes of a file, or all. A file that has got shorter meanwhile breaks the answer off.
fn chunks(file: File, length: Option<u64>) -> impl Stream<Item = io::Result<Bytes>> {
    try_unfold((file, 0), move |(file, offset)| async move {
        let left = length.map(|length| length - offset);
        let most = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(CHUNK).min(CHUNK);
        if most == 0 {
            return Ok(None);
        }
        let read = web::block(move || {
            let mut chunk = vec![0; most];
            let length = file.read_at(&mut chunk, offset)?;
            chunk.truncate(length);
            io::Result::Ok((file, chunk))
        });
        let (file, chunk) = read.await.map_err(io::Error::other)??;
        if chunk.is_empty() && left.is_some() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let next = offset + chunk.len() as u64;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), (file, next))))
    })
}

/// A path that begins in the home directory: the shell that would know `~` is not asked. Only files of
/// the server's own account are read.
fn in_home(path: String, home: &str) -> String {
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => path,
    }
}

/// The session's directory, or its folder for uploads.
fn folder(pid: Option<i32>, apart: bool) -> Result<Folder, FileError> {
    let gone = || FileError::Os("the session's process".to_owned(), Errno::ESRCH);
    let folder = Folder::of(pid.ok_or_else(gone)?)?;
    if apart { folder.uploads() } else { Ok(folder) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, Problem> {
    match web::block(work).await {
        Ok(done) => done.map_err(|error| problem(&error)),
        Err(_) => Err(Problem::new(code::UNAVAILABLE, "the server is stopping")),
    }
}

fn problem(error: &FileError) -> Problem {
    let code = match error {
        FileError::Name(_) => code::INVALID_REQUEST,
        FileError::Gap(received) => {
            return Problem::new(code::UPLOAD_GAP, error.to_string()).with("received", *received);
        }
        FileError::Os(_, Errno::ENOENT | Errno::ENOTDIR) => code::NO_FILE,
        FileError::Os(_, Errno::EINVAL | Errno::ENAMETOOLONG) => code::INVALID_REQUEST,
        FileError::Os(_, Errno::ENOSPC | Errno::EDQUOT) => code::DISK_FULL,
        _ => code::FILE_REFUSED,
    };
    let problem = Problem::new(code, error.to_string());
    match error {
        FileError::Os(_, errno) => problem.with("errno", format!("{errno:?}")),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory_and_no_other_users() {
        for (path, expected) in [
            ("~", "/home/me"),
            ("~/x y", "/home/me/x y"),
            ("~other/x", "~other/x"),
            ("./~/x", "./~/x"),
            ("a~", "a~"),
        ] {
            assert_eq!(in_home(path.to_owned(), "/home/me"), expected);
        }
    }
}
