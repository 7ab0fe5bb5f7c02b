//! A session's output as bytes, from what the ring still holds.

use super::api::{Api, OFFSET, method_not_allowed};
use super::problem::{Problem, code};
use super::query::Query;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, BytesMut, Data, Path, ServiceConfig};
use serde::Deserialize;

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(
        web::resource("/api/v1/sessions/{id}/output")
            .route(web::get().to(output))
            .default_service(web::to(method_not_allowed)),
    );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputQuery {
    /// Of the first byte wanted; missing: all there is.
    offset: Option<u64>,
}

async fn output(
    api: Data<Api>,
    id: Path<String>,
    query: Query<OutputQuery>,
) -> Result<HttpResponse, Problem> {
    let session = api.readable(&id, query.offset).await?;
    let ring = session.link.ring();
    loop {
        let (oldest, head) = (ring.oldest(), ring.head());
        let from = query.offset.unwrap_or(oldest);
        if !(oldest..=head).contains(&from) {
            let detail = format!("the bytes from {oldest} to {head} are there, not {from}");
            return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, code::OFFSET_GONE, detail)
                .with("oldest", oldest)
                .with("head", head));
        }
        // At most a ring: the capacity is a u64 that was mapped, so it fits.
        let length = (head - from) as usize;
        let mut bytes = BytesMut::with_capacity(length);
        if ring.read(from, length, &mut bytes).is_ok() {
            return Ok(HttpResponse::Ok()
                .content_type("application/octet-stream")
                .insert_header((OFFSET, from.to_string()))
                .body(bytes.freeze()));
        }
        // Overtaken meanwhile: what is left begins later, or the offset is gone by now.
    }
}
