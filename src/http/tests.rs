//! The guard, logins and errors in a real app service: every way in, and every refusal.

use super::auth::Access;
use super::bodies::AnswerBody;
use super::caller::Caller;
use super::guard::Guard;
use super::problem::{self, Problem};
use super::{assets, login};
use crate::rights::Grants;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::{App, Error, HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use futures_util::future::join_all;
use serde_json::{Value, json};
use slog::{Discard, Logger, o};
use std::time::{Duration, Instant};

const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const HOST: (&str, &str) = ("host", "127.0.0.1:7829");
const ORIGIN: (&str, &str) = ("origin", "http://127.0.0.1:7829");
const UPGRADE: [(&str, &str); 4] = [
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The owner's.
const TOKEN: &str = "secret-secret-secret-secret";

fn access() -> web::Data<Access> {
    let listen = ["127.0.0.1:7829", "[::1]:7829"].map(|address| address.parse().unwrap());
    let hosts = ["term.example".to_owned()];
    let origins = ["https://ok.example".to_owned()];
    let access = Access::new(Grants::in_memory(TOKEN), &listen, &hosts, &origins);
    web::Data::new(access.unwrap())
}

async fn thing(caller: web::ReqData<Caller>) -> String {
    caller.principal.name.clone()
}

async fn upgrade(
    request: HttpRequest,
    _: web::Payload,
    _: web::ReqData<Caller>,
) -> Result<HttpResponse, Error> {
    let (offered, authorization) = ("sec-websocket-protocol", "authorization");
    let seen = request.headers().get(offered).map_or("", |value| value.to_str().unwrap());
    assert!(!seen.contains("bearer") && !request.headers().contains_key(authorization));
    Ok(ws::handshake_with_protocols(&request, &["stayd.v1"])?.finish())
}

#[derive(serde::Deserialize)]
struct Body {
    n: u32,
}

async fn body(body: web::Json<Body>, query: web::Query<Vec<(String, u32)>>) -> String {
    (body.n + query.len() as u32).to_string()
}

async fn refused() -> Result<HttpResponse, Problem> {
    Err(Problem::new(problem::code::ENDED, "over")
        .with("session", json!({"id": 1}))
        .with("code", "mine"))
}

/// The app as the server builds it, with some routes to guard.
async fn app(
    access: &web::Data<Access>,
) -> impl Service<actix_http::Request, Response = ServiceResponse<AnswerBody>, Error = Error> {
    init_service(
        App::new()
            .app_data(access.clone())
            .configure(problem::configure)
            .configure(login::configure)
            .configure(assets::configure)
            .route("/healthz", web::get().to(HttpResponse::Ok))
            .service(
                web::resource("/api/v1/sessions")
                    .route(web::get().to(thing))
                    .route(web::post().to(thing)),
            )
            .route("/api/v1/tokens", web::post().to(body))
            .route(
                "/api/v1/sessions/{n}",
                web::get().to(|n: web::Path<u32>| async move { n.to_string() }),
            )
            .route(
                "/api/v1/sessions/x/input",
                web::post().to(|bytes: web::Bytes| async move { bytes }),
            )
            .route("/api/v1/profiles", web::get().to(refused))
            .route(
                "/readyz",
                web::get().to(|| async {
                    HttpResponse::ServiceUnavailable().json(json!({"ready": false}))
                }),
            )
            .route("/api/v1/sessions/x/attach", web::get().to(upgrade))
            .wrap(Guard::new(access.clone(), BODY_TIMEOUT, Logger::root(Discard, o!()))),
    )
    .await
}

/// One request: its status, headers and body.
struct Answer {
    status: u16,
    headers: actix_web::http::header::HeaderMap,
    body: web::Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{:?}", self.body);
        let json: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(json["status"], self.status);
        json
    }

    /// Status and `code` of a problem.
    fn problem(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap().to_owned())
    }
}

async fn ask(
    access: &web::Data<Access>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let app = app(access).await;
    let mut request = TestRequest::with_uri(path).method(method).set_payload(body.to_owned());
    for &header in headers {
        request = request.append_header(header);
    }
    let response = app.call(request.to_request()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: read_body(response.map_body(|_, body| body.boxed())).await }
}

