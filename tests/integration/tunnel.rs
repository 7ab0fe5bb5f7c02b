//! The page through a real `ssh -L`, to an sshd of the test's own on a loopback port. Without sshd the test
//! says that it is skipped; `scripts/test` installs it.

use crate::support::{Api, DEADLINE, Server, Terminal};
use awc::http::{Method, StatusCode};
use serde_json::json;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

/// A process that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tunnel from `address` to the server.
struct Tunnel {
    address: SocketAddr,
    _ssh: Ending,
    _sshd: Ending,
    _dir: TempDir,
}

/// sshd insists on an absolute path.
fn sshd() -> Option<PathBuf> {
    let paths = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"].map(PathBuf::from);
    paths.into_iter().find(|path| path.exists())
}

/// Whoever takes the port before it is listened on makes the test fail.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port")
}

/// Whether processes may have mounts of their own here.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

fn key(path: &Path) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.expect("ssh-keygen").success(), "a key");
}

fn wait_for(address: SocketAddr, process: &mut Ending, what: &str) {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(process.0.try_wait().expect(what).is_none(), "{what} has ended");
        assert!(start.elapsed() < DEADLINE, "{what} does not listen");
        std::thread::yield_now();
    }
}

impl Tunnel {
    /// `None`, with a message, where there is no sshd.
    fn open(to: &str) -> Option<Self> {
        let Some(sshd) = sshd() else {
            assert!(std::env::var_os("STAYD_REQUIRE_SSHD").is_none(), "there is no sshd");
            eprintln!("skipped: no sshd; `apt-get install openssh-server` lets this test run");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let (host_key, own_key) = (at("host"), at("own"));
        key(&host_key);
        key(&own_key);
        let ssh_address = free_port();
        let config = format!(
            "ListenAddress {ssh_address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nAllowTcpForwarding local\n\
             PermitRootLogin prohibit-password\n",
            host_key.display(),
            at("own.pub").display()
        );
        std::fs::write(at("sshd_config"), config).expect("settings");
        // As root it wants a directory that only its service makes: in a /run of its own there is one.
        let needs_directory = nix::unistd::geteuid().is_root() && !Path::new("/run/sshd").exists();
        if needs_directory && !may_mount() {
            eprintln!("skipped: there is no /run/sshd, and this test may not make one of its own");
            return None;
        }
        let mut command = match needs_directory {
            true => {
                let mut command = Command::new("unshare");
                let script = "mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec \"$@\"";
                command.args(["-m", "sh", "-c", script, "sh"]).arg(&sshd);
                command
            }
            false => Command::new(&sshd),
        };
        let started = command.args(["-D", "-e", "-f"]).arg(at("sshd_config")).spawn();
        let mut sshd = Ending(started.expect("sshd starts"));
        wait_for(ssh_address, &mut sshd, "sshd");

        let address = free_port();
        let mut ssh = Command::new("ssh");
        ssh.args(["-N", "-F", "none", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]);
        ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i"]).arg(&own_key);
        ssh.args(["-p", &ssh_address.port().to_string(), "-L", &format!("{address}:{to}")]);
        ssh.arg("127.0.0.1").stdin(Stdio::null());
        let mut ssh = Ending(ssh.spawn().expect("ssh starts"));
        wait_for(address, &mut ssh, "ssh");
        Some(Tunnel { address, _ssh: ssh, _sshd: sshd, _dir: dir })
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
