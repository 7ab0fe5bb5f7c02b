//! Limits of a profile's sessions: of each process, and of a whole session in a cgroup.

use crate::accounts::{is_root, told};
use crate::cli::{code_and_text, verb};
use crate::holder::{House, RING, spec};
use crate::support::{Server, soon};
use serde_json::json;
use stayd::holder::Confinement;
use stayd::id::SessionId;
use std::path::Path;

#[actix_web::test]
async fn a_limit_that_is_too_high_is_an_error_that_names_it() {
    let settings = "[profile.many]\ncommand = [\"bash\"]\nlimits = { nofile = 100 }\n\
        [profile.few]\ncommand = [\"bash\"]\nlimits = { nofile = 50, core = 0 }\n";
    let script = "ulimit -n 80; exec \"$0\" \"$@\"";
    let server = Server::start_by(Server::dir(), settings, script).await;
    let api = server.api();
    let many = api.post("/api/v1/sessions", json!({ "profile": "many" }).to_string()).await;
    let many = many.problem(422, "spawn_failed");
    assert_eq!((&many["step"], &many["errno"]), (&json!("limits.nofile"), &json!(libc::EPERM)));
    let detail = many["detail"].as_str().unwrap();
    assert!(detail.contains("nofile of its profile is above the hard limit"), "{detail}");
    assert_eq!(many["session"]["status"], "ERROR");
    let command = json!(["sh", "-c", "echo \"limit $(ulimit -Hn) $(ulimit -Sn)\""]);
    let few = api.create(json!({ "profile": "few", "command": command })).await;
    assert_eq!(told(&api, few["id"].as_str().unwrap(), "limit").await["limit"], "50 50");
}

/// What needs a cgroup is refused where none was delegated, and the doctor says so before. Where
/// one was, the session has its limits.
#[actix_web::test]
async fn a_whole_sessions_limits_hold_or_are_refused() {
    let settings = "[profile.small]\ncommand = [\"sh\"]\n\
        limits = { memory_max = \"64M\", pids_max = 20, cpu_max = \"50%\" }\n";
    let server = Server::start_by(Server::dir(), settings, "exec \"$0\" \"$@\"").await;
    let api = server.api();
    let config = server.state().join("../stayd.toml");
    let doctor = verb(&server, &["doctor", "--config", config.to_str().unwrap()]);
    let (_, doctor) = code_and_text(&doctor);
    let command = json!(["sh", "-c", "echo \"cgroup $(grep ^0:: /proc/self/cgroup)\"; cat"]);
    let body = json!({ "profile": "small", "command": command });
    let reply = api.post("/api/v1/sessions", body.to_string()).await;
    if reply.status == 201 {
        assert!(doctor.contains("delegated, with cpu, memory, pids"), "{doctor}");
        let id = reply.ok(201)["id"].as_str().unwrap().to_owned();
        assert!(told(&api, &id, "cgroup").await["cgroup"].ends_with(&id));
        return;
    }
    eprintln!("no delegated cgroup with memory, pids and cpu here: tested that it is refused");
    let refused = reply.problem(400, "invalid_request");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("memory_max, pids_max, cpu_max of its profile cannot be set"),
        "{detail}"
    );
    assert!(doctor.contains("memory_max, pids_max or cpu_max are refused"), "{doctor}");
    // Nothing is left of it, and nothing else is refused.
    let command = json!({ "command": ["true"] });
    api.create(command).await;
}

/// The first process of a session is in its cgroup before the program runs, also under another
/// account, which could not enter it.
#[actix_web::test]
async fn a_session_begins_in_its_cgroup() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" cgroup2 "));
    let mount = mount.and_then(|line| line.split(' ').nth(1));
    let Some(mount) = mount.filter(|_| is_root()) else {
        eprintln!("skipped: no cgroup2 here that we may write to");
        return;
    };
    let id = SessionId::generate();
    let cgroup = Path::new(mount).join(format!("stayd-test-{id}"));
    if let Err(error) = std::fs::create_dir(&cgroup) {
        eprintln!("skipped: {}: {error}", cgroup.display());
        return;
    }
    let house = House::new().await;
    let mut wanted = spec(&["sleep", "1000"]);
    wanted.confinement = Confinement { cgroup: Some(cgroup.clone()), ..Confinement::default() };
    let held = house.holder.spawn(id, &wanted, RING, b"").await.unwrap();
    let inside = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    assert_eq!(inside.trim(), held.pid.to_string());
    house.holder.signal(id, libc::SIGKILL).await.unwrap();
    soon("its end", async {
        while std::fs::remove_dir(&cgroup).is_err() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    // There is none any more.
    let refused = house.holder.spawn(SessionId::generate(), &wanted, RING, b"").await.unwrap_err();
    assert!(refused.to_string().starts_with("cgroup: "), "{refused}");
}
