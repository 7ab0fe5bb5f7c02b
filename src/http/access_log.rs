//! The access log: one record a request, with an id that the answer carries too.

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use slog::{Logger, debug, o, warn};
use std::time::Instant;
use uuid::Uuid;

/// The request id's header. A usable id of the request is kept, so that a proxy's log and ours
/// agree.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is accepted from a request.
const ID_MAX: usize = 64;

/// A request between its arrival and its answer.
pub(super) struct Asked {
    id: HeaderValue,
    log: Logger,
    start: Instant,
}

impl Asked {
    /// Notes a request. The query is left out: it may hold what is private to the client.
    pub(super) fn of(request: &ServiceRequest, log: &Logger) -> Self {
        let id = given(request.headers()).unwrap_or_else(fresh);
        let log = log.new(o!(
            "request" => id.to_str().unwrap_or_default().to_owned(),
            "method" => request.method().to_string(),
            "path" => request.path().to_owned(),
        ));
        Asked { id, log, start: Instant::now() }
    }

    /// Logs the answer's status and adds the id to its headers.
    pub(super) fn answered<B>(self, mut response: ServiceResponse<B>) -> ServiceResponse<B> {
        self.note(response.status(), response.headers_mut());
        response
    }

    /// The same for an answer that is built without a service response.
    pub(super) fn note(self, status: StatusCode, headers: &mut HeaderMap) {
        let ms = self.start.elapsed().as_secs_f64() * 1e3;
        if status.is_server_error() {
            warn!(self.log, "request failed"; "status" => status.as_u16(), "ms" => ms);
        } else {
            debug!(self.log, "request"; "status" => status.as_u16(), "ms" => ms);
        }
        headers.insert(REQUEST_ID, self.id);
    }
}

fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    ((1..=ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(plain)).then(|| id.clone())
}

fn fresh() -> HeaderValue {
    // Hexadecimal digits and hyphens are always valid in a header.
    HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none"))
}
