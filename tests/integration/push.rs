//! Web push: what browsers are told by a push service, whose they are, and what ends them.

use crate::hooks::{Call, Receiver, metric, report, still};
use crate::support::{Api, Server, Terminal, soon};
use awc::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use web_push_native::Auth;
use web_push_native::p256::SecretKey;
use web_push_native::p256::elliptic_curve::sec1::ToEncodedPoint as _;

/// A browser's side of a subscription.
struct Browser {
    endpoint: String,
    key: SecretKey,
    auth: [u8; 16],
}

impl Browser {
    /// One that is reached by this path of a push service.
    fn at(service: &Receiver, path: &str) -> Browser {
        let (mut key, mut auth) = ([0; 32], [0; 16]);
        getrandom::fill(&mut key).expect("randomness");
        getrandom::fill(&mut auth).expect("randomness");
        let key = SecretKey::from_slice(&key).expect("a key");
        Browser { endpoint: service.url(path), key, auth }
    }

    fn body(&self) -> Value {
        let p256dh = self.key.public_key().to_encoded_point(false);
        json!({
            "endpoint": self.endpoint,
            "keys": {
                "p256dh": URL_SAFE_NO_PAD.encode(p256dh.as_bytes()),
                "auth": URL_SAFE_NO_PAD.encode(self.auth),
            },
        })
    }

    /// Registers it; the subscription's id.
    async fn subscribe(&self, api: &Api) -> String {
        let reply = put(api, &self.body()).await.ok(200);
        reply["id"].as_str().expect("an id").to_owned()
    }

    /// What a message says.
    fn read(&self, call: &Call) -> Value {
        let auth = Auth::clone_from_slice(&self.auth);
        let told = web_push_native::decrypt(call.bytes.clone(), &self.key, &auth);
        serde_json::from_slice(&told.expect("encrypted for this browser")).expect("JSON")
    }
}

async fn put(api: &Api, body: &Value) -> crate::support::Reply {
    api.send(Method::PUT, "/api/v1/push/subscriptions", body.to_string()).await
}

/// A server that knows this push service.
async fn server(service: &Receiver) -> Server {
    Server::start_with(&["--push-service", &format!("http://{}", service.address)]).await
}

async fn token(owner: &Api, body: Value) -> Api {
    let made = owner.post("/api/v1/tokens", body.to_string()).await.ok(201);
    owner.with_token(made["token"].as_str().unwrap())
}

