//! The verbs through a proxy that speaks TLS, as to a server elsewhere.

use crate::cli::{OnTerminal, code_and_text, outlives, stayd};
use crate::support::Server;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

/// Takes TLS off and passes everything on, on a thread of its own.
struct Proxy {
    address: SocketAddr,
    /// The server's.
    token: String,
    dir: TempDir,
    /// Connections whose handshake succeeded.
    trusted: Arc<AtomicUsize>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Before whatever server the state directory names at that moment.
    fn start(server: &Server) -> Proxy {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("cert.pem"), cert.pem()).expect("cert.pem");
        let key = signing_key.serialize_der().try_into().expect("a key");
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a key that fits");
        // It would speak HTTP/2 to whoever offers that, and the server behind it would not.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let trusted = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (listen_file, count) = (server.state().join("listen"), trusted.clone());
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async {
                tokio::select! {
                    () = serve(listener, config, listen_file, count) => {}
                    _ = stopped => {}
                }
            });
        });
        let token = server.token();
        Proxy { address, token, dir, trusted, stop: Some(stop), thread: Some(thread) }
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// What makes a verb go through it, trusting the certificates in a file and no others.
    fn environment(&self, trusted: &Path) -> [(&'static str, String); 4] {
        let url = format!("https://localhost:{}", self.address.port());
        let nowhere = self.dir.path().join("nowhere").display().to_string();
        let trusted = trusted.display().to_string();
        let token = ("STAYD_TOKEN", self.token.clone());
        [("STAYD_URL", url), ("SSL_CERT_FILE", trusted), ("SSL_CERT_DIR", nowhere), token]
    }

    /// A verb through it.
    fn verb(&self, server: &Server, args: &[&str]) -> Output {
        let environment = self.environment(&self.certificate());
        stayd(server, args).envs(environment).output().expect("stayd runs")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    config: ServerConfig,
    listen_file: PathBuf,
    trusted: Arc<AtomicUsize>,
) {
    listener.set_nonblocking(true).expect("non-blocking");
    let listener = TcpListener::from_std(listener).expect("a listener");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((socket, _)) = listener.accept().await {
        let (acceptor, listen_file, trusted) =
            (acceptor.clone(), listen_file.clone(), trusted.clone());
        actix_web::rt::spawn(async move {
            let Ok(mut inside) = acceptor.accept(socket).await else { return };
            trusted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(inside.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let address = std::fs::read_to_string(listen_file).unwrap_or_default();
            // No server at the moment: the connection closes, as a proxy's would.
            let first = address.lines().next().unwrap_or_default();
            let Ok(mut outside) = TcpStream::connect(first).await else { return };
            let _ = copy_bidirectional(&mut inside, &mut outside).await;
        });
    }
}

#[actix_web::test]
async fn every_kind_of_verb_works_through_tls() {
    let server = Server::start_with(&["--allowed-host", "localhost"]).await;
    let proxy = Proxy::start(&server);
    let run = proxy.verb(&server, &["run", "-d", "--name", "far", "--", "bash", "--norc"]);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let send = proxy.verb(&server, &["send", "far", "echo $((6*7))-there", "--enter"]);
    assert_eq!(code_and_text(&send), (Some(0), String::new()));
    let wait = proxy.verb(&server, &["wait", "far", "--text", "42-there"]);
    assert_eq!(wait.status.code(), Some(0), "{wait:?}");
    let (code, listed) = code_and_text(&proxy.verb(&server, &["ls"]));
    assert_eq!(code, Some(0));
    assert!(listed.contains("far"), "{listed}");
    // A long answer, in pieces.
    let copy = proxy.dir.path().join("copy.db");
    let backup = proxy.verb(&server, &["backup", copy.to_str().expect("a path")]);
    assert_eq!(backup.status.code(), Some(0), "{backup:?}");
    let copied = rusqlite::Connection::open(&copy).expect("a database");
    let name: String =
        copied.query_row("SELECT name FROM sessions", [], |row| row.get(0)).expect("a row");
    assert_eq!(name, "far");
}

#[actix_web::test]
async fn a_terminal_through_tls_outlives_the_server() {
    let mut server = Server::start_with(&["--allowed-host", "localhost"]).await;
    server.api().create(json!({ "name": "far", "profile": "bash" })).await;
    let proxy = Proxy::start(&server);
    let environment = proxy.environment(&proxy.certificate());
    let terminal = OnTerminal::start_in(&server, &["attach", "far"], environment);
    outlives(&mut server, terminal).await;
}

#[actix_web::test]
async fn who_is_not_trusted_is_told_nothing_and_named() {
    let server = Server::start_with(&["--allowed-host", "localhost"]).await;
    server.api().create(json!({ "name": "far", "profile": "bash" })).await;
    let (proxy, other) = (Proxy::start(&server), Proxy::start(&server));
    // No verb waits for what will not change by waiting, not even those that do wait.
    for args in [&["ls"][..], &["attach", "far"], &["wait", "far", "--exit"]] {
        let environment = proxy.environment(&other.certificate());
        let output = stayd(&server, args).envs(environment).output().expect("stayd runs");
        let (code, text) = code_and_text(&output);
        assert_eq!(code, Some(1), "{args:?}: {text}");
        assert!(text.contains("is not trusted") && text.contains("SSL_CERT_FILE"), "{text}");
    }
    assert_eq!(proxy.trusted.load(Ordering::Relaxed), 0);
    // The same address with the right certificate.
    assert_eq!(proxy.verb(&server, &["ls"]).status.code(), Some(0));
    assert_eq!(proxy.trusted.load(Ordering::Relaxed), 1);
}

#[actix_web::test]
async fn the_wrong_scheme_and_no_certificates_are_said() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server);
    let nothing = proxy.dir.path().join("empty.pem");
    std::fs::write(&nothing, "").expect("empty.pem");
    let https = format!("https://{}", server.address());
    let certificate = proxy.certificate();
    for (url, trusted, said) in [
        (https.as_str(), &certificate, "perhaps http:// is meant"),
        (https.as_str(), &nothing, "no trusted certificates"),
        ("ftp://localhost", &certificate, "expected an address such as"),
    ] {
        let mut ls = stayd(&server, &["ls", "--url", url]);
        let output = ls.envs(proxy.environment(trusted)).output().expect("stayd runs");
        let (code, text) = code_and_text(&output);
        assert_eq!(code, Some(if url.starts_with("ftp") { 2 } else { 1 }), "{text}");
        assert!(text.contains(said), "{text}");
    }
}
