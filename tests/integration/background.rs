//! `stayd run` where no server runs.

use crate::cli::code_and_text;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A home without a server. Dropped, whatever was started there goes.
struct Home(TempDir);

impl Home {
    /// With these settings.
    fn new(settings: &str) -> Self {
        let dir = crate::support::Server::dir();
        std::fs::write(dir.path().join("stayd.toml"), settings).expect("settings");
        Home(dir)
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Runs a verb in the home, to which its paths are relative.
    fn stayd(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
        command.args(["--config", "stayd.toml", "--state-dir", "state"]).args(args);
        command.current_dir(self.0.path()).env("HOME", self.0.path()).stdin(Stdio::null());
        code_and_text(&command.output().expect("stayd runs"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.stayd(&["stop", "--all"]);
    }
}

#[test]
fn run_starts_a_server_where_none_runs_and_says_so_once() {
    let home = Home::new("listen = \"127.0.0.1:0\"\n");
    let (code, text) = home.stayd(&["ls"]);
    assert!(code == Some(1) && text.contains("no server answers"), "only run starts one: {text}");

    let (code, text) = home.stayd(&["run", "-d", "-n", "first", "sleep", "1000"]);
    assert_eq!(code, Some(0), "{text}");
    let log = home.state().join("server.log");
    assert!(text.contains("no server was running") && text.contains("server.log"), "{text}");
    assert!(std::fs::read_to_string(&log).expect("a log").contains("listening"));

    // It has neither our terminal nor our group, and goes on for others.
    let pid = std::fs::read_to_string(home.state().join("lock")).expect("a lock");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).expect("a server");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    assert_eq!((fields[3], fields[4]), (pid.trim(), "0"), "its own session, no terminal");
    let (code, text) = home.stayd(&["run", "-d", "-n", "second", "sleep", "1000"]);
    assert!(code == Some(0) && !text.contains("server"), "{text}");
    assert_eq!(home.stayd(&["ls", "-q"]), (Some(0), "second\nfirst\n".into()));

    // A server that is named is the one that is meant.
    let elsewhere = ["run", "-d", "--url", "http://127.0.0.1:1", "--token", "x", "true"];
    let (code, text) = home.stayd(&elsewhere);
    assert!(code == Some(1) && text.contains("no server answers"), "{text}");
}

/// Only one of them holds the lock of the state directory; the servers of the others have ended.
#[test]
fn of_several_at_once_only_the_one_that_started_the_server_says_so() {
    let home = Home::new("listen = \"127.0.0.1:0\"\n");
    let told = std::thread::scope(|scope| {
        let home = &home;
        let run = move || home.stayd(&["run", "-d", "sleep", "1000"]);
        let all = [0; 4].map(|_| scope.spawn(run));
        all.map(|one| one.join().expect("a run"))
    });
    for (code, text) in &told {
        assert_eq!(*code, Some(0), "{text}");
    }
    let who = told.iter().filter(|(_, text)| text.contains("one was started")).count();
    assert_eq!(who, 1, "{told:?}");
    // Nor do the servers of the others wait until that one is stopped.
    let state = home.state().display().to_string();
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let servers = processes.filter_map(|process| {
        let line = std::fs::read_to_string(process.path().join("cmdline")).ok()?;
        let words: Vec<&str> = line.split('\0').collect();
        (words.contains(&"serve") && words.contains(&state.as_str())).then_some(line)
    });
    assert_eq!(servers.count(), 1);
}

#[test]
fn no_server_is_started_for_a_profile_that_it_would_not_know() {
    let home = Home::new("listen = \"127.0.0.1:0\"\n[profile.work]\ncommand = [\"cat\"]\n");
    let (code, text) = home.stayd(&["run", "-d", "--profile", "wrok"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no profile \"wrok\"; there are: ") && text.contains("work"), "{text}");
    assert!(!home.state().join("lock").exists(), "nothing was started: {text}");
    let (code, text) = home.stayd(&["run", "-d", "--profile", "work"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_server_that_cannot_be_started_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let home = Home::new(&format!("listen = \"{address}\"\n"));
    let (code, text) = home.stayd(&["run", "-d", "sleep", "1000"]);
    assert_eq!(code, Some(1));
    let wanted = format!("none could be started: cannot listen on {address}: ");
    assert!(text.contains(&wanted), "{text}");
}

/// Its program would be one of the session's, and end with it.
#[test]
fn inside_a_session_no_server_is_started() {
    let home = Home::new("listen = \"127.0.0.1:0\"\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
    command.arg("--state-dir").arg(home.state()).args(["run", "-d", "true"]);
    command.env("STAYD_SESSION", uuid::Uuid::now_v7().to_string()).stdin(Stdio::null());
    let (code, text) = code_and_text(&command.output().expect("stayd runs"));
    assert!(code == Some(1) && text.contains("no server answers"), "{text}");
    assert!(!home.state().exists());
}
