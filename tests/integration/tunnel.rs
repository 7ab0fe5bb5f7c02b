//! The page through a real `ssh -L`, to an sshd of the test's own on a loopback port. Without sshd the test
//! says that it is skipped; `scripts/test` installs it.

use crate::support::{Api, Ending, Server, Sshd, Terminal, free_port};
use awc::http::{Method, StatusCode};
use serde_json::json;
use std::net::SocketAddr;
use std::process::Stdio;

/// A tunnel from `address` to the server.
struct Tunnel {
    address: SocketAddr,
    _ssh: Ending,
    _sshd: Sshd,
}

impl Tunnel {
    /// `None`, with a message, where there is no sshd.
    fn open(to: &str) -> Option<Self> {
        let sshd = Sshd::start()?;
        let address = free_port();
        let mut ssh = sshd.client();
        ssh.args(["-N", "-o", "ExitOnForwardFailure=yes", "-L", &format!("{address}:{to}")]);
        let ssh = ssh.arg(sshd.host()).stdin(Stdio::null()).spawn();
        let mut ssh = Ending(ssh.expect("ssh starts"));
        ssh.wait_for(address, "ssh");
        Some(Tunnel { address, _ssh: ssh, _sshd: sshd })
    }
}

#[actix_web::test]
async fn page_login_and_terminals_work_through_an_ssh_tunnel() {
    let server = Server::start().await;
    let Some(tunnel) = Tunnel::open(server.address()) else { return };
    let api = Api::new(&tunnel.address.to_string(), &server.token());
    let page = api.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(String::from_utf8_lossy(&page.bytes).contains("<title>stayd</title>"));

    let origin = format!("http://{}", tunnel.address);
    let token = json!({ "token": server.token() }).to_string();
    let login = api.send_with(Method::POST, "/api/v1/login", &[("Origin", &origin)], token).await;
    assert_eq!(login.status, StatusCode::NO_CONTENT);
    let cookie = login.headers.get("set-cookie").expect("a cookie").to_str().expect("text");
    let cookie = cookie.split(';').next().expect("the cookie");
    let nobody = api.with_token("");
    let who = nobody.send_with(Method::GET, "/api/v1/whoami", &[("Cookie", cookie)], "").await;
    assert_eq!(who.ok(200)["name"], "owner");

    let session = api.create(json!({ "profile": "bash" })).await;
    let attach = format!("/api/v1/sessions/{}/attach", session["id"].as_str().expect("an id"));
    let mut terminal = Terminal::open(&api, &attach, Some("stayd.v1")).await;
    terminal.control("attached").await;
    terminal.type_in("echo $((6*7))-answer\n").await;
    terminal.wait_for("42-answer").await;
}
