//! The certificate that the server shows: read from its files, and read again when they change.

use crate::config::TlsFiles;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use slog::{Logger, info, warn};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a pair of files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Each file may be in order, but not both together.
    #[error("{} and {}: {problem}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with the two.
        problem: String,
    },
}

/// The server's side of TLS. Connections that begin after a change see the new certificate, the
/// open ones go on as they are.
pub struct Tls {
    files: TlsFiles,
    current: Mutex<Arc<ServerConfig>>,
    asked: Notify,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file that cannot be used, and why.
    pub fn load(files: &TlsFiles) -> Result<Arc<Tls>, TlsError> {
        let current = Mutex::new(read(files)?);
        Ok(Arc::new(Tls { files: files.clone(), current, asked: Notify::new() }))
    }

    /// What begins a handshake, with the certificate of this moment.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(current.clone())
    }

    /// Has the files read again soon, whether or not they look changed.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Reads the files again whenever they change. A pair that cannot be used leaves the one
    /// before in place, which is logged once until something else is wrong.
    pub async fn keep_up_to_date(self: Arc<Self>, log: Logger) {
        let mut seen = look(&self.files);
        let mut told = None;
        // A pair is replaced one file after the other: what looks wrong is told at the second look.
        let mut suspected = None;
        loop {
            let asked = timeout(LOOK_EVERY, self.asked.notified()).await.is_ok();
            let now = look(&self.files);
            if now == seen && !asked && suspected.is_none() {
                continue;
            }
            seen = now;
            match read(&self.files) {
                Ok(config) => {
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config;
                    info!(log, "the certificate was read again"; "file" => %self.files.cert.display());
                    (told, suspected) = (None, None);
                }
                Err(error) if asked || suspected.as_ref() == Some(&error) => {
                    if told.as_ref() != Some(&error) {
                        warn!(log, "the new certificate cannot be used, the old one stays";
                            "error" => %error);
                    }
                    (told, suspected) = (Some(error), None);
                }
                Err(error) => suspected = Some(error),
            }
        }
    }
}

/// What changes when a file does: replaced (inode), or written (length, time).
type Look = [Option<(u64, u64, i64, i64)>; 2];

fn look(files: &TlsFiles) -> Look {
    let one = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    [one(&files.cert), one(&files.key)]
}

/// Ciphers and versions are rustls's defaults: TLS 1.2 and 1.3. HTTP/1.1 only, as WebSockets
/// need it.
fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let TlsFiles { cert, key } = files;
    let text =
        |path: &Path| fs::read(path).map_err(|error: io::Error| of_file(path, error.to_string()));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(cert)?).collect();
    let chain = chain.map_err(|error| of_file(cert, format!("not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(of_file(cert, "there is no certificate in it (PEM is expected)".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&text(key)?).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            of_file(key, "there is no private key in it (PEM is expected, not encrypted)".into())
        }
        error => of_file(key, format!("not PEM: {error}")),
    })?;
    let refused =
        |problem: String| TlsError::Pair { cert: cert.clone(), key: key.clone(), problem };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    let config = builder.with_no_client_auth().with_single_cert(chain, private);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            refused("the key is not that of the certificate".into())
        }
        error => refused(error.to_string()),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn of_file(path: &Path, problem: String) -> TlsError {
    TlsError::File { path: path.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    #[test]
    fn what_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let pair = |name: &str| {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed([name.to_owned()]).unwrap();
            let key = signing_key.serialize_pem();
            (file(&format!("{name}.pem"), &cert.pem()), file(&format!("{name}.key"), &key))
        };
        let ((cert, key), (_, other)) = (pair("a"), pair("b"));
        let (empty, gone) = (file("empty", ""), dir.path().join("gone"));
        let cut = file("cut", "-----BEGIN CERTIFICATE-----\nMIIB\n");
        let loaded = |cert: &PathBuf, key: &PathBuf| {
            Tls::load(&TlsFiles { cert: cert.clone(), key: key.clone() }).map(|_| ())
        };
        loaded(&cert, &key).unwrap();
        for (cert, key, at, words) in [
            (&gone, &key, "gone: ", "No such file"),
            (&cert, &gone, "gone: ", "No such file"),
            (&empty, &key, "empty: ", "no certificate"),
            (&key, &key, "a.key: ", "no certificate"),
            (&cut, &key, "cut: ", "not PEM"),
            (&cert, &cert, "a.pem: ", "no private key"),
            (&cert, &other, "a.pem and ", "not that of the certificate"),
        ] {
            let error = loaded(cert, key).unwrap_err().to_string();
            assert!(error.contains(at) && error.contains(words), "{error}");
        }
    }
}
