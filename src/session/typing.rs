//! Typing without a connection: one piece of input, until the holder has accepted it.

use super::link::Link;
use crate::id::ClientKey;
use crate::pending::Pending;
use crate::protocol::INPUT_WINDOW;
use actix_web::rt::time::sleep;
use std::time::{Duration, Instant};

/// How soon the holder's ledger is looked at, and how the looks become rarer.
const FIRST_LOOK: Duration = Duration::from_micros(500);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// What became of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeOutcome {
    /// All of it was accepted, up to this offset.
    Accepted(u64),
    /// It begins beyond what was accepted of this client.
    Gap(u64),
    /// The program does not read: only so much was accepted.
    Full(u64),
    /// The session ended before it was accepted.
    Ended,
}

/// Types `bytes`, which begin at `offset` of this client's input (`None`: at its end).
pub async fn type_all(
    link: &Link,
    key: ClientKey,
    offset: Option<u64>,
    bytes: &[u8],
    patience: Duration,
) -> TypeOutcome {
    let accepted = link.ring().input(key).map_or(0, |input| input.accepted);
    let offset = offset.unwrap_or(accepted);
    let Some(known) = accepted.checked_sub(offset) else { return TypeOutcome::Gap(accepted) };
    let end = offset + bytes.len() as u64;
    let mut rest = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
    let mut pending = Pending::starting_at(accepted);
    let (start, mut look) = (Instant::now(), FIRST_LOOK);
    loop {
        let room = (INPUT_WINDOW as usize).saturating_sub(pending.len()).min(rest.len());
        let (now, later) = rest.split_at(room);
        pending.push(now);
        rest = later;
        while let Some(piece) = pending.next_piece() {
            link.type_in(key, &piece);
        }
        // In this order: what was accepted may be what the program has ended upon.
        let ended = link.ring().ended().is_some();
        let before = pending.accepted();
        if let Some(input) = link.ring().input(key) {
            pending.settle(input, link.ring().input_free() > 0);
        }
        if pending.is_empty() && rest.is_empty() {
            return TypeOutcome::Accepted(pending.accepted().max(end));
        }
        if ended {
            return TypeOutcome::Ended;
        }
        if start.elapsed() >= patience {
            return TypeOutcome::Full(pending.accepted());
        }
        if pending.accepted() > before {
            look = FIRST_LOOK;
            continue;
        }
        sleep(look).await;
        look = (look * 2).min(LAST_LOOK);
    }
}
