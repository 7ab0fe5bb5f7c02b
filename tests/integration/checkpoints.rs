//! Checkpoints, as a server leaves and finds them: a real holder, real programs.

use crate::holder::{House, RING, Raw, Session, poll, spec};
use crate::support::lives;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use stayd::holder::wire::{self, CHECKPOINT_MAX, Kind};
use stayd::holder::{CheckpointMeta, Held, HolderError, SpawnSpec};
use stayd::id::{ClientKey, SessionId};
use stayd::lifecycle::Exit;
use stayd::ring::IN_FLIGHT;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

/// A session whose output waits for checkpoints.
async fn spawn(house: &House, command: &[&str]) -> Session {
    let spec = SpawnSpec { checkpoints: true, ..spec(command) };
    let held = house.holder.spawn(SessionId::generate(), &spec, RING, b"").await.unwrap();
    assert!(held.checkpoint.is_none());
    assert_eq!(held.ring.checkpoint(), Some(0));
    Session::new(held)
}

async fn adopt(house: &House) -> Held {
    let mut all = house.holder.adopt().await.unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn at(offset: u64) -> CheckpointMeta {
    CheckpointMeta { offset, replies: 0, resizes: 0, cols: 80, rows: 24 }
}

fn kept(held: &Held) -> (CheckpointMeta, Vec<u8>) {
    let checkpoint = held.checkpoint.as_ref().expect("a checkpoint");
    (checkpoint.meta, checkpoint.read().unwrap())
}

fn open_files(house: &House) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", house.holder.pid())).unwrap().count()
}

fn limit_files(house: &House, most: &str) {
    let mut prlimit = std::process::Command::new("prlimit");
    prlimit.args(["--pid", &house.holder.pid().to_string(), &format!("--nofile={most}")]);
    assert!(prlimit.status().unwrap().success());
}

#[tokio::test]
async fn a_checkpoint_is_there_for_the_next_server() {
    let mut house = House::new().await;
    let mut session = spawn(&house, &["sh", "-c", "stty raw -echo; echo ready; cat"]).await;
    session.until_output("ready\n").await;
    let replies = b"\x1b[?62;c";
    house.holder.input(session.id, ClientKey::REPLIES, 0, replies);
    session.until_output("62;c").await;
    let start = session.output.len();
    let meta = CheckpointMeta {
        offset: session.cursor,
        replies: replies.len() as u64,
        resizes: 0,
        cols: 132,
        rows: 43,
    };
    let screen: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    house.holder.checkpoint(session.id, &meta, &screen).await.unwrap();
    assert_eq!(session.ring.checkpoint(), Some(meta.offset));
    for _ in 0..3 {
        house = house.restart().await;
        let held = adopt(&house).await;
        assert_eq!(kept(&held), (meta, screen.clone()));
        // More than once, and whatever another reader of it does.
        assert_eq!(kept(&held).1.len(), screen.len());
        assert_eq!(held.ring.checkpoint(), Some(meta.offset));
        // What an emulator says again on replaying what was answered is not typed again.
        house.holder.input(session.id, ClientKey::REPLIES, 0, replies);
    }
    house.holder.input(session.id, ClientKey::REPLIES, meta.replies, b"!");
    session.until_output("!").await;
    assert_eq!(&session.output[start..], b"!");
    // A session that is asked for again comes with it too.
    let again = house.holder.spawn(session.id, &spec(&["cat"]), RING, b"").await.unwrap();
    assert_eq!(kept(&again), (meta, screen));
    // The next takes its place, and so does one without bytes.
    house.holder.checkpoint(session.id, &meta, b"other").await.unwrap();
    assert_eq!(kept(&adopt(&house).await), (meta, b"other".to_vec()));
    house.holder.checkpoint(session.id, &at(session.cursor), b"").await.unwrap();
    assert_eq!(kept(&adopt(&house).await), (at(session.cursor), Vec::new()));
}

