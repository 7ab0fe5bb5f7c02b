//! One browser's address at its push service, and the keys for what is sent there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use web_push_native::Auth;
use web_push_native::p256::PublicKey;

/// The longest address, in bytes. Those of today's services have some 200.
const ENDPOINT_MAX: usize = 2048;
/// An uncompressed point of P-256, and the shared secret (RFC 8291, 2.1 and 3.2), in bytes.
const POINT_BYTES: usize = 65;
const AUTH_BYTES: usize = 16;

/// Where a browser is reached, and for which keys messages are encrypted. Whoever has it could see that
/// browser told something, so that it is shown to nobody and never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// The address at the push service.
    pub endpoint: String,
    /// The browser's public key, base64url.
    pub p256dh: String,
    /// The secret that it shares with us, base64url.
    pub auth: String,
}

impl Subscriber {
    /// Checks the sizes and the keys.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn check(&self) -> Result<(), String> {
        if self.endpoint.len() > ENDPOINT_MAX {
            return Err(format!("endpoint may have at most {ENDPOINT_MAX} bytes"));
        }
        self.keys().map(drop)
    }

    /// The keys as the encryption takes them.
    pub(super) fn keys(&self) -> Result<(PublicKey, Auth), String> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let point = bytes(&self.p256dh).ok().filter(|point| point.len() == POINT_BYTES);
        let point = point.and_then(|point| PublicKey::from_sec1_bytes(&point).ok());
        let expected = "must be a public key of P-256, uncompressed, in base64url";
        let point = point.ok_or_else(|| format!("keys.p256dh {expected}"))?;
        let auth = bytes(&self.auth).ok().filter(|auth| auth.len() == AUTH_BYTES);
        let expected = format!("keys.auth must be {AUTH_BYTES} bytes in base64url");
        Ok((point, Auth::clone_from_slice(&auth.ok_or(expected)?)))
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscriber(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8291, appendix A.
    pub(super) const P256DH: &str =
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    pub(super) const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";

    #[test]
    fn only_whole_keys_are_taken_and_nothing_is_shown() {
        let with = |p256dh: &str, auth: &str, endpoint: String| Subscriber {
            endpoint,
            p256dh: p256dh.into(),
            auth: auth.into(),
        };
        let good = with(P256DH, AUTH, "https://push.example/4711".into());
        assert_eq!(good.check(), Ok(()));
        assert!(!format!("{good:?}").contains("4711"));
        // Some encode with padding.
        assert_eq!(
            with(&format!("{P256DH}="), &format!("{AUTH}=="), String::new()).check(),
            Ok(())
        );
        let not_on_the_curve = format!("BA{}", &P256DH[2..]);
        for (p256dh, auth) in [
            ("", AUTH),
            (&P256DH[1..], AUTH),
            (&not_on_the_curve, AUTH),
            (P256DH, ""),
            (P256DH, "AA"),
        ] {
            assert!(with(p256dh, auth, String::new()).check().is_err(), "{p256dh} {auth}");
        }
        assert!(with(P256DH, AUTH, "x".repeat(ENDPOINT_MAX + 1)).check().is_err());
    }
}
