//! What a parent leaves to the programs that it starts: signals, a shell, a home.

use crate::cli::{code_and_text, stayd, verb};
use crate::support::{DEADLINE, Server, Terminal};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program, started by one who has left its signals in this state (env(1)).
fn left_with(state: &Path, signals: &[&str], args: &[&str]) -> Child {
    Command::new("env")
        .args(signals)
        .arg(env!("CARGO_BIN_EXE_stayd"))
        .args(args)
        .arg("--state-dir")
        .arg(state)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("env runs")
}

fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("it runs");
}

fn ended(what: &str, child: &mut Child) -> ExitStatus {
    poll(what, || child.try_wait().expect("wait"))
}

/// A word of `/proc/PID/status`, as a number: a set of signals.
fn set(pid: u32, word: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(word)).expect("that word");
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a set")
}

fn has(set: u64, signal: Signal) -> bool {
    set >> (signal as i32 - 1) & 1 == 1
}

/// Serves in a state directory; dropped, it goes with its holder.
struct Serving {
    server: Child,
    dir: tempfile::TempDir,
}

impl Serving {
    fn start(signals: &[&str]) -> Serving {
        let dir = Server::dir();
        let server = Serving::in_dir(dir.path(), signals);
        Serving { server, dir }
    }

    fn in_dir(dir: &Path, signals: &[&str]) -> Child {
        let listen = dir.join("listen");
        let _ = std::fs::remove_file(&listen);
        let server = left_with(dir, signals, &["serve", "--listen", "127.0.0.1:0"]);
        poll("listening", || std::fs::read_to_string(&listen).ok().filter(|l| l.ends_with('\n')));
        server
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
        command.arg("--state-dir").arg(self.dir.path()).args(args).stdin(Stdio::null());
        code_and_text(&command.output().expect("stayd runs"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.run(&["stop", "--all"]);
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_server_stops_however_its_signals_were_left() {
    for signals in ["--block-signal", "--ignore-signal=TERM,USR2", "--block-signal=TERM,INT,USR2"] {
        for stop in [Signal::SIGTERM, Signal::SIGUSR2] {
            let mut serving = Serving::start(&[signals]);
            signal(&serving.server, stop);
            let status = ended(&format!("{signals}, {stop}"), &mut serving.server);
            assert_eq!(status.code(), Some(0), "{signals}, {stop}");
        }
    }
    let mut serving = Serving::start(&["--block-signal=INT"]);
    signal(&serving.server, Signal::SIGINT);
    assert_eq!(ended("blocked SIGINT", &mut serving.server).code(), Some(0));
}

#[test]
fn what_was_ignored_on_purpose_stays_ignored() {
    let serving = Serving::start(&["--ignore-signal=HUP,INT"]);
    let ignored = set(serving.server.id(), "SigIgn");
    assert!(has(ignored, Signal::SIGHUP) && has(ignored, Signal::SIGINT), "{ignored:x}");
    assert!(!has(ignored, Signal::SIGTERM));
    for nothing in [Signal::SIGHUP, Signal::SIGINT] {
        signal(&serving.server, nothing);
    }
    assert_eq!(serving.run(&["ls"]).0, Some(0), "it serves on");
}

#[test]
fn sessions_begin_with_all_signals_as_they_should_be() {
    let signals = ["--block-signal", "--ignore-signal=HUP,INT,QUIT,TERM,CHLD,USR1,PIPE,TSTP"];
    let serving = Serving::start(&signals);
    // RUNNING ones are asked from without: a short one may have ended before it is read.
    let (code, text) = serving.run(&["run", "-d", "--json", "--", "sleep", "1000"]);
    assert_eq!(code, Some(0), "{text}");
    let session: Value = serde_json::from_str(&text).expect("JSON");
    let pid = session["pid"].as_u64().expect("pid") as u32;
    for word in ["SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(set(pid, word), 0, "{word}");
    }
}

#[test]
fn a_holder_counts_exits_and_stops_however_its_signals_were_left() {
    for signals in ["--ignore-signal=CHLD", "--ignore-signal=CHLD,TERM", "--block-signal"] {
        let dir = Server::dir();
        let mut holder = left_with(dir.path(), &[signals], &["hold"]);
        poll("the holder", || dir.path().join("holder.sock").exists().then_some(()));
        let serving = Serving { server: Serving::in_dir(dir.path(), &[]), dir };
        let (code, text) = serving.run(&["run", "-d", "--", "sh", "-c", "sleep 0.1; exit 7"]);
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = serving.run(&["wait", text.trim(), "--exit", "--timeout", "20"]);
        assert_eq!(code, Some(7), "{signals}: {text}");
        // The server would start another one.
        assert_eq!(serving.run(&["stop"]).0, Some(0));
        signal(&holder, Signal::SIGTERM);
        assert_eq!(ended(signals, &mut holder).code(), Some(0), "{signals}");
    }
}

#[actix_web::test]
async fn a_verb_can_be_interrupted_however_its_signals_were_left() {
    let server = Server::start().await;
    server.api().create(json!({ "name": "web", "profile": "bash" })).await;
    let wait = ["wait", "web", "--text", "never there"];
    for (end, verb) in [
        (Signal::SIGTERM, &wait[..]),
        (Signal::SIGINT, &wait[..]),
        (Signal::SIGTERM, &["attach", "web"][..]),
        (Signal::SIGUSR1, &["attach", "web"][..]),
    ] {
        let mut child = left_with(&server.state(), &["--block-signal"], verb);
        let pid = child.id();
        // The mask is cleared before anything else is done; until then it is env(1).
        poll("an open mask", || (set(pid, "SigBlk") == 0).then_some(()));
        signal(&child, end);
        let status = ended(&format!("{end}, {verb:?}"), &mut child);
        use std::os::unix::process::ExitStatusExt;
        let number = status.signal().or(status.code().map(|code| code - 128));
        assert_eq!(number, Some(end as i32), "{verb:?}: {status:?}");
    }
}

#[actix_web::test]
async fn a_default_session_starts_whatever_shell_and_home_are() {
    for (shell, home) in [
        ("/usr/sbin/nologin", "/nowhere/at/all"),
        ("/bin/false", "/etc/passwd"),
        ("", ""),
        ("bash", "relative"),
        ("/etc/passwd", "/root/nobody/is/here"),
    ] {
        let env = [("SHELL", shell), ("HOME", home)];
        let env: Vec<_> = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut server = Server::begin_in(Server::dir(), env.clone());
        for name in ["SHELL", "HOME"] {
            let is_it = |line: &Value| {
                line["level"] == "warning"
                    && line["why"].as_str().is_some_and(|why| why.contains(name))
            };
            server.wait_for_log(name, is_it).await;
        }
        server.wait_until_listening().await;
        let session = server.api().create(json!({ "name": "web" })).await;
        let (command, cwd) = (&session["command"][0], session["cwd"].as_str().expect("cwd"));
        let program = command.as_str().expect("a program");
        assert!(Path::new(program).is_absolute() && Path::new(cwd).is_dir(), "{session}");
        let (mut terminal, _) = Terminal::attach(&server, "web", "").await;
        terminal.type_in("echo \"<$SHELL $HOME $PWD>\"\n").await;
        terminal.wait_for(&format!("<{program} {cwd} {cwd}>")).await;

        let doctor = stayd(&server, &["doctor"]).envs(env).output().expect("stayd runs");
        let (code, text) = code_and_text(&doctor);
        let warned = text.lines().filter(|line| line.starts_with("warning  shell and home"));
        assert_eq!((code, warned.count()), (Some(0), 2), "{text}");
    }
    let server = Server::start().await;
    let (_, text) = code_and_text(&verb(&server, &["doctor"]));
    assert!(text.contains("shell and home"), "{text}");
}

#[actix_web::test]
async fn a_login_shell_is_one_word_in_a_profile() {
    let mut server = Server::start().await;
    server.kill();
    let settings = "[profile.shell]\ncommand = ['/bin/bash', '--noprofile']\nlogin = true\n\
                    [profile.plain]\ncommand = ['bash', '--norc']\n";
    std::fs::write(server.state().join("../stayd.toml"), settings).expect("written");
    server.restart().await;
    let ask = "echo \"<$0 $(shopt -q login_shell && echo login)>\"\n";
    for (profile, told) in [("shell", "<-bash login>"), ("plain", "<bash >")] {
        let body = json!({ "name": profile, "profile": profile });
        let session = server.api().create(body).await;
        assert!(!session["command"].to_string().contains("-bash"), "{session}");
        let (mut terminal, _) = Terminal::attach(&server, profile, "").await;
        terminal.type_in(ask).await;
        terminal.wait_for(told).await;
        terminal.leave().await;
        // Also when it is started again.
        assert_eq!(verb(&server, &["restart", profile]).status.code(), Some(0));
        let (mut terminal, _) = Terminal::attach(&server, profile, "").await;
        terminal.type_in(&format!("clear; {ask}")).await;
        terminal.wait_for("\x1b[").await;
        terminal.wait_for(told).await;
    }
    let (_, shown) = code_and_text(&verb(&server, &["profiles", "--json"]));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let logins = shown["profiles"].as_array().expect("profiles").iter();
    let logins: Vec<_> = logins.map(|p| (p["name"].as_str(), p["login"] == true)).collect();
    let expected = [("claude", false), ("plain", false), ("shell", true)];
    assert_eq!(logins, expected.map(|(name, login)| (Some(name), login)));
}
