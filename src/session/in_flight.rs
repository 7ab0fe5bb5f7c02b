//! What is on its way to a client that may skip. Sockets take megabytes that a slow network
//! delivers seconds later; so that such a client sees what is now, it is sent little at
//! once, and its pongs say what has arrived.

use actix_http::ws::Message;

/// Bytes that may be on their way: a second's worth with a picture, at a megabit.
const WINDOW: u64 = 32 << 10;
/// Bytes of output that are skipped rather than sent late.
pub(super) const SKIP_LAG: u64 = 256 << 10;
/// The longest picture for such a client, in bytes.
pub(crate) const SKIP_PICTURE: usize = 64 << 10;

/// Counts what was sent, pictures included.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sent: u64,
}

impl InFlight {
    /// More was sent; this ping follows it.
    pub(super) fn sent(&mut self, length: usize) -> Message {
        self.sent += length as u64;
        Message::Ping(self.sent.to_be_bytes().to_vec().into())
    }

    /// How much more may be sent if so much has arrived.
    pub(super) fn room(&self, heard: u64) -> u64 {
        WINDOW.saturating_sub(self.sent.saturating_sub(heard))
    }

    /// Everything has arrived.
    pub(super) fn is_over(&self, heard: u64) -> bool {
        heard >= self.sent
    }
}

/// What a pong says has arrived; `None`: it answers another ping.
pub(super) fn arrived(pong: &[u8]) -> Option<u64> {
    pong.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_makes_room() {
        let mut in_flight = InFlight::default();
        assert!(in_flight.is_over(0));
        let Message::Ping(ping) = in_flight.sent(1000) else { panic!("no ping") };
        assert_eq!(arrived(&ping), Some(1000));
        assert_eq!((in_flight.room(0), in_flight.is_over(999)), (WINDOW - 1000, false));
        in_flight.sent(1 << 20);
        assert_eq!(in_flight.room(1000), 0);
        assert_eq!(in_flight.room(u64::MAX), WINDOW);
        assert!(in_flight.is_over(1000 + (1 << 20)));
        assert_eq!(arrived(b"heartbeat"), None);
    }
}
