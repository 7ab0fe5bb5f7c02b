//! Tests of the framing against any bytes.

use super::*;
use proptest::prelude::*;

#[test]
fn messages_survive_the_wire() {
    let hello = Hello::ours();
    let mut bytes = Vec::new();
    encode(&mut bytes, Kind::Hello, 7, Some(&hello), b"tail").unwrap();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.kind, message.request, message.tail), (1, 7, &b"tail"[..]));
    assert_eq!(message.control::<Hello>().unwrap(), hello);
}

#[test]
fn words_of_other_versions_are_understood() {
    let parse = |json: &'static str| serde_json::from_str::<Failure>(json).unwrap();
    assert_eq!(parse(r#"{"code":"not_invented_yet","new":[]}"#).code, FailureCode::Other);
    assert_eq!(parse("{}"), Failure::default());
    assert_eq!(parse(r#"{"code":"not_found"}"#).code, FailureCode::NotFound);
    let hello: Hello = serde_json::from_str(r#"{"major":2}"#).unwrap();
    assert_eq!((hello.major, hello.minor), (2, 0));
    // A missing field has its default.
    let id = SessionId::generate();
    let spawn = format!(r#"{{"id":"{id}","cols":80,"rows":24,"ring_capacity":262144}}"#);
    assert!(!serde_json::from_str::<Spawn>(&spawn).unwrap().checkpoints);
    let entry: Entry = serde_json::from_str(&format!(r#"{{"id":"{id}","pid":1}}"#)).unwrap();
    assert_eq!((entry.checkpoint, entry.checkpoint_bytes), (None, 0));
}

/// A specification of an earlier server is understood; one with more than this shim knows is
/// refused, at every depth.
#[test]
fn a_program_is_never_less_confined_than_was_asked_for() {
    let parse = |json: &str| serde_json::from_str::<ExecSpec>(json);
    let old = parse(r#"{"argv":["sh"],"env":[],"cwd":"/","login":true}"#).unwrap();
    assert!(old.login && old.confinement.is_empty());
    assert!(!serde_json::to_string(&old).unwrap().contains("confinement"));
    let confined = r#"{"account":{"name":"anna","uid":1000,"gid":100,"tty":5},
        "limits":{"nofile":64,"as":1000000},"cgroup":"/sys/fs/cgroup/x"}"#;
    let spec = |confinement: &str| {
        parse(&format!(r#"{{"argv":["sh"],"cwd":"/","confinement":{confinement}}}"#))
    };
    let Confinement { account, limits, cgroup } = spec(confined).unwrap().confinement;
    let account = account.unwrap();
    assert_eq!((account.name.as_str(), account.uid, account.gid), ("anna", 1000, 100));
    assert_eq!((limits.nofile, limits.address_space, limits.core), (Some(64), Some(1000000), None));
    assert_eq!(cgroup.unwrap().to_str(), Some("/sys/fs/cgroup/x"));
    assert!(parse(r#"{"argv":["sh"],"cwd":"/","new":1}"#).is_err());
    for unknown in [
        r#"{"new":1}"#,
        r#"{"limits":{"new":1}}"#,
        r#"{"account":{"name":"anna","uid":1,"gid":1,"new":1}}"#,
    ] {
        assert!(spec(unknown).is_err(), "{unknown}");
    }
}

/// The kernel's bound (SCM_MAX_FD) is on the descriptors that a peer has not received yet.
#[test]
fn a_page_has_no_more_descriptors_than_the_kernel_passes() {
    const { assert!(3 * PAGE_MAX <= crate::holder::socket::FDS_MAX) }
}

#[test]
fn kinds_are_what_their_bytes_say() {
    for byte in 0..=255 {
        assert!(Kind::from_byte(byte).is_none_or(|kind| kind as u8 == byte));
    }
    assert_eq!(Kind::from_byte(Kind::Exited as u8), Some(Kind::Exited));
    assert_eq!(Kind::from_byte(0), None);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut bytes = Vec::new();
    let tail = vec![0; MESSAGE_MAX];
    assert_eq!(encode(&mut bytes, Kind::Blob, 1, None::<&()>, &tail), Err(Malformed));
    let long = "x".repeat(70_000);
    assert_eq!(encode(&mut bytes, Kind::Blob, 1, Some(&long), &[]), Err(Malformed));
    let longest = InputTail {
        id: SessionId::generate(),
        key: ClientKey::anonymous(),
        offset: 0,
        bytes: &tail[..INPUT_CHUNK],
    };
    assert!(longest.encode(Kind::Input).len() <= MESSAGE_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn nothing_that_resembles_a_message_panics(
        which in 0..5usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
    ) {
        let id = SessionId::generate();
        let mut bytes = Vec::new();
        match which {
            0 => encode(&mut bytes, Kind::Hello, 1, Some(&Hello::ours()), b""),
            1 => {
                let spawn = Spawn { id, cols: 80, rows: 24, ring_capacity: 1 << 20, checkpoints: false, base: 0, preface: String::new() };
                encode(&mut bytes, Kind::Spawn, 1, Some(&spawn), b"blob")
            }
            2 => encode(&mut bytes, Kind::List, 1, Some(&List { after: Some(id) }), b""),
            3 => encode(&mut bytes, Kind::Signal, 1, Some(&Signal { id, signal: 15 }), b""),
            _ => {
                let key = ClientKey::anonymous();
                bytes = InputTail { id, key, offset: 7, bytes: b"keys" }.encode(Kind::Input);
                Ok(())
            }
        }
        .unwrap();
        for (at, bits) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        bytes.truncate(length.index(bytes.len() + 1));
        if let Ok(message) = Message::parse(&bytes) {
            let _ = message.control::<Hello>();
            let _ = message.control::<Spawn>();
            let _ = message.control::<List>();
            let _ = message.control::<Signal>();
            let _ = message.control::<Resize>();
            if let Ok(input) = InputTail::parse(message.tail) {
                prop_assert!(input.bytes.len() < message.tail.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_that_arrives_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(HEADER + message.json.len() + message.tail.len(), bytes.len());
            let _ = Kind::from_byte(message.kind);
            let _ = message.control::<Spawn>();
            let _ = message.control::<Checkpoint>();
            let _ = InputTail::parse(message.tail);
        }
    }

    #[test]
    fn input_survives_the_wire(
        key in any::<[u8; 16]>(),
        offset in any::<u64>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let id = SessionId::generate();
        let key = ClientKey::from_bytes(key);
        let sent = InputTail { id, key, offset, bytes: &bytes }.encode(Kind::Input);
        let message = Message::parse(&sent).unwrap();
        prop_assert_eq!((message.kind, message.request), (Kind::Input as u8, 0));
        let received = InputTail::parse(message.tail).unwrap();
        prop_assert_eq!(received, InputTail { id, key, offset, bytes: &bytes });
    }
}
