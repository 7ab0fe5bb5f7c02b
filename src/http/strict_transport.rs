//! The header by which a server that speaks TLS has browsers never try without it.

use actix_web::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use actix_web::middleware::DefaultHeaders;

/// A year (RFC 6797). Not for subdomains, which may be other servers.
const POLICY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The middleware for the whole app, around the guard.
#[must_use]
pub fn strict_transport() -> DefaultHeaders {
    DefaultHeaders::new().add((STRICT_TRANSPORT_SECURITY, POLICY))
}
