//! nats-server, alone or three as a cluster. Each has a loopback address of its own, on which nobody
//! else listens: its ports are known before it starts, and are the same after a restart.
//!
//! Without nats-server there is none, and a test says that it is skipped; `scripts/test` installs it.

use super::DEADLINE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ports below those that systems give to clients. The monitor says over HTTP how a server is.
const CLIENTS: u16 = 14222;
const ROUTES: u16 = 16222;
const MONITOR: u16 = 18222;
/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(10);

/// The program: of `STAYD_NATS_SERVER`, of `target/nats-venv` or of PATH, version 2.11 or later.
/// `None`, with a message, where there is none.
fn program() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        if let Some(named) = std::env::var_os("STAYD_NATS_SERVER") {
            return Some(PathBuf::from(named));
        }
        // The tests' own program lies in `debug/deps` below.
        let this = std::env::current_exe().expect("this program");
        let installed = this.ancestors().nth(3).map(|at| at.join("nats-venv/bin/nats-server"));
        installed.into_iter().chain([PathBuf::from("nats-server")]).find(|it| is_new_enough(it))
    });
    if found.is_none() {
        assert!(std::env::var_os("STAYD_REQUIRE_NATS").is_none(), "there is no nats-server");
        eprintln!("skipped: there is no nats-server 2.11 or later; scripts/test installs one");
    }
    found.as_deref()
}

fn is_new_enough(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("-v").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.trim().rsplit('v').next().unwrap_or_default();
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(2), Some(11))
}

/// Where a server will be: a loopback address of its own, and a directory.
pub struct NatsPlace {
    dir: TempDir,
    address: String,
}

impl NatsPlace {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let process = std::process::id() % (1 << 14);
        // Taken by another process with the same last bits: the next one.
        let address = std::iter::repeat_with(|| {
            let number = (process << 8) | (NEXT.fetch_add(1, Ordering::Relaxed) & 0xff);
            let [_, high, middle, low] = number.to_be_bytes();
            format!("127.{}.{middle}.{low}", 64 + high)
        });
        let mut free = address.take(256).filter(|it| TcpListener::bind((&**it, CLIENTS)).is_ok());
        NatsPlace::at(&free.next().expect("a free loopback address"))
    }

    /// At an address that is this test's alone.
    pub fn at(address: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("stayd-nats").tempdir().expect("a directory");
        NatsPlace { dir, address: address.to_owned() }
    }

    /// The address, for a certificate.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What clients connect to, `127.64.0.1:14222`.
    pub fn listen(&self) -> String {
        format!("{}:{CLIENTS}", self.address)
    }

    /// What the other servers of a cluster connect to.
    pub fn routes(&self) -> String {
        format!("{}:{ROUTES}", self.address)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What every server needs for its place, with JetStream or without.
    fn basics(&self, name: &str, jetstream: bool) -> String {
        let store = self.dir().join("store").display().to_string();
        let jetstream = match jetstream {
            true => {
                format!("jetstream {{ store_dir: \"{store}\", max_mem: 256M, max_file: 1G }}\n")
            }
            false => String::new(),
        };
        format!("server_name: {name}\nlisten: \"{}\"\n{jetstream}", self.listen())
    }
}

/// A running server. Dropped, it goes, with its store; its log is shown if the test fails.
pub struct NatsServer {
    place: NatsPlace,
    child: Option<Child>,
}

impl NatsServer {
    /// With JetStream, for everybody without a password; `None` where there is no nats-server.
    pub async fn start() -> Option<Self> {
        Self::start_with("").await
    }

    /// With more settings than the address and JetStream.
    pub async fn start_with(settings: &str) -> Option<Self> {
        let place = NatsPlace::new();
        let all = format!("{}{settings}\n", place.basics("nats", true));
        Self::start_at(place, &all).await
    }

    /// The same without JetStream, such as a leaf node.
    pub async fn start_plain(settings: &str) -> Option<Self> {
        let place = NatsPlace::new();
        let all = format!("{}{settings}\n", place.basics("leaf", false));
        Self::start_at(place, &all).await
    }

    /// With these settings alone, which name the place's address and directory.
    pub async fn start_at(place: NatsPlace, settings: &str) -> Option<Self> {
        let server = Self::begin_at(place, settings)?;
        server.wait_until_healthy().await;
        Some(server)
    }

    fn begin_at(place: NatsPlace, settings: &str) -> Option<Self> {
        program()?;
        let monitor = format!("http: \"{}:{MONITOR}\"\n", place.address);
        std::fs::write(place.dir().join("nats.conf"), format!("{monitor}{settings}"))
            .expect("settings");
        let mut server = NatsServer { place, child: None };
        server.begin();
        Some(server)
    }

    fn log_file(&self) -> PathBuf {
        self.place.dir().join("log")
    }

