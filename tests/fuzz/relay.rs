//! Messages of streams between machines, and the subjects that they come on.

use super::flow::Flow;
use super::subject::{End, NodeName, read, subject};
use super::wire::Frame;
use crate::fuzz::target;
use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::time::Instant;

target!(relay_frames, |bytes: &[u8]| {
    // One byte says how long each message is.
    let (mut flow, mut rest) = (Flow::default(), bytes);
    let mut space = [0; 64];
    while let Some((&length, more)) = rest.split_first() {
        let (message, after) = more.split_at((length as usize).min(more.len()));
        rest = after;
        let Some(frame) = Frame::decode(&Bytes::copy_from_slice(message)) else { continue };
        let again = Frame::decode(&frame.encode());
        // A reason that is no UTF-8 is written as what was read of it.
        assert!(again.is_some());
        let done = match frame {
            Frame::Data { number, bytes } => flow.comes(number, bytes),
            Frame::End { number } => flow.other_ends(number),
            Frame::Mark { next } => flow.asked(next).map(drop),
            Frame::Credit { next, limit } => {
                flow.told(next, limit, Instant::now());
                Ok(())
            }
            _ => Ok(()),
        };
        if done.is_err() {
            return;
        }
        flow.read_into(&mut ReadBuf::new(&mut space));
        let _ = flow.credit();
        let room = flow.room();
        if room > 0 {
            flow.sends(room, Instant::now());
        }
    }
});

target!(relay_subjects, |bytes: &[u8]| {
    let name = NodeName::new("desk").expect("a name");
    let text = String::from_utf8_lossy(bytes);
    if let Some((from, stream)) = read(&text, End::Node, &name) {
        assert_eq!(subject(End::Node, &name, &from, stream), text);
    }
    let of_host = NodeName::of_host(&text);
    assert_eq!(NodeName::new(of_host.as_str()), Ok(of_host.clone()));
});