/// The program runs as far as the ring goes and then waits for a checkpoint, whatever is
/// acknowledged; with it, it goes on without being told.
#[tokio::test]
async fn the_program_waits_for_a_checkpoint() {
    let mut house = House::new().await;
    let mut session = spawn(&house, &["seq", "1", "100000"]).await;
    let (id, readable) = (session.id, RING - IN_FLIGHT);
    let expected: String = (1..=100_000).map(|n| format!("{n}\r\n")).collect();
    let (mut checkpoint, mut rounds) = (0, 0);
    while session.ring.ended().is_none() {
        let full = checkpoint + readable;
        let stopped = |session: &Session| session.cursor == full || session.ring.ended().is_some();
        session.until("a full ring", stopped).await;
        if session.ring.ended().is_some() {
            break;
        }
        poll("a stop", || session.ring.blocked()).await;
        // All of it is acknowledged, and a server that thinks that this is enough is wrong.
        assert!(!session.ring.advance_tail(session.cursor));
        house.holder.resume(id);
        house.holder.stats().await.unwrap();
        assert!(session.ring.blocked());
        assert_eq!((session.ring.head(), session.ring.effective_tail()), (full, checkpoint));
        // The next server finds it so, and all output since the checkpoint.
        house = house.restart().await;
        let (output, cursor) = (std::mem::take(&mut session.output), session.cursor);
        session = Session::new(adopt(&house).await);
        assert_eq!(session.ring.checkpoint(), Some(checkpoint));
        session.cursor = checkpoint;
        session.until("the ring's output", |session| session.cursor == cursor).await;
        assert!(output.ends_with(&session.output));
        session.output = output;
        checkpoint = cursor;
        house.holder.checkpoint(id, &at(checkpoint), b"screen").await.unwrap();
        rounds += 1;
    }
    session.until_end().await;
    assert!(session.output == expected.as_bytes(), "bytes were lost or doubled");
    assert!(rounds >= 3, "{rounds}");
}

/// Without being asked for, checkpoints count from the first on.
#[tokio::test]
async fn a_first_checkpoint_counts_from_then_on() {
    let house = House::new().await;
    let mut session = house.spawn(&["seq", "1", "100000"]).await;
    assert_eq!(session.ring.checkpoint(), None);
    let (id, readable) = (session.id, RING - IN_FLIGHT);
    session.until("a full ring", |session| session.cursor == readable).await;
    let first = readable - 1000;
    assert!(matches!(
        house.holder.checkpoint(id, &at(readable + 1), b"x").await,
        Err(HolderError::Refused { .. })
    ));
    assert_eq!(session.ring.checkpoint(), None);
    house.holder.checkpoint(id, &at(first), b"x").await.unwrap();
    poll("a stop", || session.ring.blocked()).await;
    if session.ring.advance_tail(session.cursor) {
        house.holder.resume(id);
    }
    session.until("a full ring", |session| session.cursor == first + readable).await;
    poll("a stop", || session.ring.blocked()).await;
    assert!(!session.ring.advance_tail(session.cursor));
    session
        .until("the end", |session| {
            let _ = session.ring.advance_tail(session.cursor);
            let holder = house.holder.clone();
            let meta = at(session.cursor);
            // Nobody waits for the answer: one that is refused is followed by another.
            tokio::spawn(async move { holder.checkpoint(id, &meta, b"").await });
            session.ring.ended().is_some() && session.cursor == session.ring.head()
        })
        .await;
    assert_eq!(session.ring.ended(), Some(Exit::Code(0)));
    assert!(session.text().ends_with("\n100000\r\n"));
}

impl Raw {
    /// Sends a checkpoint with descriptors; the answer.
    fn checkpoint(
        &self,
        control: &serde_json::Value,
        fds: &[OwnedFd],
    ) -> (Kind, serde_json::Value) {
        let mut bytes = Vec::new();
        wire::encode(&mut bytes, Kind::Checkpoint, 7, Some(control), &[]).unwrap();
        let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights[..] };
        let bytes = [IoSlice::new(&bytes)];
        sendmsg::<()>(self.0.as_raw_fd(), &bytes, control, MsgFlags::empty(), None).unwrap();
        self.receive().unwrap()
    }
}

const ALL: SealFlag = SealFlag::F_SEAL_WRITE
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SEAL);

