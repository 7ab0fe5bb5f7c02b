//! A real sshd on a loopback port, with keys of its own, and clients of it.

use super::DEADLINE;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;
use tempfile::TempDir;

/// A process that ends with the test.
pub struct Ending(pub Child);

impl Ending {
    /// Waits until it listens at this address.
    pub fn wait_for(&mut self, address: SocketAddr, what: &str) {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(self.0.try_wait().expect(what).is_none(), "{what} has ended");
            assert!(start.elapsed() < DEADLINE, "{what} does not listen");
            std::thread::yield_now();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whoever takes the port before it is listened on makes the test fail.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port")
}

/// A running sshd. Dropped, it goes.
pub struct Sshd {
    address: SocketAddr,
    dir: TempDir,
    _process: Ending,
}

/// sshd insists on an absolute path.
fn program() -> Option<PathBuf> {
    let paths = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"].map(PathBuf::from);
    paths.into_iter().find(|path| path.exists())
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

impl Sshd {
    /// `None`, with a message, where there is no sshd.
    pub fn start() -> Option<Self> {
        let Some(sshd) = program() else {
            assert!(std::env::var_os("STAYD_REQUIRE_SSHD").is_none(), "there is no sshd");
            eprintln!("skipped: no sshd; `apt-get install openssh-server` lets this test run");
            return None;
        };
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let host_key = at("host");
        key(&host_key);
        key(&at("own"));
        let address = free_port();
        let config = format!(
            "ListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
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
        let mut process = Ending(started.expect("sshd starts"));
        process.wait_for(address, "sshd");
        Some(Sshd { address, dir, _process: process })
    }

    /// `ssh` with all that it needs to come in, to which options and the [host](Sshd::host) are added.
    pub fn client(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i"]);
        ssh.arg(self.dir.path().join("own")).args(["-p", &self.address.port().to_string()]);
        ssh
    }

    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }
}
