//! The beginning of a connection to an address that speaks TLS.

use super::table::Closing;
use super::tls::Tls;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

/// The answer to a request without TLS. Browsers show its text.
const NOT_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 59\r\n\r\n\
    This address speaks HTTPS: use https:// instead of http://\n";
/// Bytes of such a request that are taken, so that the answer is not lost to a reset.
const PLAIN_MAX: usize = 64 << 10;
/// How long its sender may take to close its side.
const PLAIN_CLOSE: Duration = Duration::from_secs(1);

/// Shakes hands. `None`: the connection is not to be served, because the peer took longer than
/// `within`, speaks no TLS, or has lost its place.
pub(super) async fn shake_hands(
    tls: &Tls,
    stream: TcpStream,
    closing: &Closing,
    within: Duration,
) -> Option<TlsStream<TcpStream>> {
    let mut accept = None;
    let shaken = {
        let shaking = pin!(timeout(within, begin(tls, stream, &mut accept)));
        match select(pin!(closing.asked()), shaking).await {
            Either::Left(((), _)) => None,
            Either::Right((shaken, _)) => shaken.ok().flatten(),
        }
    };
    if let Some(stream) = accept.as_ref().and_then(|accept| accept.get_ref())
        && closing.is_asked()
    {
        // As in `Socket`: what is unread must not stay with the kernel.
        let _ = stream.set_zero_linger();
    }
    shaken
}

/// The handshake is left in `accept` if this is given up.
async fn begin(
    tls: &Tls,
    stream: TcpStream,
    accept: &mut Option<tokio_rustls::Accept<TcpStream>>,
) -> Option<TlsStream<TcpStream>> {
    let mut first = [0; 8];
    let length = stream.peek(&mut first).await.ok()?;
    if is_http(first.get(..length)?) {
        refuse(stream).await;
        return None;
    }
    accept.insert(tls.acceptor().accept(stream)).await.ok()
}

/// Whether this begins with an HTTP method. TLS begins with the byte 22.
fn is_http(first: &[u8]) -> bool {
    let is_method = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_uppercase);
    first.split(|&byte| byte == b' ').next().is_some_and(is_method)
}

async fn refuse(mut stream: TcpStream) {
    if stream.write_all(NOT_PLAIN).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let (mut buffer, mut taken) = ([0; 4 << 10], 0);
    let drain = async {
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            taken += length;
            if taken > PLAIN_MAX {
                return;
            }
        }
    };
    let _ = timeout(PLAIN_CLOSE, drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_tls() {
        for http in [&b"GET / HT"[..], b"P", b"OPTIONS ", b"PROPFIND"] {
            assert!(is_http(http), "{http:?}");
        }
        for other in [&b""[..], &[22, 3, 1, 2, 0, 1, 0, 1], b" GET", b"get / ht", b"SSH-2.0-"] {
            assert!(!is_http(other), "{other:?}");
        }
    }

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(NOT_PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
