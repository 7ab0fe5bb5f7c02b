//! A server with a certificate of its own.

use crate::cli::{OnTerminal, code_and_text, outlives, stayd, verb};
use crate::connections::stopped;
use crate::local_socket::ask;
use crate::support::{DEADLINE, Server, descriptors, soon};
use actix_web::rt::task::yield_now;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tempfile::TempDir;

/// A certificate for `localhost` and its key, in files.
struct Pair {
    dir: TempDir,
    shown: CertificateDer<'static>,
}

impl Pair {
    fn new() -> Pair {
        let dir = tempfile::tempdir().expect("a directory");
        let shown = write(dir.path());
        Pair { dir, shown }
    }

    fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }

    async fn server(&self, more: &[&str]) -> Server {
        let (cert, key) = (self.certificate(), self.key());
        let mut flags = vec!["--tls-cert", cert.to_str().unwrap(), "--tls-key"];
        flags.push(key.to_str().unwrap());
        flags.extend(more);
        Server::start_with(&flags).await
    }

    /// Takes the place of the files, as a renewal does: written beside them and renamed.
    fn replace(&mut self) {
        let new = tempfile::tempdir_in(self.dir.path()).expect("a directory");
        self.shown = write(new.path());
        for name in ["key.pem", "cert.pem"] {
            std::fs::rename(new.path().join(name), self.dir.path().join(name)).expect("renamed");
        }
    }

    /// What makes a verb use TLS and trust this certificate alone.
    fn environment(&self, server: &Server) -> [(&'static str, String); 4] {
        let nowhere = self.dir.path().join("nowhere").display().to_string();
        [
            ("STAYD_URL", format!("https://{}", name(server))),
            ("STAYD_TOKEN", server.token()),
            ("SSL_CERT_FILE", self.certificate().display().to_string()),
            ("SSL_CERT_DIR", nowhere),
        ]
    }

    fn verb(&self, server: &Server, args: &[&str]) -> (Option<i32>, String) {
        let environment = self.environment(server);
        code_and_text(&stayd(server, args).envs(environment).output().expect("stayd runs"))
    }

    /// A connection whose handshake is done, if this is the certificate that is shown.
    fn dial(&self, server: &Server) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.shown.clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut tls = StreamOwned::new(client, stream);
        while tls.conn.is_handshaking() {
            tls.conn.complete_io(&mut tls.sock)?;
        }
        Ok(tls)
    }

    /// The whole answer to a request.
    fn ask(&self, server: &Server, request: &str) -> String {
        let mut tls = self.dial(server).expect("a handshake");
        let (line, more) = request.split_once('\n').unwrap_or((request, ""));
        let host = name(server);
        let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        tls.write_all(head.as_bytes()).expect("sent");
        let mut all = Vec::new();
        tls.read_to_end(&mut all).expect("an answer, and a close");
        String::from_utf8_lossy(&all).into_owned()
    }
}

fn name(server: &Server) -> String {
    server.address().replace("127.0.0.1", "localhost")
}

fn write(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(dir.join("cert.pem"), cert.pem()).expect("cert.pem");
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem()).expect("key.pem");
    cert.der().clone()
}

