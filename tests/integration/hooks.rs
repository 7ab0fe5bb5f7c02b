//! Hooks of the server: what is told, to whom, in what order, and what survives what.

use crate::cli::{code_and_text, stayd};
use crate::support::{Api, Event, Server, Terminal, lives, soon};
use awc::http::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

const SECRET: &str = "kept-to-ourselves-4711";
const PLAIN: &str = "exec \"$0\" \"$@\"";

/// One request that has come.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
    /// Null if it is something else.
    pub(crate) json: Value,
}

impl Call {
    fn event(&self) -> &str {
        self.json["event"].as_str().expect("an event")
    }

    fn session(&self) -> &str {
        self.json["session"]["id"].as_str().expect("a session")
    }
}

type Answer = dyn Fn(&Call) -> u16 + Send + Sync;

/// Somebody else's server, on threads of its own.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    /// The most requests that it had at a time.
    most: Arc<AtomicUsize>,
}

impl Receiver {
    /// `answer` gives the status, and may take its time.
    pub(crate) fn start(answer: impl Fn(&Call) -> u16 + Send + Sync + 'static) -> Receiver {
        Receiver::start_with(None, answer)
    }

    fn start_with(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Call) -> u16 + Send + Sync + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (calls, most) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (now, answer): (_, Arc<Answer>) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
        let receiver = Receiver { address, calls: calls.clone(), most: most.clone() };
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (calls, answer, tls) = (calls.clone(), answer.clone(), tls.clone());
                let (most, now) = (most.clone(), now.clone());
                std::thread::spawn(move || {
                    // Counted until it is answered: the next one may come before this thread ends.
                    let counting = |call: &Call| {
                        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(count, Ordering::SeqCst);
                        let status = answer(call);
                        now.fetch_sub(1, Ordering::SeqCst);
                        status
                    };
                    match tls {
                        Some(tls) => {
                            let tls = ServerConnection::new(tls).expect("TLS");
                            serve(StreamOwned::new(tls, socket), &calls, counting);
                        }
                        None => serve(socket, &calls, counting),
                    }
                });
            }
        });
        receiver
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("calls").clone()
    }

    /// Waits until so many have come, and returns all.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Call> {
        soon(&format!("{count} calls"), async {
            while self.calls.lock().expect("calls").len() < count {
                actix_web::rt::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        self.calls()
    }
}

/// Reads one request and answers it.
fn serve(mut stream: impl Read + Write, calls: &Mutex<Vec<Call>>, answer: impl Fn(&Call) -> u16) {
    let Some(call) = read_call(&mut stream) else { return };
    calls.lock().expect("calls").push(call.clone());
    let status = answer(&call);
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
}

fn read_call(stream: &mut impl Read) -> Option<Call> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let end = loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    let length: usize = headers.get("content-length")?.parse().ok()?;
    let mut bytes = bytes.split_off(end);
    while bytes.len() < length {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    }
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    Some(Call { path, headers, bytes, json })
}

/// A directory with a secret that nobody else may read.
fn dir() -> tempfile::TempDir {
    let dir = Server::dir();
    let path = dir.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).expect("secret");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("mode");
    dir
}

async fn server(settings: &str) -> Server {
    Server::start_by(dir(), settings, PLAIN).await
}

