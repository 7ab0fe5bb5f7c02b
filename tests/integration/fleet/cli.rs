//! The command line in a fleet: sessions of other machines by `NODE/NAME`, and a machine that goes and
//! comes back while somebody is attached to it.

use crate::cli::{OnTerminal, code_and_text, outlives, verb};
use crate::support::{DEADLINE, NatsServer, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The directory of other machines tells nobody of this process when it changes.
const LOOK: Duration = Duration::from_millis(50);

/// A server with this name in the fleet of that NATS.
async fn member(nats: &NatsServer, name: &str) -> Server {
    Server::start_with(&["--fleet-url", &nats.url(), "--fleet-name", name]).await
}

/// Two machines that have heard of each other; `None` without nats-server.
async fn two() -> Option<(NatsServer, Server, Server)> {
    let nats = NatsServer::start().await?;
    let (desk, attic) = (member(&nats, "desk").await, member(&nats, "attic").await);
    until("both machines", || names(&desk) == ["attic", "desk"]).await;
    Some((nats, desk, attic))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "timed out: {what}");
        actix_web::rt::time::sleep(LOOK).await;
    }
}

fn names(server: &Server) -> Vec<String> {
    lines(&verb(server, &["nodes", "--quiet"]))
}

fn lines(output: &std::process::Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn printed(server: &Server, args: &[&str]) -> Value {
    let output = verb(server, args);
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {output:?}"))
}

/// Starts a bash by the first server on a machine: its id.
async fn bash_on(server: &Server, node: &str, name: &str) -> String {
    let run = ["run", "-d", "--json", "--node", node, "-n", name, "-p", "bash"];
    let session = printed(server, &run);
    assert_eq!(session["node"], node);
    let word = format!("{node}/{name}");
    until("the session in the directory", || {
        lines(&verb(server, &["ls", "-q", "--node", "all"])).contains(&word)
    })
    .await;
    session["id"].as_str().expect("id").to_owned()
}

#[actix_web::test]
async fn without_a_fleet_it_is_told_how_to_get_one() {
    let server = Server::start().await;
    let (code, text) = code_and_text(&verb(&server, &["nodes"]));
    assert!(code == Some(0) && text.contains("in no fleet: set url and name"), "{code:?} {text}");
    let answer = printed(&server, &["nodes", "--json"]);
    assert_eq!((&answer["self"], &answer["nodes"]), (&Value::Null, &json!([])));
    let (code, text) = code_and_text(&verb(&server, &["info", "attic/web"]));
    assert!(code == Some(3) && text.contains("in no fleet"), "{code:?} {text}");
    let (_, text) = code_and_text(&verb(&server, &["doctor"]));
    assert!(!text.contains(" fleet "), "{text}");
}

#[actix_web::test]
async fn a_machine_that_knows_no_others_says_so_and_whom_to_ask() {
    let Some(nats) = NatsServer::start().await else { return };
    let _desk = member(&nats, "desk").await;
    let settings =
        format!("[fleet]\nurl = [\"{}\"]\nname = \"attic\"\nserve_page = false\n", nats.url());
    let attic = Server::start_by(Server::dir(), &settings, "exec \"$0\" \"$@\"").await;
    let (code, text) = code_and_text(&verb(&attic, &["nodes"]));
    assert_eq!(code, Some(0));
    assert!(text.contains("attic knows no other machines (fleet.serve_page is false"), "{text}");
    assert!(text.contains("--url") && !text.contains("HEARD"), "{text}");
}

#[actix_web::test]
async fn the_doctor_says_where_it_cannot_know_the_settings_of_a_fleet() {
    let Some((nats, desk, _attic)) = two().await else { return };
    // The server's fleet comes from its flags, which no settings have.
    let (_, text) = code_and_text(&verb(&desk, &["doctor"]));
    assert!(
        text.contains("fleet NATS       not checked: the server is in a fleet as desk"),
        "{text}"
    );
    assert!(text.contains("--config"), "{text}");
    // Settings that were found, and are those of another machine.
    let other = desk.state().join("other.toml");
    let settings = format!("[fleet]\nurl = [\"{}\"]\nname = \"cellar\"\n", nats.url());
    std::fs::write(&other, settings).expect("settings");
    let path = other.to_str().expect("text");
    let (_, text) = code_and_text(&verb(&desk, &["doctor", "--config", path]));
    assert!(text.contains("were made as cellar, and the server is in a fleet as desk"), "{text}");
}

#[actix_web::test]
async fn machines_are_listed_and_those_that_are_gone() {
    let Some((_nats, desk, mut attic)) = two().await else { return };
    let (code, table) = code_and_text(&verb(&desk, &["nodes"]));
    assert_eq!(code, Some(0));
    assert!(table.contains("\ndesk (this server)  online"), "{table}");
    let (_, text) = code_and_text(&verb(&desk, &["doctor"]));
    assert!(text.contains("desk of 2 machines"), "{text}");

    bash_on(&desk, "attic", "web").await;
    attic.kill();
    let is_offline = || {
        let nodes = printed(&desk, &["nodes", "--json"]);
        nodes["nodes"][0]["name"] == "attic" && nodes["nodes"][0]["state"] == "offline"
    };
    until("the machine's absence", is_offline).await;
    let (_, table) = code_and_text(&verb(&desk, &["nodes"]));
    let line = table.lines().find(|line| line.starts_with("attic")).expect("its line");
    assert!(line.contains("offline") && line.ends_with(" ago"), "{table}");
    let (_, table) = code_and_text(&verb(&desk, &["ls", "--node", "all"]));
    assert!(table.contains("attic (offline)") && table.contains("web"), "{table}");
    let (_, text) = code_and_text(&verb(&desk, &["doctor"]));
    assert!(text.contains("offline: attic"), "{text}");
    // What is asked of it is answered at once, and names it.
    let start = Instant::now();
    let (code, text) = code_and_text(&verb(&desk, &["send", "attic/web", "x"]));
    assert!(code == Some(1) && text.contains("attic"), "{code:?} {text}");
    assert!(start.elapsed() < Duration::from_secs(20), "it is not waited for");
    let (code, text) = code_and_text(&verb(&desk, &["info", "nobody/web"]));
    assert!(code == Some(3) && text.contains("nobody"), "{code:?} {text}");
}

#[actix_web::test]
async fn every_verb_takes_a_session_of_another_machine() {
    let Some((_nats, desk, attic)) = two().await else { return };
    let id = bash_on(&desk, "attic", "web").await;
    let own = lines(&verb(&attic, &["ls", "-q"]));
    assert_eq!(own, ["web"], "it is there");
    assert!(lines(&verb(&desk, &["ls", "-q"])).is_empty(), "and not here");

    let whole = format!("attic/{id}");
    for word in ["attic/web", "web", &id, &whole, &id[..20]] {
        let session = printed(&desk, &["info", "--json", word]);
        assert_eq!((&session["id"], &session["node"]), (&json!(id), &json!("attic")), "{word}");
    }
    let send =
        ["send", "attic/web", "echo $((6*7))", "-e", "--wait-regex", "^42$", "--timeout", "30"];
    assert_eq!(verb(&desk, &send).status.code(), Some(0));
    let wait = ["wait", "attic/web", "--regex", "^42$", "--timeout", "30"];
    assert_eq!(verb(&desk, &wait).status.code(), Some(0));
    for args in [&["screen", "attic/web"][..], &["logs", "attic/web"]] {
        let (code, text) = code_and_text(&verb(&desk, args));
        assert!(code == Some(0) && text.contains("42"), "{args:?}: {code:?} {text}");
    }
    let (code, text) = code_and_text(&verb(&desk, &["history", "attic/web"]));
    assert!(code == Some(0) && text.contains("RUNNING"), "{text}");
    let (code, text) = code_and_text(&verb(&desk, &["keep", "attic/web"]));
    assert!(code == Some(0) && text.starts_with("[attic/web: it stays"), "{text}");
    let file = desk.state().join("../some-file");
    std::fs::write(&file, "what is in it").expect("a file");
    let put = verb(&desk, &["put", "attic/web", "--apart", file.to_str().expect("UTF-8")]);
    let there = lines(&put).pop().unwrap_or_else(|| panic!("{put:?}"));
    let got = verb(&desk, &["get", "attic/web", &there, "-o", "-"]);
    assert_eq!(String::from_utf8_lossy(&got.stdout), "what is in it");
    let renamed = printed(&desk, &["rename", "attic/web", "play", "--json"]);
    assert_eq!(renamed["name"], "play");
    let restarted = verb(&desk, &["restart", "attic/play"]);
    assert_eq!(restarted.status.code(), Some(0), "{restarted:?}");
    assert_eq!(verb(&desk, &["send", "attic/play", "exit 6", "-e"]).status.code(), Some(0));
    assert_eq!(verb(&desk, &["wait", "attic/play", "--exit"]).status.code(), Some(6));
    assert_eq!(verb(&desk, &["wait", &id, "--exit"]).status.code(), Some(6), "by its id alone");
    let (code, text) = code_and_text(&verb(&desk, &["kill", "attic/play"]));
    assert!(code == Some(3) && text.contains("attic/play has ended (exited 6"), "{text}");
    // More than `rights` of the machine lets in is refused there.
    let (code, text) = code_and_text(&verb(&desk, &["rm", "attic/play"]));
    assert!(code == Some(1) && text.contains("admin"), "{code:?} {text}");
    assert_eq!(verb(&attic, &["rm", "play"]).status.code(), Some(0));
    assert_eq!(verb(&desk, &["info", "attic/play"]).status.code(), Some(3));
}

#[actix_web::test]
async fn a_name_is_first_this_servers_own_and_has_to_be_one_machines() {
    let Some((nats, desk, _attic)) = two().await else { return };
    let gpu = member(&nats, "gpu-1").await;
    until("three machines", || names(&desk) == ["attic", "desk", "gpu-1"]).await;
    bash_on(&desk, "attic", "web").await;
    bash_on(&desk, "gpu-1", "web").await;
    let (code, text) = code_and_text(&verb(&desk, &["info", "web"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.ends_with("machines have a web:\n  attic/web\n  gpu-1/web\n"), "{text}");
    let own = bash_on(&desk, "desk", "web").await;
    assert_eq!(printed(&desk, &["info", "--json", "web"])["id"], own);
    let mut words = lines(&verb(&desk, &["ls", "-q", "--node", "all"]));
    words.sort();
    assert_eq!(words, ["attic/web", "desk/web", "gpu-1/web"]);
    assert_eq!(lines(&verb(&desk, &["ls", "-q", "--node", "gpu-1"])), ["gpu-1/web"]);
    let mut words = lines(&verb(&desk, &["ls", "-q", "--everywhere"]));
    words.sort();
    assert_eq!(words, ["attic/web", "gpu-1/web", "web"], "what is completed");
    let (_, table) = code_and_text(&verb(&gpu, &["ls", "--node", "all"]));
    assert!(table.starts_with("ID ") && table.contains(" NODE "), "{table}");
    let placed = printed(&desk, &["run", "-d", "--json", "--node", "any", "-p", "bash"]);
    assert!(placed["node"].is_string(), "{placed}");
    let nowhere = verb(&desk, &["run", "-d", "--node", "nobody", "-p", "bash"]);
    assert_eq!(nowhere.status.code(), Some(3), "{nowhere:?}");
}

#[actix_web::test]
async fn what_is_typed_while_the_machine_is_dead_arrives_once() {
    let Some((_nats, desk, mut attic)) = two().await else { return };
    let args = ["run", "--node", "attic", "-n", "web", "--", "bash", "--norc", "--noprofile"];
    let terminal = OnTerminal::start(&desk, &args);
    outlives(&mut attic, terminal).await;
}

#[actix_web::test]
async fn an_attachment_outlives_nats() {
    let Some((mut nats, desk, _attic)) = two().await else { return };
    bash_on(&desk, "attic", "web").await;
    let mut terminal = OnTerminal::start(&desk, &["attach", "attic/web"]);
    terminal.type_in(b"echo $((1+1))-before; n=0\r");
    terminal.wait_for(b"2-before");
    nats.kill();
    terminal.type_in(b"n=$((n+1)); echo $n-after\r");
    // The line says which machine is not reached, once the server has found it.
    terminal.wait_for(b"[stayd: attic is not reached since ");
    terminal.wait_for(b"; trying again (Ctrl-\\ d detaches): ");
    nats.restart().await;
    terminal.wait_for(b"1-after");
    terminal.type_in(b"\x1cd");
    let (code, bytes) = terminal.end_with_bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert!(code == Some(0) && text.contains("[detached from attic/web; "), "{code:?} {text}");
}

#[actix_web::test]
async fn output_that_is_followed_and_a_wait_go_on_after_the_machine_was_dead() {
    let Some((_nats, desk, mut attic)) = two().await else { return };
    bash_on(&desk, "attic", "web").await;
    let start = |args: &[&str]| {
        let mut command = crate::cli::stayd(&desk, args);
        command.stdout(std::process::Stdio::piped()).spawn().expect("stayd starts")
    };
    let logs = start(&["logs", "-f", "attic/web"]);
    let wait = start(&["wait", "attic/web", "--exit"]);
    until("somebody who follows", || {
        printed(&desk, &["info", "--json", "attic/web"])["active_connections"] == 1
    })
    .await;
    assert_eq!(
        verb(&desk, &["send", "attic/web", "echo $((1+1))-before", "-e"]).status.code(),
        Some(0)
    );
    attic.kill_and_restart().await;
    // It is sent again until the machine is there.
    let (code, text) =
        code_and_text(&verb(&desk, &["send", "attic/web", "echo $((1+2))-after; exit 4", "-e"]));
    assert_eq!(code, Some(0), "{text}");
    let output = logs.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("2-before") && text.contains("3-after"), "{text}");
    assert_eq!(text.matches("3-after").count(), 1, "{text}");
    assert_eq!(wait.wait_with_output().expect("its end").status.code(), Some(4));
}

#[actix_web::test]
async fn attach_without_a_name_takes_the_only_session_there_is() {
    let Some((nats, desk, _attic)) = two().await else { return };
    let gpu = member(&nats, "gpu-1").await;
    until("three machines", || names(&desk) == ["attic", "desk", "gpu-1"]).await;
    assert_eq!(verb(&desk, &["attach"]).status.code(), Some(3), "there is none");
    bash_on(&desk, "attic", "web").await;
    let mut terminal = OnTerminal::start(&desk, &["attach"]);
    terminal.wait_for(b"[no session runs on this server; attic/web does]");
    terminal.wait_for(b"bash-");
    terminal.type_in(b"echo $((6*7))\r");
    terminal.wait_for(b"42");
    terminal.type_in(b"\x1cd");
    let (code, bytes) = terminal.end_with_bytes();
    assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&bytes));
    bash_on(&desk, "gpu-1", "db").await;
    let (code, text) = code_and_text(&verb(&desk, &["attach"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.ends_with("name one of the other machines':\n  attic/web\n  gpu-1/db\n"),
        "{text}"
    );
    drop(gpu);
    until("the machine's absence", || {
        printed(&desk, &["nodes", "--json"])["nodes"][2]["state"] == "offline"
    })
    .await;
    let mut terminal = OnTerminal::start(&desk, &["attach"]);
    terminal.wait_for(b"attic/web does]");
    terminal.wait_for(b"bash-");
    terminal.type_in(b"\x1cd");
    assert_eq!(terminal.end_with_bytes().0, Some(0));
    bash_on(&desk, "desk", "own").await;
    let mut terminal = OnTerminal::start(&desk, &["attach"]);
    terminal.wait_for(b"bash-");
    terminal.type_in(b"\x1cd");
    let (code, bytes) = terminal.end_with_bytes();
    let text = String::from_utf8_lossy(&bytes);
    assert!(code == Some(0) && text.contains("[detached from own; "), "{text}");
}

#[actix_web::test]
async fn what_is_done_to_all_sessions_is_done_here_unless_a_machine_is_named() {
    let Some(nats) = NatsServer::start().await else { return };
    let desk = member(&nats, "desk").await;
    let more = "rights = \"admin\"\n[profile.bash]\ncommand = [\"bash\"]";
    let mut attic = super::machines::member(&nats, "attic", more).await;
    let gpu = member(&nats, "gpu-1").await;
    until("three machines", || names(&desk) == ["attic", "desk", "gpu-1"]).await;
    for (node, name) in [
        ("desk", "one"),
        ("attic", "two"),
        ("attic", "three"),
        ("gpu-1", "four"),
        ("gpu-1", "five"),
    ] {
        bash_on(&desk, node, name).await;
    }
    let told = |args: &[&str]| code_and_text(&verb(&desk, args));
    let left = |server: &Server| {
        let mut names = lines(&verb(server, &["ls", "-q"]));
        names.sort();
        names
    };
    let kept = |server: &Server| lines(&verb(server, &["ls", "-q", "--ended"])).len();

    assert_eq!(told(&["kill", "--all", "-y"]), (Some(0), "stayd: ended 1 session\n".into()));
    assert!(left(&desk).is_empty());
    assert_eq!((left(&attic).len(), left(&gpu).len()), (2, 2), "other machines are left alone");
    let (code, text) = told(&["kill", "--all", "--node", "attic"]);
    assert!(code == Some(2) && text.contains("add --yes"), "{code:?} {text}");
    let (code, text) = told(&["kill", "--node", "attic", "one"]);
    assert!(code == Some(2), "only with --all: {text}");
    let (code, text) = told(&["rm", "--node", "desk", "one"]);
    assert!(code == Some(2), "only with --ended: {text}");
    let (code, text) = told(&["kill", "--all", "-y", "--node", "nobody"]);
    assert!(code == Some(3) && text.contains("nobody"), "{code:?} {text}");
    let killed = told(&["kill", "--all", "-y", "--node", "attic"]);
    assert_eq!(killed, (Some(0), "stayd: ended 2 sessions\n".into()));
    assert_eq!((left(&attic).len(), left(&gpu)), (0, vec!["five".to_owned(), "four".into()]));

    assert_eq!(told(&["rm", "--ended"]), (Some(0), "stayd: removed 1 session\n".into()));
    assert_eq!((kept(&desk), kept(&attic)), (0, 2), "those of other machines are kept");
    let removed = told(&["rm", "--ended", "--node", "attic"]);
    assert_eq!(removed, (Some(0), "stayd: removed 2 sessions\n".into()));

    // A machine that is away is named, and the work is done on the others.
    bash_on(&desk, "desk", "six").await;
    attic.kill();
    until("the machine's absence", || {
        printed(&desk, &["nodes", "--json"])["nodes"][0]["state"] == "offline"
    })
    .await;
    let (code, text) = told(&["kill", "--all", "-y", "--node", "all"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("ended 3 sessions"), "{text}");
    assert!(text.contains("nothing was done on attic: attic is offline"), "{text}");
    assert!(left(&desk).is_empty() && left(&gpu).is_empty());
    // A machine that lets nobody remove anything over the fleet keeps what it has.
    let (code, text) = told(&["rm", "--ended", "--node", "all"]);
    assert!(
        code == Some(1) && text.contains("removed 1 session") && text.contains("admin"),
        "{text}"
    );
    assert_eq!((kept(&desk), kept(&gpu)), (0, 2));
    let alone = Server::start().await;
    let (code, text) = code_and_text(&verb(&alone, &["kill", "--all", "-y", "--node", "all"]));
    assert!(code == Some(1) && text.contains("in no fleet"), "{code:?} {text}");
}