#[actix_web::test]
async fn everything_goes_through_tls() {
    let pair = Pair::new();
    let mut server = pair.server(&[]).await;
    let (code, text) = pair.verb(&server, &["run", "-d", "--name", "web", "--", "bash", "--norc"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(pair.verb(&server, &["ls"]).1.contains("web"));
    let terminal = OnTerminal::start_in(&server, &["attach", "web"], pair.environment(&server));
    outlives(&mut server, terminal).await;
    // The page, and its login.
    let page = pair.ask(&server, "GET /");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let hsts = "strict-transport-security: max-age=31536000";
    assert!(page.to_lowercase().contains(hsts), "{page}");
    // A long answer, whole.
    let script = page.split('"').find(|part| part.ends_with(".js")).expect("a script");
    let script = format!("/{}", script.trim_start_matches("./").trim_start_matches('/'));
    let whole = |answer: String| answer.split_once("\r\n\r\n").expect("a body").1.to_owned();
    let long = whole(pair.ask(&server, &format!("GET {script}")));
    assert!(long.len() > 100_000 && long == whole(ask(&server, "GET", &script, "")));
    assert!(pair.ask(&server, "GET /api/v1/sessions").to_lowercase().contains(hsts));
    let body = json!({ "token": server.token() }).to_string();
    let login = format!(
        "POST /api/v1/login\nOrigin: https://{}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        name(&server),
        body.len()
    );
    let answer = pair.ask(&server, &login);
    assert!(answer.starts_with("HTTP/1.1 204") && answer.contains("; Secure"), "{answer}");
    let elsewhere = "GET /api/v1/sessions\nOrigin: https://evil.example\r\n";
    assert!(pair.ask(&server, elsewhere).contains("forbidden_origin"));
    // Its own machine needs no certificate.
    let nothing = [("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")];
    let ls = stayd(&server, &["ls"]).envs(nothing).output().expect("stayd runs");
    assert!(code_and_text(&ls).1.contains("web"));
    let url = code_and_text(&verb(&server, &["url"])).1;
    assert!(url.starts_with(&format!("https://{}/#code=", server.address())), "{url}");
    let listen = std::fs::read_to_string(server.state().join("listen")).expect("listen");
    assert!(listen.lines().all(|line| line.starts_with("https://")), "{listen}");
    let doctor = code_and_text(&verb(&server, &["doctor"])).1;
    assert!(doctor.contains("server.sock"), "{doctor}");
}

#[actix_web::test]
async fn a_renewed_certificate_is_shown_and_a_bad_one_is_not() {
    let mut pair = Pair::new();
    let mut server = pair.server(&[]).await;
    let mut open = pair.dial(&server).expect("the first certificate");
    pair.replace();
    soon("the second certificate", async {
        while pair.dial(&server).is_err() {
            yield_now().await;
        }
    })
    .await;
    // What was open goes on.
    open.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok();
    let hangup = || kill(Pid::from_raw(server.pid()), Signal::SIGHUP).expect("SIGHUP");
    hangup();
    server.wait_for_log("read again", |line| line["msg"] == "the certificate was read again").await;

    // A key of another certificate, and no key at all.
    let good = std::fs::read(pair.key()).expect("the key");
    let other = Pair::new();
    let hangup = |server: &Server| kill(Pid::from_raw(server.pid()), Signal::SIGHUP).expect("it");
    for (bad, words) in [
        (std::fs::read(other.key()).expect("a key"), "not that of the certificate"),
        (b"nonsense\n".to_vec(), "no private key"),
    ] {
        std::fs::write(pair.key(), bad).expect("written");
        let is_told = |line: &Value| {
            let error = line["error"].as_str().unwrap_or_default();
            error.contains("key.pem") && error.contains(words)
        };
        server.wait_for_log(words, is_told).await;
        pair.dial(&server).expect("the old pair stays");
    }
    // Told once: what is next is the good pair, however often the bad one is looked at.
    hangup(&server);
    std::fs::write(pair.key(), good).expect("written");
    hangup(&server);
    let again = std::cell::Cell::new(0);
    server
        .wait_for_log("read again", |line| {
            let is_told = line["msg"] == "the new certificate cannot be used, the old one stays";
            again.set(again.get() + usize::from(is_told));
            line["msg"] == "the certificate was read again"
        })
        .await;
    assert_eq!(again.get(), 0);
    pair.dial(&server).expect("the good pair");
}

#[actix_web::test]
async fn what_cannot_be_served_is_a_clear_error_at_the_start() {
    let (pair, other) = (Pair::new(), Pair::new());
    let dir = tempfile::tempdir().expect("a directory");
    let start = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_stayd"))
            .args(["serve", "--state-dir"])
            .arg(dir.path().join("state"))
            .args(args)
            .env("HOME", dir.path())
            .output()
            .expect("stayd runs");
        code_and_text(&output)
    };
    let path = |path: &PathBuf| path.to_str().expect("a path").to_owned();
    let (cert, key, wrong) = (path(&pair.certificate()), path(&pair.key()), path(&other.key()));
    for (args, words) in [
        (vec!["--tls-cert", &cert], "tls_key: missing"),
        (vec!["--tls-key", &key], "tls_cert: missing"),
        (vec!["--tls-cert", "/nowhere.pem", "--tls-key", &key], "/nowhere.pem: No such file"),
        (vec!["--tls-cert", &cert, "--tls-key", &wrong], "not that of the certificate"),
        (vec!["--listen", "0.0.0.0:0"], "0.0.0.0:0 is no loopback address"),
        (vec!["--listen", "127.0.0.1:0", "--listen", "[::]:0"], "[::]:0 is no loopback address"),
        (vec!["--listen", "0.0.0.0:0"], "--allow-plain"),
    ] {
        let (code, text) = start(&args);
        assert!(code != Some(0) && text.contains(words), "{args:?}: {text}");
    }
    assert!(!dir.path().join("state").exists(), "nothing was begun");
    let config = dir.path().join("stayd.toml");
    let doctor = |settings: &str| {
        std::fs::write(&config, settings).expect("settings");
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_stayd"));
        doctor.args(["doctor", "--config"]).arg(&config).env("HOME", dir.path());
        code_and_text(&doctor.output().expect("stayd runs"))
    };
    let (code, text) = doctor("listen = \"0.0.0.0:1\"\n");
    assert!(code == Some(1) && text.contains("failed   addresses"), "{text}");
    let (_, text) = doctor("listen = \"0.0.0.0:1\"\nallow_plain = true\n");
    assert!(text.contains("warning  addresses"), "{text}");
    let (_, text) = doctor(&format!("tls_cert = {cert:?}\ntls_key = {key:?}\n"));
    assert!(text.contains("with TLS"), "{text}");
}

#[actix_web::test]
async fn plain_listening_beyond_loopback_is_a_decision() {
    let dir = Server::dir();
    let env = [("STAYD_LISTEN", "0.0.0.0:0"), ("STAYD_ALLOW_PLAIN", "true")];
    let mut child = Command::new(env!("CARGO_BIN_EXE_stayd"))
        .args(["serve", "--state-dir"])
        .arg(dir.path().join("state"))
        .env("HOME", dir.path())
        .envs(env)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let mut text = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    let start = Instant::now();
    while !text.contains("listening") && start.elapsed() < DEADLINE {
        let mut piece = [0; 4096];
        let length = stderr.read(&mut piece).expect("the log");
        text += &String::from_utf8_lossy(&piece[..length]);
    }
    let holder = std::fs::read_to_string(dir.path().join("state/holder.pid")).expect("holder.pid");
    for pid in [child.id() as i32, holder.trim().parse().expect("a pid")] {
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("SIGTERM");
    }
    child.wait().expect("it ends");
    assert!(text.contains("without TLS, as the settings allow"), "{text}");
}

#[actix_web::test]
async fn a_plain_request_is_told_to_use_https() {
    let pair = Pair::new();
    let server = pair.server(&[]).await;
    for request in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST /x HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and a close");
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");
    }
    let url = format!("http://{}", server.address());
    let mut ls = stayd(&server, &["ls", "--url", &url]);
    let ls = ls.env("STAYD_TOKEN", server.token()).output().expect("stayd runs");
    let (code, text) = code_and_text(&ls);
    assert!(code == Some(1) && text.contains("https://"), "{text}");
    // What is neither is closed.
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(b"SSH-2.0-x\r\n").expect("sent");
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
}

