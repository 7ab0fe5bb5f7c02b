//! Share links that are made at an edge, for sessions of another machine.

use super::machines::{LOOK, bash, member, sees, two};
use crate::support::{Api, NatsServer, Server, Terminal, dial, soon};
use actix_web::http::Method;
use actix_web::rt::time::sleep;
use awc::error::WsClientError;
use serde_json::{Value, json};

/// Makes a link: the API in its visitor's hands, and its id.
async fn link(api: &Api, session: &str, body: Value) -> (Api, String) {
    let path = format!("/api/v1/sessions/{session}/shares");
    let made = api.post(&path, body.to_string()).await.ok(201);
    let secret = made["token"].as_str().expect("a secret");
    assert_eq!(made["url"], format!("{}/#share={secret}", api.base()), "it opens where it is made");
    (api.with_token(secret), made["id"].as_str().expect("an id").to_owned())
}

async fn token(owner: &Api, body: Value) -> Api {
    let made = owner.post("/api/v1/tokens", body.to_string()).await.ok(201);
    owner.with_token(made["token"].as_str().expect("a token"))
}

async fn on_attic(desk: &Server, labels: Value) -> String {
    let wanted = json!({ "labels": labels, "name": "work" });
    let mut body = bash("attic");
    body.as_object_mut().expect("an object").extend(wanted.as_object().expect("one").clone());
    desk.api().create(body).await["id"].as_str().expect("an id").to_owned()
}

/// Waits until a link opens nothing any more.
async fn ends(guest: &Api) {
    soon("the end of the link", async {
        while guest.get("/api/v1/whoami").await.status != 401 {
            sleep(LOOK).await;
        }
    })
    .await;
}

async fn listed(api: &Api, path: &str) -> Vec<Value> {
    api.get(path).await.ok(200)["shares"].as_array().expect("links").clone()
}

