//! Sends a message to a push service once (RFC 8030).

use super::subscriber::Subscriber;
use super::vapid::Vapid;
use crate::config::PushServices;
use crate::trust::client_config;
use awc::error::SendRequestError;
use awc::http::StatusCode;
use chrono::Utc;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A service that cannot be reached is known sooner than one that does not answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One attempt in all. Another follows if it fails.
const TIMEOUT: Duration = Duration::from_secs(15);
/// More of an answer is not read; none of it is used.
const ANSWER_MAX: usize = 16 << 10;
/// How long a service keeps a message for a browser that is away, in seconds: a day.
const TTL_S: u32 = 24 * 3600;

/// The headers for a push service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Wakes a phone that saves its battery.
    pub is_urgent: bool,
    /// Of messages with the same topic a service keeps the newest: 32 letters, digits, `-`, `_` at most.
    pub topic: &'a str,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The service has it.
    Taken,
    /// It may take it later.
    Later(String),
    /// It will not take this message.
    Refused(String),
    /// The browser is not reached by this address any more.
    Gone,
}

/// Sends to push services, with the server's own key.
pub struct Push {
    dir: PathBuf,
    services: PushServices,
    contact: Option<String>,
    vapid: Mutex<Option<Arc<Vapid>>>,
}

impl Push {
    /// `dir` is the state directory, where the key is kept.
    #[must_use]
    pub fn new(dir: PathBuf, services: PushServices, contact: Option<String>) -> Push {
        Push { dir, services, contact, vapid: Mutex::default() }
    }

    /// The server's public key, which is made at the first use.
    ///
    /// # Errors
    /// It can be neither read nor made.
    pub fn public_key(&self) -> io::Result<String> {
        self.vapid().map(|vapid| vapid.public().to_owned())
    }

    /// Checks what somebody wants to be reached by. A server that sent to any address would do so in the
    /// place of whoever names it: only addresses of known push services are taken.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check(&self, subscriber: &Subscriber) -> Result<(), String> {
        subscriber.check()?;
        self.services.service_of(&subscriber.endpoint).map(drop)
    }

    /// Sends a message once. Errors never name the address.
    pub async fn send(&self, to: &Subscriber, message: &str, headers: Headers<'_>) -> Sent {
        // The settings may have changed since it was taken.
        let service = match self.services.service_of(&to.endpoint) {
            Ok(service) => service,
            Err(why) => return Sent::Refused(why),
        };
        let (key, auth) = match to.keys() {
            Ok(keys) => keys,
            Err(why) => return Sent::Refused(why),
        };
        let body = match web_push_native::encrypt(message.as_bytes().to_vec(), &key, &auth) {
            Ok(body) => body,
            Err(error) => return Sent::Refused(error.to_string()),
        };
        let now = Utc::now().timestamp();
        let contact = self.contact.as_deref();
        let authorization =
            self.vapid().and_then(|vapid| vapid.authorization(&service, contact, now));
        let authorization = match authorization {
            Ok(authorization) => authorization,
            Err(error) => return Sent::Later(error.to_string()),
        };
        let mut connector = awc::Connector::new().timeout(CONNECT_TIMEOUT);
        if service.starts_with("https:") {
            match client_config() {
                Ok(config) => connector = connector.rustls_0_23(config),
                Err(why) => return Sent::Later(why),
            }
        }
        let client = awc::Client::builder().connector(connector).disable_redirects();
        let request = client
            .timeout(TIMEOUT)
            .finish()
            .post(&to.endpoint)
            .insert_header(("User-Agent", concat!("stayd/", env!("CARGO_PKG_VERSION"))))
            .insert_header(("Authorization", authorization))
            .insert_header(("Content-Type", "application/octet-stream"))
            .insert_header(("Content-Encoding", "aes128gcm"))
            .insert_header(("TTL", TTL_S.to_string()))
            .insert_header(("Urgency", if headers.is_urgent { "high" } else { "normal" }))
            .insert_header(("Topic", headers.topic));
        match request.send_body(body).await {
            Ok(mut answer) => {
                let status = answer.status();
                // The peer is to see that its answer was taken; an error in it does not matter.
                let body = answer.body().limit(ANSWER_MAX);
                let _ = actix_web::rt::time::timeout(TIMEOUT, body).await;
                sent(status)
            }
            Err(SendRequestError::Url(_)) => Sent::Refused("its address is none".to_owned()),
            Err(SendRequestError::Timeout) => Sent::Later(format!("{service} does not answer")),
            Err(_) => Sent::Later(format!("{service} cannot be reached")),
        }
    }

    fn vapid(&self) -> io::Result<Arc<Vapid>> {
        let mut kept = self.vapid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vapid) = &*kept {
            return Ok(vapid.clone());
        }
        let vapid = Arc::new(Vapid::open(&self.dir)?);
        Ok(kept.insert(vapid).clone())
    }
}

/// What an answer means.
fn sent(status: StatusCode) -> Sent {
    let said = format!("the answer was {status}");
    match status {
        status if status.is_success() => Sent::Taken,
        StatusCode::NOT_FOUND | StatusCode::GONE => Sent::Gone,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Sent::Later(said),
        status if status.is_client_error() => Sent::Refused(said),
        _ => Sent::Later(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_gone_is_forgotten_and_only_mistakes_are_not_tried_again() {
        let of = |status: u16| sent(StatusCode::from_u16(status).unwrap());
        for status in [200, 201, 202, 204] {
            assert_eq!(of(status), Sent::Taken, "{status}");
        }
        for status in [404, 410] {
            assert_eq!(of(status), Sent::Gone, "{status}");
        }
        for status in [302, 408, 429, 500, 503] {
            assert!(matches!(of(status), Sent::Later(_)), "{status}");
        }
        for status in [400, 401, 403, 413] {
            assert!(matches!(of(status), Sent::Refused(_)), "{status}");
        }
    }
}
