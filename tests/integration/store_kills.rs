//! SIGKILL between any two changes of the database's files, and in the middle of them.

use crate::support::{Api, Server, Terminal, marked, shim, soon};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;

/// What the server has answered, so that it must be so.
#[derive(Default)]
struct Acknowledged {
    created: Vec<String>,
    killed: Vec<String>,
}

/// Everything that writes: two creations, one of them failing, a client that comes and
/// goes, a change of name, a kill.
async fn scenario(api: Api, acknowledged: Rc<RefCell<Acknowledged>>) {
    let session = api.create(json!({ "profile": "bash" })).await;
    let id = session["id"].as_str().unwrap().to_owned();
    acknowledged.borrow_mut().created.push(id.clone());
    let path = format!("/api/v1/sessions/{id}");
    let mut terminal = Terminal::open(&api, &format!("{path}/attach"), Some("stayd.v1")).await;
    terminal.control("attached").await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
    terminal.leave().await;
    let body = json!({ "command": ["/does/not/exist"] }).to_string();
    api.post("/api/v1/sessions", body).await.problem(422, "spawn_failed");
    let kept = api.create(json!({ "profile": "bash" })).await["id"].as_str().unwrap().to_owned();
    acknowledged.borrow_mut().created.push(kept);
    let ended = api.delete(&path).await.ok(200);
    assert_eq!(ended["persisted"], Value::Null, "said only where it is false");
    acknowledged.borrow_mut().killed.push(id);
}

/// Runs the scenario until the server dies of its n-th change; false if it does not.
async fn run_until_killed(server: &mut Server, acknowledged: &Rc<RefCell<Acknowledged>>) -> bool {
    if !server.listens().await {
        return true;
    }
    let mut run = actix_web::rt::spawn(scenario(server.api(), acknowledged.clone()));
    let finished = soon("the scenario, or the server's end", async {
        tokio::select! {
            finished = &mut run => finished.is_ok(),
            () = server.ended() => false,
        }
    });
    let finished = finished.await;
    run.abort();
    !finished
}

/// Rows, their history, the processes and what was acknowledged agree.
async fn assert_truth(server: &Server, acknowledged: &Acknowledged, n: usize) {
    let db = server.db();
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "change {n}");
    let api = server.api();
    let list = api.get("/api/v1/sessions?all=true&limit=1000").await.ok(200);
    let ids: Vec<String> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect();
    for id in acknowledged.created.iter().chain(&acknowledged.killed) {
        assert!(ids.contains(id), "change {n}: {id} was acknowledged and is gone");
    }
    for id in &ids {
        // What was left over is being swept, and an end that was decided is completed: its leader
        // may be gone before its row says so.
        let session = soon("the row and the processes agree", async {
            loop {
                let session = api.session(id).await;
                let lives = session["end_reason"].is_null();
                let leader = format!("/proc/{}/stat", session["pid"]);
                let agrees = lives == (marked(id) > 0);
                if agrees && (!lives || std::path::Path::new(&leader).exists()) {
                    return session;
                }
            }
        })
        .await;
        let row = format!("SELECT status FROM sessions WHERE id = '{id}'");
        server.wait_for_sql(&row, session["status"].as_str().unwrap()).await;
        let mut status = Value::Null;
        for (from, to, _) in api.transitions(id).await {
            assert_eq!(from, status, "change {n}: {id}");
            status = json!(to);
        }
        assert_eq!(session["status"], status, "change {n}: {id}");
        if session["end_reason"].is_null() {
            let known = acknowledged.created.contains(id);
            assert!(known || session["status"] == "RUNNING", "change {n}: {session}");
        }
        if acknowledged.killed.contains(id) {
            let end = (&session["status"], &session["end_reason"]);
            assert_eq!(end, (&json!("TERMINATED"), &json!("killed")), "change {n}");
        }
    }
    for id in ids {
        api.delete(&format!("/api/v1/sessions/{id}?purge=true")).await;
    }
}

#[actix_web::test]
async fn a_server_killed_at_any_change_of_the_database_loses_nothing_acknowledged() {
    let mut server = Server::start().await;
    let mut n = 0;
    loop {
        n += 1;
        server.kill();
        server.env = shim::kill_at(n);
        server.begin_restart();
        let acknowledged = Rc::new(RefCell::new(Acknowledged::default()));
        let killed = run_until_killed(&mut server, &acknowledged).await;
        server.kill();
        server.env.clear();
        server.restart().await;
        let acknowledged = acknowledged.take();
        assert_truth(&server, &acknowledged, n).await;
        if !killed {
            break;
        }
    }
    assert!(n > 20, "the scenario ended after {n} changes: they are not seen");
    eprintln!("killed at each of {} changes", n - 1);
}

#[actix_web::test]
async fn a_server_killed_while_it_makes_the_database_makes_it_the_next_time() {
    let mut n = 0;
    loop {
        n += 1;
        let mut server = Server::begin_in(Server::dir(), shim::kill_at(n));
        let listens = server.listens().await;
        server.env.clear();
        server.kill();
        server.restart_anywhere().await;
        let acknowledged = Acknowledged {
            created: vec![server.api().run("sleep 1000").await],
            killed: Vec::new(),
        };
        assert_truth(&server, &acknowledged, n).await;
        if listens {
            break;
        }
    }
    assert!(n > 5, "the database was made with {n} changes: they are not seen");
}
