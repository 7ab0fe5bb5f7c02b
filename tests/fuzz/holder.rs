//! What holder and server read of each other: messages, and the page that the server writes.
//! `tests/integration/holder_attacks` gives the like to a holder's process.

use super::ledger::Ledger;
use super::wire::*;
use crate::fuzz::target;
use crate::id::ClientKey;
use crate::ring::{CAPACITY_MIN, IN_FLIGHT, Reader, Writer};
use serde::Serialize;
use serde::de::DeserializeOwned;

target!(wire, |bytes: &[u8]| {
    let Ok(message) = Message::parse(bytes) else { return };
    assert_eq!(HEADER + message.json.len() + message.tail.len(), bytes.len());
    // To the holder.
    again::<Hello>(&message);
    again::<Spawn>(&message);
    again::<List>(&message);
    again::<Signal>(&message);
    again::<Resize>(&message);
    again::<Target>(&message);
    let _ = message.control::<Checkpoint>();
    let _ = serde_json::from_slice::<ExecSpec>(message.tail);
    if let Ok(input) = InputTail::parse(message.tail) {
        let mut ledger = Ledger::default();
        for offset in [input.offset, 0, input.offset.wrapping_add(1)] {
            if let Some(offer) = ledger.offer(input.key.to_bytes(), offset, input.bytes.len()) {
                let known = offer.known.unwrap_or(0);
                assert!(known <= input.bytes.len());
                ledger.accept(offer.slot, input.bytes.len() - known);
            }
        }
    }
    // To the server.
    again::<Listed>(&message);
    again::<Stats>(&message);
    let _ = message.control::<Failure>();
    again::<Entry>(&message);
});

/// Control words that are read as they were written.
fn again<T: DeserializeOwned + Serialize>(message: &Message<'_>) {
    let Ok(control) = serde_json::from_slice::<T>(message.json) else { return };
    let mut bytes = Vec::new();
    if encode(&mut bytes, Kind::Done, message.request, Some(&control), message.tail).is_ok() {
        let parsed = Message::parse(&bytes).expect("our own message");
        assert_eq!((parsed.request, parsed.tail), (message.request, message.tail));
        serde_json::from_slice::<T>(parsed.json).expect("our own words");
    }
}

// Ten bytes a step: what happens, by how much, and a number.
target!(server_page, |bytes: &[u8]| {
    let base = bytes.first().map_or(0, |&first| u64::MAX - (u64::from(first) << 56));
    let (fd, mut writer) = Writer::create(CAPACITY_MIN, base).expect("a ring");
    let reader = Reader::open(&fd).expect("our own ring");
    // The furthest offset that an honest tail has let go of.
    let (mut free, mut checkpoint) = (base, None);
    for step in bytes.chunks_exact(10) {
        let number = u64::from_le_bytes(step[2..].try_into().expect("eight bytes"));
        // Near the ring's own numbers, or anywhere.
        let number =
            if step[1] & 1 == 0 { writer.head().wrapping_sub(number >> 40) } else { number };
        match step[0] % 8 {
            0 => writer.set_server_page([number, number, number]),
            1 => writer.set_server_page([number, 0, u64::MAX]),
            2 => {
                if writer.may_checkpoint(number) {
                    assert!(number >= checkpoint.unwrap_or(base) && number <= writer.head());
                    checkpoint = Some(number);
                }
                writer.hold_tail(number);
            }
            3 => drop(writer.due()),
            4 => drop((writer.block(), writer.resumable(), writer.anybody())),
            5 => writer.stamp_resize(number as u16, step[1].into()),
            _ => {
                let room = writer.room();
                let length = writer.buffer(room).len() as u64;
                writer.publish(length.min(number >> 44));
            }
        }
        let tail = reader.tail();
        if (free..=writer.head()).contains(&tail) {
            free = tail;
        }
        let held = checkpoint.map_or(free, |checkpoint| checkpoint.min(free));
        let used = writer.head() - held;
        let room = CAPACITY_MIN - IN_FLIGHT - used;
        assert_eq!(writer.room(), room, "nothing that is held is given away");
        let _ = (reader.oldest(), reader.blocked(), reader.size(), reader.resizes_since(number));
        let _ = reader.input(ClientKey::from_bytes([step[1]; 16]));
        let mut output = bytes::BytesMut::new();
        let _ = reader.read(number, 64, &mut output);
        assert!(output.len() <= 64);
    }
});
