//! The server's key pair, by which push services know that a message comes from who has subscribed
//! (VAPID, RFC 8292).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The file in the state directory. It is none of the database's, so that a backup lets nobody push.
const FILE: &str = "vapid.key";
/// How long a signature holds, in seconds. Services refuse more than a day.
const HOLDS_S: i64 = 12 * 3600;

/// The key pair.
pub(super) struct Vapid {
    pair: EcdsaKeyPair,
    public: String,
    random: SystemRandom,
}

impl Vapid {
    /// Reads the pair of this state directory, or makes it. Browsers are bound to it when they
    /// subscribe, so that one that cannot be read is not replaced.
    pub(super) fn open(dir: &Path) -> io::Result<Vapid> {
        let (path, random) = (dir.join(FILE), SystemRandom::new());
        let pkcs8 = match fs::read(&path) {
            Ok(pkcs8) => pkcs8,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path, &random)?,
            Err(error) => return Err(error),
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random);
        let pair = pair.map_err(|why| {
            let what = format!("{}: it is no key of ours ({why})", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Ok(Vapid { pair, public, random })
    }

    /// The public key, base64url, as browsers take it.
    pub(super) fn public(&self) -> &str {
        &self.public
    }

    /// The header `Authorization` for a push service. `now` is in seconds since 1970.
    pub(super) fn authorization(
        &self,
        service: &str,
        contact: Option<&str>,
        now: i64,
    ) -> io::Result<String> {
        let mut claims = json!({ "aud": service, "exp": now + HOLDS_S });
        if let Some(contact) = contact {
            claims["sub"] = contact.into();
        }
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = [part(r#"{"typ":"JWT","alg":"ES256"}"#), part(&claims.to_string())].join(".");
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(no_randomness)?;
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Ok(format!("vapid t={signed}.{signature}, k={}", self.public))
    }
}

fn no_randomness(_: ring::error::Unspecified) -> io::Error {
    io::Error::other("the system has no randomness to give")
}

/// Makes a pair. The file appears whole or not at all.
fn make(path: &Path, random: &SystemRandom) -> io::Result<Vec<u8>> {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random);
    let pkcs8 = pkcs8.map_err(no_randomness)?;
    let new = path.with_extension("key.new");
    let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
    let mut file = options.open(&new)?;
    file.write_all(pkcs8.as_ref())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(pkcs8.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_pair_is_made_once_for_nobody_else_and_signs() {
        let dir = tempfile::tempdir().unwrap();
        let first = Vapid::open(dir.path()).unwrap();
        let again = Vapid::open(dir.path()).unwrap();
        assert_eq!(first.public(), again.public());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        let header = again.authorization("https://push.example", Some("mailto:a@b.c"), 1000);
        let header = header.unwrap();
        let (token, key) = header.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let key =
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, URL_SAFE_NO_PAD.decode(key).unwrap());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(key.verify(signed.as_bytes(), &signature).is_ok());
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        let expected =
            json!({ "aud": "https://push.example", "exp": 44200, "sub": "mailto:a@b.c" });
        assert_eq!(claims, expected);
    }

    #[test]
    fn one_that_cannot_be_read_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "nonsense").unwrap();
        assert!(Vapid::open(dir.path()).is_err());
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), b"nonsense");
    }
}
