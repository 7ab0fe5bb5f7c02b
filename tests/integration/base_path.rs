//! A server that a proxy shows below a path, behind nginx: the page, its cookie, WebSockets, links.
//! Without nginx the tests say that they are skipped; `scripts/test` installs it.

use crate::cli::{code_and_text, stayd, verb};
use crate::support::{Api, DEADLINE, Server, Terminal};
use awc::http::{Method, StatusCode};
use serde_json::json;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// nginx, with a port that passes `/stayd/` on as it is, and one that takes it off.
struct Nginx {
    child: Child,
    _dir: TempDir,
    keeps: String,
    strips: String,
}

impl Nginx {
    /// `None`, with a message, where there is no nginx.
    fn start(server: &str) -> Option<Self> {
        let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
        if found.is_err() {
            assert!(std::env::var_os("STAYD_REQUIRE_NGINX").is_none(), "there is no nginx");
            eprintln!("skipped: there is no nginx; `apt-get install nginx` lets this test run");
            return None;
        }
        // The ports are free now; whoever takes one before nginx does makes the test fail.
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
        let (keeps, strips) =
            (free().expect("a port").to_string(), free().expect("a port").to_string());
        let dir = tempfile::tempdir().expect("a directory");
        let block = |listen: &str, to: &str| {
            format!(
                "server {{ listen {listen}; location /stayd/ {{ proxy_pass {to}; \
                 proxy_http_version 1.1; proxy_set_header Host $http_host; \
                 proxy_set_header Upgrade $http_upgrade; \
                 proxy_set_header Connection $connection_upgrade; proxy_buffering off; }} \
                 location = /stayd {{ proxy_pass http://{server}; }} }}\n"
            )
        };
        let at = dir.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {at}/{name};\n")).concat();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr;\nevents {{}}\n\
             http {{ access_log off; {temporary}\
             map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n{}{} }}\n",
            block(&keeps, &format!("http://{server}")),
            block(&strips, &format!("http://{server}/")),
        );
        let path = dir.path().join("nginx.conf");
        std::fs::write(&path, config).expect("settings");
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(dir.path()).arg("-c").arg(&path).args(["-e", "stderr"]);
        let child = nginx.spawn().expect("nginx starts");
        let nginx = Nginx { child, _dir: dir, keeps, strips };
        let start = Instant::now();
        for port in [&nginx.keeps, &nginx.strips] {
            while TcpStream::connect(port).is_err() {
                assert!(start.elapsed() < DEADLINE, "nginx does not listen");
                std::thread::yield_now();
            }
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[actix_web::test]
async fn page_login_and_terminals_work_below_a_path_of_a_proxy() {
    let server = Server::start_with(&["--base-path", "/stayd"]).await;
    let Some(nginx) = Nginx::start(server.address()) else { return };
    for proxy in [&nginx.keeps, &nginx.strips] {
        let below = Api::new(&format!("{proxy}/stayd"), &server.token());
        let page = below.get("/").await;
        assert_eq!(page.status, StatusCode::OK);
        let html = String::from_utf8_lossy(&page.bytes).into_owned();
        let links = html.split([' ', '>']).filter_map(|word| {
            let link = word.strip_prefix("src=\"").or_else(|| word.strip_prefix("href=\""))?;
            Some(link.trim_end_matches('"')).filter(|link| !link.starts_with('#'))
        });
        for link in links {
            assert!(!link.starts_with('/') && !link.contains("://"), "{link} leads elsewhere");
            assert_eq!(below.get(&format!("/{link}")).await.status, StatusCode::OK, "{link}");
        }

        // The browser sends the cookie below the path, and only there where the server knows it.
        let origin = format!("http://{proxy}");
        let token = json!({ "token": server.token() }).to_string();
        let login =
            below.send_with(Method::POST, "/api/v1/login", &[("Origin", &origin)], token).await;
        assert_eq!(login.status, StatusCode::NO_CONTENT);
        let cookie = login.headers.get("set-cookie").expect("a cookie").to_str().expect("text");
        let path = if *proxy == nginx.keeps { "Path=/stayd/" } else { "Path=/" };
        assert!(cookie.split("; ").any(|word| word == path), "{cookie}");
        let cookie = cookie.split(';').next().expect("the cookie");
        let nobody = below.with_token("");
        let who = nobody.send_with(Method::GET, "/api/v1/whoami", &[("Cookie", cookie)], "").await;
        assert_eq!(who.ok(200)["name"], "owner");

        let made = below.post("/api/v1/sessions", r#"{"profile":"bash"}"#).await;
        let id = made.ok(201)["id"].as_str().expect("an id").to_owned();
        if *proxy == nginx.keeps {
            let location = made.headers.get("location").expect("a location");
            assert_eq!(location, &format!("/stayd/api/v1/sessions/{id}"));
        }
        let attach = format!("/api/v1/sessions/{id}/attach");
        let mut terminal = Terminal::open(&below, &attach, Some("stayd.v1")).await;
        terminal.control("attached").await;
        terminal.type_in("echo $((6*7))-answer\n").await;
        terminal.wait_for("42-answer").await;
        terminal.leave().await;

        // A link leads below the path, whoever opens it.
        let shares = format!("/api/v1/sessions/{id}/shares");
        let from = [("Origin", &*origin)];
        let share = below.send_with(Method::POST, &shares, &from, r#"{"mode":"ro"}"#).await;
        let url = share.ok(201)["url"].as_str().expect("a link").to_owned();
        assert!(url.starts_with(&format!("{origin}/stayd/#share=")), "{url}");
        let seen = stayd(&server, &["ls", "-q", "--url", &url]).output().expect("stayd runs");
        assert_eq!(code_and_text(&seen), (Some(0), format!("{id}\n")), "{url}");
    }
    let bare = Api::new(&nginx.keeps, "").get("/stayd").await;
    assert_eq!(bare.status, StatusCode::OK, "the client has followed it to /stayd/");
    assert!(String::from_utf8_lossy(&bare.bytes).contains("<title>stayd</title>"));
    let (code, url) = code_and_text(&verb(&server, &["url"]));
    let wanted = format!("http://{}/stayd/#code=", server.address());
    assert!(code == Some(0) && url.starts_with(&wanted), "{url}");
}

/// Rights are checked by the path without the base path, whatever stands before it.
#[actix_web::test]
async fn a_base_path_opens_no_other_way_in() {
    let server = Server::start_with(&["--base-path", "/stayd/"]).await;
    let stranger = Api::new(server.address(), "wrong-token-of-some-length");
    for path in ["/api/v1/sessions", "/stayd/api/v1/sessions", "/stayd//api/v1/sessions"] {
        stranger.get(path).await.problem(401, "unauthorized");
    }
    for path in ["/stayd/stayd/", "/staydx/", "/stayd/nothing"] {
        let reply = server.api().get(path).await;
        reply.problem(404, "not_found");
    }
    let evil = [("Host", "evil.example"), ("Accept", "text/html")];
    let refused = server.api().send_with(Method::GET, "/stayd/", &evil, "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let html = String::from_utf8_lossy(&refused.bytes).into_owned();
    assert!(html.contains("allowed_hosts = [\"evil.example\"]"), "{html}");
    assert_eq!(server.api().get("/healthz").await.status, StatusCode::OK, "also without it");
}
