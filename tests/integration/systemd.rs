//! What the units in packaging/systemd rely on; and the units themselves, run by a real systemd where
//! one can be started: as root, in namespaces.

use crate::support::{DEADLINE, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const STAYD: &str = env!("CARGO_BIN_EXE_stayd");

/// Dropped, it is asked to end, and waited for.
struct Running(Child);

impl Running {
    fn end(&mut self) -> Option<i32> {
        if let Ok(None) = self.0.try_wait() {
            kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM).unwrap();
        }
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn stayd(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(STAYD);
    command.args(arguments).arg("--state-dir").arg(home.join("state")).env("HOME", home);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts a holder as a service manager does; returns once it has said that it is ready.
fn hold(home: &Path, address: &SocketAddr, name: &str) -> Running {
    let manager = UnixDatagram::bind_addr(address).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let holder = Running(stayd(home, &["hold"]).env("NOTIFY_SOCKET", name).spawn().unwrap());
    let mut said = [0; 64];
    let length = manager.recv(&mut said).unwrap();
    assert_eq!(&said[..length], b"READY=1");
    holder
}

#[actix_web::test]
async fn a_holder_in_the_foreground_says_that_it_is_ready_and_outlives_the_server() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let socket = home.path().join("notify");
    let address = SocketAddr::from_pathname(&socket).unwrap();
    let mut holder = hold(home.path(), &address, socket.to_str().unwrap());
    let pid = || std::fs::read_to_string(state.join("guardian.pid")).unwrap();
    assert_eq!(pid().trim(), holder.0.id().to_string());
    for _ in 0..2 {
        let serve = stayd(home.path(), &["serve", "--listen", "127.0.0.1:0"]).spawn().unwrap();
        let mut serve = Running(serve);
        soon("the server", async {
            while !stayd(home.path(), &["ls"]).status().unwrap().success() {
                actix_web::rt::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(pid().trim(), holder.0.id().to_string(), "the server found it");
        assert_eq!(serve.end(), Some(0));
        assert!(holder.0.try_wait().unwrap().is_none());
    }
    assert_eq!(holder.end(), Some(0));
}

#[test]
fn a_manager_may_listen_on_a_name_instead_of_a_path() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("state")).unwrap();
    let name = format!("stayd-test-{}", stayd::id::SessionId::generate());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    assert_eq!(hold(home.path(), &address, &format!("@{name}")).end(), Some(0));
}

#[actix_web::test]
async fn under_a_manager_a_second_holder_stands_for_the_first_and_follows_it() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    std::fs::create_dir(&state).unwrap();
    // Each has a manager of its own.
    let hold = |name| {
        let socket = home.path().join(name);
        let address = SocketAddr::from_pathname(&socket).unwrap();
        hold(home.path(), &address, socket.to_str().unwrap())
    };
    let mut first = hold("first");
    // Without a manager it says that the place is taken.
    assert_eq!(stayd(home.path(), &["hold"]).status().unwrap().code(), Some(1));
    let mut second = hold("second");
    let guardian = || std::fs::read_to_string(state.join("guardian.pid")).unwrap_or_default();
    assert_eq!(first.end(), Some(0));
    soon("the second one holds", async {
        while guardian().trim() != second.0.id().to_string() {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    let mut third = hold("third");
    assert_eq!(third.end(), Some(0));
    // To end the one that stands for it is to end it.
    assert_eq!(second.0.wait().unwrap().code(), Some(0));
}

#[test]
#[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
fn a_systemd_keeps_sessions_whatever_is_killed_restarted_or_upgraded() {
    let out = tempfile::tempdir().unwrap();
    let boot = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/boot.sh");
    let booted = Command::new(boot).arg(STAYD).arg(out.path()).output().unwrap();
    let Ok(report) = std::fs::read_to_string(out.path().join("report")) else {
        let console = std::fs::read_to_string(out.path().join("console")).unwrap_or_default();
        let why = String::from_utf8_lossy(&booted.stderr);
        eprintln!("skipped: no systemd can be started here\n{why}{console}");
        return;
    };
    assert!(report.lines().any(|line| line == "passed"), "{report}");
}

#[test]
#[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
fn systemd_finds_nothing_wrong_with_the_units() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    for (kind, names) in [
        ("user", ["stayd-holder.service", "stayd.service"]),
        ("system", ["stayd-holder@.service", "stayd@.service"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify
            .args([&format!("--{kind}"), "verify", "--man=no"])
            .env("XDG_RUNTIME_DIR", dir.path());
        for name in names {
            // The program is looked for, too.
            let unit = std::fs::read_to_string(packaging.join(kind).join(name)).unwrap();
            assert!(unit.contains("ExecStart=/usr/local/bin/stayd "));
            let unit = unit.replace("/usr/local/bin/stayd ", &format!("{STAYD} "));
            std::fs::write(dir.path().join(name), unit).unwrap();
            // A template is looked at as one of its instances.
            verify.arg(dir.path().join(name.replace('@', "@root")));
        }
        let Ok(said) = verify.output() else {
            eprintln!("skipped: there is no systemd-analyze to look at the units");
            return;
        };
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && !text.contains("stayd"), "{kind}: {text}");
    }
}
