//! The subject of an epoll event, in the 64 bits that epoll carries.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Signals,
    Listener,
    /// A connection, by its serial number.
    Peer(u32),
    /// A session's terminal.
    Terminal(SlotKey),
    /// The connection on which a session's shim reports.
    Report(SlotKey),
    /// A leader that is not this process's child.
    Leader(SlotKey),
    /// The guardian's hint that a leader has exited.
    Poke,
    /// The guardian's end.
    Guardian,
}

/// A session's slot, and the number of the session among those that have used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotKey {
    pub(super) slot: u32,
    /// The number, of 24 bits.
    pub(super) generation: u32,
}

const GENERATION: u32 = 0x00ff_ffff;

impl SlotKey {
    pub(super) fn new(slot: u32, generation: u32) -> Self {
        SlotKey { slot, generation: generation & GENERATION }
    }

    fn word(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    fn of(word: u64) -> Self {
        SlotKey::new(word as u32, (word >> 32) as u32)
    }
}

impl Token {
    pub(super) fn word(self) -> u64 {
        let (class, word) = match self {
            Token::Signals => (0, 0),
            Token::Listener => (1, 0),
            Token::Peer(serial) => (2, u64::from(serial)),
            Token::Terminal(key) => (3, key.word()),
            Token::Report(key) => (4, key.word()),
            Token::Leader(key) => (5, key.word()),
            Token::Poke => (6, 0),
            Token::Guardian => (7, 0),
        };
        class << 56 | word
    }

    pub(super) fn of(word: u64) -> Option<Self> {
        match word >> 56 {
            0 => Some(Token::Signals),
            1 => Some(Token::Listener),
            2 => Some(Token::Peer(word as u32)),
            3 => Some(Token::Terminal(SlotKey::of(word))),
            4 => Some(Token::Report(SlotKey::of(word))),
            5 => Some(Token::Leader(SlotKey::of(word))),
            6 => Some(Token::Poke),
            7 => Some(Token::Guardian),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_epoll() {
        let key = SlotKey::new(u32::MAX, u32::MAX);
        for token in [
            Token::Signals,
            Token::Listener,
            Token::Peer(u32::MAX),
            Token::Terminal(key),
            Token::Report(SlotKey::new(7, 9)),
            Token::Leader(key),
            Token::Poke,
            Token::Guardian,
        ] {
            assert_eq!(Token::of(token.word()), Some(token));
        }
        assert_eq!(Token::of(u64::MAX), None);
    }
}