fn metric(server: &Server, name: &str) -> usize {
    let metrics = ask(server, "GET", "/metrics", "");
    let line = metrics.lines().find(|line| line.contains(name));
    let count = line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0");
    count.parse().expect("a number")
}

fn closed_strangers(server: &Server) -> usize {
    metric(server, "connections_closed_total{reason=\"strangers\"}")
}

#[actix_web::test]
async fn handshakes_that_never_end_are_few_and_end() {
    let pair = Pair::new();
    let server = pair.server(&["--max-connections-without-token=32"]).await;
    let before = server.rss_kib();
    let mut half_open: Vec<TcpStream> = Vec::new();
    for n in 0..400 {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        if n % 2 == 0 {
            // The beginning of a record of 512 bytes.
            let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]);
        }
        half_open.push(stream);
    }
    let strangers = || metric(&server, "connections{rights=\"none\"}");
    // All have come in: one that still waits for a worker would take the place of a newer one.
    soon("those who came first make room", async {
        while closed_strangers(&server) < 400 - 32 {
            yield_now().await;
        }
    })
    .await;
    assert!(strangers() <= 32, "{}", strangers());
    // Who speaks TLS and has a token is served meanwhile.
    let request = format!("GET /api/v1/sessions\nAuthorization: Bearer {}\r\n", server.token());
    assert!(pair.ask(&server, &request).starts_with("HTTP/1.1 200"));
    assert!(server.rss_kib() < before + (32 << 10), "{} KiB", server.rss_kib());
    for mut stream in half_open {
        match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("it never ends"),
            _ => {}
        }
    }
    soon("nobody is left", async {
        while strangers() > 0 {
            yield_now().await;
        }
    })
    .await;
}

/// A connection that waits for a worker waits in the kernel, and takes no descriptor meanwhile.
#[actix_web::test]
async fn a_burst_takes_few_descriptors_with_and_without_tls() {
    const BURST: usize = 400;
    const PLACES: usize = 32;
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("somaxconn");
    if most.trim().parse::<usize>().expect("a number") < BURST {
        eprintln!("skipped: the kernel lets only {} connections wait", most.trim());
        return;
    }
    let pair = Pair::new();
    let places = format!("--max-connections-without-token={PLACES}");
    for (server, begin) in [
        (pair.server(&[&places]).await, &[22, 3, 1][..]),
        (Server::start_with(&[&places]).await, b"GET / HT"),
    ] {
        let (pid, before) = (server.pid(), descriptors(server.pid()));
        let is_over = Arc::new(AtomicBool::new(false));
        let watched = is_over.clone();
        let watcher = std::thread::spawn(move || {
            let mut most = 0;
            while !watched.load(Ordering::Relaxed) {
                most = most.max(descriptors(pid));
            }
            most
        });
        let burst: Vec<_> = stopped(&server, || {
            let begun = |_| {
                let mut stream = TcpStream::connect(server.address()).expect("a connection");
                stream.write_all(begin).expect("sent");
                stream
            };
            (0..BURST).map(begun).collect()
        });
        soon("those who came first make room", async {
            while closed_strangers(&server) < BURST - PLACES {
                yield_now().await;
            }
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
        let most = watcher.join().expect("the watcher ends");
        assert!(most < before + BURST / 2, "{most} descriptors, {before} before");
        eprintln!("{most} descriptors at most, {before} before");
        drop(burst);
    }
}
