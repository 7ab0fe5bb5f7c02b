//! Those who come when a session has ended already: all output, then how it ended. A program
//! may end before the client that started it has attached.

use crate::cli::{code_and_text, stayd, verb};
use crate::support::{Event, Server, Terminal, descriptors, soon};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

/// Of how many sessions the output is kept, in all.
const KEPT_MAX: usize = 512;

/// Attaches with all of its output wanted, and reads to the end.
async fn read_all(server: &Server, id: &str) -> (String, Value) {
    let query = format!("session={id}&offset=0");
    let (mut terminal, attached) = Terminal::attach(server, id, &query).await;
    assert_eq!(attached["offset"], 0);
    let exit = terminal.control("exit").await;
    assert_eq!(terminal.closed().await.0, 1000);
    (terminal.text(), exit)
}

fn numbers(to: u32) -> String {
    (1..=to).map(|number| format!("{number}\r\n")).collect()
}

/// How often a short command is run; `STAYD_RUNS` says otherwise.
fn runs() -> usize {
    std::env::var("STAYD_RUNS").map_or(20, |text| text.parse().expect("STAYD_RUNS is a number"))
}

/// Processes that do nothing, on as many cores as there are.
struct Load(Vec<Child>);

impl Load {
    fn on_all_cores() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn();
        Load((0..cores).map(|_| spin().expect("sh")).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run_each(server: &Server, what: &str) {
    let commands: [(&[&str], Option<String>, i32); 4] = [
        (&["date", "-u", "-d", "@0", "+%F"], Some("1970-01-01\r\n".into()), 0),
        (&["ls", "/"], None, 0),
        (&["seq", "1", "20000"], Some(numbers(20_000)), 0),
        (&["sh", "-c", "echo last words; kill -34 $$"], Some("last words\r\n".into()), 162),
    ];
    for (command, expected, code) in commands {
        let started = std::time::Instant::now();
        let run = || verb(server, &[&["run", "--"], command].concat());
        let is_whole = |output: &Output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let whole = match &expected {
                Some(expected) => text == *expected,
                // Its columns are its own affair.
                None => text.contains("etc") && text.ends_with("\r\n"),
            };
            whole && output.status.code() == Some(code) && output.stderr.is_empty()
        };
        let whole = (0..runs()).filter(|_| is_whole(&run())).count();
        eprintln!("{what}: {command:?}: {whole} of {} in {:?}", runs(), started.elapsed());
        assert_eq!(whole, runs(), "{what}: {command:?}");
    }
}

#[actix_web::test]
async fn run_prints_everything_and_exits_with_the_code() {
    let server = Server::start_quiet().await;
    run_each(&server, "at rest");
    let load = Load::on_all_cores();
    run_each(&server, "under load");
    drop(load);
}

#[actix_web::test]
async fn whoever_comes_late_gets_everything_and_the_end() {
    let server = Server::start().await;
    let api = server.api();
    let id = api.run("seq 1 3000; exit 7").await;
    api.ended(&id).await;
    let history = api.transitions(&id).await;
    // Not only the first.
    for _ in 0..2 {
        let (text, exit) = read_all(&server, &id).await;
        assert_eq!(text, numbers(3000));
        let expected = json!({ "type": "exit", "code": 7, "signal": null, "reason": "exited" });
        assert_eq!(exit, expected);
    }
    // From where one has come to, and from nowhere: then a picture comes first.
    let (mut terminal, _) = Terminal::attach(&server, &id, &format!("session={id}&offset=9")).await;
    terminal.control("exit").await;
    assert_eq!(terminal.text(), numbers(3000)[9..]);
    let path = format!("/api/v1/sessions/{id}/attach");
    for protocol in [Some("stayd.v1"), Some("raw.v1"), None] {
        let mut terminal = Terminal::open(&api, &path, protocol).await;
        assert_eq!(terminal.closed().await.0, 1000, "{protocol:?}");
        assert!(terminal.text().contains("3000"), "{protocol:?}: {}", terminal.text());
    }
    let mut terminal = Terminal::open(&api, &path, Some("json.v1")).await;
    let exit = terminal.control("exit").await;
    assert_eq!(exit, json!({ "type": "exit", "exitCode": 7, "signal": null }));
    assert!(terminal.text().contains("3000"));
    // What is typed goes nowhere.
    let (mut terminal, attached) = Terminal::attach(&server, &id, "").await;
    assert_eq!(attached["session"]["status"], "ERROR");
    terminal.send(awc::ws::Message::Binary("too late\n".into())).await;
    assert_eq!(terminal.closed().await.0, 1000);
    let output = api.get(&format!("/api/v1/sessions/{id}/output")).await;
    assert_eq!(String::from_utf8(output.bytes).unwrap(), numbers(3000));
    let (code, text) = code_and_text(&verb(&server, &["logs", &id]));
    assert_eq!((code, text), (Some(0), numbers(3000)));
    let (code, text) = code_and_text(&verb(&server, &["logs", "-f", &id]));
    assert_eq!((code, text), (Some(0), numbers(3000)));
    let screen = api.get(&format!("/api/v1/sessions/{id}/screen")).await;
    assert!(String::from_utf8(screen.bytes).unwrap().contains("3000"));
    // Nobody was counted.
    assert_eq!(api.transitions(&id).await, history);
    let session = api.session(&id).await;
    assert_eq!((&session["status"], &session["active_connections"]), (&json!("ERROR"), &json!(0)));
    // Those who were there when it ended are no reason to forget it.
    let id = api.run("read -r line; echo bye; exit 3").await;
    let (mut there, _) = Terminal::attach(&server, &id, "").await;
    there.type_in("\n").await;
    there.closed().await;
    let (text, exit) = read_all(&server, &id).await;
    assert_eq!((text.as_str(), &exit["code"]), ("\r\nbye\r\n", &json!(3)));
}

#[actix_web::test]
async fn whoever_creates_by_attaching_sees_what_ended_at_once() {
    let dir = Server::dir();
    let shell = dir.path().join("quick");
    std::fs::write(&shell, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&shell, Permissions::from_mode(0o755)).unwrap();
    let env = vec![("SHELL".to_owned(), shell.to_str().unwrap().to_owned())];
    let server = Server::start_in(dir, env).await;
    for number in 0..runs() {
        let path = format!("/ws/terminal/quick-{number}");
        let mut terminal = Terminal::open(&server.api(), &path, None).await;
        let exit = terminal.control("exit").await;
        assert_eq!(exit, json!({ "type": "exit", "exitCode": 0, "signal": null }));
        assert_eq!(terminal.closed().await.0, 1000);
    }
}

#[actix_web::test]
async fn a_server_that_is_killed_keeps_what_nobody_has_read() {
    let mut server = Server::start().await;
    let api = server.api();
    let before = api.run("echo before; exit 4").await;
    api.ended(&before).await;
    server.kill_and_restart().await;
    // Twice: what was kept by the second server is not new to the third.
    server.kill_and_restart().await;
    let during = api.run("read -r line; echo during; exit 5").await;
    api.post(&format!("/api/v1/sessions/{during}/input"), "\n").await.ok(200);
    server.kill_and_restart().await;
    api.ended(&during).await;
    for (id, text, code) in [(before, "before\r\n", 4), (during, "\r\nduring\r\n", 5)] {
        let (found, exit) = read_all(&server, &id).await;
        assert_eq!((found.as_str(), &exit["code"]), (text, &json!(code)));
        let logs = code_and_text(&verb(&server, &["logs", &id]));
        assert_eq!(logs, (Some(0), text.to_owned()));
        let history = api.transitions(&id).await;
        assert_eq!(history.iter().filter(|(_, to, _)| to == "ERROR").count(), 1, "{history:?}");
    }
}

#[actix_web::test]
async fn run_goes_on_over_restarts_and_misses_nothing() {
    let server = Server::start_quiet().await;
    let dir = tempfile::tempdir().unwrap();
    let script = "n=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $n >n; seq $n 200; \
                  test $n = 3 || exit 1; exit 9";
    for args in [&["--restart", "on-failure"][..], &["--restart", "always"]] {
        let _ = std::fs::remove_file(dir.path().join("n"));
        let mut run = stayd(&server, &["run", "--name", "crashing"]);
        let run = run.args(args).args(["--", "bash", "-c", script]).current_dir(&dir);
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("stayd");
        // It would go on for ever.
        let session = soon("the end of the third life", async {
            loop {
                let found = server.api().get("/api/v1/sessions/crashing").await;
                if found.status == 200 {
                    let session = found.json();
                    if session["restarts"] == 2 && !session["restart_at"].is_null() {
                        return session;
                    }
                }
            }
        })
        .await;
        let id = session["id"].as_str().unwrap();
        server.api().delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
        let output = child.wait_with_output().expect("its output");
        let text = String::from_utf8_lossy(&output.stdout);
        // Each life, all of it, once, in order.
        let mut rest = &*text;
        for life in 1..=3 {
            let printed: String = (life..=200).map(|number| format!("{number}\r\n")).collect();
            let at = rest.find(&printed).unwrap_or_else(|| panic!("life {life}: {text}"));
            rest = &rest[at + printed.len()..];
        }
        assert_eq!(text.matches("\r\n200\r\n").count(), 3, "{text}");
    }
}

#[actix_web::test]
async fn a_restart_that_is_called_off_ends_those_who_wait_for_it() {
    let server = Server::start().await;
    let api = server.api();
    let body = json!({ "command": ["sh", "-c", "echo once; exit 1"], "restart": "on-failure" });
    let id = api.create(body).await["id"].as_str().unwrap().to_owned();
    // It ends within milliseconds and comes back after a second; each time it waits longer.
    soon("a restart that is far away", async {
        while api.session(&id).await["restarts"].as_u64() < Some(2)
            || api.session(&id).await["restart_at"].is_null()
        {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    let path = format!("/api/v1/sessions/{id}/attach?session={id}&offset=0");
    let mut early = Terminal::open(&api, &path, Some("stayd.v1")).await;
    assert_eq!(early.closed().await.0, 1001, "it comes back");
    assert!(early.text().contains("once"), "and has printed something: {}", early.text());
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    let mut late = Terminal::open(&api, &path, Some("stayd.v1")).await;
    assert_eq!(late.control("exit").await["code"], 1);
    assert_eq!(late.closed().await.0, 1000);
}

#[actix_web::test]
async fn the_output_of_many_is_kept_within_bounds_and_the_oldest_goes_first() {
    let server = Server::start_quiet().await;
    let api = server.api();
    let before = descriptors(server.holder_pid());
    let body = json!({ "command": ["echo", "first"], "recording": "output" });
    let first = api.create(body).await["id"].as_str().unwrap().to_owned();
    api.ended(&first).await;
    let plain = api.run("echo second").await;
    api.ended(&plain).await;
    let mut last = String::new();
    for _ in 0..KEPT_MAX + 1 {
        last = api.create(json!({ "command": ["echo", "last"] })).await["id"].to_string();
    }
    let last = last.trim_matches('"');
    api.ended(last).await;
    let path = format!("/api/v1/sessions/{first}/output");
    soon("the first to be forgotten", async {
        while api.get(&path).await.status != 410 {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    // Ring and event of each that is kept, and no checkpoints: nothing was printed for long.
    let most = before + 3 * KEPT_MAX;
    soon("the holder to forget, too", async {
        while descriptors(server.holder_pid()) > most {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(read_all(&server, last).await.0, "last\r\n");
    let problem = api.get(&path).await.problem(410, "ended");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("not kept") && detail.contains("/screen"), "{detail}");
    assert!(detail.contains("/recording"), "{detail}");
    assert_eq!(problem["session"]["id"], first.as_str());
    let attach = format!("/api/v1/sessions/{first}/attach?session={first}&offset=0");
    let (code, reason) = Terminal::open(&api, &attach, Some("stayd.v1")).await.closed().await;
    assert_eq!(code, 4410);
    assert!(reason.contains("not kept") && reason.contains("do not retry"), "{reason}");
    let (code, text) = code_and_text(&verb(&server, &["logs", &first]));
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("stayd screen {first}")), "{text}");
    assert!(text.contains(&format!("stayd recording {first}")), "{text}");
    let (code, text) = code_and_text(&verb(&server, &["logs", &plain]));
    assert!(code == Some(1) && !text.contains("recording"), "{text}");
    let (code, text) = code_and_text(&verb(&server, &["attach", &first]));
    assert_eq!(code, Some(0));
    assert!(text.contains("not kept") && text.contains("stayd screen"), "{text}");
    // A server after this one is told to forget as much, and what is purged goes at once.
    for session in api.get("/api/v1/sessions?all=true&limit=1000").await.ok(200)["sessions"]
        .as_array()
        .unwrap()
    {
        let id = session["id"].as_str().unwrap();
        api.delete(&format!("/api/v1/sessions/{id}?purge=true")).await.ok(200);
    }
    soon("the holder to have nothing left", async {
        while descriptors(server.holder_pid()) != before {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    let mut gone = Terminal::open(&api, &attach, Some("stayd.v1")).await;
    assert!(matches!(gone.next().await, Event::Closed(4404, _)));
}

#[actix_web::test]
async fn whoever_creates_by_attaching_gets_the_first_byte_and_all_that_follow() {
    let mut server = Server::start().await;
    let settings = server.state().parent().expect("the directory above").join("stayd.toml");
    let profile = "[profile.numbers]\ncommand = [\"seq\", \"1\", \"5000\"]\n";
    std::fs::write(settings, profile).expect("settings");
    server.kill_and_restart().await;
    for protocol in [Some("stayd.v1"), Some("raw.v1"), Some("json.v1"), None] {
        for number in 0..runs() {
            let name = format!("{}-{number}", protocol.unwrap_or("none"));
            let path = format!("/api/v1/sessions/{name}/attach?create=numbers");
            let mut terminal = Terminal::open(&server.api(), &path, protocol).await;
            let closed = terminal.closed().await;
            assert_eq!(closed.0, 1000, "{closed:?}");
            let text = terminal.text();
            assert!(text == numbers(5000), "{name}: {} bytes: {:.60}", text.len(), text);
        }
    }
}

#[actix_web::test]
async fn output_beyond_the_ring_waits_for_the_client_that_is_announced() {
    let server = Server::start().await;
    let command = json!({ "command": ["seq", "1", "600000"], "awaits_client": true });
    let id = server.api().create(command).await["id"].as_str().expect("an id").to_owned();
    soon("more output than a client is sent at once", async {
        while server.api().session(&id).await["offset"].as_u64() < Some(3 << 19) {
            actix_web::rt::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let (text, exit) = read_all(&server, &id).await;
    assert!(text == numbers(600_000), "{} bytes: {:.60}", text.len(), text);
    assert_eq!(exit["code"], 0);
}
