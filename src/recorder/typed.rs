//! Keeps track of how much of each client's input is recorded.

use crate::id::ClientKey;
use crate::text::TextCarry;
use std::collections::HashMap;

/// Clients whose input is tracked separately.
const CLIENTS_MAX: usize = 64;

/// The recorded input of all clients of a session.
#[derive(Default)]
pub(super) struct RecordedInput {
    clients: HashMap<ClientKey, ClientInput>,
}

#[derive(Default)]
struct ClientInput {
    /// The offset up to which the client's input is recorded.
    end: u64,
    /// The beginning of a character whose rest has not come yet.
    carry: TextCarry,
}

impl RecordedInput {
    /// The new part of `bytes`, which begin at `offset` of a client's input. Clients send again
    /// what the holder had no room for, and that must not be recorded twice.
    pub(super) fn new_bytes<'a>(
        &mut self,
        key: ClientKey,
        offset: u64,
        bytes: &'a [u8],
    ) -> Option<&'a [u8]> {
        if self.clients.len() >= CLIENTS_MAX && !self.clients.contains_key(&key) {
            self.clients.clear();
        }
        let client = self.clients.entry(key).or_default();
        let known = usize::try_from(client.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let new = bytes.get(known..).filter(|new| !new.is_empty())?;
        client.end = offset.saturating_add(bytes.len() as u64);
        Some(new)
    }

    /// New bytes as whole characters.
    pub(super) fn text(&mut self, key: ClientKey, new: &[u8]) -> String {
        self.clients.entry(key).or_default().carry.feed(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_is_sent_again_is_recorded_once_and_in_whole_characters() {
        let (mut input, key) = (RecordedInput::default(), ClientKey::REPLIES);
        assert_eq!(input.new_bytes(key, 0, b"ab\xc3"), Some(&b"ab\xc3"[..]));
        assert_eq!(input.text(key, b"ab\xc3"), "ab");
        assert_eq!(input.new_bytes(key, 1, b"b\xc3"), None);
        assert_eq!(input.new_bytes(key, 1, b"b\xc3\xa9c"), Some(&b"\xa9c"[..]));
        assert_eq!(input.text(key, b"\xa9c"), "éc");
    }
}
