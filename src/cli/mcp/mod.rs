//! `stayd mcp`: the Model Context Protocol on standard input and output, for clients that start their
//! servers themselves. A bridge to `POST /mcp`: it knows no tools, and starts nothing.
//!
//! A server that is being restarted is waited for, and a message that it has not answered is passed on
//! again: what must not be done twice has got a key before.

mod message;

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::retry::Retries;
use crate::config::PathFlags;
use crate::mcp::MESSAGE_MAX;
use clap::Args;
use message::{Message, error, offset_of};
use rmcp::model::ErrorCode;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Requests that are passed on at a time: as many as the server serves for one principal.
const AT_ONCE: usize = 64;
/// Lines that were read and not looked at yet.
const READ_AHEAD: usize = 16;

#[derive(Args, Debug)]
pub(super) struct Flags {
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn mcp(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let bridge = Rc::new(Bridge {
        paths: paths.clone(),
        flags: flags.server.clone(),
        client: RefCell::default(),
        was_there: Cell::new(false),
        version: RefCell::default(),
        lines: RefCell::default(),
        running: RefCell::default(),
    });
    actix::System::new().block_on(bridge.run())
}

/// One line of standard input.
enum Line {
    Whole(Vec<u8>),
    /// It is longer than a message may be.
    TooLong,
}

/// Reads standard input on a thread of its own: a read of it cannot be given up.
fn read_lines() -> mpsc::Receiver<io::Result<Line>> {
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = read_line(&mut input).transpose() {
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    lines
}

/// The next line without its end; `None` at the end of input.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let most = MESSAGE_MAX as u64 + 1;
    if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && line.len() > MESSAGE_MAX {
        // The rest is thrown away piece by piece.
        while line.last() != Some(&b'\n') {
            line.clear();
            if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                break;
            }
        }
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(Line::Whole(line)))
}

struct Bridge {
    paths: PathFlags,
    flags: ServerFlags,
    /// The server that has answered last.
    client: RefCell<Option<Rc<Client>>>,
    was_there: Cell<bool>,
    /// The version that `initialize` has agreed on, which the server wants to be told each time.
    version: RefCell<Option<String>>,
    /// Calls on one session are passed on one after the other, in the order in which they came: over
    /// connections of their own they could overtake each other.
    lines: RefCell<HashMap<String, Arc<Mutex<()>>>>,
    /// The requests that are not answered, by their ids, with what gives each up.
    running: RefCell<HashMap<String, oneshot::Sender<()>>>,
}

impl Bridge {
    async fn run(self: Rc<Self>) -> Result<u8, Failure> {
        let mut lines = read_lines();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        while let Some(line) = lines.recv().await {
            while tasks.try_join_next().is_some() {}
            let message = match line.map_err(Failure::doing("standard input"))? {
                Line::Whole(line) if line.trim_ascii().is_empty() => continue,
                Line::Whole(line) => Message::read(&line),
                Line::TooLong => Err(error(
                    &Value::Null,
                    ErrorCode::INVALID_REQUEST,
                    &format!("a message must have at most {MESSAGE_MAX} bytes"),
                    Value::Null,
                )),
            };
            let message = match message {
                Ok(message) => message,
                Err(answer) => {
                    tell(&answer)?;
                    continue;
                }
            };
            if let Some(id) = message.cancels() {
                // The server keeps nothing between requests: giving up the request cancels it.
                if let Some(give_up) = self.running.borrow_mut().remove(&id) {
                    let _ = give_up.send(());
                }
                continue;
            }
            let (bridge, place) = (self.clone(), places.clone().acquire_owned().await);
            tasks.spawn_local(async move {
                let _place = place;
                bridge.pass_on(message).await
            });
        }
        // The client has said all; what it has asked is still answered.
        while let Some(told) = tasks.join_next().await {
            told.map_err(Failure::doing("a message"))??;
        }
        Ok(0)
    }

