//! What a WebSocket's client sends: frames, messages, and a terminal's own answers; and what the
//! command line reads from a server.

use super::frames::{FRAME_MAX, Frames, FramesError};
use super::reports::{Part, Reports};
use crate::fuzz::target;
use crate::protocol::{
    ClientMessage, JsonClientMessage, JsonServerMessage, ServerMessage, check_size,
};
use actix_http::error::PayloadError;
use actix_web::web::{Bytes, Payload};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::pin::Pin;
use std::time::{Duration, Instant};

target!(messages, |bytes: &[u8]| {
    match understood::<ClientMessage>(bytes) {
        Some(ClientMessage::Resize { cols, rows }) => bounded(cols, rows),
        Some(
            ClientMessage::Ack { .. } | ClientMessage::Ping { .. } | ClientMessage::Looking { .. },
        )
        | None => {}
    }
    match understood::<JsonClientMessage>(bytes) {
        Some(JsonClientMessage::Resize { cols, rows }) => bounded(cols, rows),
        Some(JsonClientMessage::Input(_)) | None => {}
    }
    understood::<JsonServerMessage>(bytes);
    let _ = serde_json::from_slice::<ServerMessage>(bytes);
});

/// A message that is written as it was read.
fn understood<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let message: T = serde_json::from_slice(bytes).ok()?;
    let text = serde_json::to_string(&message).expect("text");
    assert_eq!(serde_json::from_str::<T>(&text).expect("its own text"), message);
    Some(message)
}

fn bounded(cols: u32, rows: u32) {
    if let Ok((cols, rows)) = check_size(cols, rows) {
        assert!((1..=1000).contains(&cols) && (1..=1000).contains(&rows));
    }
}

// The first byte says how long the pieces are in which the rest comes.
target!(frames, |bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let pieces: Vec<_> = bytes.chunks(usize::from(piece) + 1).map(Bytes::copy_from_slice).collect();
    let pieces = stream::iter(pieces.into_iter().map(Ok::<_, PayloadError>));
    let boxed: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(pieces);
    let mut frames = Frames::new(payload(boxed));
    let (mut count, mut over) = (0, false);
    while let Some(frame) = frames.next().now_or_never().expect("all of it is there") {
        assert!(!over, "after an error there is nothing");
        over = matches!(frame, Err(FramesError::Protocol(_) | FramesError::Lost));
        count += 1;
        assert!(frames.kept() <= FRAME_MAX + 256 + 14);
    }
    assert!(count <= bytes.len() / 2 + 1);
});

fn payload(stream: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>) -> Payload {
    let mut payload = actix_web::dev::Payload::Stream { payload: stream };
    let request = actix_web::test::TestRequest::default().to_http_request();
    let extracted = <Payload as actix_web::FromRequest>::from_request(&request, &mut payload);
    extracted.now_or_never().expect("at once").expect("a payload")
}

// The first byte says where the rest is cut, the second after which time each piece comes.
target!(reports, |bytes: &[u8]| {
    let [cut, pause, bytes @ ..] = bytes else { return };
    let (mut reports, mut now) = (Reports::default(), Instant::now());
    let mut all = Vec::new();
    let mut part = |part: Part<'_>| {
        let (Part::Typed(bytes) | Part::Report(bytes) | Part::ReportOrKey(bytes)) = part;
        assert!(!bytes.is_empty());
        all.extend_from_slice(bytes);
    };
    for (number, piece) in bytes.chunks(usize::from(*cut) + 1).enumerate() {
        reports.feed(piece, now, &mut part);
        if number % 3 == 2 && reports.holds() && pause % 2 == 1 {
            reports.expire(&mut part);
        }
        now += Duration::from_millis(u64::from(*pause) * 5);
    }
    reports.expire(&mut part);
    assert!(!reports.holds());
    assert!(all == bytes, "each byte is passed on once, in order");
});