fn memfd(length: u64, seals: SealFlag) -> OwnedFd {
    let fd = memfd_create(c"test", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    nix::unistd::ftruncate(&fd, length as i64).unwrap();
    fcntl(&fd, FcntlArg::F_ADD_SEALS(seals)).unwrap();
    fd
}

#[tokio::test]
async fn what_is_no_checkpoint_is_refused_and_harms_nothing() {
    let house = House::new().await;
    let mut session = spawn(&house, &["cat"]).await;
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"hello\r");
    session.until_output("hello\r\nhello\r\n").await;
    house.holder.resize(session.id, 100, 30);
    poll("a resize", || session.ring.resize_count() == 2).await;
    let last = CheckpointMeta { resizes: 2, ..at(5) };
    house.holder.checkpoint(session.id, &last, b"kept").await.unwrap();
    let before = open_files(&house);
    let long = vec![0; CHECKPOINT_MAX as usize + 1];
    let long = house.holder.checkpoint(session.id, &last, &long).await;
    assert!(matches!(long, Err(HolderError::Request(_))), "{long:?}");

    let raw = Raw::connect(&house);
    raw.ask(Kind::Hello, Some(&wire::Hello::ours()));
    raw.receive().unwrap();
    let words = |offset: u64, resizes: u64| {
        let checkpoint = CheckpointMeta { resizes, ..at(offset) };
        serde_json::to_value(wire::Checkpoint { id: session.id, checkpoint }).unwrap()
    };
    let refused = |control: &serde_json::Value, fds: Vec<OwnedFd>, code: &str| {
        let (kind, failure) = raw.checkpoint(control, &fds);
        let said = (kind, failure["code"].as_str().unwrap_or_default());
        assert_eq!(said, (Kind::Failed, code), "{control} {failure}");
        assert!(!failure["message"].as_str().unwrap().is_empty());
    };
    let good = words(5, 2);
    let fds: Vec<(&str, OwnedFd)> = vec![
        ("no seals", memfd(3, SealFlag::empty())),
        ("may be written", memfd(3, ALL.difference(SealFlag::F_SEAL_WRITE))),
        ("may shrink", memfd(3, ALL.difference(SealFlag::F_SEAL_SHRINK))),
        ("may grow", memfd(3, ALL.difference(SealFlag::F_SEAL_GROW))),
        ("seals may be added", memfd(3, ALL.difference(SealFlag::F_SEAL_SEAL))),
        ("too long", memfd(CHECKPOINT_MAX + 1, ALL)),
        ("far too long", memfd(1 << 40, ALL)),
        ("a file", std::fs::File::open("/proc/self/exe").unwrap().into()),
        ("a pipe", nix::unistd::pipe().unwrap().0),
    ];
    for (what, fd) in fds {
        let (kind, failure) = raw.checkpoint(&good, &[fd]);
        assert_eq!((kind, &failure["code"]), (Kind::Failed, &"invalid".into()), "{what}");
    }
    for (offset, resizes) in
        [(4, 2), (0, 2), (session.cursor + 1, 2), (u64::MAX, 2), (5, 1), (5, 3), (5, u64::MAX)]
    {
        refused(&words(offset, resizes), vec![], "invalid");
        refused(&words(offset, resizes), vec![memfd(3, ALL)], "invalid");
    }
    for malformed in [
        serde_json::json!({}),
        serde_json::json!({ "id": session.id }),
        serde_json::json!({ "id": session.id, "checkpoint": {} }),
        serde_json::json!({ "id": session.id, "checkpoint": { "offset": -1 } }),
        serde_json::json!({ "id": session.id, "checkpoint": { "offset": 1e99 } }),
        serde_json::json!({ "id": session.id, "checkpoint": { "offset": 5, "cols": 70_000 } }),
    ] {
        refused(&malformed, vec![memfd(3, ALL)], "invalid");
    }
    let mut nobody = good.clone();
    nobody["id"] = SessionId::generate().to_string().into();
    refused(&nobody, vec![memfd(3, ALL)], "not_found");

    let house = house.restart().await;
    let held = adopt(&house).await;
    assert_eq!(kept(&held), (last, b"kept".to_vec()));
    assert_eq!(held.ring.checkpoint(), Some(5));
    drop(held);
    poll("the refused descriptors' end", || open_files(&house) == before).await;
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"fine\r");
    session.until_output("fine\r\nfine").await;
    assert!(lives(session.pid));
    // The longest that there may be.
    let longest = vec![7; CHECKPOINT_MAX as usize];
    house.holder.checkpoint(session.id, &last, &longest).await.unwrap();
    assert!(kept(&adopt(&house).await).1 == longest);
}

