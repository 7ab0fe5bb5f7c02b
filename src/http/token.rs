//! The main token, principals, and how secrets are made and stored.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// The shortest token that is accepted from the file, in characters.
const TOKEN_MIN: usize = 16;

/// The principal of an authenticated request, as a request extension: the name of its token. All
/// who use one token are the same principal, so a client keeps its identity however it logged in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(pub String);

impl Principal {
    /// The name of the main token.
    pub(super) const OWNER: &str = "owner";

    pub(super) fn owner() -> Principal {
        Principal(Principal::OWNER.into())
    }
}

/// The secret that grants all rights. It is shown only by `expose`.
pub struct Token(String);

impl Token {
    /// Loads the token of the state directory, which is made at the first start (mode 0600).
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds no token (`InvalidData`).
    pub fn load_or_create(state_dir: &Path) -> io::Result<Token> {
        let file = state_dir.join("token");
        match Token::load(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = random_hex().map_err(io::Error::other)?;
                write_private(&file, format!("{token}\n").as_bytes())?;
                Ok(Token(token))
            }
            loaded => loaded,
        }
    }

    fn load(path: &Path) -> io::Result<Token> {
        let text = std::fs::read_to_string(path)?;
        // The file may have been written with an editor, with other permissions; it is a secret all
        // the same.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Token::new(text.trim()).ok_or_else(|| {
            let rule = format!("must hold {TOKEN_MIN} or more letters, digits, '-', '.', '_', '~'");
            let message = format!("{} {rule}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }

    /// A secret that is long enough and valid as a subprotocol and in a URL's fragment (RFC 3986's
    /// unreserved characters).
    pub(super) fn new(token: &str) -> Option<Token> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let good = token.len() >= TOKEN_MIN && token.bytes().all(plain);
        good.then(|| Token(token.to_owned()))
    }

    /// The secret, for the URL that is shown to its owner and for our own client.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the token. Constant time: a wrong length takes as long as a wrong byte.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// Identifies a token without revealing it: a hash of many random bits.
    pub(super) fn fingerprint(&self) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_OID, self.0.as_bytes()).to_string()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The byte that overwrites a revoked secret. No secret holds this byte, so one that a crash has
/// left half overwritten is not accepted either.
pub(super) const STRUCK: u8 = b'#';

/// Replaces a file with one that only its owner can read, so that no reader sees half of it.
/// Returns the new file, open for reading and writing.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", random_hex().map_err(io::Error::other)?));
    let beside = path.with_file_name(name);
    let write = |mut file: File| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        Ok(file)
    };
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&beside)?;
    write(file).inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

/// Revokes secrets by overwriting them in place. Replacing the file would need free space: on a
/// full disk a revoked secret would stay valid.
///
/// # Errors
/// What the file system says. Secrets overwritten until then are revoked.
pub(super) fn strike_out(
    file: &File,
    secrets: impl IntoIterator<Item = Range<usize>>,
) -> io::Result<()> {
    for secret in secrets {
        file.write_all_at(&vec![STRUCK; secret.len()], secret.start as u64)?;
    }
    // Sets the time explicitly: the length stays the same, and the kernel's clock for files ticks
    // too seldom to tell two changes apart, so that a server which compares times would miss this
    // one.
    file.set_modified(SystemTime::now())?;
    file.sync_all()
}

/// 32 random bytes in hex: safe in cookies, URLs and subprotocol names alike.
pub(super) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_token_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Token::load_or_create(dir.path()).unwrap();
        let again = Token::load_or_create(dir.path()).unwrap();
        assert!(first.matches(again.expose()));
        assert_eq!(first.expose().len(), 64);
        let file = dir.path().join("token");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(!format!("{first:?}").contains(first.expose()));
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        Token::load_or_create(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_of_ones_own_must_be_long_and_plain() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        for bad in ["", "short", "has a space in its middle", "comma,comma,comma,comma"] {
            std::fs::write(&file, bad).unwrap();
            let error = Token::load_or_create(dir.path()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad}");
            assert!(bad.is_empty() || !error.to_string().contains(bad));
        }
        std::fs::write(&file, "my-own_token.of~16\n").unwrap();
        assert_eq!(Token::load_or_create(dir.path()).unwrap().expose(), "my-own_token.of~16");
    }
}