#[actix_web::test]
async fn a_link_opens_at_the_edge_with_what_was_asked_for_until_it_is_ended() {
    let Some((_nats, mut desk, attic)) = two("").await else { return };
    let owner = desk.api();
    // At once, before the directory tells of the session.
    let id = on_attic(&desk, json!({ "team": "a" })).await;
    let path = format!("/api/v1/sessions/{id}");
    let (looks, look) = link(&owner, &id, json!({})).await;
    let (types, kind) = link(&owner, &id, json!({ "mode": "rw", "expires_s": null })).await;
    attic.api().with_token(looks.token()).get(&path).await.problem(401, "unauthorized");

    let seen = looks.get(&path).await.ok(200);
    assert_eq!((&seen["id"], &seen["node"]), (&json!(id), &json!("attic")));
    assert_eq!((&seen["command"], &seen["labels"]), (&json!([]), &json!({})), "{seen}");
    let list = soon("the session in the visitor's list", async {
        loop {
            let list = looks.get("/api/v1/sessions").await.ok(200)["sessions"].take();
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                return list;
            }
            sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!((list.as_array().map(Vec::len), &list[0]["id"]), (Some(1), &json!(id)), "{list}");
    assert_eq!(list[0]["labels"], json!({}), "{list}");

    let attach = format!("{path}/attach?client=tab&mode");
    let refused = dial(&looks, &format!("{attach}=rw"), Some("stayd.v1")).await.err();
    let refused = refused.expect("a refusal");
    assert!(
        matches!(&refused, WsClientError::InvalidResponseStatus(status) if *status == 403),
        "{refused:?}"
    );
    let mut terminal = Terminal::open(&types, &format!("{attach}=rw"), Some("stayd.v1")).await;
    let mut onlooker = Terminal::open(&looks, &format!("{attach}=ro"), Some("stayd.v1")).await;
    terminal.type_in("echo $((6*7))\n").await;
    terminal.wait_for("42").await;
    onlooker.wait_for("42").await;
    onlooker.type_in("x").await;
    assert_eq!(onlooker.control("error").await["code"], "read_only");

    // Listed by who may share the session, with what it is.
    let links = listed(&owner, &format!("{path}/shares")).await;
    let about = |it: &Value| (it["id"].clone(), it["mode"].clone(), it["expires_at"].is_null());
    let links: Vec<_> = links.iter().map(about).collect();
    assert_eq!(links, [(json!(look), json!("ro"), false), (json!(kind), json!("rw"), true)]);
    let all = listed(&owner, "/api/v1/shares").await;
    let of = json!({ "id": id, "name": "work", "node": "attic" });
    assert!(all.len() == 2 && all.iter().all(|it| it["session"] == of), "{all:?}");
    let by_name = "/api/v1/nodes/attic/sessions/work/shares";
    assert_eq!(listed(&owner, by_name).await.len(), 2);
    assert!(listed(&attic.api(), &format!("{path}/shares")).await.is_empty(), "none is kept there");

    // It outlives the edge.
    desk.kill_and_restart().await;
    let owner = desk.api();
    let (looks, types) = (owner.with_token(looks.token()), owner.with_token(types.token()));
    sees(&desk, "attic", "online").await;
    soon("the session", async {
        while looks.get(&path).await.status != 200 {
            sleep(LOOK).await;
        }
    })
    .await;

    let mut onlooker = Terminal::open(&looks, &format!("{attach}=ro"), Some("stayd.v1")).await;
    onlooker.wait_for("42").await;
    assert_eq!(owner.delete(&format!("{by_name}/{look}")).await.status, 204);
    let (code, why) = onlooker.closed().await;
    assert_eq!(code, 1008, "{why}");
    looks.get(&path).await.problem(401, "unauthorized");
    assert_eq!(types.get(&path).await.status, 200, "another link");
    assert_eq!(listed(&owner, &format!("{path}/shares")).await.len(), 1);
    let unknown = owner.delete(&format!("{path}/shares/{look}")).await;
    unknown.problem(404, "not_found");
}

#[actix_web::test]
async fn a_link_ends_with_its_time_and_with_the_session() {
    let Some((_nats, desk, attic)) = two("").await else { return };
    let owner = desk.api();
    let id = on_attic(&desk, json!({})).await;
    let path = format!("/api/v1/sessions/{id}");
    let (short, _) = link(&owner, &id, json!({ "expires_s": 1 })).await;
    let (long, _) = link(&owner, &id, json!({ "expires_s": null })).await;
    ends(&short).await;
    assert_eq!(long.get(&path).await.status, 200);
    // One that has ended is still looked at, as on its own machine.
    assert_eq!(attic.api().delete(&path).await.status, 200);
    assert_eq!(long.get(&path).await.ok(200)["status"], "TERMINATED");
    assert_eq!(attic.api().delete(&format!("{path}?purge=true")).await.status, 200);
    ends(&long).await;
    assert!(listed(&owner, "/api/v1/shares").await.is_empty());
    let rows = desk.db().query_row("SELECT count(*) FROM shares_elsewhere", [], |row| row.get(0));
    assert_eq!(rows, Ok(0_i64), "nothing is kept of it");
}

#[actix_web::test]
async fn who_may_not_share_a_session_makes_no_link_of_it() {
    let Some((_nats, desk, attic)) = two("").await else { return };
    let owner = desk.api();
    let id = on_attic(&desk, json!({ "team": "a" })).await;
    let (guest, kept) = link(&owner, &id, json!({ "mode": "rw" })).await;
    let role = |name: &str, role: &str, more: Value| {
        let mut body = json!({ "name": name, "role": role });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("one").clone());
        body
    };
    let looks = token(&owner, role("looks", "viewer", json!({}))).await;
    let others = token(&owner, role("others", "admin", json!({ "labels": { "team": "b" } }))).await;
    let own = token(&owner, role("own", "controller", json!({ "own": true }))).await;
    let team =
        token(&owner, role("team", "controller", json!({ "labels": { "team": "a" } }))).await;
    let paths = [
        format!("/api/v1/sessions/{id}/shares"),
        "/api/v1/nodes/attic/sessions/work/shares".into(),
    ];
    for path in &paths {
        let one = format!("{path}/{kept}");
        for (who, status, code) in [
            (&looks, 403, "forbidden"),
            (&guest, 403, "forbidden"),
            (&others, 404, "not_found"),
            (&own, 404, "not_found"),
        ] {
            who.post(path, "{}").await.problem(status, code);
            who.get(path).await.problem(status, code);
            who.delete(&one).await.problem(status, code);
        }
        owner.with_token("").post(path, "{}").await.problem(401, "unauthorized");
        assert_eq!(team.get(path).await.status, 200);
    }
    assert!(listed(&others, "/api/v1/shares").await.is_empty());
    assert_eq!(listed(&team, "/api/v1/shares").await.len(), 1);
    owner.post("/api/v1/nodes/attic/sessions/nobody/shares", "{}").await.problem(404, "not_found");
    owner
        .post("/api/v1/nodes/cellar/sessions/work/shares", "{}")
        .await
        .problem(404, "unknown_node");
    // A link opens nothing that does not exist for its maker any more, and nothing else at any time.
    let (teams, _) = link(&team, &id, json!({})).await;
    let path = format!("/api/v1/sessions/{id}");
    assert_eq!(teams.get(&path).await.status, 200);
    let other = attic.api().create(json!({ "command": ["cat"] })).await;
    let other = format!("/api/v1/nodes/attic/sessions/{}", other["id"].as_str().expect("an id"));
    for what in [&other[..], "/api/v1/nodes/attic/audit"] {
        let status = guest.get(what).await.status.as_u16();
        assert!([403, 404].contains(&status), "{what}: {status}");
    }
    let attach = format!("{path}/attach?client=tab&mode=ro");
    let mut onlooker = Terminal::open(&teams, &attach, Some("stayd.v1")).await;
    let moved = json!({ "labels": { "team": "b" } }).to_string();
    attic.api().send(Method::PATCH, &path, moved).await.ok(200);
    teams.get(&path).await.problem(404, "not_found");
    assert_eq!(onlooker.closed().await.0, 1008, "what is open ends as well");
    // It ends with its maker's token.
    assert_eq!(owner.delete("/api/v1/tokens/team").await.status, 204);
    teams.get(&path).await.problem(401, "unauthorized");
    assert_eq!(guest.get(&path).await.status, 200, "another's link");
}

#[actix_web::test]
async fn a_machine_that_lets_nobody_type_is_shared_by_nobody() {
    let Some((_nats, desk, attic)) = two("rights = \"viewer\"").await else { return };
    let session = attic.api().create(json!({ "command": ["cat"], "name": "work" })).await;
    let id = session["id"].as_str().expect("an id");
    soon("the directory", async {
        while desk.api().get(&format!("/api/v1/sessions/{id}")).await.status != 200 {
            sleep(LOOK).await;
        }
    })
    .await;
    let refused = desk.api().post(&format!("/api/v1/sessions/{id}/shares"), "{}").await;
    assert_eq!(refused.problem(403, "forbidden")["needs"], "controller");
}

#[actix_web::test]
async fn links_of_a_machine_that_is_away_are_kept_and_can_be_ended() {
    let Some((nats, mut desk, mut attic)) = two("").await else { return };
    let id = on_attic(&desk, json!({})).await;
    let path = format!("/api/v1/sessions/{id}");
    let (guest, first) = link(&desk.api(), &id, json!({ "mode": "rw" })).await;
    let (_, second) = link(&desk.api(), &id, json!({})).await;
    soon("the directory", async {
        while !desk.api().get("/api/v1/sessions?node=all").await.ok(200).to_string().contains(&id) {
            sleep(LOOK).await;
        }
    })
    .await;
    attic.kill();
    sees(&desk, "attic", "offline").await;
    guest.get(&path).await.problem(503, "node_offline");
    let refused = desk.api().post(&format!("{path}/shares"), "{}").await;
    assert!(refused.problem(503, "node_offline")["detail"].to_string().contains("attic"));
    assert_eq!(desk.api().delete(&format!("{path}/shares/{second}")).await.status, 204);
    // Also where the directory has nothing of the machine any more.
    let mut nats = nats;
    nats.kill();
    desk.kill();
    nats.restart().await;
    desk.restart().await;
    let owner = desk.api();
    let all = listed(&owner, "/api/v1/shares").await;
    let of = json!({ "id": id, "name": null, "node": "attic" });
    assert!(all.len() == 1 && all[0]["session"] == of, "{all:?}");
    let scoped = token(&owner, json!({ "name": "scoped", "role": "admin", "own": true })).await;
    assert!(listed(&scoped, "/api/v1/shares").await.is_empty(), "nobody knows whose it is");
    scoped.delete(&format!("{path}/shares/{first}")).await.problem(404, "not_found");
    attic.restart().await;
    sees(&desk, "attic", "online").await;
    let guest = owner.with_token(guest.token());
    soon("the session", async {
        while guest.get(&path).await.status != 200 {
            sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!(owner.delete(&format!("{path}/shares/{first}")).await.status, 204);
    guest.get(&path).await.problem(401, "unauthorized");
}

#[actix_web::test]
async fn a_link_that_the_machine_itself_has_made_is_its_own() {
    let Some(nats) = NatsServer::start().await else { return };
    let gate = member(&nats, "gate", "gateway = true").await;
    let attic = member(&nats, "attic", "").await;
    sees(&gate, "attic", "online").await;
    let id = on_attic(&gate, json!({})).await;
    let (_, there) = link(&attic.api(), &id, json!({})).await;
    let (guest, here) = link(&gate.api(), &id, json!({})).await;
    assert_eq!(guest.get(&format!("/api/v1/sessions/{id}")).await.status, 200, "at a gateway, too");
    let ids = async |path: &str| {
        let links = listed(&gate.api(), path).await.into_iter();
        links.map(|it| it["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let path = format!("/api/v1/sessions/{id}/shares");
    assert_eq!(ids(&path).await, [here]);
    assert_eq!(ids("/api/v1/nodes/attic/shares").await, std::slice::from_ref(&there));
    assert_eq!(gate.api().delete(&format!("{path}/{there}")).await.status, 204);
    assert!(ids("/api/v1/nodes/attic/shares").await.is_empty());
}
