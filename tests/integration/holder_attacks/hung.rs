//! A directory that never answers: a FUSE mount whose daemon reads nothing.

use super::house::{House, RING, spec};
use crate::support::Server;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use stayd::holder::{HolderError, SpawnError};
use stayd::id::SessionId;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;

/// The mount, gone with this whatever the test does.
struct Hung {
    dir: TempDir,
    daemon: Option<File>,
}

impl Hung {
    /// None where it is not permitted, after saying so.
    fn mount() -> Option<Hung> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let mounted = mounted.and_then(|daemon| {
            let fd = daemon.as_raw_fd();
            let data = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("hung"), dir.path(), Some("fuse"), flags, Some(data.as_str()))?;
            Ok(daemon)
        });
        match mounted {
            Ok(daemon) => Some(Hung { dir, daemon: Some(daemon) }),
            Err(error) => {
                eprintln!("skipped: no FUSE file system can be mounted here: {error}");
                None
            }
        }
    }

    fn path(&self) -> String {
        // A directory below it: the root's own attributes might be cached.
        self.dir.path().join("below").display().to_string()
    }

    /// Whoever waits for the daemon fails.
    fn abort(&mut self) {
        self.daemon = None;
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Before anybody looks into it.
        self.abort();
        let _ = umount2(self.dir.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_directory_that_hangs_stalls_its_own_session_alone() {
    // One for each: of two that look into one directory the kernel lets the second wait for the
    // first where no signal reaches it, and which is the second is not known.
    let (Some(killed), Some(mut aborted)) = (Hung::mount(), Hung::mount()) else { return };
    let mut house = House::new();
    let witness = house.witness();
    let elsewhere = spec(&["cat"]);
    let [mut in_killed, mut in_aborted] = [elsewhere.clone(), elsewhere.clone()];
    in_killed.cwd = killed.path();
    in_aborted.cwd = aborted.path();
    let (first, second) = (SessionId::generate(), SessionId::generate());
    house.serve(async |holder| {
        let spawns = async {
            tokio::join!(
                holder.spawn(first, &in_killed, RING, b""),
                holder.spawn(second, &in_aborted, RING, b"")
            )
        };
        let pending = timeout(Duration::from_millis(300), spawns).await;
        assert!(pending.is_err(), "it did not hang: {pending:?}");
        // It is held and can be told apart, killed and forgotten; nobody else notices.
        assert_eq!(holder.adopt().await.unwrap().len(), 3);
        holder.spawn(SessionId::generate(), &elsewhere, RING, b"").await.unwrap();
        holder.signal(first, libc::SIGKILL).await.unwrap();
    });
    witness.goes_on();
    house.serve(async |holder| {
        while matches!(holder.forget(first).await, Err(HolderError::Refused { .. })) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let held = holder.adopt().await.unwrap();
            if held.iter().all(|held| held.id != first) {
                break;
            }
        }
        // Whoever asks for the other one again waits with it, and hears how it ended.
        let again = holder.spawn(second, &in_aborted, RING, b"");
        let abort = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            aborted.abort();
        };
        let (again, ()) = tokio::join!(again, abort);
        let failed = matches!(&again, Err(SpawnError::Step { step, .. }) if step == "chdir");
        assert!(failed, "{again:?}");
        assert_eq!(holder.stats().await.unwrap().sessions, 2);
    });
    witness.check(&mut house);
}

#[actix_web::test]
async fn a_create_in_it_does_not_hang_for_ever() {
    let Some(hung) = Hung::mount() else { return };
    let server = Server::start().await;
    let api = server.api();
    let body = json!({ "name": "stuck", "command": ["cat"], "cwd": hung.path() }).to_string();
    let stuck = api.post("/api/v1/sessions", body);
    let others = async {
        for _ in 0..5 {
            api.run("exec cat").await;
        }
    };
    let (stuck, ()) = tokio::join!(stuck, others);
    let problem = stuck.problem(422, "spawn_failed");
    assert_eq!(problem["session"]["status"], "ERROR", "{problem}");
    // Nothing is left of it, neither the name nor the process.
    let id = problem["session"]["id"].as_str().unwrap();
    super::poll("the shim's end", || crate::support::marked(id) == 0);
    api.create(json!({ "name": "stuck", "command": ["cat"] })).await;
}
