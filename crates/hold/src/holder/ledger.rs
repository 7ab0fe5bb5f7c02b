//! The input ledger, which accepts each byte of a client exactly once. Pure.
//!
//! A client counts its bytes from 0 and, after a reconnect or a restart of the server, sends again
//! from the offset that was accepted. Overlap is trimmed; a gap is refused, since the missing bytes
//! may still be on their way.

use crate::id::ClientKey;

/// Input bytes that may wait for one program that does not read.
pub const QUEUE: usize = 64 << 10;
/// The clients of one session that are counted. Beyond this the least recently used is forgotten,
/// anonymous ones and single requests first, because those never reconnect. The source of answers to queries is never
/// forgotten: its answers would be given twice.
pub(super) const ENTRIES: usize = 64;
const REPLIES: [u8; 16] = ClientKey::REPLIES.to_bytes();

#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    key: [u8; 16],
    accepted: u64,
    seen: u64,
    used: u64,
}

/// The ledger's decision about a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// The client's entry.
    pub(super) slot: usize,
    /// Whether the entry was given to this client by this message.
    pub(super) assigned: bool,
    /// The number of the message's bytes that are already known; `None` if there is a gap before
    /// it.
    pub(super) known: Option<usize>,
}

impl Ledger {
    /// Looks up a message of `length` bytes at `offset` and notes that it was seen. `None` if the
    /// offset is impossibly large.
    pub(super) fn offer(&mut self, key: [u8; 16], offset: u64, length: usize) -> Option<Offer> {
        let end = offset.checked_add(u64::try_from(length).ok()?)?;
        self.clock = self.clock.saturating_add(1);
        let found = self.entries.iter().position(|entry| entry.key == key);
        let (slot, assigned) = match found {
            Some(slot) => (slot, false),
            None => (self.assign(key, offset), true),
        };
        let entry = self.entries.get_mut(slot)?;
        entry.used = self.clock;
        entry.seen = entry.seen.max(end);
        let known = entry.accepted.checked_sub(offset);
        let known = known.map(|known| usize::try_from(known).unwrap_or(length).min(length));
        Some(Offer { slot, assigned, known })
    }

    /// The ledger of an earlier holder: of each client its key, what is accepted and seen of its
    /// input, and when it was used last.
    pub(super) fn restore(clients: impl Iterator<Item = ([u8; 16], u64, u64, u64)>) -> Self {
        let entry = |(key, accepted, seen, used)| Entry { key, accepted, seen, used };
        let entries: Vec<Entry> = clients.take(ENTRIES).map(entry).collect();
        let clock = entries.iter().map(|entry| entry.used).max().unwrap_or(0);
        Ledger { entries, clock }
    }

    /// When the present message was seen, in messages.
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    /// Notes that `count` more bytes of an entry's client are in the queue.
    pub(super) fn accept(&mut self, slot: usize, count: usize) {
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.accepted = entry.accepted.saturating_add(count as u64);
        }
    }

    /// An entry's `accepted` and `seen`.
    pub(super) fn get(&self, slot: usize) -> (u64, u64) {
        self.entries.get(slot).map_or((0, 0), |entry| (entry.accepted, entry.seen))
    }

    fn assign(&mut self, key: [u8; 16], offset: u64) -> usize {
        // An anonymous client sends nothing twice, so it begins at its present offset. If it was
        // forgotten, it would otherwise never be accepted again.
        let accepted = if anonymous(&key) { offset } else { 0 };
        let entry = Entry { key, accepted, seen: 0, used: self.clock };
        if self.entries.len() < ENTRIES {
            self.entries.push(entry);
            return self.entries.len().saturating_sub(1);
        }
        let oldest = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.key != REPLIES)
            .min_by_key(|(_, entry)| (!gives_way(&entry.key), entry.used))
            .map_or(0, |(slot, _)| slot);
        if let Some(old) = self.entries.get_mut(oldest) {
            *old = entry;
        }
        oldest
    }
}

fn gives_way(key: &[u8; 16]) -> bool {
    ClientKey::from_bytes(*key).gives_way()
}

