//! `stayd serve` on a free port, with a state directory of its own.

use super::http::Api;
use super::{DEADLINE, lives, soon};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use rusqlite::OptionalExtension;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A profile of a bare bash, which starts fast and prints nothing of its own.
const SETTINGS: &str = "[profile.bash]\ncommand = [\"bash\", \"--norc\", \"--noprofile\"]\n";

/// A script that runs the tests in the background has left them SIGINT and SIGQUIT ignored,
/// which all processes that they start would inherit, and heed.
fn plain_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for number in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
            // SAFETY: the default action is no handler of ours.
            #[allow(unsafe_code)]
            unsafe { signal(number, SigHandler::SigDfl) }.expect("a signal's default action");
        }
    });
}

/// A running server. Dropped, it goes, with its holder and all sessions.
pub struct Server {
    child: Child,
    log: UnboundedReceiver<Value>,
    dir: TempDir,
    address: String,
    flags: Vec<String>,
    /// More environment for the next start.
    pub env: Vec<(String, String)>,
    log_level: LogLevel,
}

/// What a server logs.
#[derive(Clone, Copy, PartialEq)]
enum LogLevel {
    /// Everything, shown by the test runner if the test fails.
    Debug,
    /// What it logs by default, shown nowhere.
    Info,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more flags of `stayd serve`.
    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_logging(LogLevel::Debug, flags).await
    }

    /// As it runs in earnest, for benchmarks.
    pub async fn start_quiet() -> Self {
        Self::start_logging(LogLevel::Info, &[]).await
    }

    /// The same with these settings.
    pub async fn start_quiet_by(settings: &str) -> Self {
        let mut server =
            Self::begin_by(Self::dir(), LogLevel::Info, &[], Vec::new(), settings, None);
        server.wait_until_listening().await;
        server
    }

    async fn start_logging(log_level: LogLevel, flags: &[&str]) -> Self {
        let mut server = Self::begin(Self::dir(), log_level, flags, Vec::new());
        server.wait_until_listening().await;
        server
    }

    /// With so many files that it may open.
    pub async fn start_limited(open_files: u64) -> Self {
        let script = format!("ulimit -n {open_files}; exec \"$0\" \"$@\"");
        let mut server =
            Self::begin_by(Self::dir(), LogLevel::Debug, &[], Vec::new(), SETTINGS, Some(&script));
        server.wait_until_listening().await;
        server
    }

    /// Started by a shell script, which executes its arguments in the end, with these settings.
    pub async fn start_by(dir: TempDir, settings: &str, script: &str) -> Self {
        let (env, script) = (Vec::new(), Some(script));
        let mut server = Self::begin_by(dir, LogLevel::Debug, &[], env, settings, script);
        server.wait_until_listening().await;
        server
    }

    /// A directory for [`Server::start_in`]; the server's state will be in its `state`.
    pub fn dir() -> TempDir {
        tempfile::Builder::new().prefix("stayd").tempdir().expect("state directory")
    }

    /// With more environment, in a directory that may hold something already.
    pub async fn start_in(dir: TempDir, env: Vec<(String, String)>) -> Self {
        let mut server = Self::begin_in(dir, env);
        server.wait_until_listening().await;
        server
    }

    /// The same without waiting for anything.
    pub fn begin_in(dir: TempDir, env: Vec<(String, String)>) -> Self {
        Self::begin(dir, LogLevel::Debug, &[], env)
    }

    fn begin(
        dir: TempDir,
        log_level: LogLevel,
        flags: &[&str],
        env: Vec<(String, String)>,
    ) -> Self {
        Self::begin_by(dir, log_level, flags, env, SETTINGS, None)
    }

    fn begin_by(
        dir: TempDir,
        log_level: LogLevel,
        flags: &[&str],
        env: Vec<(String, String)>,
        settings: &str,
        script: Option<&str>,
    ) -> Self {
        plain_signals();
        std::fs::write(dir.path().join("stayd.toml"), settings).expect("settings");
        let token = dir.path().join("token");
        if !token.exists() {
            std::fs::write(token, uuid::Uuid::now_v7().simple().to_string()).expect("token");
        }
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let mut command = match script {
            None => Command::new(env!("CARGO_BIN_EXE_stayd")),
            Some(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", script]);
                shell.arg(env!("CARGO_BIN_EXE_stayd"));
                shell
            }
        };
        let (child, log) = spawn(&mut command, dir.path(), "127.0.0.1:0", log_level, &flags, &env);
        Server { child, log, dir, address: String::new(), flags, env, log_level }
    }

    /// Whether it listens; false if it ends before.
    pub async fn listens(&mut self) -> bool {
        let listening = soon("listening, or its end", async {
            while let Some(line) = self.log.recv().await {
                if line["msg"] == "listening" {
                    return Some(line);
                }
            }
            None
        });
        let Some(line) = listening.await else { return false };
        self.address = first(&line);
        true
    }

    /// Done once the server has closed its log: it has ended.
    pub async fn ended(&mut self) {
        while self.log.recv().await.is_some() {}
    }

    pub async fn wait_until_listening(&mut self) {
        let line = self.wait_for_log("listening", |line| line["msg"] == "listening").await;
        self.address = first(&line);
    }

    /// The next log line that fits, with those before it thrown away.
    pub async fn wait_for_log(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let found = soon(what, async {
            while let Some(line) = self.log.recv().await {
                if fits(&line) {
                    return Some(line);
                }
            }
            None
        });
        found.await.unwrap_or_else(|| panic!("the server ended before it logged: {what}"))
    }

    /// The next log line; `None`: the server has ended.
    pub async fn next_log(&mut self) -> Option<Value> {
        soon("a log line, or the end", self.log.recv()).await
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Resident memory of the server, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB")
    }

    pub fn holder_pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.state().join("holder.pid")).expect("holder.pid");
        text.trim().parse().expect("a pid")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("token")).expect("token");
        text.trim().to_owned()
    }

    pub fn api(&self) -> Api {
        Api::new(&self.address, &self.token())
    }

    /// A connection of our own to its database.
    pub fn db(&self) -> rusqlite::Connection {
        let db = rusqlite::Connection::open(self.state().join("stayd.db")).expect("database");
        db.busy_timeout(DEADLINE).expect("timeout");
        db
    }

    /// Connections to it that stand.
    pub fn established(&self) -> usize {
        self.send_queues().iter().filter(|(state, _)| state == "01").count()
    }

    /// The state of each connection to it and the bytes that it has sent and the peer's kernel
    /// has not confirmed (/proc/net/tcp); without those that wait for their port to be free.
    pub fn send_queues(&self) -> Vec<(String, u64)> {
        let port = self.address.rsplit_once(':').expect("a port").1.parse::<u16>().expect("port");
        let here = format!("0100007F:{port:04X}");
        let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
        let one = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, queues, ..] = words[..] else { return None };
            let (sent, _) = queues.split_once(':')?;
            // TIME_WAIT and LISTEN.
            let counts = local == here && !["06", "0A"].contains(&state);
            counts.then(|| (state.to_owned(), u64::from_str_radix(sent, 16).expect("bytes")))
        };
        table.lines().filter_map(one).collect()
    }

    pub fn guardian_pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.state().join("guardian.pid")).expect("guardian");
        text.trim().parse().expect("a pid")
    }

    /// SIGKILL for holder and guardian at the same instant: their sessions are nobody's then.
    pub fn kill_holder(&self) {
        let (guardian, holder) = (self.guardian_pid(), self.holder_pid());
        // So that it does not replace the holder in between.
        kill(Pid::from_raw(guardian), Signal::SIGSTOP).expect("SIGSTOP");
        for pid in [holder, guardian] {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("SIGKILL");
        }
    }

    /// One value of the database, as text, read by a connection of our own.
    pub fn sql(&self, query: &str) -> Option<String> {
        self.row(query).unwrap_or_else(|| panic!("{query}: no row"))
    }

    /// The same; `None`: there is no such row.
    fn row(&self, query: &str) -> Option<Option<String>> {
        let db = self.db();
        let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        Some(match db.query_row(query, [], value).optional().expect(query)? {
            rusqlite::types::Value::Null => None,
            rusqlite::types::Value::Integer(number) => Some(number.to_string()),
            rusqlite::types::Value::Text(text) => Some(text),
            other => panic!("{query}: {other:?}"),
        })
    }

    /// Waits until a value of the database is this one: rows are written behind.
    pub async fn wait_for_sql(&self, query: &str, value: &str) {
        soon(query, async {
            while self.row(query).flatten().as_deref() != Some(value) {
                actix_web::rt::task::yield_now().await;
            }
        })
        .await;
    }

    /// SIGKILL, and a new server on the same port and state directory.
    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.restart().await;
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("wait");
    }

    pub async fn restart(&mut self) {
        self.begin_restart();
        self.wait_until_listening().await;
    }

    /// Starts one again that never came to listen.
    pub async fn restart_anywhere(&mut self) {
        self.address = "127.0.0.1:0".to_owned();
        self.restart().await;
    }

    /// Starts it again, and does not wait for anything.
    pub fn begin_restart(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
        let (child, log) = spawn(
            &mut command,
            self.dir.path(),
            &self.address,
            self.log_level,
            &self.flags,
            &self.env,
        );
        (self.child, self.log) = (child, log);
    }

    /// The exit status of a server that has been told to stop.
    pub fn stop_waiting(&mut self) -> ExitStatus {
        wait(&mut self.child).expect("the server stops")
    }
}

