//! Sessions in which the agent of `tests/agents` runs, and what it logs of itself.

use crate::support::{Api, Server, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const STAYD: &str = env!("CARGO_BIN_EXE_stayd");
/// How long the agent's prompt waits before it says that it does.
pub(super) const IDLE_S: f64 = 0.5;

/// Who says what the agent does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    /// Its screen alone.
    Rules,
    /// Its hooks alone: it runs under a name for which there are no rules.
    Hooks,
    /// Both.
    Both,
}

impl Mode {
    pub(super) const ALL: [Mode; 3] = [Mode::Rules, Mode::Hooks, Mode::Both];

    /// The name of the program.
    pub(super) fn program(self) -> &'static str {
        if self == Mode::Hooks { "walker" } else { "claude" }
    }
}

/// A server, and files for agents.
pub(super) struct Bench {
    pub(super) server: Server,
    dir: TempDir,
}

/// One session.
pub(super) struct Agent {
    pub(super) api: Api,
    pub(super) id: String,
    pub(super) mode: Mode,
    /// Its shell marks its commands.
    pub(super) marks: bool,
    truth: PathBuf,
}

/// A line of what it logs.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    /// Seconds since 1970.
    pub(super) wall: f64,
    pub(super) state: String,
    pub(super) pid: i32,
}

impl Bench {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let below = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).expect("a directory");
            path
        };
        let bin = below("bin");
        let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/fake-claude");
        for name in ["claude", "walker"] {
            std::os::unix::fs::symlink(agent, bin.join(name)).expect("a link");
        }
        below("bare");
        let mut install = Command::new(STAYD);
        install.args(["integrate", "claude", "--install"]);
        let installed = install.env("CLAUDE_CONFIG_DIR", below("hooked")).output();
        assert!(installed.as_ref().is_ok_and(|output| output.status.success()), "{installed:?}");
        let profile = |name: &str, more: &str| {
            let command = "[\"bash\", \"--norc\", \"--noprofile\", \"-i\"]";
            format!("[profile.{name}]\ncommand = {command}\n{more}\n")
        };
        let settings = profile("plain", "") + &profile("marks", "shell_integration = true");
        let plain = "exec \"$0\" \"$@\"";
        let server = Server::start_by(Server::dir(), &settings, plain).await;
        Bench { server, dir }
    }

    /// A shell in which the agent is about to start; `number`: another one each.
    pub(super) async fn shell(&self, mode: Mode, number: u64, marks: bool) -> Agent {
        let path = |name: &str| self.dir.path().join(name);
        let truth = path(&format!("truth-{number}"));
        std::fs::write(&truth, "").expect("a file");
        let own = std::env::var("PATH").unwrap_or_default();
        let config = path(if mode == Mode::Rules { "bare" } else { "hooked" });
        let env = json!({
            "PATH": format!("{}:{own}", path("bin").display()),
            "FAKE_TRUTH": truth,
            "FAKE_STYLE": if number % 4 < 2 { "rule" } else { "box" },
            "FAKE_TORN": if number.is_multiple_of(5) { "1" } else { "0" },
            "FAKE_IDLE_S": IDLE_S.to_string(),
            "CLAUDE_CONFIG_DIR": config,
        });
        let profile = if marks { "marks" } else { "plain" };
        let body = json!({ "profile": profile, "env": env, "cols": 100, "rows": 30 });
        let api = self.server.api();
        let id = api.create(body).await["id"].as_str().expect("an id").to_owned();
        Agent { api, id, mode, marks, truth }
    }

    /// An agent at its prompt.
    pub(super) async fn agent(&self, mode: Mode, number: u64, marks: bool) -> Agent {
        let agent = self.shell(mode, number, marks).await;
        agent.starts().await;
        agent
    }

    /// Done once none of them has printed anything for a second.
    pub(super) async fn quiet(&self, agents: &[Agent]) {
        for agent in agents {
            let path = format!("/api/v1/sessions/{}/screen?wait=quiet:1000", agent.id);
            agent.api.get(&path).await.status.is_success().then_some(()).expect("quiet");
        }
    }
}

impl Agent {
    /// Starts the agent in the shell; done once it shows its prompt.
    pub(super) async fn starts(&self) {
        let known = self.truth().len();
        self.types(&format!("{}\r", self.mode.program())).await;
        self.truth_becomes(known, &["idle"]).await;
    }

    pub(super) async fn types(&self, keys: &str) {
        let path = format!("/api/v1/sessions/{}/input", self.id);
        self.api.post(&path, keys.as_bytes()).await.ok(200);
    }

    /// All that it has logged.
    pub(super) fn truth(&self) -> Vec<Truth> {
        let text = std::fs::read_to_string(&self.truth).expect("the log");
        let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let parse = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            Truth {
                wall: line["wall"].as_f64().expect("a time"),
                state: line["state"].as_str().expect("a state").to_owned(),
                pid: line["pid"].as_i64().expect("a pid") as i32,
            }
        };
        complete.map(parse).collect()
    }

    /// Done once it has logged one of these states after so many lines.
    pub(super) async fn truth_becomes(&self, known: usize, states: &[&str]) -> Truth {
        let what = format!("{}: {states:?} after {known} lines of {:?}", self.id, self.truth);
        soon(&what, async {
            loop {
                let all = self.truth();
                let mut new = all.into_iter().skip(known);
                if let Some(truth) = new.find(|truth| states.contains(&truth.state.as_str())) {
                    return truth;
                }
                actix_web::rt::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// What the server says.
    pub(super) async fn state(&self) -> String {
        let attention = self.api.session(&self.id).await["attention"].clone();
        attention["state"].as_str().expect("a state").to_owned()
    }

    /// Waits until the server says one of these states (`a|b`).
    pub(super) async fn settles(&self, states: &str) {
        assert!(self.settles_within(states, 30_000).await, "{states}: {}", self.state().await);
    }

    /// The same; false: it does not within this time.
    pub(super) async fn settles_within(&self, states: &str, timeout_ms: u64) -> bool {
        let states = states.replace('|', "%7C");
        let path = format!("/api/v1/sessions/{}/screen", self.id);
        let path = format!("{path}?wait=state:{states}&timeout_ms={timeout_ms}");
        let status = self.api.get(&path).await.status.as_u16();
        assert!([200, 408].contains(&status), "{status}");
        status == 200
    }

    /// SIGKILL for the agent; its shell goes on.
    pub(super) fn is_killed(&self) {
        let pid = self.truth().last().expect("it runs").pid;
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
    }
}