/// A session that does nothing; its id.
pub(crate) async fn still(api: &Api, more: Value) -> String {
    let mut body = json!({ "command": ["sleep", "10000"] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.create(body).await["id"].as_str().expect("an id").to_owned()
}

pub(crate) async fn report(api: &Api, id: &str, state: &str, message: &str) {
    let body = json!({ "state": state, "message": message });
    api.post(&format!("/api/v1/sessions/{id}/attention"), body.to_string()).await.ok(200);
}

async fn count(api: &Api, outcome: &str) -> u64 {
    metric(api, &format!("stayd_hook_deliveries_total{{outcome=\"{outcome}\"}} ")).await
}

pub(crate) async fn metric(api: &Api, name: &str) -> u64 {
    let text = String::from_utf8(api.get("/metrics").await.bytes).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |number| number.parse().expect("a number"))
}

async fn until_counted(api: &Api, outcome: &str, number: u64) {
    soon(outcome, async {
        while count(api, outcome).await < number {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

/// The blocks of a language in the section about hooks.
fn examples(language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/agents.md");
    let page = std::fs::read_to_string(page).expect("docs/agents.md");
    let (_, section) = page.split_once("## Hooks of the server").expect("the section");
    let fence = format!("```{language}\n");
    let blocks = section.split(&fence).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[actix_web::test]
async fn a_url_gets_signed_events_that_the_documented_examples_verify() {
    let receiver = Receiver::start(|_| 200);
    let settings = format!(
        "[[hook]]\non = ['blocked', 'done', 'ended', 'error']\nurl = '{}'\nsecret_file = 'secret'\n",
        receiver.url("path")
    );
    let server = server(&settings).await;
    let api = server.api();
    let id = still(&api, json!({ "name": "agent", "labels": { "a": "b" } })).await;
    report(&api, &id, "blocked", "May I run rm?").await;
    let call = receiver.wait_for(1).await.remove(0);
    assert_eq!((call.event(), call.path.as_str()), ("blocked", "/path"));
    assert_eq!(call.json["attempt"], 1);
    assert_eq!(call.json["attention"]["message"], "May I run rm?");
    assert_eq!(call.json["at"], call.json["attention"]["since"]);
    assert_eq!(call.headers["x-stayd-delivery"], call.json["id"].as_str().unwrap());
    assert_eq!(call.headers["content-type"], "application/json");
    // It is the session as everybody else is told of it.
    let mut session = api.session(&id).await;
    for key in ["updated_at", "offset"] {
        session[key] = call.json["session"][key].clone();
    }
    assert_eq!(call.json["session"], session);

    let signature = &call.headers["x-stayd-signature"];
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &call.bytes);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(*signature, format!("sha256={hex}"));
    let dir = dir();
    std::fs::write(dir.path().join("body"), &call.bytes).unwrap();
    for (program, language) in [("python3", "python"), ("sh", "sh")] {
        for script in examples(language) {
            for (given, verdict) in [(signature.as_str(), true), ("sha256=00", false)] {
                let mut run = std::process::Command::new(program);
                run.args(["-c", &script]).current_dir(dir.path()).env("SIGNATURE", given);
                let output = run.output().unwrap_or_else(|error| panic!("{program}: {error}"));
                assert_eq!(output.status.success(), verdict, "{program} {given}: {output:?}");
            }
        }
        assert_eq!(examples(language).len(), 1, "{language}");
    }

    // A repeated state is no news, and another question is.
    report(&api, &id, "blocked", "May I run rm?").await;
    report(&api, &id, "blocked", "And mv?").await;
    report(&api, &id, "working", "").await;
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    let calls = receiver.wait_for(3).await;
    let told: Vec<_> = calls.iter().map(Call::event).collect();
    assert_eq!(told, ["blocked", "blocked", "ended"]);
    assert_eq!(calls[2].json["session"]["end_reason"], "killed");
    let ids: BTreeSet<_> = calls.iter().map(|call| call.json["id"].to_string()).collect();
    assert_eq!(ids.len(), 3);
    until_counted(&api, "delivered", 3).await;
}

#[actix_web::test]
async fn who_looks_is_not_called_unless_always() {
    let receiver = Receiver::start(|_| 200);
    let settings = format!(
        "[[hook]]\non = ['blocked', 'error']\nurl = '{}'\n[[hook]]\non = ['blocked', 'error']\n\
         url = '{}'\nalways = true\n",
        receiver.url("away"),
        receiver.url("always")
    );
    let server = server(&settings).await;
    let api = server.api();
    let id = still(&api, json!({})).await;
    let told = async |count: usize| {
        let calls = receiver.wait_for(count).await;
        let mut told: Vec<String> = calls
            .iter()
            .map(|call| format!("{} {}", call.path, call.json["attention"]["message"]))
            .collect();
        told.sort();
        told
    };
    let (mut terminal, attached) = Terminal::attach(&server, &id, "mode=ro").await;
    assert_eq!(attached["session"]["clients"][0]["looking"], true);
    report(&api, &id, "blocked", "1").await;
    assert_eq!(told(1).await, ["/always \"1\""]);
    // It is a client that may only look, and it looks away.
    terminal.say(json!({ "type": "looking", "looking": false })).await;
    soon("looking away", async {
        while api.session(&id).await["clients"][0]["looking"] != false {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    report(&api, &id, "blocked", "2").await;
    assert_eq!(told(3).await, ["/always \"1\"", "/always \"2\"", "/away \"2\""]);
    terminal.say(json!({ "type": "looking", "looking": true })).await;
    soon("told of it", async {
        loop {
            if let Event::Control(state) = terminal.next().await
                && state["type"] == "state"
                && state["clients"][0]["looking"] == true
            {
                return;
            }
        }
    })
    .await;
    // Whoever looks sees it end, too.
    let pid = api.session(&id).await["pid"].as_i64().unwrap() as i32;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let calls = receiver.wait_for(4).await;
    assert_eq!((calls[3].path.as_str(), calls[3].event()), ("/always", "error"));
    until_counted(&api, "looked_at", 2).await;
    until_counted(&api, "delivered", 4).await;
    assert_eq!(receiver.calls().len(), 4);
}

#[actix_web::test]
async fn ends_have_two_words_and_filters_are_kept() {
    let receiver = Receiver::start(|call| if call.path == "/refuses" { 404 } else { 204 });
    let hook = |on: &str, path: &str, more: &str| {
        format!("[[hook]]\non = {on}\nurl = '{}'\n{more}\n", receiver.url(path))
    };
    let settings = [
        "[profile.bash]\ncommand = ['bash', '--norc']\n".to_owned(),
        hook("['error']", "error", ""),
        hook("['ended']", "ended", ""),
        hook("['ended', 'error']", "both", ""),
        hook("['ended']", "label", "labels = { team = 'web' }"),
        hook("['ended']", "profile", "profile = 'bash'"),
        hook("['error']", "refuses", ""),
        hook("['blocked', 'done']", "never", ""),
    ];
    let server = server(&settings.concat()).await;
    let api = server.api();
    let told = |calls: &[Call]| {
        let mut told: Vec<_> =
            calls.iter().map(|call| format!("{} {}", call.path, call.event())).collect();
        told.sort();
        told
    };
    api.run("exit 3").await;
    let calls = receiver.wait_for(4).await;
    assert_eq!(told(&calls), ["/both error", "/ended ended", "/error error", "/refuses error"]);
    let ids: BTreeSet<_> = calls.iter().map(|call| call.json["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "it is one event");
    assert_eq!(calls[0].json["session"]["exit_code"], 3);
    until_counted(&api, "given_up", 1).await;
    api.create(json!({ "command": ["true"], "labels": { "team": "web" } })).await;
    let calls = receiver.wait_for(7).await;
    assert_eq!(told(&calls[4..]), ["/both ended", "/ended ended", "/label ended"]);
    let bash = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    api.delete(&format!("/api/v1/sessions/{bash}")).await.ok(200);
    let calls = receiver.wait_for(10).await;
    assert_eq!(told(&calls[7..]), ["/both ended", "/ended ended", "/profile ended"]);
    until_counted(&api, "delivered", 9).await;
    assert_eq!(receiver.calls().len(), 10);
}

#[actix_web::test]
async fn a_url_that_fails_for_a_while_loses_nothing_and_keeps_the_order() {
    let failures = AtomicUsize::new(0);
    let receiver = Receiver::start(move |call| {
        let fails =
            call.json["session"]["name"] == "a" && failures.fetch_add(1, Ordering::SeqCst) < 3;
        if fails { 503 } else { 200 }
    });
    let settings =
        format!("[[hook]]\non = ['blocked', 'done', 'ended']\nurl = '{}'\n", receiver.url(""));
    let server = server(&settings).await;
    let api = server.api();
    let (a, b) = (still(&api, json!({ "name": "a" })).await, still(&api, json!({})).await);
    report(&api, &a, "blocked", "1").await;
    receiver.wait_for(1).await;
    // One after the other comes after it, and another session does not wait for it.
    for (state, message, waiting) in [("done", "2", 2), ("blocked", "3", 3)] {
        report(&api, &a, state, message).await;
        // If states change within 50 ms, only the last is told.
        soon("its place in the queue", async {
            while metric(&api, "stayd_hook_queue ").await < waiting {
                actix_web::rt::task::yield_now().await;
            }
        })
        .await;
    }
    report(&api, &b, "done", "other").await;
    let calls = receiver.wait_for(2).await;
    assert_eq!(calls[1].session(), b);
    api.delete(&format!("/api/v1/sessions/{a}")).await.ok(200);
    let calls = receiver.wait_for(8).await;
    let of_a: Vec<_> = calls
        .iter()
        .filter(|call| call.session() == a)
        .map(|call| {
            let message = call.json["attention"]["message"].as_str().unwrap_or("-").to_owned();
            format!("{} {message} {}", call.event(), call.json["attempt"])
        })
        .collect();
    let first = ["blocked 1 1", "blocked 1 2", "blocked 1 3", "blocked 1 4"];
    assert_eq!(of_a, [&first[..], &["done 2 1", "blocked 3 1", "ended - 1"]].concat());
    let ids: BTreeSet<_> = calls.iter().map(|call| call.json["id"].to_string()).collect();
    assert_eq!(ids.len(), 5, "an event has one id over its attempts");
    until_counted(&api, "delivered", 5).await;
    assert_eq!(count(&api, "retried").await, 3);
    server.wait_for_sql("SELECT count(*) FROM deliveries", "0").await;
}

/// Sessions that need somebody at the same time.
const MANY: usize = 100;

#[actix_web::test]
async fn a_hundred_sessions_that_block_at_once_are_each_told_once_and_disturb_nobody() {
    let go = Arc::new(AtomicBool::new(false));
    let (opened, hangs) = (go.clone(), Arc::new(Mutex::new(String::new())));
    let hung = hangs.clone();
    let receiver = Receiver::start(move |call| {
        // One hangs until the end of the test, the others are slow.
        let until = || opened.load(Ordering::SeqCst);
        let hangs = *hung.lock().unwrap() == call.session();
        while hangs && !until() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(30));
        200
    });
    let settings = format!(
        "[profile.bash]\ncommand = ['bash', '--norc', '--noprofile']\n\
         [[hook]]\non = ['blocked', 'done']\nurl = '{}'\n",
        receiver.url("")
    );
    let server = server(&settings).await;
    let api = server.api();
    let mut ids = Vec::new();
    for _ in 0..MANY {
        ids.push(still(&api, json!({})).await);
    }
    hangs.lock().unwrap().clone_from(&ids[0]);
    let bash = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    let (mut terminal, _) = Terminal::attach(&server, &bash, "").await;
    let reports =
        futures_util::future::join_all(ids.iter().map(|id| report(&api, id, "blocked", "?")));
    let echoes = async {
        let mut n = 0;
        while receiver.calls().len() < MANY {
            n += 1;
            terminal.type_in(format!("echo \"<$(({n}+1000))>\"\n")).await;
            terminal.wait_for(&format!("<{}>", n + 1000)).await;
        }
        n
    };
    let (_, echoed) = tokio::join!(reports, echoes);
    assert!(echoed > 3, "{echoed}");
    until_counted(&api, "delivered", MANY as u64 - 1).await;
    // The one that hangs holds up what comes of its own session, and of no other.
    report(&api, &ids[0], "done", "later").await;
    report(&api, &ids[1], "done", "later").await;
    let calls = receiver.wait_for(MANY + 1).await;
    assert_eq!(calls[MANY].session(), ids[1]);
    go.store(true, Ordering::SeqCst);
    let calls = receiver.wait_for(MANY + 2).await;
    until_counted(&api, "delivered", MANY as u64 + 2).await;
    let blocked: Vec<_> = calls.iter().filter(|call| call.event() == "blocked").collect();
    let told: BTreeSet<_> = blocked.iter().map(|call| call.session()).collect();
    assert_eq!((blocked.len(), told.len()), (MANY, MANY));
    let most = receiver.most.load(Ordering::SeqCst);
    assert!((2..=16).contains(&most), "{most} at a time");
    assert_eq!(receiver.calls().len(), MANY + 2);
}

/// Writes what it gets, and what it is; hangs where a label says so.
const PROGRAM: &str = r#"#!/bin/sh
cat > "$1/$$.json"
env > "$1/$$.env"
if grep -q '"hangs":"yes"' "$1/$$.json"; then
    sleep 1000 & echo $! > "$1/$$.child"
    wait
fi
mv "$1/$$.json" "$1/$$.done"
"#;

fn with_ending(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|it| it == ending)).collect()
}

async fn wait_for_files(dir: &Path, ending: &str, count: usize) -> Vec<PathBuf> {
    soon(ending, async {
        while with_ending(dir, ending).len() < count {
            actix_web::rt::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    with_ending(dir, ending)
}

#[actix_web::test]
async fn a_command_that_hangs_is_ended_and_others_go_on() {
    let (dir, out) = (dir(), tempfile::tempdir().unwrap());
    let program = dir.path().join("program");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
    let settings = format!(
        "[[hook]]\nname = 'files'\non = ['blocked']\ncommand = [{:?}, {:?}]\ntimeout_s = 1\n\
         [[hook]]\nname = 'gone'\non = ['error']\ncommand = ['/nowhere/at-all']\n",
        program,
        out.path()
    );
    let script = "export STAYD_TOKEN=do-not-pass-on STAYD_X=y TMUX=z; exec \"$0\" \"$@\"";
    let mut server = Server::start_by(dir, &settings, script).await;
    let api = server.api();
    let (slow, fast) =
        (still(&api, json!({ "labels": { "hangs": "yes" } })).await, still(&api, json!({})).await);
    report(&api, &slow, "blocked", "unheard-of-words").await;
    report(&api, &fast, "blocked", "unheard-of-words").await;
    let done = wait_for_files(out.path(), "done", 1).await.remove(0);
    let told: Value = serde_json::from_slice(&std::fs::read(&done).unwrap()).unwrap();
    assert_eq!((&told["session"]["id"], &told["event"]), (&json!(fast), &json!("blocked")));
    let env = std::fs::read_to_string(done.with_extension("env")).unwrap();
    assert!(env.contains("PATH=") && !env.contains("STAYD_") && !env.contains("TMUX"), "{env}");
    // What is told shows nowhere else.
    let child = wait_for_files(out.path(), "child", 1).await.remove(0);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let shown = lines.filter(|line| String::from_utf8_lossy(line).contains("unheard-of-words"));
    assert_eq!(shown.count(), 0);
    server
        .wait_for_log("a failure", |line| {
            line["part"] == "hooks" && line["why"].to_string().contains("longer than 1 s")
        })
        .await;
    let pid: i32 = std::fs::read_to_string(&child).unwrap().trim().parse().unwrap();
    soon("the end of what it has started", async {
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    // It is tried again, as the same event.
    let tried = wait_for_files(out.path(), "child", 2).await;
    let told: Vec<Value> = tried
        .iter()
        .map(|path| std::fs::read(path.with_extension("json")).unwrap())
        .map(|bytes| serde_json::from_slice(&bytes).unwrap())
        .collect();
    assert_eq!(told[0]["id"], told[1]["id"]);
    let attempts: BTreeSet<_> = told.iter().map(|told| told["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, BTreeSet::from([1, 2]));
    let mut doctor = stayd(&server, &["doctor", "--config"]);
    doctor.arg(server.state().with_file_name("stayd.toml"));
    let (_, said) = code_and_text(&doctor.output().expect("stayd runs"));
    let line =
        said.lines().find(|line| line.contains("gone: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("warning") && line.contains("no program /nowhere/at-all"), "{line}");
}

#[actix_web::test]
async fn what_a_killed_server_has_not_told_the_next_one_tells() {
    let lives = Arc::new(AtomicBool::new(false));
    let answers = lives.clone();
    let receiver = Receiver::start(move |_| {
        // Nobody hears of the server's death but by its answer.
        while !answers.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        200
    });
    let settings = format!("[[hook]]\non = ['blocked', 'ended']\nurl = '{}'\n", receiver.url(""));
    let mut server = server(&settings).await;
    let api = server.api();
    let (a, b) = (still(&api, json!({})).await, still(&api, json!({})).await);
    let pid = api.session(&b).await["pid"].as_i64().unwrap() as i32;
    report(&api, &a, "blocked", "?").await;
    let first = receiver.wait_for(1).await.remove(0);
    server.wait_for_sql("SELECT count(*) FROM deliveries", "1").await;
    server.kill();
    // While there is no server, a session ends.
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    lives.store(true, Ordering::SeqCst);
    server.restart().await;
    let calls = receiver.wait_for(3).await;
    let same: Vec<_> = calls.iter().filter(|call| call.session() == a).collect();
    assert_eq!(same.len(), 2, "{calls:?}");
    assert_eq!([&same[0].json["id"], &same[1].json["id"]], [&first.json["id"]; 2]);
    let ended = calls.iter().find(|call| call.session() == b).expect("the end");
    assert_eq!((ended.event(), &ended.json["session"]["status"]), ("ended", &json!("ERROR")));
    server.wait_for_sql("SELECT count(*) FROM deliveries", "0").await;

    // The server dies after the row is written, and before anything of the delivery is.
    let api = server.api();
    report(&api, &a, "blocked", "??").await;
    let fourth = receiver.wait_for(4).await.remove(3);
    let known = format!("SELECT since FROM followed_sessions WHERE session_id = '{a}'");
    server.wait_for_sql(&known, fourth.json["at"].as_str().unwrap()).await;
    server.wait_for_sql("SELECT count(*) FROM deliveries", "0").await;
    server.kill();
    server.db().execute("UPDATE followed_sessions SET since = 'before'", []).unwrap();
    server.restart().await;
    let fifth = receiver.wait_for(5).await.remove(4);
    assert_eq!(fourth.json["id"], fifth.json["id"], "it is the same event, whoever finds it");
    server.wait_for_sql(&known, fifth.json["at"].as_str().unwrap()).await;
    server.wait_for_sql("SELECT count(*) FROM deliveries", "0").await;

    // What is known is not told again, and an unusable disk keeps nobody from being told.
    server.kill_and_restart().await;
    let (api, lock) = (server.api(), server.db());
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    report(&api, &a, "blocked", "???").await;
    let sixth = receiver.wait_for(6).await.remove(5);
    assert_eq!(sixth.json["attention"]["message"], "???");
    lock.execute_batch("ROLLBACK").unwrap();
    server.wait_for_sql(&known, sixth.json["at"].as_str().unwrap()).await;
    server.wait_for_sql("SELECT count(*) FROM deliveries", "0").await;
    assert_eq!(receiver.calls().len(), 6);
}

#[actix_web::test]
async fn a_server_that_stops_waits_for_no_hook_and_forgets_none() {
    let dir = dir();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    // Hangs the first time.
    let script =
        "cat > \"$1/$$.json\"; test -e \"$1/go\" || exec sleep 1000; echo > \"$1/$$.done\"";
    let settings =
        format!("[[hook]]\non = ['done']\ncommand = ['sh', '-c', {script:?}, 'hook', {out:?}]\n");
    let mut server = Server::start_by(dir, &settings, PLAIN).await;
    let api = server.api();
    let id = still(&api, json!({})).await;
    report(&api, &id, "done", "all").await;
    let first = wait_for_files(&out, "json", 1).await.remove(0);
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).unwrap();
    assert!(server.stop_waiting().success());
    assert_eq!(server.sql("SELECT count(*) FROM deliveries").as_deref(), Some("1"));
    let pid = first.file_stem().unwrap().to_str().unwrap().to_owned();
    soon("the end of the program", async {
        while lives(&pid) {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    std::fs::write(out.join("go"), "").unwrap();
    server.restart().await;
    let done = wait_for_files(&out, "done", 1).await.remove(0);
    let told =
        |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    assert_eq!(told(&first)["id"], told(&done.with_extension("json"))["id"]);
    server.wait_for_sql("SELECT count(*) FROM deliveries", "0").await;
}

#[actix_web::test]
async fn a_secret_shows_nowhere_and_goes_through_tls() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let dir = dir();
    let pem = dir.path().join("cert.pem");
    std::fs::write(&pem, cert.pem()).unwrap();
    let key = signing_key.serialize_der().try_into().expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let receiver = Receiver::start_with(Some(Arc::new(config)), |call| {
        if call.json["attempt"] == 1 { 500 } else { 200 }
    });
    let port = receiver.address.port();
    let settings = format!(
        "[[hook]]\non = ['done']\nurl = 'https://localhost:{port}/in-the-path-99'\n\
         secret_file = 'secret'\n"
    );
    let script =
        format!("export SSL_CERT_FILE={} SSL_CERT_DIR=/nowhere; exec \"$0\" \"$@\"", pem.display());
    let mut server = Server::start_by(dir, &settings, &script).await;
    let api = server.api();
    let id = still(&api, json!({})).await;
    report(&api, &id, "done", "all").await;
    let calls = receiver.wait_for(2).await;
    assert_eq!(calls[1].path, "/in-the-path-99");
    assert_ne!(calls[0].headers["x-stayd-signature"], calls[1].headers["x-stayd-signature"]);
    assert_eq!(calls[0].headers["x-stayd-delivery"], calls[1].headers["x-stayd-delivery"]);
    until_counted(&api, "delivered", 1).await;
    let page = api.send(Method::GET, &format!("/api/v1/sessions/{id}"), "").await.bytes;
    server.kill();
    let mut logged = String::from_utf8(page).unwrap();
    while let Some(line) = server.next_log().await {
        logged += &line.to_string();
    }
    assert!(logged.contains("a hook has failed") && logged.contains("https://localhost"));
    for secret in [SECRET, "in-the-path-99"] {
        assert!(!logged.contains(secret), "{secret}");
    }
}

/// Who is sure that a certificate is nobody's says nothing to its server.
#[actix_web::test]
async fn a_server_that_is_not_trusted_is_told_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let bytes = heard.clone();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            hear(&mut socket, &bytes);
        }
    });
    let settings = format!("[[hook]]\non = ['blocked']\nurl = 'https://localhost:{port}/x'\n");
    let mut server = server(&settings).await;
    let api = server.api();
    let id = still(&api, json!({})).await;
    report(&api, &id, "blocked", "words-for-a-friend").await;
    server
        .wait_for_log("a failure", |line| line["msg"] == "a hook has failed and is tried again")
        .await;
    let heard = heard.lock().unwrap().clone();
    assert!(!String::from_utf8_lossy(&heard).contains("words-for-a-friend"));
}

/// Takes the first bytes, and answers with something that is not TLS.
fn hear(socket: &mut TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut piece = [0; 4096];
    if let Ok(read) = socket.read(&mut piece) {
        heard.lock().unwrap().extend_from_slice(&piece[..read]);
    }
    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}
