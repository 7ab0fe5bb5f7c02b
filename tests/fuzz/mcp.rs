//! What agents send, and what is told to them of a program's output.

use super::{
    CommandRun, Headers, Incoming, SCREEN_MAX, SessionCreate, SessionSend, SessionWait, last_bytes,
    plain, read,
};
use crate::fuzz::target;

target!(agents_messages, |bytes: &[u8]| {
    let headers = Headers {
        version: Some("2026-07-28"),
        method: Some("tools/call"),
        name: Some("session_send"),
    };
    for headers in [Headers::default(), headers] {
        let Ok(Incoming::Request { params, .. }) = Incoming::read(bytes, &headers) else {
            continue;
        };
        let Some(arguments) = params.get("arguments").and_then(|it| it.as_object()) else {
            continue;
        };
        if let Ok(send) = read::<SessionSend>(arguments.clone())
            && send.check().is_ok()
        {
            assert!(!send.bytes(true).is_empty());
            assert_eq!(send.identity().is_some(), send.idempotency_key.is_some());
        }
        if let Ok(run) = read::<CommandRun>(arguments.clone())
            && run.check().is_ok()
        {
            assert!(!run.argv().is_empty());
        }
        let _ = read::<SessionWait>(arguments.clone()).map(|wait| wait.wait.words());
        let _ = SessionCreate::read(arguments.clone());
    }
});

target!(agents_output, |bytes: &[u8]| {
    let text = plain(bytes);
    let odd = |c: char| c.is_ascii_control() && c != '\n' && c != '\t';
    assert!(!text.contains(odd), "{text:?}");
    let (last, cut) = last_bytes(&text, SCREEN_MAX / 4096);
    assert!(last.len() <= SCREEN_MAX / 4096 && text.ends_with(last));
    assert_eq!(cut, last.len() < text.len());
});