async fn until_counted(api: &Api, outcome: &str, number: u64) {
    let name = format!("stayd_push_deliveries_total{{outcome=\"{outcome}\"}} ");
    soon(outcome, async {
        while metric(api, &name).await < number {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}

const COUNT: &str = "SELECT count(*) FROM push_subscriptions";

#[actix_web::test]
async fn a_browser_is_told_encrypted_and_signed_unless_somebody_looks() {
    let service = Receiver::start(|_| 201);
    let server = server(&service).await;
    let api = server.api();
    let key = api.get("/api/v1/push").await.ok(200)["public_key"].as_str().unwrap().to_owned();
    let file = std::fs::metadata(server.state().join("vapid.key")).expect("the key");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let id = still(&api, json!({ "name": "agent" })).await;
    report(&api, &id, "blocked", "what was before").await;
    let browser = Browser::at(&service, "of/the/browser?x=1");
    browser.subscribe(&api).await;

    report(&api, &id, "blocked", "May I run rm?").await;
    let call = service.wait_for(1).await.remove(0);
    let told = browser.read(&call);
    let at = told["at"].clone();
    assert_eq!(
        told,
        json!({ "event": "blocked", "session": id, "at": at, "title": "agent",
            "body": "It asks: May I run rm?", "tag": format!("stayd-{id}"), "url": format!("#/s/{id}") })
    );
    assert_eq!(call.path, "/of/the/browser?x=1");
    let header = |name: &str| call.headers[name].as_str();
    assert_eq!((header("content-encoding"), header("ttl")), ("aes128gcm", "86400"));
    assert_eq!(header("urgency"), "high");
    let topic = header("topic").to_owned();
    assert!(topic.len() == 32 && topic.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_ne!(topic, id.replace('-', ""), "the service does not learn the session");
    assert!(!String::from_utf8_lossy(&call.bytes).contains("rm"));

    // RFC 8292: a token of the public key that the browser was given, for this service, not for long.
    let (jwt, signer) =
        header("authorization").strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    assert_eq!(signer, key);
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes(&key));
    public.verify(signed.as_bytes(), &bytes(signature)).expect("signed");
    let (head, claims) = signed.split_once('.').unwrap();
    let read = |text: &str| serde_json::from_slice::<Value>(&bytes(text)).expect("JSON");
    assert_eq!(read(head), json!({ "typ": "JWT", "alg": "ES256" }));
    let claims = read(claims);
    assert_eq!(claims["aud"], format!("http://{}", service.address));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let left = claims["exp"].as_u64().unwrap() - now;
    assert!(left > 3600 && left < 24 * 3600, "{left}");

    report(&api, &id, "done", "all of it").await;
    let calls = service.wait_for(2).await;
    assert_eq!(browser.read(&calls[1])["body"], "all of it");
    assert_eq!(
        (&calls[1].headers["urgency"], &calls[1].headers["topic"]),
        (&"normal".into(), &topic)
    );

    // Nothing while somebody looks, wherever that is.
    let (mut terminal, _) = Terminal::attach(&server, &id, "mode=ro").await;
    report(&api, &id, "blocked", "seen").await;
    until_counted(&api, "looked_at", 1).await;
    terminal.say(json!({ "type": "looking", "looking": false })).await;
    soon("looking away", async {
        while api.session(&id).await["clients"][0]["looking"] != false {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    report(&api, &id, "blocked", "not seen").await;
    let calls = service.wait_for(3).await;
    assert_eq!(browser.read(&calls[2])["body"], "It asks: not seen");

    // An end that was asked for is no news, one by an error is.
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    api.run("exit 3").await;
    let calls = service.wait_for(4).await;
    let told = browser.read(&calls[3]);
    assert_eq!(
        (&told["event"], &told["body"]),
        (&json!("error"), &json!("It has ended with code 3."))
    );
    until_counted(&api, "delivered", 4).await;
    assert_eq!(service.calls().len(), 4);
    // The address is a secret of the browser: nothing shows it.
    for path in ["/api/v1/audit", "/api/v1/logins", "/api/v1/tokens", "/api/v1/push", "/metrics"] {
        let text = String::from_utf8(api.get(path).await.bytes).expect("text");
        assert!(!text.contains("of/the/browser"), "{path}: {text}");
    }
}

#[actix_web::test]
async fn one_hears_of_what_exists_for_one_and_a_link_hears_nothing() {
    let service = Receiver::start(|_| 201);
    let server = server(&service).await;
    let owner = server.api();
    let (a, b) = (still(&owner, json!({})).await, still(&owner, json!({})).await);
    let labelled = still(&owner, json!({ "labels": { "team": "web" } })).await;
    let viewer = json!({ "name": "viewer", "role": "viewer", "sessions": [b] });
    let team = json!({ "name": "team", "labels": { "team": "web" } });
    let own = json!({ "name": "own", "own": true });
    let mut browsers = Vec::new();
    for body in [viewer, team, own] {
        let path = body["name"].as_str().unwrap().to_owned();
        let api = token(&owner, body).await;
        let browser = Browser::at(&service, &path);
        browser.subscribe(&api).await;
        browsers.push((path, browser, api));
    }
    let share = owner.post(&format!("/api/v1/sessions/{a}/shares"), r#"{"mode":"rw"}"#).await;
    let guest = owner.with_token(share.ok(201)["token"].as_str().unwrap());
    put(&guest, &Browser::at(&service, "guest").body()).await.problem(403, "forbidden");
    guest.get("/api/v1/push").await.problem(403, "forbidden");

    let owns = still(&browsers[2].2, json!({})).await;
    for id in [&a, &b, &labelled, &owns] {
        report(&owner, id, "blocked", "?").await;
    }
    let calls = service.wait_for(3).await;
    let told = |calls: &[Call]| {
        let mut told: Vec<_> = calls
            .iter()
            .map(|call| {
                let is_it = |(path, ..): &&(String, Browser, Api)| call.path == format!("/{path}");
                let (path, browser, _) = browsers.iter().find(is_it).expect("one of them");
                (path.clone(), browser.read(call)["session"].as_str().unwrap().to_owned())
            })
            .collect();
        told.sort();
        told
    };
    let pair = |path: &str, id: &str| (path.to_owned(), id.to_owned());
    let expected = vec![pair("own", &owns), pair("team", &labelled), pair("viewer", &b)];
    assert_eq!(told(&calls), expected);
    // What counts is the scope at the time of the event.
    let labels = json!({ "labels": {} }).to_string();
    owner.send(Method::PATCH, &format!("/api/v1/sessions/{labelled}"), labels).await.ok(200);
    report(&owner, &labelled, "done", "").await;
    report(&owner, &b, "done", "").await;
    let calls = service.wait_for(4).await;
    assert_eq!(told(&calls[3..]), [pair("viewer", &b)]);
    until_counted(&owner, "delivered", 4).await;
    assert_eq!(service.calls().len(), 4);
}

#[actix_web::test]
async fn it_ends_with_the_login_the_token_its_own_end_and_the_browser() {
    let status = Arc::new(AtomicU16::new(201));
    let answer = status.clone();
    let receiver = Receiver::start(move |_| answer.load(Ordering::SeqCst));
    let server = server(&receiver).await;
    let owner = server.api();
    let anna = token(&owner, json!({ "name": "anna" })).await;
    let ben = token(&owner, json!({ "name": "ben" })).await;
    let login = json!({ "token": anna.token() }).to_string();
    let reply = owner.post("/api/v1/login", login).await;
    let cookie = reply.headers.get("set-cookie").unwrap();
    let cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
    let by_cookie = [("Cookie", cookie.as_str()), ("Origin", owner.base())];
    let nobody = owner.with_token("");
    let (at_login, at_token) = (Browser::at(&receiver, "login"), Browser::at(&receiver, "token"));
    let body = at_login.body().to_string();
    let path = "/api/v1/push/subscriptions";
    nobody.send_with(Method::PUT, path, &by_cookie, body).await.ok(200);
    at_token.subscribe(&anna).await;
    let stays = Browser::at(&receiver, "stays");
    let own = stays.subscribe(&owner).await;
    server.wait_for_sql(COUNT, "3").await;

    let id = still(&owner, json!({})).await;
    // Every event is told to exactly those that are left: what the last one gets comes after it.
    let told = async |message: &str, expected: &[&str], before: usize| {
        report(&owner, &id, "blocked", message).await;
        let calls = receiver.wait_for(before + expected.len()).await;
        until_counted(&owner, "delivered", (before + expected.len()) as u64).await;
        let mut paths: Vec<_> = calls[before..].iter().map(|call| call.path.clone()).collect();
        paths.sort();
        assert_eq!(paths, expected, "{message}");
        calls.len()
    };
    let count = told("1", &["/login", "/stays", "/token"], 0).await;
    nobody.send_with(Method::POST, "/api/v1/logout", &by_cookie, "").await;
    server.wait_for_sql(COUNT, "2").await;
    let count = told("2", &["/stays", "/token"], count).await;
    assert_eq!(owner.delete("/api/v1/tokens/anna").await.status.as_u16(), 204);
    server.wait_for_sql(COUNT, "1").await;
    let count = told("3", &["/stays"], count).await;

    // Others cannot end it, nor learn of it.
    ben.delete(&format!("{path}/{own}")).await.problem(404, "not_found");
    owner.delete(&format!("{path}/none")).await.problem(404, "not_found");
    let second = Browser::at(&receiver, "second").subscribe(&owner).await;
    assert_eq!(owner.delete(&format!("{path}/{second}")).await.status.as_u16(), 204);
    told("4", &["/stays"], count).await;
    status.store(410, Ordering::SeqCst);
    report(&owner, &id, "blocked", "5").await;
    server.wait_for_sql(COUNT, "0").await;
    until_counted(&owner, "given_up", 1).await;
    report(&owner, &id, "blocked", "6").await;
    // Nobody is left, as the next one who comes shows.
    status.store(201, Ordering::SeqCst);
    let last = Browser::at(&receiver, "last");
    last.subscribe(&owner).await;
    report(&owner, &id, "blocked", "7").await;
    let calls = receiver.wait_for(9).await;
    assert_eq!((calls[8].path.as_str(), calls.len()), ("/last", 9));
    assert_eq!(last.read(&calls[8])["body"], "It asks: 7");
}

#[actix_web::test]
async fn a_new_server_knows_the_browsers_has_the_key_and_delivers_what_was_left() {
    let works = Arc::new(AtomicBool::new(false));
    let open = works.clone();
    let service = Receiver::start(move |_| if open.load(Ordering::SeqCst) { 201 } else { 503 });
    let mut server = server(&service).await;
    let api = server.api();
    let key = api.get("/api/v1/push").await.ok(200);
    let browser = Browser::at(&service, "b");
    browser.subscribe(&api).await;
    let id = still(&api, json!({})).await;
    report(&api, &id, "blocked", "before the kill").await;
    service.wait_for(1).await;
    server.wait_for_sql("SELECT count(*) FROM deliveries", "1").await;
    server.kill_and_restart().await;
    let api = server.api();
    assert_eq!(api.get("/api/v1/push").await.ok(200), key);
    let failed = service.calls().len();
    works.store(true, Ordering::SeqCst);
    let calls = service.wait_for(failed + 1).await;
    assert_eq!(browser.read(calls.last().unwrap())["body"], "It asks: before the kill");
    server.wait_for_sql("SELECT count(*) FROM deliveries", "0").await;
    let count = service.calls().len();
    report(&api, &id, "done", "after it").await;
    let calls = service.wait_for(count + 1).await;
    assert_eq!(browser.read(&calls[count])["body"], "after it");
}

#[actix_web::test]
async fn a_service_that_hangs_holds_up_nobody_else() {
    let release = Arc::new(AtomicBool::new(false));
    let (open, good) = (release.clone(), Receiver::start(|_| 201));
    let hangs = Receiver::start(move |_| {
        while !open.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        201
    });
    let origin = |service: &Receiver| format!("http://{}", service.address);
    let services = [origin(&hangs), origin(&good)].join(",");
    let server = Server::start_with(&["--push-service", &services]).await;
    let api = server.api();
    let anna = token(&api, json!({ "name": "anna" })).await;
    for n in 0..16 {
        Browser::at(&hangs, &n.to_string()).subscribe(&anna).await;
    }
    let browser = Browser::at(&good, "good");
    browser.subscribe(&api).await;
    let (a, b) = (still(&api, json!({})).await, still(&api, json!({})).await);
    report(&api, &a, "blocked", "1").await;
    hangs.wait_for(16).await;
    report(&api, &b, "blocked", "2").await;
    let calls = good.wait_for(2).await;
    assert_eq!(browser.read(&calls[1])["session"], b);
    assert_eq!(hangs.calls().len(), 16, "each browser is sent one after the other");
    release.store(true, Ordering::SeqCst);
    hangs.wait_for(32).await;
}

#[actix_web::test]
async fn only_push_services_are_called_and_only_so_many() {
    let service = Receiver::start(|_| 201);
    let server = server(&service).await;
    let api = server.api();
    let viewer = token(&api, json!({ "name": "viewer", "role": "viewer" })).await;
    let good = Browser::at(&service, "x").body();
    // A server that called any address would do so in the place of whoever names it.
    let other = Receiver::start(|_| 201);
    for endpoint in [
        other.url("x"),
        format!("http://{}/api/v1/tokens", server.address()),
        format!("http://user@{}/x", service.address),
        format!("https://{}/x", service.address),
        "https://127.0.0.1/x".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://localhost/x".to_owned(),
        "https://intranet/x".to_owned(),
        "https://push.apple.com.evil.example/x".to_owned(),
        "https://fcm.googleapis.com:22/x".to_owned(),
        "http://fcm.googleapis.com/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
        service.url(&"x".repeat(3000)),
    ] {
        let mut body = good.clone();
        body["endpoint"] = json!(endpoint);
        let problem = put(&viewer, &body).await.problem(400, "invalid_request");
        assert!(endpoint.is_empty() || !problem.to_string().contains(&endpoint), "{problem}");
    }
    let with = |keys: Value| json!({ "endpoint": service.url("x"), "keys": keys });
    for body in [
        with(json!({ "p256dh": good["keys"]["p256dh"] })),
        with(json!({ "p256dh": good["keys"]["p256dh"], "auth": "AA" })),
        with(json!({ "p256dh": "AAAA", "auth": good["keys"]["auth"] })),
        json!({ "endpoint": service.url("x") }),
        json!([]),
    ] {
        put(&viewer, &body).await.problem(400, "invalid_request");
    }
    server.wait_for_sql(COUNT, "0").await;

    // A browser has one subscription, that of whoever subscribed it last. A token's oldest one makes room.
    let first = put(&viewer, &good).await.ok(200);
    assert_ne!(put(&viewer, &good).await.ok(200), first);
    put(&api, &good).await.ok(200);
    server.wait_for_sql(COUNT, "1").await;
    for n in 0..17 {
        Browser::at(&service, &n.to_string()).subscribe(&viewer).await;
    }
    server.wait_for_sql(COUNT, "17").await;
    let id = still(&api, json!({})).await;
    report(&api, &id, "done", "").await;
    let calls = service.wait_for(17).await;
    let mut told: Vec<_> = calls.iter().map(|call| call.path.clone()).collect();
    told.sort();
    let mut expected: Vec<_> = (1..17).map(|n| format!("/{n}")).chain(["/x".to_owned()]).collect();
    expected.sort();
    assert_eq!(told, expected);
    assert!(other.calls().is_empty());
}
