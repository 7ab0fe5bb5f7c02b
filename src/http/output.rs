//! A session's output as bytes, from what the ring still holds.

use super::api::OFFSET;
use super::caller::CallerApi;
use super::problem::{Problem, code};
use super::query::Query;
use crate::ring::Reader;
use crate::session::ReadFrom;
use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::rt::task::yield_now;
use actix_web::web::{Bytes, BytesMut, Path};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::Deserialize;
use std::io;
use std::sync::Arc;

/// Bytes of an answer that are copied from the ring at once.
const PIECE: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputQuery {
    /// Offset of the first byte wanted. Missing: the first that the ring still holds.
    offset: Option<u64>,
}

pub(super) async fn output(
    api: CallerApi,
    id: Path<String>,
    Query(query): Query<OutputQuery>,
) -> Result<HttpResponse, Problem> {
    let session = api.readable(&id, query.offset).await?;
    let ring = session.handle.shared_ring();
    // The output that is looked for below must not be discarded meanwhile.
    let needs = session.handle.read_from(query.offset.unwrap_or(0));
    loop {
        let (oldest, head) = (ring.oldest(), ring.head());
        let from = query.offset.unwrap_or(oldest);
        if !(oldest..=head).contains(&from) {
            let detail = format!("the bytes from {oldest} to {head} are there, not {from}");
            return Err(Problem::new(code::OFFSET_GONE, detail)
                .with("oldest", oldest)
                .with("head", head));
        }
        if let Ok(first) = piece(&ring, from, head) {
            needs.advance(from);
            let rest = pieces(ring, needs, from, head, first);
            return Ok(HttpResponse::Ok()
                .content_type("application/octet-stream")
                .insert_header((OFFSET, from.to_string()))
                .body(SizedStream::new(head - from, Box::pin(rest))));
        }
        // The program has overwritten the beginning meanwhile: the rest begins later, or the wanted
        // offset is gone by now.
        yield_now().await;
    }
}

/// The output between two offsets, whose first piece has been copied. Each further piece is copied
/// once the socket has taken the one before, so that an answer which nobody reads takes the memory
/// of one piece and not of a ring.
fn pieces(
    ring: Arc<Reader>,
    needs: ReadFrom,
    from: u64,
    end: u64,
    first: Bytes,
) -> impl Stream<Item = io::Result<Bytes>> {
    try_unfold((ring, needs, from, Some(first)), move |(ring, needs, at, first)| async move {
        let piece = match first {
            Some(first) => first,
            None => {
                // Without this, a socket that takes everything would keep the thread from its other
                // requests.
                yield_now().await;
                piece(&ring, at, end)?
            }
        };
        let next = at + piece.len() as u64;
        needs.advance(next);
        Ok((!piece.is_empty()).then_some((piece, (ring, needs, next, None))))
    })
}

/// An error if the ring has overtaken the reader. It closes the connection before the promised
/// length has come, so that no client takes a part for the whole.
fn piece(ring: &Reader, at: u64, end: u64) -> io::Result<Bytes> {
    let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
    let mut bytes = BytesMut::with_capacity(length);
    ring.read(at, length, &mut bytes).map_err(io::Error::other)?;
    Ok(bytes.freeze())
}