#[tokio::test]
async fn all_resizes_since_a_checkpoint_are_there() {
    let house = House::new().await;
    let session = spawn(&house, &["cat"]).await;
    // The first is the size that it began with.
    let resized = |count: u64| {
        let ring = session.ring.clone();
        async move { poll("resizes", || ring.resize_count() == count).await }
    };
    for cols in 1..=150 {
        house.holder.resize(session.id, cols, 10);
    }
    resized(151).await;
    // More than are kept: who would replay from the beginning learns it.
    assert_eq!(session.ring.all_resizes_since(0), None);
    let meta = CheckpointMeta { resizes: 151, cols: 150, rows: 10, ..at(session.ring.head()) };
    house.holder.checkpoint(session.id, &meta, b"screen").await.unwrap();
    for cols in 151..=261 {
        house.holder.resize(session.id, cols, 10);
    }
    resized(262).await;
    let house = house.restart().await;
    let held = adopt(&house).await;
    let since = kept(&held).0.resizes;
    let cols: Vec<u16> =
        held.ring.all_resizes_since(since).unwrap().iter().map(|resize| resize.cols).collect();
    assert_eq!(cols, (151..=261).collect::<Vec<u16>>());
    house.holder.resize(session.id, 262, 10);
    resized(263).await;
    assert_eq!(held.ring.all_resizes_since(since), None);
}

#[tokio::test]
async fn a_thousand_checkpoints_leave_one() {
    let house = House::new().await;
    let mut session = spawn(&house, &["sh", "-c", "seq 1 1000; exec cat"]).await;
    session.until_output("\n1000\r\n").await;
    house.holder.checkpoint(session.id, &at(0), b"first").await.unwrap();
    let before = open_files(&house);
    for n in 1..=1000u64 {
        let screen = n.to_string().repeat(100);
        house.holder.checkpoint(session.id, &at(n), screen.as_bytes()).await.unwrap();
    }
    let held = adopt(&house).await;
    assert_eq!(kept(&held), (at(1000), b"1000".repeat(100)));
    drop(held);
    assert_eq!(open_files(&house), before);
    house.holder.checkpoint(session.id, &at(1000), b"").await.unwrap();
    assert_eq!(open_files(&house), before - 1);
    house.holder.signal(session.id, libc::SIGKILL).await.unwrap();
    session.until_end().await;
    // One that has ended may have a last one, and takes it along.
    let end = at(session.ring.head());
    house.holder.checkpoint(session.id, &end, b"last").await.unwrap();
    assert_eq!(kept(&adopt(&house).await), (end, b"last".to_vec()));
    house.holder.forget(session.id).await.unwrap();
    let refused = house.holder.checkpoint(session.id, &end, b"later").await;
    assert!(matches!(refused, Err(HolderError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_holder_without_descriptors_keeps_the_last_checkpoint() {
    let house = House::new().await;
    let mut session = spawn(&house, &["cat"]).await;
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"hello\r");
    session.until_output("hello\r\nhello").await;
    house.holder.checkpoint(session.id, &at(1), b"kept").await.unwrap();
    limit_files(&house, "3:4096");
    for _ in 0..10 {
        let refused = house.holder.checkpoint(session.id, &at(2), b"lost on the way").await;
        assert!(matches!(refused, Err(HolderError::Refused { .. })), "{refused:?}");
        assert_eq!(kept(&adopt(&house).await), (at(1), b"kept".to_vec()));
    }
    limit_files(&house, "4096:4096");
    house.holder.checkpoint(session.id, &at(2), b"new").await.unwrap();
    assert_eq!(kept(&adopt(&house).await), (at(2), b"new".to_vec()));
}

#[tokio::test]
async fn more_checkpoints_than_a_page_are_adopted() {
    let house = House::new().await;
    let mut ids = Vec::new();
    for n in 0..100u32 {
        let session = spawn(&house, &["cat"]).await;
        // Every tenth has none.
        if n % 10 > 0 {
            let bytes = n.to_string();
            house.holder.checkpoint(session.id, &at(0), bytes.as_bytes()).await.unwrap();
        }
        ids.push(session.id);
    }
    let house = house.restart().await;
    let all = house.holder.adopt().await.unwrap();
    assert_eq!(all.iter().map(|held| held.id).collect::<Vec<_>>(), ids);
    for (n, held) in all.iter().enumerate() {
        let bytes = held.checkpoint.as_ref().map(|checkpoint| checkpoint.read().unwrap());
        assert_eq!(bytes, (n % 10 > 0).then(|| n.to_string().into_bytes()));
    }
}