fn anonymous(key: &[u8; 16]) -> bool {
    ClientKey::from_bytes(*key).is_anonymous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: &str) -> [u8; 16] {
        ClientKey::named("test", name).to_bytes()
    }

    #[test]
    fn overlap_is_trimmed_and_a_gap_refused() {
        let (mut ledger, key) = (Ledger::default(), named("a"));
        let offer = ledger.offer(key, 0, 10).unwrap();
        assert_eq!(offer, Offer { slot: 0, assigned: true, known: Some(0) });
        ledger.accept(0, 7);
        assert_eq!(ledger.offer(key, 0, 10).unwrap().known, Some(7));
        assert_eq!(ledger.offer(key, 2, 3).unwrap().known, Some(3));
        assert_eq!(ledger.offer(key, 8, 3).unwrap().known, None);
        assert_eq!(ledger.get(0), (7, 11));
        assert_eq!(ledger.offer(key, u64::MAX, 1), None);
    }

    #[test]
    fn clients_without_a_name_are_forgotten_first() {
        let mut ledger = Ledger::default();
        let first = named("first");
        let slot = ledger.offer(first, 0, 5).unwrap().slot;
        ledger.accept(slot, 5);
        for _ in 0..10 * ENTRIES {
            ledger.offer(ClientKey::anonymous().to_bytes(), 0, 1).unwrap();
        }
        assert_eq!(ledger.offer(first, 5, 1).unwrap().known, Some(0));
        // If all have names, the least recently used of them is forgotten.
        for n in 0..ENTRIES {
            ledger.offer(named(&n.to_string()), 0, 1).unwrap();
        }
        assert!(ledger.offer(first, 5, 1).unwrap().assigned);
    }

    #[test]
    fn single_requests_are_counted_for_a_while_and_push_out_no_client() {
        let (mut ledger, client) = (Ledger::default(), named("client"));
        let slot = ledger.offer(client, 0, 5).unwrap().slot;
        ledger.accept(slot, 5);
        let request = |n: usize| ClientKey::of_request("anna", &n.to_string()).to_bytes();
        for n in 0..10 * ENTRIES {
            let slot = ledger.offer(request(n), 0, 3).unwrap().slot;
            ledger.accept(slot, 3);
        }
        assert_eq!(ledger.offer(client, 5, 1).unwrap().known, Some(0));
        // Repeated, it is known as long as it is among the last.
        assert_eq!(ledger.offer(request(10 * ENTRIES - 50), 0, 3).unwrap().known, Some(3));
        let forgotten = ledger.offer(request(0), 0, 3).unwrap();
        assert_eq!((forgotten.assigned, forgotten.known), (true, Some(0)));
    }

    #[test]
    fn replies_are_counted_for_ever() {
        let mut ledger = Ledger::default();
        let slot = ledger.offer(REPLIES, 0, 5).unwrap().slot;
        ledger.accept(slot, 5);
        for n in 0..10 * ENTRIES {
            assert_ne!(ledger.offer(named(&n.to_string()), 0, 1).unwrap().slot, slot);
        }
        let offer = ledger.offer(REPLIES, 3, 4).unwrap();
        assert_eq!((offer.assigned, offer.known), (false, Some(2)));
    }

    #[test]
    fn a_forgotten_client_without_a_name_goes_on() {
        let mut ledger = Ledger::default();
        let key = ClientKey::anonymous().to_bytes();
        assert_eq!(ledger.offer(key, 1000, 5).unwrap().known, Some(0));
        assert_eq!(ledger.get(0), (1000, 1005));
    }

    proptest! {
        /// However messages are cut, repeated and refused, the accepted bytes are a prefix of the
        /// client's input, each once.
        #[test]
        fn accepted_bytes_are_the_typed_ones(
            sends in prop::collection::vec((0usize..400, 0usize..64, 0usize..64), 1..200),
        ) {
            let typed: Vec<u8> = (0..=255).cycle().take(400).collect();
            let (mut ledger, key) = (Ledger::default(), named("a"));
            let mut accepted = Vec::new();
            for (start, length, room) in sends {
                let bytes = &typed[start..(start + length).min(typed.len())];
                let offer = ledger.offer(key, start as u64, bytes.len()).unwrap();
                if let Some(known) = offer.known {
                    let new = &bytes[known..];
                    let new = &new[..new.len().min(room)];
                    accepted.extend_from_slice(new);
                    ledger.accept(offer.slot, new.len());
                }
                prop_assert_eq!(&typed[..accepted.len()], &accepted[..]);
                prop_assert_eq!(ledger.get(0).0, accepted.len() as u64);
                prop_assert!(ledger.get(0).1 >= ledger.get(0).0);
            }
        }
    }
}
