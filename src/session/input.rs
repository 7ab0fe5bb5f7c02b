//! Typing without a connection: one piece of input, until the holder has accepted it.

use super::handle::SessionHandle;
use super::writers::{ClientAttached, InputWriter};
use crate::id::ClientKey;
use crate::pending::Pending;
use crate::protocol::INPUT_WINDOW;
use actix_web::rt::time::sleep;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The holder's ledger is read this soon after input was sent, and then at doubled intervals.
const FIRST_CHECK: Duration = Duration::from_micros(500);
const LAST_CHECK: Duration = Duration::from_millis(50);

/// The outcome of typing. `received` counts all that was accepted of this client, `typed`
/// the bytes of this request among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeOutcome {
    /// All of it was accepted, up to this offset.
    Accepted(u64),
    /// The input begins beyond what was accepted of this client.
    Gap(u64),
    /// The program does not read, or others were typing: only so much was accepted.
    Full {
        /// Bytes of this client that were accepted, from its beginning.
        received: u64,
        /// Bytes of this request that were accepted.
        typed: u64,
    },
    /// A WebSocket of this client is attached, or came meanwhile: only so much was accepted.
    Attached {
        /// Bytes of this client that were accepted, from its beginning.
        received: u64,
        /// Bytes of this request that were accepted.
        typed: u64,
    },
    /// The session ended before it was accepted.
    Ended,
}

/// Types `bytes`, which begin at `offset` of this client's input (`None`: at its end), once
/// all requests before this one are typed. May be dropped at any moment: what was sent to the
/// holder until then is typed, and whoever types next goes on behind it.
pub async fn type_all(
    handle: &SessionHandle,
    key: ClientKey,
    offset: Option<u64>,
    bytes: &[u8],
    patience: Duration,
) -> TypeOutcome {
    let deadline = Instant::now() + patience;
    let writer = match timeout_at(deadline, handle.request_writer(key)).await {
        Ok(Ok(writer)) => writer,
        Ok(Err(ClientAttached)) => {
            let received = handle.accepted_input(key).await;
            return TypeOutcome::Attached { received, typed: 0 };
        }
        Err(_) => {
            let received = handle.accepted_input(key).await;
            return TypeOutcome::Full { received, typed: 0 };
        }
    };
    let accepted = handle.accepted_input(key).await;
    let offset = offset.unwrap_or(accepted);
    let Some(known) = accepted.checked_sub(offset) else { return TypeOutcome::Gap(accepted) };
    let rest = bytes.get(usize::try_from(known).unwrap_or(usize::MAX)..).unwrap_or_default();
    let stopped = write(handle, &writer, accepted, rest, deadline).await;
    let received = match stopped {
        None => return TypeOutcome::Accepted(accepted.max(offset + bytes.len() as u64)),
        Some(Stopped::Ended) => return TypeOutcome::Ended,
        // A connection that has taken over waits for us, so nobody has typed since.
        Some(Stopped::Displaced | Stopped::TimedOut) => handle.accepted_input(key).await,
    };
    let typed = received.saturating_sub(offset).min(bytes.len() as u64);
    match stopped {
        Some(Stopped::Displaced) => TypeOutcome::Attached { received, typed },
        // The holder has accepted the rest meanwhile.
        _ if typed == bytes.len() as u64 => TypeOutcome::Accepted(received),
        _ => TypeOutcome::Full { received, typed },
    }
}

/// Why not everything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    TimedOut,
    Displaced,
    Ended,
}

/// Writes the rest of a request, which begins where `accepted` is. `None`: all was accepted.
async fn write(
    handle: &SessionHandle,
    writer: &InputWriter,
    accepted: u64,
    mut rest: &[u8],
    deadline: Instant,
) -> Option<Stopped> {
    let mut pending = Pending::starting_at(accepted);
    let mut pause = FIRST_CHECK;
    loop {
        let room = (INPUT_WINDOW as usize).saturating_sub(pending.len()).min(rest.len());
        let (now, later) = rest.split_at(room);
        pending.push(now);
        rest = later;
        while let Some(piece) = pending.next_piece() {
            if !handle.type_in(writer, &piece) {
                return Some(Stopped::Displaced);
            }
        }
        // In this order: what was accepted may be what the program has ended upon.
        let ended = handle.ring().ended().is_some();
        let before = pending.accepted();
        if let Some(input) = handle.ring().input(writer.key()) {
            pending.settle(input, handle.ring().input_free() > 0);
        }
        if pending.is_empty() && rest.is_empty() {
            return None;
        }
        if ended {
            return Some(Stopped::Ended);
        }
        if !writer.is_current() {
            return Some(Stopped::Displaced);
        }
        if Instant::now() >= deadline {
            return Some(Stopped::TimedOut);
        }
        if pending.accepted() > before {
            pause = FIRST_CHECK;
            continue;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LAST_CHECK);
    }
}
