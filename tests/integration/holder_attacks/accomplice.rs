//! A peer in a process of its own: this program once more, running only the function below.

use super::garbage::sealed;
use super::house::{RING, spec};
use super::peer::Peer;
use nix::errno::Errno;
use serde_json::json;
use stayd::holder::wire::{self, InputTail, Kind, List};
use stayd::holder::{Holder, Paths};
use stayd::id::{ClientKey, SessionId};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROLE: &str = "STAYD_TEST_ACCOMPLICE";

/// What a client named so types, byte by byte.
pub(super) fn typed(offset: u64) -> u8 {
    b'a' + (offset % 23) as u8
}

/// Who types it.
pub(super) fn key() -> ClientKey {
    ClientKey::named("test", "accomplice")
}

pub(super) fn command(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "holder_attacks::accomplice::plays_its_role", "--nocapture"]);
    command.env(ROLE, format!("{role} {}", dir.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Waits until it says that it is at it.
pub(super) fn wait_until_busy(child: &mut Child) {
    let mut said = Vec::new();
    let stdout = child.stdout.as_mut().unwrap();
    let mut byte = [0];
    while !said.ends_with(b"<busy>") {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
        said.push(byte[0]);
    }
}

/// Not a test: does nothing unless it was started by one.
#[test]
fn plays_its_role() {
    let Ok(words) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = words.split(' ').collect();
    let dir = Path::new(words[words.len() - 1]);
    match words[0] {
        "stranger" => {
            match Peer::connect(dir).map(|mut peer| peer.ask(Kind::Stats, None::<&()>, &[], &[])) {
                Ok(None) => say("<refused>"),
                other => say(&format!("{other:?}")),
            }
        }
        "deaf" => {
            let mut peer = Peer::connect(dir).unwrap();
            peer.hello();
            let list = message(Kind::List, &List::default());
            say("<busy>");
            std::io::stdin().read_exact(&mut [0]).unwrap();
            loop {
                if peer.send(&list, &[]).is_err() {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            }
        }
        "fill" => fill(dir),
        "busy" => busy(dir, words[1].parse().unwrap(), words[2].parse().unwrap()),
        role => panic!("{role}"),
    }
}

/// Asks for everything and types without a pause, until it is killed.
fn busy(dir: &Path, id: SessionId, from: u64) {
    let mut peer = Peer::connect(dir).unwrap();
    peer.hello();
    let list = message(Kind::List, &List::default());
    let spec = sealed(br#"{"argv":["/nonexistent"],"cwd":"/"}"#);
    say("<busy>");
    let mut offset = from;
    loop {
        let bytes: Vec<u8> = (offset..offset + 50).map(typed).collect();
        let input = InputTail { id, key: key(), offset, bytes: &bytes }.encode(Kind::Input);
        let spawn =
            json!({ "id": SessionId::generate(), "cols": 9, "rows": 9, "ring_capacity": 1 << 17 });
        let spawn = message(Kind::Spawn, &spawn);
        let spec = [std::os::fd::AsRawFd::as_raw_fd(&spec)];
        for (message, fds) in [(&input, &[][..]), (&list, &[]), (&spawn, &spec)] {
            match peer.push(message, fds) {
                Ok(()) => {}
                // Somebody else is the server now.
                Err(Errno::EPIPE | Errno::ECONNRESET) => return,
                Err(errno) => panic!("{errno}"),
            }
        }
        offset += 50;
    }
}

/// Starts sessions, and stays until it is killed.
fn fill(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let paths = Paths { state_dir: dir.to_owned(), program: "/nonexistent".into() };
        let log = slog::Logger::root(slog::Discard, slog::o!());
        let (holder, _notices) = Holder::connect_or_launch(&paths, &log).await.unwrap();
        for _ in 0..30 {
            let (id, spec) = (SessionId::generate(), spec(&["sleep", "1000"]));
            holder.spawn(id, &spec, RING, b"").await.unwrap();
        }
        say("<busy>");
        std::future::pending::<()>().await;
    });
}

fn message<T: serde::Serialize>(kind: Kind, control: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(&mut bytes, kind, 7, Some(control), &[]).unwrap();
    bytes
}

/// The test harness writes to stdout too, hence a mark.
fn say(text: &str) {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes()).unwrap();
    stdout.flush().unwrap();
}
