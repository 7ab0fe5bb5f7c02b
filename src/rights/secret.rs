//! Secrets: random, shown once, and kept only as digests.

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use std::fmt;
use uuid::Uuid;

/// SHA-256 of a secret. Secrets are random and long, so that nothing is learnt from their digests,
/// nor from the time that it takes to compare those.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; SHA256_OUTPUT_LEN]);

impl Digest {
    /// The digest of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Digest {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        Digest(bytes)
    }
}

impl Digest {
    /// An id of what the secret opens, which may be shown and kept anywhere: it says nothing of the
    /// secret, and each secret has another.
    #[must_use]
    pub fn id(&self) -> Uuid {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// 32 random bytes in hex: safe in cookies, URLs and subprotocol names alike.
///
/// # Errors
/// The system has no randomness to give.
pub fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_sha_256_and_say_nothing() {
        // FIPS 180-4, the example of one block.
        let abc = Digest::of("abc");
        assert_eq!(abc.0[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_ne!(Digest::of(&random().unwrap()), Digest::of(&random().unwrap()));
        assert_eq!(format!("{abc:?}"), "Digest(…)");
        assert_eq!(random().unwrap().len(), 64);
    }
}