async fn get(access: &web::Data<Access>, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(access, Method::GET, path, headers, "").await
}

fn bearer(_: &Access) -> String {
    format!("Bearer {}", TOKEN)
}

fn denied(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[actix_web::test]
async fn everything_needs_the_token() {
    for (method, path) in [
        (Method::GET, "/api/v1/sessions"),
        (Method::POST, "/api/v1/sessions"),
        (Method::DELETE, "/api/v1/sessions"),
        (Method::OPTIONS, "/api/v1/sessions"),
        (Method::GET, "/nowhere"),
        (Method::GET, "/assets/nothing.js"),
        (Method::GET, "/assets/../api/v1/sessions"),
        (Method::GET, "//"),
        (Method::GET, "/healthz/"),
        (Method::GET, "/%68ealthz"),
        (Method::POST, "/healthz"),
        (Method::POST, "/"),
        (Method::GET, "/api/v1/login"),
        (Method::POST, "/api/v1/login/"),
        (Method::POST, "/api/v1/logout"),
    ] {
        // Each with none of the guesses before it.
        let access = access();
        let bearer = bearer(&access);
        let without = ask(&access, method.clone(), path, &[HOST], "").await;
        assert_eq!(without.problem(), denied(401, "unauthorized"), "{method} {path}");
        assert_eq!(without.header("www-authenticate"), "Bearer");
        let wrong = [HOST, ("authorization", "Bearer wrong")];
        let wrong = ask(&access, method.clone(), path, &wrong, "").await;
        assert_eq!(wrong.problem(), denied(401, "unauthorized"), "{method} {path}");
        let right = [HOST, ("authorization", &*bearer)];
        let right = ask(&access, method.clone(), path, &right, "").await;
        assert_ne!(right.status, 401, "{method} {path}");
    }
    let access = access();
    let bearer = bearer(&access);
    let right = get(&access, "/api/v1/sessions", &[HOST, ("authorization", &bearer)]).await;
    assert_eq!((right.status, &right.body[..]), (200, &b"owner"[..]));
}

#[actix_web::test]
async fn the_page_and_health_need_none() {
    let access = access();
    for path in ["/", "/healthz"] {
        assert_eq!(get(&access, path, &[HOST]).await.status, 200, "{path}");
    }
    assert_eq!(ask(&access, Method::HEAD, "/", &[HOST], "").await.status, 200);
    assert_eq!(get(&access, "/favicon.ico", &[HOST]).await.problem(), denied(404, "not_found"));
    let page = get(&access, "/", &[HOST]).await;
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert_eq!(page.header("cache-control"), "no-cache");
    let again = [HOST, ("if-none-match", page.header("etag"))];
    assert_eq!(get(&access, "/", &again).await.status, 304);
    assert_eq!(get(&access, "/", &[HOST, ("if-none-match", "garbage")]).await.status, 200);
    assert!(page.header("content-security-policy").contains("manifest-src 'self'"));
}

#[actix_web::test]
async fn other_hosts_are_refused_everywhere() {
    let access = access();
    let authorization = bearer(&access);
    let authorization = ("authorization", &*authorization);
    for path in ["/", "/healthz", "/api/v1/sessions", "/nowhere"] {
        for host in ["evil.example:7829", "127.0.0.2", "localhost:", "", "127.0.0.1:7829/"] {
            let answer = get(&access, path, &[("host", host), authorization]).await;
            assert_eq!(answer.problem(), denied(403, "forbidden_host"), "{path} {host}");
        }
        let missing = get(&access, path, &[authorization]).await;
        assert_eq!(missing.problem(), denied(403, "forbidden_host"));
        let twice = get(&access, path, &[HOST, HOST, authorization]).await;
        assert_eq!(twice.problem(), denied(403, "forbidden_host"));
        let target = format!("http://evil.example{path}");
        let absolute = get(&access, &target, &[HOST, authorization]).await;
        assert_eq!(absolute.problem(), denied(403, "forbidden_host"));
    }
    for host in [
        "localhost:7829",
        "[::1]:7829",
        "localhost:8080",
        "127.0.0.1",
        "term.example",
        "term.example:443",
    ] {
        let answer = get(&access, "/api/v1/sessions", &[("host", host), authorization]).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let target = "http://127.0.0.1:7829/api/v1/sessions";
    assert_eq!(get(&access, target, &[HOST, authorization]).await.status, 200);
}

#[actix_web::test]
async fn other_origins_are_refused_even_with_the_token() {
    let access = access();
    let authorization = bearer(&access);
    let authorization = ("authorization", &*authorization);
    for origin in ["null", "", "http://evil.example", "http://localhost:3000", "file://"] {
        for path in ["/healthz", "/api/v1/sessions", "/api/v1/sessions/x/attach"] {
            let answer = get(&access, path, &[HOST, authorization, ("origin", origin)]).await;
            assert_eq!(answer.problem(), denied(403, "forbidden_origin"), "{path} {origin}");
        }
    }
    let twice = get(&access, "/api/v1/sessions", &[HOST, authorization, ORIGIN, ORIGIN]).await;
    assert_eq!(twice.problem(), denied(403, "forbidden_origin"));
    for origin in ["http://127.0.0.1:7829", "http://localhost:7829", "https://ok.example"] {
        let headers = [HOST, authorization, ("origin", origin)];
        assert_eq!(get(&access, "/api/v1/sessions", &headers).await.status, 200, "{origin}");
    }
}

#[actix_web::test]
async fn web_sockets_are_refused_before_the_upgrade() {
    let access = access();
    let ask = |more: &[(&'static str, String)]| {
        let mut headers: Vec<(&str, String)> =
            UPGRADE.iter().chain([&HOST]).map(|&(name, value)| (name, value.to_owned())).collect();
        headers.extend_from_slice(more);
        let access = access.clone();
        async move {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            get(&access, "/api/v1/sessions/x/attach", &headers).await
        }
    };
    let token = TOKEN;
    let (_, pass) = access.grants.by_secret(TOKEN).unwrap();
    let cookie = access.grants.log_in(&pass).await.unwrap().cookie;
    let origin = (ORIGIN.0, ORIGIN.1.to_owned());
    let cookie = ("cookie", format!("stayd-7829={cookie}"));
    let offer = |protocols: String| ("sec-websocket-protocol", protocols);

    assert_eq!(ask(&[]).await.problem(), denied(401, "unauthorized"));
    let wrong = ask(&[offer("stayd.v1, bearer.wrong".into())]).await;
    assert_eq!(wrong.problem(), denied(401, "unauthorized"));
    let evil = ask(&[cookie.clone(), ("origin", "http://evil.example".into())]).await;
    assert_eq!(evil.problem(), denied(403, "forbidden_origin"));
    // A page of another site that leaves no Origin does not exist, but a cookie alone
    // must not open a terminal.
    assert_eq!(ask(std::slice::from_ref(&cookie)).await.problem(), denied(403, "forbidden_origin"));

    for accepted in [
        vec![offer(format!("stayd.v1, bearer.{token}"))],
        vec![offer(format!("bearer.{token},stayd.v1")), origin.clone()],
        vec![offer(format!("bearer.{token}")), offer("stayd.v1".into())],
        vec![("authorization", bearer(&access)), offer("stayd.v1".into())],
        vec![cookie, origin, offer("stayd.v1".into())],
    ] {
        let answer = ask(&accepted).await;
        assert_eq!(answer.status, 101, "{accepted:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), "stayd.v1");
        assert!(!format!("{:?}", answer.headers).contains(token));
    }
}

#[actix_web::test]
async fn a_login_gives_a_cookie_that_needs_an_origin_to_change_things() {
    let access = access();
    let body = json!({"token": TOKEN}).to_string();
    let json = ("content-type", "application/json");
    let answer = ask(&access, Method::POST, "/api/v1/login", &[HOST, ORIGIN, json], &body).await;
    assert_eq!(answer.status, 204);
    let set = answer.header("set-cookie");
    let cookie = set.split(';').next().unwrap();
    assert!(cookie.starts_with("stayd-7829=") && cookie.len() == "stayd-7829=".len() + 64);
    for attribute in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Secure") && !set.contains(TOKEN));

    let cookie = ("cookie", cookie);
    let path = "/api/v1/sessions";
    let post = |headers: Vec<(&'static str, &'static str)>| {
        let (access, cookie) = (access.clone(), cookie.1.to_owned());
        async move {
            let mut headers: Vec<(&str, &str)> = headers;
            headers.push(("cookie", &cookie));
            ask(&access, Method::POST, path, &headers, "").await
        }
    };
    assert_eq!(get(&access, path, &[HOST, cookie]).await.status, 200);
    // A browser gives the cookie to pages on other ports of this host as well, and says so.
    for (site, status) in
        [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]
    {
        let asked = get(&access, path, &[HOST, cookie, ("sec-fetch-site", site)]).await;
        assert_eq!(asked.status, status, "{site}");
    }
    assert_eq!(post(vec![HOST, ORIGIN]).await.status, 200);
    assert_eq!(post(vec![HOST]).await.problem(), denied(403, "forbidden_origin"));
    let evil = post(vec![HOST, ("origin", "http://evil.example")]).await;
    assert_eq!(evil.problem(), denied(403, "forbidden_origin"));

    let logout = [HOST, ORIGIN, cookie];
    let answer = ask(&access, Method::POST, "/api/v1/logout", &logout, "").await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(get(&access, path, &[HOST, cookie]).await.problem(), denied(401, "unauthorized"));
}

#[actix_web::test]
async fn behind_tls_the_cookie_is_secure() {
    let access = access();
    let body = json!({"token": TOKEN}).to_string();
    let headers = [
        ("host", "term.example"),
        ("origin", "https://term.example"),
        ("content-type", "application/json"),
    ];
    let answer = ask(&access, Method::POST, "/api/v1/login", &headers, &body).await;
    assert!(answer.header("set-cookie").contains("; Secure"));
}

#[actix_web::test]
async fn bad_logins_are_refused_and_slowed_down() {
    let access = access();
    let json = ("content-type", "application/json");
    let login = |headers: Vec<(&'static str, &'static str)>, body: String| {
        let access = access.clone();
        async move { ask(&access, Method::POST, "/api/v1/login", &headers, &body).await }
    };
    let right = json!({"token": TOKEN}).to_string();
    for (headers, body, status, code) in [
        (vec![HOST, json], r#"{"token":""}"#.to_owned(), 401, "unauthorized"),
        (vec![HOST, json], "{}".into(), 400, "invalid_request"),
        (vec![HOST, json], "{".into(), 400, "invalid_request"),
        (vec![HOST], right.clone(), 415, "unsupported_media_type"),
        (vec![HOST, json], " ".repeat(5_000), 413, "payload_too_large"),
        (vec![json], right.clone(), 403, "forbidden_host"),
        (vec![HOST, json, ("origin", "null")], right.clone(), 403, "forbidden_origin"),
    ] {
        assert_eq!(login(headers, body).await.problem(), denied(status, code));
    }
    // At once: with time they are forgiven.
    let wrong = || login(vec![HOST, json], r#"{"token":"x"}"#.into());
    let start = Instant::now();
    let many = join_all((0..30).map(|_| wrong())).await;
    let (slowed, plain): (Vec<_>, Vec<_>) = many.iter().partition(|answer| answer.status == 429);
    assert!(plain.iter().all(|answer| answer.problem() == denied(401, "unauthorized")));
    assert!(slowed.len() >= 15, "{}", slowed.len());
    assert!(start.elapsed() >= Duration::from_secs(1));
    for answer in slowed {
        assert_eq!(answer.problem(), denied(429, "too_many_requests"));
        assert_eq!(answer.header("retry-after"), "1");
    }
    // The right token is accepted all the same.
    assert_eq!(login(vec![HOST, json], right).await.status, 204);
    let bearer = bearer(&access);
    let path = "/api/v1/sessions";
    assert_eq!(get(&access, path, &[HOST, ("authorization", &*bearer)]).await.status, 200);
    // All ways of guessing count together, and asking without anything is no guess.
    let cookie = ("cookie", "stayd-7829=wrong");
    let ways = [("authorization", "Bearer x"), ("sec-websocket-protocol", "bearer.x"), cookie];
    let tries = ways.iter().cycle().take(30).map(|way| {
        let access = access.clone();
        async move { get(&access, path, &[HOST, *way]).await }
    });
    let answers = join_all(tries).await;
    for (answer, way) in answers.iter().zip(ways.iter().cycle()).skip(12) {
        assert_eq!(answer.problem(), denied(429, "too_many_requests"), "{way:?}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(get(&access, path, &[HOST]).await.problem(), denied(401, "unauthorized"));
    assert_eq!(access.guesses.failed.get(), 1 + 30 + 30);
}

#[actix_web::test]
async fn every_error_is_a_problem() {
    let access = access();
    let bearer = bearer(&access);
    let auth = ("authorization", &*bearer);
    let json = ("content-type", "application/json");
    let post = |path: &'static str, body: String| {
        let access = access.clone();
        let bearer = bearer.clone();
        async move {
            let headers = [HOST, json, ("authorization", &*bearer)];
            ask(&access, Method::POST, path, &headers, &body).await
        }
    };
    assert_eq!(post("/api/v1/tokens?a=1", r#"{"n":1}"#.into()).await.body, "2");
    for (path, body, status, code) in [
        ("/api/v1/tokens", "{".to_owned(), 400, "invalid_request"),
        ("/api/v1/tokens", r#"{"n":"x"}"#.into(), 400, "invalid_request"),
        ("/api/v1/tokens?a=x", r#"{"n":1}"#.into(), 400, "invalid_request"),
        ("/api/v1/tokens", " ".repeat(300 << 10), 413, "payload_too_large"),
        ("/api/v1/sessions/x/input", " ".repeat(300 << 10), 413, "payload_too_large"),
        ("/api/v1/nothing", String::new(), 404, "not_found"),
    ] {
        assert_eq!(post(path, body).await.problem(), denied(status, code), "{path}");
    }
    let number = get(&access, "/api/v1/sessions/x", &[HOST, auth]).await;
    assert_eq!(number.problem(), denied(404, "not_found"));
    let method = ask(&access, Method::PUT, "/api/v1/sessions", &[HOST, auth], "").await;
    assert_eq!(method.problem(), denied(405, "method_not_allowed"));
    assert!(method.header("allow").contains("GET") && method.header("allow").contains("POST"));
    let upgrade = get(&access, "/api/v1/sessions/x/attach", &[HOST, auth]).await;
    assert_eq!(upgrade.json()["code"], "invalid_request");

    let refused = get(&access, "/api/v1/profiles", &[HOST, auth]).await;
    let expected = json!({
        "type": "about:blank", "title": "Gone", "status": 410, "detail": "over",
        "code": "ended", "session": {"id": 1},
    });
    assert_eq!(refused.json(), expected);
    // What a handler has said itself stays.
    let unready = get(&access, "/readyz", &[HOST, auth]).await;
    assert_eq!((unready.status, &unready.body[..]), (503, &br#"{"ready":false}"#[..]));
}

#[actix_web::test]
async fn every_response_has_the_safe_headers() {
    let access = access();
    let bearer = bearer(&access);
    let auth = ("authorization", &*bearer);
    for (path, headers) in [
        ("/", vec![HOST]),
        ("/healthz", vec![HOST]),
        ("/healthz", vec![]),
        ("/api/v1/sessions", vec![HOST]),
        ("/api/v1/sessions", vec![HOST, auth]),
        ("/nowhere", vec![HOST, auth]),
    ] {
        let answer = get(&access, path, &headers).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        let cache = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cache, "{path}");
    }
}