fn spawn(
    command: &mut Command,
    dir: &Path,
    listen: &str,
    log_level: LogLevel,
    flags: &[String],
    env: &[(String, String)],
) -> (Child, UnboundedReceiver<Value>) {
    let level = match log_level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
    };
    let mut child = command
        .arg("serve")
        .arg("--admin-token-file")
        .arg(dir.join("token"))
        .args(["--listen", listen, "--log-format", "json", "--log-level", level])
        .arg("--state-dir")
        .arg(dir.join("state"))
        .arg("--config")
        .arg(dir.join("stayd.toml"))
        .args(flags)
        .env("HOME", dir)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let stderr = child.stderr.take().expect("piped");
    let (sender, log) = unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if log_level == LogLevel::Debug {
                eprintln!("stayd: {line}");
            }
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            let _ = sender.send(line);
        }
    });
    (child, log)
}

/// Of the addresses: `127.0.0.1`, as it was told to.
fn first(listening: &Value) -> String {
    let all = listening["addresses"].as_str().expect("addresses");
    all.split(' ').next().expect("one").to_owned()
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        if let Some(status) = child.try_wait().expect("wait") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let Ok(text) = std::fs::read_to_string(self.state().join("guardian.pid")) else { return };
        let Ok(pid) = text.trim().parse() else { return };
        // It has the holder end every session's tree, and ends last. It is no child of ours.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let start = Instant::now();
        while lives(pid) && start.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
