//! The certificates that this machine trusts, for connections of the command line and of hooks.

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// The TLS settings, which trust the machine's certificates or those in `SSL_CERT_FILE`, and allow
/// HTTP/1.1 only, as WebSockets need it. All connections share them: the certificates are read
/// once, and reconnections resume the TLS session.
///
/// # Errors
/// There are no certificates that can be trusted, and what to do about it.
pub fn client_config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(found.certs).0 == 0 {
        let why = found.errors.first().map_or_else(String::new, |e| format!(" ({e})"));
        return Err(format!(
            "https: no trusted certificates on this machine{why}; install them (Debian: \
             ca-certificates) or name a file of them in SSL_CERT_FILE"
        ));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("https: {error}"))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}
