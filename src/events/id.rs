//! The position of an event among all events of a server.

use std::fmt;
use std::str::FromStr;

/// `<the server's start, in milliseconds since 1970>-<n>`: unique among all servers of the state
/// directory, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    /// When the event's server was started, in milliseconds since 1970.
    pub epoch: u64,
    /// The event's number, from 1; 0 stands before the first event.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl FromStr for EventId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, number) = text.split_once('-').unwrap_or((text, ""));
        Ok(EventId { epoch: epoch.parse()?, number: number.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = EventId { epoch: 1_700_000_000_000, number: 7 };
        assert_eq!(id.to_string(), "1700000000000-7");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "7", "-7", "7-", "a-b", "1-2-3"] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong}");
        }
    }
}
