//! The header by which a server that speaks TLS has browsers never try without it.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use actix_web::middleware::Next;

/// A year (RFC 6797). Not for subdomains, which may be other servers.
const POLICY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The middleware for the whole app, around the guard.
///
/// # Errors
/// Those of the app, with the header in their answers.
pub async fn strict_transport<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    match next.call(request).await {
        Ok(mut response) => {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, POLICY);
            Ok(response)
        }
        Err(error) => {
            let mut response = error.error_response();
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, POLICY);
            Err(InternalError::from_response(error, response).into())
        }
    }
}
