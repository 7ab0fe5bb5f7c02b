//! The command line as its users meet it: real processes, and a PTY for their terminal.

use crate::support::{DEADLINE, Server, lives, soon};
use awc::http::Method;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{Pid, read, write};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The title comes back last of all when the terminal is given back.
const GIVEN_BACK: &[u8] = b"\x1b[23;0t";

/// The program, told where the server is.
pub(crate) fn stayd(server: &Server, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
    command.arg("--state-dir").arg(server.state()).args(args).stdin(Stdio::null());
    command
}

/// Runs a verb without a terminal.
pub(crate) fn verb(server: &Server, args: &[&str]) -> Output {
    stayd(server, args).output().expect("stayd runs")
}

/// Its exit code, and what it printed.
pub(crate) fn code_and_text(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The program and the state directory.
fn stayd_on(server: &Server) -> Vec<OsString> {
    let program = env!("CARGO_BIN_EXE_stayd");
    vec![program.into(), "--state-dir".into(), server.state().into()]
}

/// A verb on a terminal of 100 columns and 30 rows.
pub(crate) struct OnTerminal {
    child: Child,
    master: OwnedFd,
    slave: OwnedFd,
    before: Termios,
    /// What the terminal was sent, and has not been waited for.
    shown: Vec<u8>,
    /// All that it was sent.
    all: Vec<u8>,
}

impl OnTerminal {
    pub(crate) fn start(server: &Server, args: &[&str]) -> Self {
        OnTerminal::start_in(server, args, [])
    }

    /// With more in its environment.
    pub(crate) fn start_in(
        server: &Server,
        args: &[&str],
        environment: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut argv = stayd_on(server);
        argv.extend(args.iter().map(OsString::from));
        OnTerminal::run(&argv, environment)
    }

    /// A script of sh(1), in which `stayd` speaks to this server.
    pub(crate) fn start_script(server: &Server, script: &str) -> Self {
        let script = format!("stayd() {{ \"$0\" \"$@\"; }}; {script}");
        let mut argv: Vec<OsString> = ["sh", "-c", &script].map(OsString::from).into();
        argv.push(stayd_on(server).swap_remove(0));
        OnTerminal::run(&argv, [("STAYD_STATE_DIR", server.state().display().to_string())])
    }

    fn run(
        argv: &[OsString],
        environment: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a PTY");
        let before = tcgetattr(&pty.slave).expect("termios");
        let end = || Stdio::from(pty.slave.try_clone().expect("dup"));
        // setsid(1) makes the PTY the controlling terminal, and execs in the same process.
        let child = Command::new("setsid")
            .arg("--ctty")
            .args(argv)
            .env("TERM", "xterm-256color")
            .envs(environment)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("stayd starts");
        OnTerminal {
            child,
            master: pty.master,
            slave: pty.slave,
            before,
            shown: Vec::new(),
            all: Vec::new(),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// All that the terminal has been sent so far, with what is there by now.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        while self.look(PollTimeout::ZERO) {}
        self.all.clone()
    }

    /// The line, for others to change.
    pub(crate) fn line(&self) -> OwnedFd {
        self.slave.try_clone().expect("dup")
    }

    /// Whether the terminal's settings are those from before.
    pub(crate) fn is_as_before(&self) -> bool {
        tcgetattr(&self.slave).expect("termios") == self.before
    }

    pub(crate) fn type_in(&self, keys: &[u8]) {
        assert_eq!(write(&self.master, keys), Ok(keys.len()));
    }

    /// Takes what comes next; whether anything came in time.
    fn look(&mut self, limit: PollTimeout) -> bool {
        let mut master = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut master, limit).expect("poll") == 0 {
            return false;
        }
        let mut buffer = [0; 16 << 10];
        let n = read(&self.master, &mut buffer).expect("read");
        self.shown.extend_from_slice(&buffer[..n]);
        self.all.extend_from_slice(&buffer[..n]);
        n > 0
    }

    /// Reads until the terminal has been sent this, after everything waited for before.
    pub(crate) fn wait_for(&mut self, text: &[u8]) {
        let start = Instant::now();
        loop {
            if let Some(at) = self.shown.windows(text.len()).position(|part| part == text) {
                self.shown.drain(..at + text.len());
                return;
            }
            let came = self.look(PollTimeout::from(100_u8));
            let shown = String::from_utf8_lossy(&self.shown);
            assert!(came || start.elapsed() < DEADLINE, "no {} in {shown}", text.escape_ascii());
        }
    }

    /// Waits for the end of a verb that does not take the terminal over: its exit code.
    pub(crate) fn status(mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            self.look(PollTimeout::from(20_u8));
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            assert!(start.elapsed() < DEADLINE, "still running");
        }
    }

    /// Waits for the end: the exit code, with the terminal given back as it was.
    pub(crate) fn end(self) -> Option<i32> {
        self.end_with_bytes().0
    }

    /// The same, and all that the terminal was sent.
    pub(crate) fn end_with_bytes(mut self) -> (Option<i32>, Vec<u8>) {
        let start = Instant::now();
        let status = loop {
            self.look(PollTimeout::from(20_u8));
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            let shown = String::from_utf8_lossy(&self.shown);
            assert!(start.elapsed() < DEADLINE, "still running: {shown}");
        };
        while self.look(PollTimeout::ZERO) {}
        assert_eq!(tcgetattr(&self.slave).expect("termios"), self.before);
        let given_back = self.shown.windows(GIVEN_BACK.len()).any(|part| part == GIVEN_BACK);
        assert!(given_back, "{}", String::from_utf8_lossy(&self.shown));
        (status.code(), std::mem::take(&mut self.all))
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn bash(server: &Server, name: &str) -> Value {
    server.api().create(json!({ "name": name, "profile": "bash" })).await
}

#[actix_web::test]
async fn attach_types_shows_follows_the_size_and_detaches() {
    let server = Server::start().await;
    bash(&server, "web").await;
    let mut terminal = OnTerminal::start(&server, &["attach", "web"]);
    terminal.type_in(b"stty size; echo $((6*7))-answer\r");
    terminal.wait_for(b"30 100");
    terminal.wait_for(b"42-answer");
    let raw = tcgetattr(&terminal.slave).expect("termios");
    assert!(!raw.local_flags.contains(LocalFlags::ICANON), "raw while attached");

    resize(&terminal.master, 31, 101);
    terminal
        .type_in(b"until [ \"$(stty size)\" = '31 101' ]; do sleep .01; done; echo re\"\"sized\r");
    terminal.wait_for(b"resized");

    // Ctrl-\ twice sends one, which ends what runs there.
    terminal.type_in(b"cat <(echo re\"\"ady) -\r");
    terminal.wait_for(b"ready");
    terminal.type_in(b"\x1c\x1c");
    terminal.wait_for(b"Quit");
    terminal.type_in(b"\x1cd");
    assert_eq!(terminal.end(), Some(0));
}

#[actix_web::test]
async fn who_leaves_is_told_until_when_the_session_stays_and_how_to_keep_it() {
    let server = Server::start().await;
    let api = server.api();
    bash(&server, "web").await;
    let leave = |said: &str| {
        let mut terminal = OnTerminal::start(&server, &["attach", "web"]);
        terminal.type_in(b"echo $((6*7))-answer\r");
        terminal.wait_for(b"42-answer");
        terminal.type_in(b"\x1cd");
        let (code, shown) = terminal.end_with_bytes();
        let shown = String::from_utf8_lossy(&shown);
        assert!(code == Some(0) && shown.contains(said), "{shown}");
    };
    let run = |args: &[&str]| assert_eq!(verb(&server, args).status.code(), Some(0), "{args:?}");
    leave(" unless somebody attaches; keep it: stayd keep web]");
    run(&["keep", "web"]);
    let kept = api.session("web").await;
    assert_eq!((&kept["idle_timeout_s"], &kept["destroy_at"]), (&Value::Null, &Value::Null));
    leave("[detached from web; it stays until its program ends or somebody ends it]");
    run(&["unkeep", "web", "--after", "8h"]);
    assert_eq!(api.session("web").await["idle_timeout_s"], 8 * 3600);
    run(&["keep", "web"]);
    run(&["unkeep", "web"]);
    let own = api.session("web").await;
    assert_eq!(own["idle_timeout_s"], 8 * 3600, "what it had before");
    assert!(own["destroy_at"].is_string());

    let mut terminal = OnTerminal::start(&server, &["run", "-d", "--name", "a b", "sleep", "1000"]);
    terminal.wait_for(b"it ends 30m after the last client has left; keep it: stayd keep 'a b']");
}

#[actix_web::test]
async fn a_kept_session_gets_its_own_timeout_back_also_from_a_server_that_was_restarted() {
    let mut server = Server::start().await;
    let run = |server: &Server, args: &[&str]| {
        assert_eq!(verb(server, args).status.code(), Some(0), "{args:?}");
    };
    let timeout = |session: &Value| session["idle_timeout_s"].clone();
    let start = ["run", "-d", "--name", "web", "--idle-timeout", "5m", "sleep", "1000"];
    run(&server, &start);
    run(&server, &["keep", "web"]);
    run(&server, &["keep", "web"]);
    let kept = server.api().session("web").await;
    assert_eq!((timeout(&kept), &kept["idle_timeout_before_s"]), (Value::Null, &json!(300)));
    server.kill();
    server.restart().await;
    run(&server, &["unkeep", "web"]);
    let own = server.api().session("web").await;
    assert_eq!((timeout(&own), &own["idle_timeout_before_s"]), (json!(300), &Value::Null));
    run(&server, &["unkeep", "web"]);
    assert_eq!(timeout(&server.api().session("web").await), 300, "it was not kept");
    // Kept from the start, it has nothing to get back.
    let start = ["run", "-d", "--name", "kept", "--idle-timeout", "never", "sleep", "1000"];
    run(&server, &start);
    run(&server, &["unkeep", "kept"]);
    assert_eq!(timeout(&server.api().session("kept").await), 1800, "as the settings have it");
}

/// The variable says it already; nobody has to say it again.
#[test]
fn a_usage_line_does_not_demand_what_variables_say() {
    let mut info = Command::new(env!("CARGO_BIN_EXE_stayd"));
    let variables = [("STAYD_STATE_DIR", "/x"), ("STAYD_URL", "http://x"), ("STAYD_TOKEN", "x")];
    let told = info.arg("info").envs(variables).output().expect("stayd runs");
    let (code, text) = code_and_text(&told);
    assert_eq!(code, Some(2));
    assert!(text.contains("Usage: stayd info <SESSION>\n"), "{text}");
}

#[actix_web::test]
async fn attach_without_a_name_takes_the_session_that_was_used_last() {
    let server = Server::start().await;
    let api = server.api();
    let (code, text) = code_and_text(&verb(&server, &["attach"]));
    assert!(code == Some(3) && text.contains("no session runs; `stayd run` starts one"), "{text}");
    for name in ["one", "two"] {
        bash(&server, name).await;
    }
    for name in ["two", "one"] {
        let mut terminal = OnTerminal::start(&server, &["attach", name]);
        terminal.type_in(format!("PS1=$((6*7))'-{name}> '\r").as_bytes());
        terminal.wait_for(format!("42-{name}> ").as_bytes());
        terminal.type_in(b"\x1cd");
        assert_eq!(terminal.end(), Some(0));
        let mut last = OnTerminal::start(&server, &["attach"]);
        last.wait_for(format!("42-{name}> ").as_bytes());
        last.type_in(b"\x1cd");
        assert_eq!(last.end(), Some(0));
    }
    // What prints meanwhile is not what somebody has used.
    let noisy = ["run", "-d", "-n", "noisy", "sh", "-c", "while :; do echo x; sleep 0.1; done"];
    assert_eq!(verb(&server, &noisy).status.code(), Some(0));
    let mut one = OnTerminal::start(&server, &["attach", "one"]);
    one.wait_for(b"42-one> ");
    one.type_in(b"\x1cd");
    assert_eq!(one.end(), Some(0));
    let left = api.session("one").await["last_activity_at"].clone();
    crate::support::soon("later output elsewhere", async {
        while api.session("noisy").await["last_activity_at"].as_str() <= left.as_str() {}
    })
    .await;
    let mut last = OnTerminal::start(&server, &["attach"]);
    last.wait_for(b"42-one> ");
    last.type_in(b"\x1cd");
    assert_eq!(last.end(), Some(0));
    // A share link opens its session, whatever was used last.
    let two = api.session("two").await["id"].as_str().expect("id").to_owned();
    let link = verb(&server, &["share", &two, "--write"]).stdout;
    let link = String::from_utf8(link).expect("UTF-8");
    let mut shared = OnTerminal::start(&server, &["attach", "--url", link.trim()]);
    shared.wait_for(b"42-two> ");
    shared.type_in(b"\x1cd");
    assert_eq!(shared.end(), Some(0));
}

#[actix_web::test]
async fn other_keys_detach_where_the_user_wants_them() {
    let server = Server::start().await;
    bash(&server, "web").await;
    let mut terminal = OnTerminal::start(&server, &["attach", "web", "--detach-keys", "C-a d"]);
    terminal.type_in(b"cat <(echo re\"\"ady) -\r");
    terminal.wait_for(b"ready");
    terminal.type_in(b"\x1cd");
    terminal.wait_for(b"Quit");
    terminal.type_in(b"\x01d");
    assert_eq!(terminal.end(), Some(0));
    let refused = verb(&server, &["run", "--detach-keys", "d", "true"]);
    assert_eq!(refused.status.code(), Some(2));
}

/// TIOCSWINSZ, through stty(1) on the terminal itself.
fn resize(master: &OwnedFd, rows: u16, cols: u16) {
    let (rows, cols) = (rows.to_string(), cols.to_string());
    let status = Command::new("stty")
        .args(["rows", &rows, "cols", &cols])
        .stdin(master.try_clone().expect("dup"))
        .status();
    assert!(status.expect("stty").success());
}

#[actix_web::test]
async fn run_exits_with_the_code_of_its_session() {
    let server = Server::start().await;
    for (script, code) in [("exit 0", 0), ("echo out; exit 7", 7), ("kill -TERM $$", 128 + 15)] {
        let terminal = OnTerminal::start(&server, &["run", "--", "bash", "-c", script]);
        assert_eq!(terminal.end(), Some(code), "{script}");
    }
    let mut terminal = OnTerminal::start(&server, &["run", "--", "bash", "--norc"]);
    terminal.type_in(b"echo $STAYD_SESSION | wc -c\r");
    terminal.wait_for(b"37");
    terminal.type_in(b"exit 3\r");
    assert_eq!(terminal.end(), Some(3));
}

#[actix_web::test]
async fn what_is_typed_while_the_server_is_dead_arrives_once() {
    let mut server = Server::start().await;
    bash(&server, "web").await;
    let terminal = OnTerminal::start(&server, &["attach", "web"]);
    outlives(&mut server, terminal).await;
}

/// What is typed into an attached bash while its server is dead arrives once.
pub(crate) async fn outlives(server: &mut Server, mut terminal: OnTerminal) {
    terminal.type_in(b"echo $((1+1))-before; n=0\r");
    terminal.wait_for(b"2-before");
    server.kill();
    terminal.type_in(b"n=$((n+1)); echo $n-after\r");
    server.restart().await;
    terminal.wait_for(b"1-after");
    terminal.type_in(b"echo $n-still\r");
    terminal.wait_for(b"1-still");
    terminal.type_in(b"\x1cd");
    assert_eq!(terminal.end(), Some(0));
}

#[actix_web::test]
async fn signals_give_the_terminal_back() {
    let server = Server::start().await;
    bash(&server, "web").await;
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let mut terminal = OnTerminal::start(&server, &["attach", "web"]);
        // The alternate screen is left as well.
        terminal.type_in(b"printf '\\033[?1049h%s' al\"\"t; read x\r");
        terminal.wait_for(b"\x1b[?1049halt");
        kill(Pid::from_raw(terminal.child.id() as i32), signal).expect("kill");
        terminal.wait_for(b"\x1b[?1049l");
        assert_eq!(terminal.end(), Some(128 + signal as i32));
        let mut next = OnTerminal::start(&server, &["attach", "web"]);
        next.type_in(b"\rprintf '\\033[?1049l%s' ba\"\"ck\r");
        next.wait_for(b"\x1b[?1049lback");
        next.type_in(b"\x1cd");
        assert_eq!(next.end(), Some(0));
    }
}

#[actix_web::test]
async fn a_kill_ends_an_attachment_and_tells() {
    let server = Server::start().await;
    let id = bash(&server, "web").await["id"].as_str().expect("id").to_owned();
    let mut terminal = OnTerminal::start(&server, &["attach", &id[..30]]);
    terminal.type_in(b"echo $((1+1))-there\r");
    terminal.wait_for(b"2-there");
    assert_eq!(code_and_text(&verb(&server, &["kill", "web"])), (Some(0), String::new()));
    terminal.wait_for(b"was killed");
    assert_eq!(server.api().session(&id).await["end_reason"], "killed");
}

#[actix_web::test]
async fn who_only_looks_types_nothing_and_changes_no_size() {
    let server = Server::start().await;
    bash(&server, "web").await;
    let mut terminal = OnTerminal::start(&server, &["attach", "--read-only", "web"]);
    terminal.wait_for(b"bash-");
    terminal.type_in(b"echo no\"\"thing\r");
    let typed = verb(&server, &["send", "web", "stty size; echo do\"\"ne", "--enter"]);
    assert_eq!(typed.status.code(), Some(0));
    terminal.wait_for(b"24 80");
    terminal.wait_for(b"done");
    let screen = code_and_text(&verb(&server, &["screen", "web"])).1;
    assert!(!screen.contains("no\"\"thing") && !screen.contains("nothing"), "{screen}");
    terminal.type_in(b"\x1cd");
    assert_eq!(terminal.end(), Some(0));
}

#[actix_web::test]
async fn without_a_terminal_attach_is_a_pipe() {
    let server = Server::start().await;
    let script = "read -r line; echo \"got $line\"; exit 5";
    let run = ["run", "-d", "--name", "pipe", "--", "bash", "-c", script];
    let (code, id) = code_and_text(&verb(&server, &run));
    assert_eq!((code, id.trim().len()), (Some(0), 36), "{id}");
    let mut child = stayd(&server, &["attach", "pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let stdin = child.stdin.take().expect("piped");
    write(&stdin, b"this\r").expect("typed");
    drop(stdin);
    let output = child.wait_with_output().expect("wait");
    assert_eq!(output.status.code(), Some(5));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("got this"), "{text}");
    assert!(!text.contains("\x1b[?25h"), "nothing of ours in a pipe: {text}");
}

/// Longer than the 5 s after which the server waits for nobody who acknowledges nothing.
const PAUSE: Duration = Duration::from_secs(7);

#[actix_web::test]
async fn a_pipe_that_nobody_reads_holds_the_program_and_loses_nothing() {
    let server = Server::start().await;
    let last = 600_000;
    let mut child = stayd(&server, &["run", "--name", "held", "seq", "1", &last.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let api = server.api();
    let length = async || match api.get("/api/v1/sessions/held").await {
        reply if reply.status == 200 => reply.json()["offset"].as_u64().unwrap_or(0),
        _ => 0,
    };
    soon("as much output as a client is sent at once", async {
        while length().await < 1 << 20 {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    sleep(PAUSE).await;
    let output = child.stdout.take().expect("piped");
    let mut lines = std::io::BufReader::new(output).lines().map_while(Result::ok);
    let different = (1..=last).find(|number| lines.next() != Some(number.to_string()));
    let rest = lines.next();
    let output = child.wait_with_output().expect("wait");
    let end = code_and_text(&output);
    assert_eq!((different, rest, end), (None, None, (Some(0), String::new())));
}

/// SIGSTOP leaves no time to hold the program, so that output is missed, which is said.
#[actix_web::test]
async fn what_is_missing_in_a_pipe_is_told_and_no_picture_is_in_it() {
    let server = Server::start().await;
    let mut child = stayd(&server, &["run", "--name", "stopped", "seq", "1", "900000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("1"));
    // What has ended is found by its id alone.
    let session = server.api().session("stopped").await;
    let id = session["id"].as_str().expect("id");
    let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
    kill(pid, Signal::SIGSTOP).expect("SIGSTOP");
    soon("the end of a program that waits no longer", async {
        while server.api().session(id).await["status"] == "ACTIVE" {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    kill(pid, Signal::SIGCONT).expect("SIGCONT");
    let lines: Vec<String> = lines.map(|line| line.expect("UTF-8")).collect();
    let pictured = lines.iter().find(|line| line.contains('\x1b'));
    assert!(pictured.is_none(), "{pictured:?}");
    let output = child.wait_with_output().expect("wait");
    let (code, text) = code_and_text(&output);
    assert_eq!(code, Some(0), "{text}");
    assert!(lines.len() < 900_000 && text.contains("bytes of output are missing here"), "{text}");
}

#[actix_web::test]
async fn what_is_piped_in_is_typed_whatever_it_looks_like() {
    let server = Server::start().await;
    let script = "stty raw -echo; echo ready; head -c 60 | od -An -c | tr -d ' \\n'";
    verb(&server, &["run", "-d", "--name", "od", "--", "sh", "-c", script]);
    assert_eq!(verb(&server, &["wait", "od", "--text", "ready"]).status.code(), Some(0));
    let child = stayd(&server, &["attach", "od"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("stayd starts");
    let input = "A\x1b[0nB\x1b]11;rgb:0/0/0\x07C\x1b[?1;2cD\x1b[5;5RE\x1bP1$r0m\x1b\\F";
    let input = format!("{input:.<60}");
    write(child.stdin.as_ref().expect("piped"), input.as_bytes()).expect("typed");
    let output = child.wait_with_output().expect("wait");
    let text = String::from_utf8_lossy(&output.stdout);
    let typed = "A033[0nB033]11;rgb:0/0/0\\aC033[?1;2cD033[5;5RE033P1$r0m033\\F";
    assert!(text.contains(typed), "{text}");
}

#[actix_web::test]
async fn sessions_are_listed_and_not_found() {
    let server = Server::start().await;
    let first = bash(&server, "web").await;
    bash(&server, "other").await;
    let (code, table) = code_and_text(&verb(&server, &["ls"]));
    assert_eq!(code, Some(0));
    assert!(table.starts_with("ID ") && table.contains(" web ") && table.contains("RUNNING"));
    let (_, listed) = code_and_text(&verb(&server, &["ls", "--json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2));

    assert_eq!(verb(&server, &["rename", "other", "web"]).status.code(), Some(1), "it is taken");
    assert_eq!(verb(&server, &["rename", "other", "another"]).status.code(), Some(0));
    assert_eq!(server.api().session("another").await["name"], "another");
    assert_eq!(verb(&server, &["rename", "another"]).status.code(), Some(0));
    assert_eq!(verb(&server, &["rename", "another", "other"]).status.code(), Some(3));
    let nameless = server.api().get("/api/v1/sessions").await.ok(200)["sessions"][0].clone();
    assert_eq!(nameless["name"], Value::Null);
    let id = nameless["id"].as_str().expect("id");
    assert_eq!(verb(&server, &["rename", id, "other"]).status.code(), Some(0));

    assert_eq!(verb(&server, &["attach", "nobody"]).status.code(), Some(3));
    assert_eq!(verb(&server, &["kill", "nobody", "other"]).status.code(), Some(3));
    let (_, table) = code_and_text(&verb(&server, &["ls"]));
    assert!(!table.contains("other"), "killed all the same: {table}");
    // Both were created within the same minute.
    bash(&server, "third").await;
    let beginning = &first["id"].as_str().expect("id")[..4];
    let (code, text) = code_and_text(&verb(&server, &["kill", beginning]));
    assert_eq!(code, Some(2));
    assert!(text.contains(first["id"].as_str().expect("id")) && text.contains("third"), "{text}");

    let (code, url) = code_and_text(&verb(&server, &["url"]));
    assert_eq!(code, Some(0));
    let page = format!("http://{}/#code=", server.address());
    let login = json!({ "code": url.trim().strip_prefix(&page).expect("a code") }).to_string();
    let log_in = async || server.api().send(Method::POST, "/api/v1/login", login.clone()).await;
    let reply = log_in().await;
    assert!(reply.status == 204 && reply.headers.contains_key("set-cookie"));
    log_in().await.problem(401, "unauthorized");
    let (_, another) = code_and_text(&verb(&server, &["url"]));
    assert_ne!(another, url);
}

#[actix_web::test]
async fn the_doctor_sees_what_is_well_and_what_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = Server::start().await;
    bash(&server, "web").await;
    let look = |server: &Server| {
        let output = verb(server, &["doctor", "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let of = move |check: &str| -> (String, String) {
            let all = found["checks"].as_array().expect("checks");
            let found = all.iter().find(|one| one["check"] == check).expect("that check");
            let text = |key: &str| found[key].as_str().expect("text").to_owned();
            (text("status"), text("detail"))
        };
        (output.status.code(), of)
    };
    let (code, of) = look(&server);
    assert_eq!(code, Some(0));
    for check in ["settings", "state directory", "disk", "holder", "server", "open files"] {
        assert_eq!(of(check).0, "ok", "{check}: {}", of(check).1);
    }
    // It was started with --listen, and the settings say nothing.
    let (status, detail) = of("addresses");
    let elsewhere =
        format!("; but the running server, started otherwise, listens on {}", server.address());
    assert!(status == "ok" && detail.contains(&elsewhere), "{detail}");
    let config = server.state().join("../listening.toml");
    std::fs::write(&config, format!("listen = \"{}\"\n", server.address())).expect("settings");
    let as_said = verb(&server, &["doctor", "--config", config.to_str().expect("a path")]);
    let (_, text) = code_and_text(&as_said);
    let line = text.lines().find(|line| line.contains("addresses")).expect("that check");
    assert!(line.ends_with(&format!("{}, for this machine", server.address())), "{line}");
    let (status, detail) = of("database");
    assert!(status == "ok" && detail.contains("1 live and 0 ended"), "{detail}");
    let (_, text) = code_and_text(&verb(&server, &["doctor"]));
    assert!(
        text.lines().count() > 6 && text.contains("ok       server           ready at"),
        "{text}"
    );

    // Nobody there, a directory that others can read, and a database that is none.
    verb(&server, &["stop", "--all"]);
    server.ended().await;
    std::fs::set_permissions(server.state(), PermissionsExt::from_mode(0o755)).expect("chmod");
    for rest in ["stayd.db-wal", "stayd.db-shm"] {
        let _ = std::fs::remove_file(server.state().join(rest));
    }
    std::fs::write(server.state().join("stayd.db"), "x".repeat(8192)).expect("written");
    let (code, of) = look(&server);
    assert_eq!(code, Some(1));
    assert_eq!(of("state directory").0, "warning");
    assert_eq!(of("server").0, "warning");
    assert_eq!(of("database").0, "failed");
}

#[actix_web::test]
async fn stop_leaves_sessions_and_stop_all_does_not() {
    let server = Server::start().await;
    let pid = bash(&server, "web").await["pid"].as_i64().expect("pid") as i32;
    let holder = server.holder_pid();
    let (code, text) = code_and_text(&verb(&server, &["stop"]));
    assert!(code == Some(0) && text.contains("sessions run on"), "{text}");
    assert!(lives(pid) && lives(holder));
    let (code, text) = code_and_text(&verb(&server, &["ls"]));
    assert_eq!(code, Some(1));
    assert!(text.contains("no server answers at") && text.contains("stayd serve"), "{text}");

    let (code, text) = code_and_text(&verb(&server, &["stop"]));
    assert!(code == Some(1) && text.contains(&format!("process {holder} still holds")), "{text}");
    assert_eq!(verb(&server, &["stop", "--all"]).status.code(), Some(0));
    assert!(!lives(pid) && !lives(holder));
    let (code, text) = code_and_text(&verb(&server, &["stop"]));
    assert!(code == Some(1) && text.contains("nothing runs in"), "{text}");
}

#[actix_web::test]
async fn stop_is_refused_inside_a_session_and_where_another_server_is_meant() {
    let server = Server::start().await;
    let stop = format!(
        "for flags in '' --all; do {} stop $flags --state-dir {} 2>&1; echo code $?; done; echo said; sleep 1000",
        env!("CARGO_BIN_EXE_stayd"),
        server.state().display()
    );
    // However it got there: the environment may have been cleared.
    for script in
        [stop.clone(), format!("setsid --wait env -i bash -c '{}'", stop.replace('\'', "\""))]
    {
        let id = server.api().run(&script).await;
        let shown = format!("/api/v1/sessions/{id}/screen?wait=text:said");
        let reply = server.api().get(&shown).await;
        let text = String::from_utf8_lossy(&reply.bytes).into_owned();
        assert_eq!(text.matches("code 1").count(), 2, "{text}");
        assert!(text.contains("--force"), "{text}");
    }
    let mut elsewhere = stayd(&server, &["stop"]);
    let elsewhere = elsewhere.env("STAYD_URL", "http://127.0.0.1:1").output().expect("stayd runs");
    let (code, text) = code_and_text(&elsewhere);
    assert!(code == Some(1) && text.contains("unset STAYD_URL"), "{text}");
    assert_eq!(verb(&server, &["ls"]).status.code(), Some(0), "it runs on");

    let forced = stop.replace("$flags", "--force");
    let id = server.api().run(&forced).await;
    let mut server = server;
    server.ended().await;
    assert!(!id.is_empty());
}

#[test]
fn a_command_line_or_a_setting_that_makes_no_sense_is_refused() {
    let stayd = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
        command.args(args).envs(variables.iter().copied()).stdin(Stdio::null());
        code_and_text(&command.output().expect("stayd runs"))
    };
    assert_eq!(stayd(&[], &["frobnicate"]).0, Some(2));
    assert_eq!(stayd(&[], &["run", "-e", "novalue", "--", "true"]).0, Some(2));
    assert_eq!(stayd(&[], &["--listen", "127.0.0.1:0", "ls"]).0, Some(2));
    // The variable is read, and a flag goes before it.
    let wrong = [("STAYD_LISTEN", "nowhere")];
    let (code, text) = stayd(&wrong, &["serve"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("nowhere"), "{text}");
    let missing = ["serve", "--listen", "127.0.0.1:0", "--config", "/nowhere/stayd.toml"];
    let (code, text) = stayd(&wrong, &missing);
    assert_eq!(code, Some(2));
    assert!(text.contains("/nowhere/stayd.toml"), "{text}");
    let (code, help) = stayd(&[], &["serve", "--help"]);
    assert_eq!(code, Some(0));
    for setting in ["--listen", "STAYD_RING_BYTES", "--state-dir", "log_format", "1800"] {
        assert!(help.contains(setting), "{setting}: {help}");
    }
}