    /// Passes a message on and tells the answer, unless the client gives it up.
    async fn pass_on(&self, message: Message) -> Result<(), Failure> {
        let Some(id) = message.id() else {
            // Nothing waits for what comes of a notification.
            let _ = self.send(message).await;
            return Ok(());
        };
        let (give_up, given_up) = oneshot::channel::<()>();
        self.running.borrow_mut().insert(id.to_string(), give_up);
        let answered = async {
            let _turn = match message.session() {
                Some(session) => Some(self.line(session).lock_owned().await),
                None => None,
            };
            self.send(message).await
        };
        let answer = tokio::select! {
            answer = answered => Some(answer),
            // An error of it means that the same id was used again.
            Ok(()) = given_up => None,
        };
        self.running.borrow_mut().remove(&id.to_string());
        self.lines.borrow_mut().retain(|_, line| Arc::strong_count(line) > 1);
        match answer {
            None => Ok(()),
            Some(Ok(answer)) => tell(&answer),
            Some(Err(failure)) => {
                let code = match &failure {
                    Failure::Refused { code, .. } => json!({ "code": code }),
                    _ => Value::Null,
                };
                tell(&error(&id, ErrorCode::INTERNAL_ERROR, &failure.to_string(), code))
            }
        }
    }

    fn line(&self, session: &str) -> Arc<Mutex<()>> {
        self.lines.borrow_mut().entry(session.to_owned()).or_default().clone()
    }

    /// Sends a message until it is answered, for as long as a restart of the server may take.
    async fn send(&self, mut message: Message) -> Result<Value, Failure> {
        let mut retries = Retries::default();
        let mut is_first = true;
        loop {
            let failure = match self.try_send(&mut message, is_first).await {
                Ok(answer) => {
                    self.was_there.set(true);
                    if let Some(version) = message.agreed_on(&answer) {
                        *self.version.borrow_mut() = Some(version);
                    }
                    return Ok(answer);
                }
                Err(failure) if failure.is_passing() => failure,
                Err(failure) => return Err(failure),
            };
            // A restarted server may have another address.
            self.client.take();
            // Do not wait for a server that was never there.
            if matches!(failure, Failure::NoServer { .. }) && !self.was_there.get() {
                return Err(failure);
            }
            is_first = false;
            sleep(retries.next_wait().ok_or(failure)?).await;
        }
    }

    async fn try_send(&self, message: &mut Message, is_first: bool) -> Result<Value, Failure> {
        let client = self.client()?;
        let version = self.version.borrow().clone();
        // If the message has to be sent again, its wait is to count from here.
        if let Some(question) = message.asks_for_offset(is_first) {
            let answer =
                client.mcp(question.to_bytes(), &question.headers(version.as_deref())).await?;
            message.counts_from(offset_of(&answer));
        }
        client.mcp(message.to_bytes(), &message.headers(version.as_deref())).await
    }

    fn client(&self) -> Result<Rc<Client>, Failure> {
        if let Some(client) = &*self.client.borrow() {
            return Ok(client.clone());
        }
        let client = Rc::new(Client::find(&self.paths, &self.flags)?);
        *self.client.borrow_mut() = Some(client.clone());
        Ok(client)
    }
}

/// Writes an answer as one line. Once nobody reads them, the bridge ends.
fn tell(answer: &Value) -> Result<(), Failure> {
    if answer.is_null() {
        return Ok(());
    }
    match out::bytes(format!("{answer}\n").as_bytes())? {
        true => Ok(()),
        false => Err(Failure::Other("the client has gone".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = "x".repeat(3 * MESSAGE_MAX);
        let fits = "y".repeat(MESSAGE_MAX);
        let text = format!("a\n{long}\n{fits}\nb");
        let mut input = text.as_bytes();
        let mut lengths = Vec::new();
        while let Some(line) = read_line(&mut input).unwrap() {
            lengths.push(match line {
                Line::Whole(line) => Some(line.trim_ascii().len()),
                Line::TooLong => None,
            });
        }
        assert_eq!(lengths, [Some(1), None, Some(MESSAGE_MAX), Some(1)]);
    }
}
