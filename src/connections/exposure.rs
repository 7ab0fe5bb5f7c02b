//! Addresses that other machines can connect to, which are not to be listened on without TLS.

use std::net::SocketAddr;

/// Listening there without TLS is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is no loopback address, and there is no TLS: whoever can read or change what passes on \
     the network would have your terminals. Give the server a certificate (tls_cert and tls_key); \
     or listen on 127.0.0.1 and put a proxy with TLS before it; or, if that network is as good as \
     a cable, say allow_plain = true (--allow-plain)"
)]
pub struct Exposed(pub SocketAddr);

/// Looks for an address beyond loopback.
///
/// # Errors
/// Names the first one.
pub fn check_plain(listen: &[SocketAddr]) -> Result<(), Exposed> {
    match listen.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        None => Ok(()),
        Some(&exposed) => Err(Exposed(exposed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_out_of_reach() {
        let check = |text: &str| check_plain(&[text.parse().unwrap()]);
        for near in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(near), Ok(()), "{near}");
        }
        for far in ["0.0.0.0:1", "[::]:1", "192.168.1.5:1", "[fe80::1]:1", "[::ffff:0.0.0.0]:1"] {
            assert_eq!(check(far), Err(Exposed(far.parse().unwrap())), "{far}");
        }
    }
}
