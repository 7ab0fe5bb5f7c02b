//! `GET /api/v1/backup`: a copy of the database while it is being written.

use super::api::{Api, method_not_allowed, store_problem};
use super::problem::{Problem, code};
use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::timeout;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpResponse, http::StatusCode};
use chrono::Utc;
use futures_util::stream;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::time::Duration;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// How long a copy waits for the one before it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(
        web::resource("/api/v1/backup")
            .route(web::get().to(backup))
            .default_service(web::to(method_not_allowed)),
    );
}

async fn backup(api: Data<Api>) -> Result<HttpResponse, Problem> {
    let turn = timeout(PATIENCE, api.copies.clone().acquire_owned()).await.map_err(|_| {
        let detail = "another copy is being made or fetched; try again later";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, detail)
    })?;
    let file = api.store.backup().await.map_err(|error| store_problem(&error))?;
    let prepared = spawn_blocking(move || rewound(file)).await.map_err(io::Error::other);
    let (file, length) = prepared.and_then(|prepared| prepared).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code::INTERNAL, error.to_string())
    })?;
    // Held until all is sent: so long the copy takes its room.
    let pieces = stream::try_unfold((file, turn), |(file, turn)| async move {
        let (piece, file) = spawn_blocking(move || piece(file)).await??;
        Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, (file, turn))))
    });
    let name = format!("attachment; filename=\"stayd-{}.db\"", Utc::now().format("%Y%m%dT%H%M%SZ"));
    Ok(HttpResponse::Ok()
        .content_type("application/vnd.sqlite3")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .body(SizedStream::new(length, Box::pin(pieces))))
}

fn rewound(mut file: File) -> io::Result<(File, u64)> {
    file.rewind()?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn piece(mut file: File) -> io::Result<(Bytes, File)> {
    let mut piece = vec![0; PIECE];
    let read = file.read(&mut piece)?;
    piece.truncate(read);
    Ok((piece.into(), file))
}