    fn begin(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log_file());
        let log = log.expect("a log file");
        let program = program().expect("it has been started before");
        let child = Command::new(program)
            .arg("-c")
            .arg(self.place.dir().join("nats.conf"))
            .current_dir(self.place.dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("nats-server starts"));
    }

    /// Waits until it serves clients, and its JetStream, if it has one, can be used.
    pub async fn wait_until_healthy(&self) {
        self.look("a healthy nats-server", || {
            let health = self.monitor("/healthz")?;
            (health["status"] == "ok" && TcpStream::connect(self.place.listen()).is_ok())
                .then_some(())
        })
        .await;
    }

    /// Looks at something until it is there, but not for ever.
    async fn look<T>(&self, what: &str, mut at: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = at() {
                return found;
            }
            assert!(start.elapsed() < DEADLINE, "timed out: {what}");
            actix_web::rt::time::sleep(LOOK).await;
        }
    }

    /// An answer of the monitor, if there is one.
    pub fn monitor(&self, path: &str) -> Option<Value> {
        let mut socket = TcpStream::connect((&*self.place.address, MONITOR)).ok()?;
        socket.set_read_timeout(Some(DEADLINE)).ok()?;
        write!(socket, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.place.listen())
    }

    /// `nats://USER:PASSWORD@ADDRESS`.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@{}", self.place.listen())
    }

    pub fn place(&self) -> &NatsPlace {
        &self.place
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("a running nats-server").id() as i32
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a signal");
            child.wait().expect("its end");
        }
    }

    /// Stops and continues it, as a machine that hangs: connections stay.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("a signal");
    }

    /// Starts it again, on the same ports and with the same store; whoever still runs is killed.
    pub async fn restart(&mut self) {
        self.begin_again();
        self.wait_until_healthy().await;
    }

    fn begin_again(&mut self) {
        self.kill();
        self.begin();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("nats-server at {} said:\n{}", self.place.listen(), self.log());
        }
    }
}

/// Servers that know each other, with one JetStream. Dropped, they go.
pub struct NatsCluster {
    servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// So many, once all of them can be used; `None` where there is no nats-server.
    pub async fn start(number: usize) -> Option<Self> {
        Self::start_with(number, |place, index, routes| {
            format!(
                "{}cluster {{ name: fleet, listen: \"{}\", routes: [{routes}] }}\n",
                place.basics(&format!("nats-{index}"), true),
                place.routes(),
            )
        })
        .await
    }

    /// Each with the settings that are made for its place, its number from 1 and the list of routes.
    pub async fn start_with(
        number: usize,
        settings: impl Fn(&NatsPlace, usize, &str) -> String,
    ) -> Option<Self> {
        let places: Vec<NatsPlace> = (0..number).map(|_| NatsPlace::new()).collect();
        let routes = places.iter().map(|place| format!("\"nats://{}\"", place.routes()));
        let routes = routes.collect::<Vec<_>>().join(", ");
        let start = places.into_iter().enumerate().map(|(index, place)| {
            let settings = settings(&place, index + 1, &routes);
            NatsServer::begin_at(place, &settings)
        });
        let cluster = NatsCluster { servers: start.collect::<Option<_>>()? };
        cluster.wait_until_whole().await;
        Some(cluster)
    }

    /// Waits until all are healthy and their leader hears all the others.
    pub async fn wait_until_whole(&self) {
        for server in &self.servers {
            server.wait_until_healthy().await;
        }
        self.servers[0].look("a whole cluster", || self.is_whole().then_some(())).await;
    }

    /// Whether the leader of the directory hears all; who does not lead hears the leader alone.
    fn is_whole(&self) -> bool {
        self.servers.iter().any(|server| {
            let state = server.monitor("/jsz").unwrap_or_default();
            let others =
                state["meta_cluster"]["replicas"].as_array().map_or(&[][..], Vec::as_slice);
            let heard = others.iter().filter(|it| it["current"] == true && it["offline"] != true);
            heard.count() + 1 == self.servers.len()
        })
    }

    /// The addresses of all, for a setting that takes several.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The same, separated by commas.
    pub fn url(&self) -> String {
        self.urls().join(",")
    }

    pub fn server(&mut self, index: usize) -> &mut NatsServer {
        &mut self.servers[index]
    }

    /// Ends one by SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].kill();
    }

    /// Ends all by SIGKILL.
    pub fn kill_all(&mut self) {
        self.servers.iter_mut().for_each(NatsServer::kill);
    }

    /// Starts one again.
    pub async fn restart(&mut self, index: usize) {
        self.servers[index].begin_again();
        self.wait_until_whole().await;
    }

    /// Starts all again.
    pub async fn restart_all(&mut self) {
        self.servers.iter_mut().for_each(NatsServer::begin_again);
        self.wait_until_whole().await;
    }
}
