//! Sends an event to a URL.

use super::Outcome;
use crate::trust::client_config;
use actix_web::rt::task::spawn_blocking;
use actix_web::rt::time::timeout;
use awc::error::SendRequestError;
use awc::http::StatusCode;
use ring::hmac;
use std::path::Path;
use std::time::Duration;

/// A server that cannot be reached is known sooner than one that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// More of an answer is not read; none of it is used.
const ANSWER_MAX: usize = 16 << 10;

/// Where an event goes.
pub(super) struct Destination<'a> {
    pub(super) url: &'a str,
    pub(super) secret: Option<&'a Path>,
}

/// Sends a request once.
pub(super) async fn post(
    to: Destination<'_>,
    event: &str,
    body: String,
    limit: Duration,
) -> Outcome {
    let (path, is_https) = (to.secret.map(Path::to_owned), to.url.starts_with("https:"));
    // The files may be many, or on a disk that hangs: this thread serves terminals.
    let read = spawn_blocking(move || {
        let config = if is_https { Some(client_config()?) } else { None };
        Ok((path.as_deref().map(read_secret).transpose()?, config))
    });
    let read = timeout(limit, read).await.map(|read| read.unwrap_or_else(|e| Err(e.to_string())));
    let (secret, config) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(why)) => return Outcome::Failed(why),
        Err(_) => return Outcome::Failed("the secret or the certificates cannot be read".into()),
    };
    let signature = secret.map(|secret| signature(&secret, body.as_bytes()));
    let mut connector = awc::Connector::new().timeout(CONNECT_TIMEOUT);
    if let Some(config) = config {
        connector = connector.rustls_0_23(config);
    }
    let client =
        awc::Client::builder().connector(connector).disable_redirects().timeout(limit).finish();
    let mut request = client
        .post(to.url)
        .insert_header(("User-Agent", concat!("stayd/", env!("CARGO_PKG_VERSION"))))
        .insert_header(("Content-Type", "application/json"))
        .insert_header(("X-Stayd-Delivery", event));
    if let Some(signature) = signature {
        request = request.insert_header(("X-Stayd-Signature", signature));
    }
    match request.send_body(body).await {
        Ok(mut answer) => {
            let status = answer.status();
            // The peer is to see that its answer was taken; an error in it does not matter.
            let _ = timeout(limit, answer.body().limit(ANSWER_MAX)).await;
            outcome(status)
        }
        Err(SendRequestError::Url(error)) => Outcome::Refused(error.to_string()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// What an answer means: a client's mistake is not mended by sending it again.
fn outcome(status: StatusCode) -> Outcome {
    let said = format!("the answer was {status}");
    match status {
        status if status.is_success() => Outcome::Delivered,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Outcome::Failed(said),
        status if status.is_client_error() => Outcome::Refused(said),
        _ => Outcome::Failed(said),
    }
}

/// The secret as it is now: it may be exchanged while the server runs.
fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim_ascii() {
        [] => Err(format!("{}: it is empty", path.display())),
        secret => Ok(secret.to_vec()),
    }
}

/// `sha256=` and the HMAC-SHA256 (RFC 2104) of a body, in hexadecimal.
fn signature(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        assert_eq!(
            signature(b"Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn only_mistakes_of_ours_are_not_tried_again() {
        let of = |status: u16| outcome(StatusCode::from_u16(status).unwrap());
        for status in [200, 202, 204] {
            assert_eq!(of(status), Outcome::Delivered, "{status}");
        }
        for status in [302, 408, 429, 500, 502, 503] {
            assert!(matches!(of(status), Outcome::Failed(_)), "{status}");
        }
        for status in [400, 401, 404, 410, 413] {
            assert!(matches!(of(status), Outcome::Refused(_)), "{status}");
        }
    }
}
