//! A server and a holder that are not of one version.

use crate::holder::{DEADLINE, House, RING, Raw, connect, spec};
use crate::support::lives;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept, bind, listen, socket,
};
use serde_json::{Value, json};
use stayd::holder::wire::{self, Kind, Message};
use stayd::id::{ClientKey, SessionId};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use tempfile::TempDir;

/// Listens where a holder would, answers each first message in this way and says what it
/// was sent, each time that a peer has gone.
fn fake_holder(state: &Path, kind: Kind, answer: Value) -> Receiver<Vec<u8>> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    let address = UnixAddr::new(&state.join("holder.sock")).unwrap();
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::new(4).unwrap()).unwrap();
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        while let Ok(peer) = accept(listener.as_raw_fd()) {
            // SAFETY: a fresh descriptor that nobody else knows.
            #[allow(unsafe_code)]
            let peer = unsafe { OwnedFd::from_raw_fd(peer) };
            let (mut kinds, mut buffer) = (Vec::new(), vec![0; wire::MESSAGE_MAX]);
            while let Ok(length) = nix::unistd::read(&peer, &mut buffer) {
                let Ok(message) = Message::parse(&buffer[..length]) else { break };
                if kinds.is_empty() {
                    let mut out = Vec::new();
                    wire::encode(&mut out, kind, message.request, Some(&answer), &[]).unwrap();
                    nix::unistd::write(&peer, &out).unwrap();
                }
                kinds.push(message.kind);
            }
            if sender.send(kinds).is_err() {
                return;
            }
        }
    });
    heard
}

/// A server's exit code and what it said.
fn serve(dir: &TempDir) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_stayd"))
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(dir.path())
        .env("HOME", dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_server_leaves_a_holder_of_another_version_alone() {
    for (kind, answer) in [
        (Kind::Hello, json!({ "major": 2, "minor": 3, "pid": 1, "version": "9.9.9" })),
        (Kind::Failed, json!({ "code": "version", "message": "no", "major": 2 })),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let heard = fake_holder(dir.path(), kind, answer);
        let (code, said) = serve(&dir);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("the holder speaks version 2 and this stayd 1"), "{said}");
        assert!(said.contains("run on") && said.contains("stayd stop --all"), "{said}");
        assert!(!said.contains("listening"), "{said}");
        // It was greeted and nothing else, and no other holder took its place.
        assert_eq!(heard.recv_timeout(DEADLINE), Ok(vec![Kind::Hello as u8]));
        assert!(!dir.path().join("holder.pid").exists());
        // It is still there, and the next attempt says the same.
        assert!(serve(&dir).1.contains("version 2"));
        assert_eq!(heard.recv_timeout(DEADLINE), Ok(vec![Kind::Hello as u8]));
    }
}

/// A holder of before there were users and limits would start the program as root and without any.
#[tokio::test]
async fn a_holder_that_cannot_confine_is_not_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let answer = json!({ "major": wire::MAJOR, "minor": 0, "pid": 1, "version": "0.1.0" });
    let heard = fake_holder(dir.path(), Kind::Hello, answer);
    let (holder, notices) = connect(&dir).await;
    let mut confined = spec(&["true"]);
    confined.confinement.limits.core = Some(0);
    let refused = holder.spawn(SessionId::generate(), &confined, RING, b"").await.unwrap_err();
    assert!(refused.to_string().contains("neither users nor limits"), "{refused}");
    drop((holder, notices));
    let heard = tokio::task::spawn_blocking(move || heard.recv_timeout(DEADLINE)).await.unwrap();
    assert_eq!(heard, Ok(vec![Kind::Hello as u8]));
}

#[tokio::test]
async fn a_holder_refuses_a_server_of_another_version_and_its_sessions_live() {
    let house = House::new().await;
    let mut session = house.spawn(&["cat"]).await;
    let key = ClientKey::named("test", "a");
    for (n, major) in [0, 2, 65_535].into_iter().enumerate() {
        let raw = Raw::connect(&house);
        raw.ask(Kind::Hello, Some(&json!({ "major": major, "minor": 0 })));
        let (kind, failure) = raw.receive().unwrap();
        assert_eq!((kind, failure["code"].as_str()), (Kind::Failed, Some("version")));
        assert_eq!(failure["major"], wire::MAJOR);
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains("version 1") && message.contains("stop --all"), "{message}");
        // The server that was there is still served.
        let text = format!("line-{n}\r");
        house.holder.input(session.id, key, 7 * n as u64, text.as_bytes());
        session.until_output(&format!("line-{n}\r\nline-{n}\r\n")).await;
    }
    assert!(lives(session.pid));
    assert_eq!(house.holder.stats().await.unwrap().refused, 3);
}
