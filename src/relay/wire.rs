//! The messages of a stream, as they are published: one byte for the kind, then numbers, big-endian,
//! then bytes or text.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a stream in one message, at most.
pub(super) const DATA_MAX: usize = 16 << 10;
/// What may be under way and unread in one direction of a stream.
pub(super) const WINDOW: u64 = 256 << 10;
/// What a message counts beside its bytes, so that the window bounds small ones, too.
const MESSAGE_COST: u64 = 64;
/// The longest opening, in bytes: whom it is for, with the ids or labels of a scope.
pub(super) const OPENING_MAX: usize = 256 << 10;
/// The longest reason that is read, in bytes.
const REASON_MAX: usize = 512;

/// What a message of so many bytes takes of the window.
pub(super) fn cost(length: usize) -> u64 {
    length as u64 + MESSAGE_COST
}

/// The most bytes that a message may have with so much of the window left; 0: none may be sent.
pub(super) fn fits(left: u64) -> usize {
    usize::try_from(left.saturating_sub(MESSAGE_COST)).unwrap_or(usize::MAX).min(DATA_MAX)
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// An edge opens a stream. `run` tells one life of the edge's server from the next.
    Open { run: u64, opening: Bytes },
    /// The node takes it.
    Accept { run: u64 },
    /// The node does not, or one side ends the stream in both directions.
    Close { reason: String },
    /// Bytes; `number` counts the messages of this direction from 0, with `End` among them.
    Data { number: u64, bytes: Bytes },
    /// Nothing follows in this direction.
    End { number: u64 },
    /// The other side may have sent messages of `limit` in all, as they count; `next` is the number
    /// that is expected.
    Credit { next: u64, limit: u64 },
    /// Asks for a `Credit`: messages below `next` were sent.
    Mark { next: u64 },
    /// What the stream was opened with is not valid any more.
    Revoke,
    /// This side lives.
    Alive { run: u64 },
}

impl Frame {
    /// As bytes.
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Frame::Open { run, opening } => with_number(b'o', *run, opening),
            Frame::Accept { run } => with_number(b'a', *run, &[]),
            Frame::Close { reason } => [b"c", reason.as_bytes()].concat().into(),
            Frame::Data { number, bytes } => data(*number, bytes),
            Frame::End { number } => with_number(b'e', *number, &[]),
            Frame::Credit { next, limit } => with_number(b'k', *next, &limit.to_be_bytes()),
            Frame::Mark { next } => with_number(b'm', *next, &[]),
            Frame::Revoke => Bytes::from_static(b"r"),
            Frame::Alive { run } => with_number(b'l', *run, &[]),
        }
    }

    /// From bytes; `None`: no message of ours.
    pub(super) fn decode(bytes: &Bytes) -> Option<Frame> {
        let rest = bytes.slice(1.min(bytes.len())..);
        Some(match *bytes.first()? {
            b'o' => {
                let (run, opening) = number(&rest)?;
                if opening.len() > OPENING_MAX {
                    return None;
                }
                Frame::Open { run, opening }
            }
            b'a' => Frame::Accept { run: alone(&rest)? },
            b'c' => {
                let reason = rest.get(..rest.len().min(REASON_MAX))?;
                Frame::Close { reason: String::from_utf8_lossy(reason).into_owned() }
            }
            b'd' => {
                let (number, bytes) = number(&rest)?;
                if bytes.is_empty() || bytes.len() > DATA_MAX {
                    return None;
                }
                Frame::Data { number, bytes }
            }
            b'e' => Frame::End { number: alone(&rest)? },
            b'k' => {
                let (next, limit) = number(&rest)?;
                Frame::Credit { next, limit: alone(&limit)? }
            }
            b'm' => Frame::Mark { next: alone(&rest)? },
            b'r' if rest.is_empty() => Frame::Revoke,
            b'l' => Frame::Alive { run: alone(&rest)? },
            _ => return None,
        })
    }
}

/// A message of bytes.
pub(super) fn data(number: u64, bytes: &[u8]) -> Bytes {
    with_number(b'd', number, bytes)
}

fn with_number(kind: u8, number: u64, rest: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(9 + rest.len());
    bytes.put_u8(kind);
    bytes.put_u64(number);
    bytes.put_slice(rest);
    bytes.freeze()
}

fn number(bytes: &Bytes) -> Option<(u64, Bytes)> {
    let number = bytes.get(..8)?.try_into().ok()?;
    Some((u64::from_be_bytes(number), bytes.slice(8..)))
}

fn alone(bytes: &Bytes) -> Option<u64> {
    number(bytes).filter(|(_, rest)| rest.is_empty()).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = prop::collection::vec(any::<u8>(), 1..100).prop_map(Bytes::from);
        prop_oneof![
            (any::<u64>(), bytes.clone()).prop_map(|(run, opening)| Frame::Open { run, opening }),
            any::<u64>().prop_map(|run| Frame::Accept { run }),
            "[ -~é]{0,40}".prop_map(|reason| Frame::Close { reason }),
            (any::<u64>(), bytes).prop_map(|(number, bytes)| Frame::Data { number, bytes }),
            any::<u64>().prop_map(|number| Frame::End { number }),
            any::<(u64, u64)>().prop_map(|(next, limit)| Frame::Credit { next, limit }),
            any::<u64>().prop_map(|next| Frame::Mark { next }),
            Just(Frame::Revoke),
            any::<u64>().prop_map(|run| Frame::Alive { run }),
        ]
    }

    proptest! {
        #[test]
        fn messages_are_read_as_they_are_written(frame in frames()) {
            prop_assert_eq!(Frame::decode(&frame.encode()), Some(frame));
        }
    }

    #[test]
    fn what_is_too_long_or_no_message_is_refused() {
        let long = vec![0; DATA_MAX + 1];
        for bytes in
            [&b""[..], b"x", b"d", b"d1234567", b"d12345678", b"rr", b"a123456789", b"k12345678"]
        {
            assert_eq!(Frame::decode(&Bytes::copy_from_slice(bytes)), None, "{bytes:?}");
        }
        assert_eq!(Frame::decode(&data(0, &long)), None);
        let opening = Bytes::from(vec![0; OPENING_MAX + 1]);
        assert_eq!(Frame::decode(&Frame::Open { run: 0, opening }.encode()), None);
    }

    #[test]
    fn the_window_bounds_small_messages_too() {
        assert_eq!((fits(0), fits(MESSAGE_COST), fits(MESSAGE_COST + 1)), (0, 0, 1));
        assert_eq!(fits(u64::MAX), DATA_MAX);
        assert!(WINDOW / cost(1) < 4096);
    }
}
