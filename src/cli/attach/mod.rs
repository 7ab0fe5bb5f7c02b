//! `stayd attach`: attaches this terminal to a session.
//!
//! | room | what is in it |
//! |---|---|
//! | `machine` | the protocol, pure: messages and keys in, actions out |
//! | `input`, `keys`, `modes`, `backoff` | its parts, pure as well |
//! | `driver` | executes the actions; waits for events |
//! | `link`, `stdio`, `terminal` | the WebSocket, standard input and output, raw mode |
//!
//! Without a terminal it works as a pipe: input is passed on, and its end ends nothing (send Ctrl-D
//! to a program that needs an end of file). Output is written as it arrives, until the session
//! ends.

mod driver;
mod input;
mod keys;
mod link;
mod machine;
mod modes;
mod stdio;
mod terminal;

use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::key::Key;
use super::staying::stays;
use super::{ended, inside, out, resolve};
use crate::config::PathFlags;
use crate::lifecycle::EndReason;
use crate::protocol::{Mode, Recording, Session};
use chrono::Utc;
use clap::Args;
use driver::{Driver, Outcome};
pub(super) use keys::DetachKeys;
pub(super) use link::{Incoming, Link};
pub(super) use machine::{Action, End, Machine};
use uuid::Uuid;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Without it the session that was used last: id, unique beginning of an id, or name
    session: Option<String>,
    /// Type nothing, and leave the terminal's size to the other clients
    #[arg(long, short)]
    read_only: bool,
    /// Keys that detach: one with Ctrl, and perhaps a second one, such as "C-a d" or C-]; or "none"
    #[arg(long, value_name = "KEYS", env = "STAYD_DETACH_KEYS", default_value = "C-\\ d")]
    detach_keys: DetachKeys,
    #[command(flatten)]
    server: ServerFlags,
}

/// How a terminal is attached.
pub(super) struct How {
    pub(super) mode: Mode,
    pub(super) detach: DetachKeys,
}

pub(super) fn attach(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    let endpoint = Endpoint::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let client = Client::new(endpoint.clone())?;
        let key = match &flags.session {
            Some(word) => resolve::resolve(&client, word).await?,
            None => resolve::used_last(&client, inside::shown_in()).await?,
        };
        let mode = if flags.read_only { Mode::Ro } else { Mode::Rw };
        let how = How { mode, detach: flags.detach_keys };
        session(paths, &flags.server, endpoint, key, None, how).await
    })
}

/// Attaches until the session ends (the result is its exit code), the user detaches (0) or a signal
/// arrives (128 + its number).
pub(super) async fn session(
    paths: &PathFlags,
    flags: &ServerFlags,
    endpoint: Endpoint,
    key: Key,
    offset: Option<u64>,
    How { mode, detach }: How,
) -> Result<u8, Failure> {
    inside::refuse_circle(key.id)?;
    // The name is unique to this process, and the same after every reconnect.
    let client = format!("cli-{}", Uuid::now_v7().simple());
    let mut machine = Machine::new(key.clone(), client.clone(), offset, inside::shown_in(), mode);
    let driver = Driver::new(&mut machine, paths, flags, endpoint.clone(), detach)?;
    let outcome = driver.run().await?;
    let name = || key.word(machine.session().and_then(|session| session.name.as_deref()));
    match outcome {
        Outcome::Detached => {
            let left = match stays_without(&Client::new(endpoint)?, &key, &client).await {
                Some(stays) => format!("\r\n[detached from {}; {stays}]", name()),
                None => format!("\r\n[detached from {}]", name()),
            };
            out::message(&left);
            Ok(0)
        }
        Outcome::Signal(number) => Ok(exit_code(None, Some(number))),
        Outcome::End(End::Exit { code, signal, reason }) => {
            tell(&name(), reason);
            Ok(exit_code(code, signal))
        }
        Outcome::End(End::Ended) => ended(&Client::new(endpoint)?, &key, machine.offset()).await,
        Outcome::End(End::Failed(failed)) => Err(failed.into_failure(name())),
    }
}

/// How long a session stays that this client has just left; `None` if the server does not say.
async fn stays_without(client: &Client, key: &Key, name: &str) -> Option<String> {
    let session: Session = client.get(key).await.ok()?;
    let others = session.clients.iter().filter(|viewer| viewer.client != name).count();
    session
        .status
        .is_live()
        .then(|| stays(&key.word(session.name.as_deref()), &session, others, Utc::now()))
}

/// Reports a session that ended while we were not attached, and whose output is no longer kept.
/// `shown` is the number of bytes of output that were printed here.
async fn ended(client: &Client, key: &Key, shown: u64) -> Result<u8, Failure> {
    let session: Session = client.get(key).await?;
    if session.offset > shown {
        out::message(&format!("stayd: {}", gone(client, key, &session).await));
    }
    match session.end_reason {
        Some(reason) => tell(&key.to_string(), reason),
        None => out::message(&format!("stayd: session {key} is ending")),
    }
    Ok(exit_code(session.exit_code, session.exit_signal))
}

/// Says that the output of an ended session is gone, and which verbs show what is left.
pub(super) async fn gone(client: &Client, key: &Key, session: &Session) -> String {
    let how = ended::how(session).map_or_else(String::new, |how| format!(" ({how})"));
    let mut text = format!("session {key} has ended{how} and its output is not kept any more");
    if client.screen(key, "text", 0).await.is_ok() {
        text += &format!("; `stayd screen {key}` prints what it showed last");
    }
    if session.recording != Recording::Off {
        text += &format!("; `stayd recording {key}` prints what was recorded of it");
    }
    text += &format!("; `stayd restart {key}` runs its command again");
    text
}

/// Tells how the session ended, unless the program ended by itself.
fn tell(name: &str, reason: EndReason) {
    let how = match reason {
        EndReason::Exited | EndReason::Signaled => return,
        EndReason::Killed => "was killed",
        EndReason::IdleTimeout | EndReason::FirstAttachTimeout => "was destroyed, being idle",
        EndReason::SpawnFailed => "could not be started",
        EndReason::Orphaned | EndReason::RestoreFailed => "was lost",
    };
    out::message(&format!("\r\n[session {name} {how}]"));
}

/// The exit code by the shells' convention: the program's, or 128 + n for a signal; 1 if neither is
/// known.
pub(super) fn exit_code(code: Option<i32>, signal: Option<i32>) -> u8 {
    match (code, signal) {
        (Some(code), _) => (code & 0xff) as u8,
        (None, Some(signal)) => ((128 + signal) & 0xff) as u8,
        (None, None) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(Some(3), None), 3);
        assert_eq!(exit_code(Some(256 + 7), None), 7);
        assert_eq!(exit_code(None, Some(9)), 137);
        assert_eq!(exit_code(None, None), 1);
    }
}
