//! The client's side of `stayd.v1` as a pure machine: messages and keys in, actions out. The driver
//! executes the actions.

use super::input::Input;
use crate::cli::failure::Failure;
use crate::cli::key::Key;
use crate::id::SessionId;
use crate::lifecycle::EndReason;
use crate::protocol::{ClientMessage, INPUT_WINDOW, Mode, ServerMessage, Session};
use bytes::{Buf, Bytes};

/// Output is acknowledged whenever this many bytes were rendered: often enough that the server's
/// window (1 MiB) never runs out.
const ACK_EVERY: u64 = 128 << 10;
/// The most input that waits on a busy connection, in bytes.
const BUSY_INPUT_MAX: usize = 1 << 20;
/// The most input that waits on a terminal without a connection, in bytes.
const OFFLINE_INPUT_MAX: usize = INPUT_WINDOW as usize;

/// An instruction to the driver. Actions are executed in the order of their list.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) enum Action {
    /// Send a text frame.
    Control(ClientMessage),
    /// Send a binary frame.
    Input(Bytes),
    /// Clear the terminal, because the next output does not continue what it shows.
    Clear,
    /// Write to the terminal, and report the written bytes to [`Machine::rendered`].
    Write(Bytes),
    /// Show a message; the connection stays.
    Tell(String),
    /// End the attachment.
    Finish(End),
}

/// Why an attachment has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum End {
    /// The session has ended in this way.
    Exit {
        /// Exit code of the leader.
        code: Option<i32>,
        /// Signal that ended the leader.
        signal: Option<i32>,
        /// Why the session ended.
        reason: EndReason,
    },
    /// The session has ended; the API knows in which way.
    Ended,
    /// The session may still run, but we are not attached to it.
    Failed(Failed),
}

/// Why the server refuses or ends the attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Failed {
    /// There is no such session, or no longer.
    NoSuchSession,
    /// Another connection of this client took over.
    TakenOver,
    /// The server refused for this reason.
    Refused(String),
}

impl Failed {
    /// The failure to report to the user; `name` is the session's.
    pub(in crate::cli) fn into_failure(self, name: String) -> Failure {
        match self {
            Failed::NoSuchSession => Failure::NoSuchSession(name),
            Failed::TakenOver => {
                Failure::Other("another connection of this client took over".into())
            }
            Failed::Refused(reason) => Failure::Other(reason),
        }
    }
}

/// One client of one session, over any number of connections.
#[derive(Debug)]
pub(in crate::cli) struct Machine {
    key: Key,
    client: String,
    /// The session in whose terminal this client runs, if any.
    from: Option<SessionId>,
    /// The session as the server last described it.
    session: Option<Box<Session>>,
    mode: Mode,
    /// Whether input comes from a terminal, which answers the program's queries.
    has_terminal: bool,
    size: Option<(u16, u16)>,
    /// Offset of the next output byte, if the next connection should continue there.
    resume: Option<u64>,
    /// Offset of the next output byte on this connection.
    offset: u64,
    /// Bytes from `offset` on that the pipe already has: they are sent again and have to be
    /// skipped.
    repeated: u64,
    /// The offset of the last acknowledgement.
    acknowledged: u64,
    /// Bytes that were given to the terminal and are not rendered yet.
    pending: usize,
    /// Whether output goes to a pipe or a file, where a snapshot would be out of place.
    is_pipe: bool,
    /// Whether output was already written, so that a gap before the next output has to be reported.
    continues: bool,
    open: bool,
    /// The offset of the snapshot that the next binary frame holds. A `snapshot` message sets it.
    snapshot: Option<u64>,
    input: Input,
}

impl Machine {
    /// `offset`: how many output bytes of the session this terminal already shows; `None`
    /// asks for its screen. `from`: the session that shows what is attached here, which the server
    /// needs to know to refuse circles. A read-only client sends neither input nor its size.
    pub(in crate::cli) fn new(
        key: impl Into<Key>,
        client: String,
        offset: Option<u64>,
        from: Option<SessionId>,
        mode: Mode,
    ) -> Machine {
        Machine {
            key: key.into(),
            client,
            from,
            session: None,
            mode,
            has_terminal: true,
            size: None,
            resume: offset,
            offset: offset.unwrap_or(0),
            repeated: 0,
            acknowledged: 0,
            pending: 0,
            is_pipe: false,
            continues: offset.is_some(),
            open: false,
            snapshot: None,
            input: Input::default(),
        }
    }

    /// A client whose output goes to a pipe or a file.
    pub(in crate::cli) fn piped(&mut self) {
        self.is_pipe = true;
    }

    /// Notes that input does not come from a terminal: all of it is for the program, including what
    /// looks like a terminal's answer.
    pub(super) fn input_is_no_terminal(&mut self) {
        self.has_terminal = false;
    }

    /// Path and query of the next connection.
    pub(in crate::cli) fn target(&self) -> String {
        let Machine { key, client, .. } = self;
        let mut target = format!("{}/attach?client={client}", key.path());
        if let Some(from) = self.from {
            target += &format!("&from={from}");
        }
        if self.mode == Mode::Ro {
            target += "&mode=ro";
        }
        if !self.has_terminal {
            target += "&terminal=no";
        }
        if let Some((cols, rows)) = self.size {
            target += &format!("&cols={cols}&rows={rows}");
        }
        if let Some(offset) = self.resume {
            target += &format!("&session={}&offset={offset}", key.id);
        }
        target
    }

    /// The session, as the server last described it.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// Bytes of output received, counted from the session's beginning.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the client is attached.
    pub(in crate::cli) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether all received output was rendered.
    pub(super) fn is_rendered(&self) -> bool {
        self.pending == 0
    }

    /// Whether there is rendered output that is not acknowledged.
    pub(super) fn owes_ack(&self) -> bool {
        self.open && self.rendered_to() > self.acknowledged
    }

    /// Whether standard input should be read. On a terminal without a connection keys are read, and
    /// dropped beyond a limit, so that the detach keys work; a pipe has to wait.
    pub(super) fn wants_input(&self, terminal: bool) -> bool {
        self.input.len() < BUSY_INPUT_MAX || (terminal && !self.open)
    }

    /// Notes that something else has written to the terminal: the next connection redraws it.
    pub(super) fn screen_disturbed(&mut self) {
        self.resume = None;
    }

    /// Notes that output which was given to the terminal is discarded.
    pub(super) fn output_lost(&mut self) {
        self.pending = 0;
        self.resume = None;
    }

    /// Handles a text frame. Messages of a later version are ignored.
    pub(in crate::cli) fn text(&mut self, text: &str) -> Vec<Action> {
        let Ok(message) = serde_json::from_str(text) else { return Vec::new() };
        match message {
            ServerMessage::Attached {
                session, offset, input, input_window, cols, rows, ..
            } => self.attached(session, offset, (cols, rows), input, input_window),
            ServerMessage::Snapshot { offset, .. } => {
                self.snapshot = Some(offset);
                if !self.is_continued_pipe() {
                    // If the connection breaks before the snapshot arrives, there is nothing to
                    // continue.
                    self.resume = None;
                }
                Vec::new()
            }
            ServerMessage::Input { received } => {
                self.input.accept(received);
                self.send_input()
            }
            ServerMessage::Exit { code, signal, reason } => {
                vec![Action::Finish(End::Exit { code, signal, reason })]
            }
            ServerMessage::Error { message, .. } => vec![Action::Tell(message)],
            ServerMessage::Resized { .. }
            | ServerMessage::State { .. }
            | ServerMessage::Pong { .. } => Vec::new(),
        }
    }

    fn attached(
        &mut self,
        session: Box<Session>,
        offset: u64,
        size: (u16, u16),
        input: u64,
        window: u64,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.resume != Some(offset) {
            actions.push(Action::Clear);
            actions.extend(self.go_on_at(offset));
            // A pipe continues at this offset even if the connection breaks before any output.
            self.resume = self.is_continued_pipe().then_some(offset);
        }
        // The size may have changed while the connection was being opened.
        let may_say = self.mode == Mode::Rw;
        if let Some((cols, rows)) = self.size.filter(|ours| may_say && *ours != size) {
            actions.push(resize(cols, rows));
        }
        if self.session.as_ref().is_some_and(|before| before.restarts != session.restarts) {
            let dropped = self.input.start_again(input);
            if dropped > 0 {
                actions.push(Action::Tell(format!(
                    "the session was started again: {dropped} bytes of input were for the command \
                     before and are dropped"
                )));
            }
        }
        self.session = Some(session);
        self.open = true;
        self.snapshot = None;
        self.acknowledged = offset;
        self.input.open(input, window);
        actions.extend(self.send_input());
        actions
    }

    /// Continues the output at `offset`. On a pipe, missing bytes are reported and bytes that it
    /// already has are skipped; a terminal is cleared.
    fn go_on_at(&mut self, offset: u64) -> Option<Action> {
        let written = self.offset + std::mem::take(&mut self.repeated);
        self.offset = offset;
        if !self.is_continued_pipe() {
            return None;
        }
        self.repeated = written.saturating_sub(offset);
        let lost = offset.checked_sub(written).filter(|lost| *lost > 0)?;
        Some(Action::Tell(format!(
            "{lost} bytes of output are missing here: they are not kept any more"
        )))
    }

    fn is_continued_pipe(&self) -> bool {
        self.is_pipe && self.continues
    }

    /// Handles a binary frame: output, or the snapshot that was announced.
    pub(in crate::cli) fn binary(&mut self, mut bytes: Bytes) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(offset) = self.snapshot.take() {
            actions.extend(self.go_on_at(offset));
            self.acknowledged = offset;
            if self.is_continued_pipe() {
                self.resume = Some(offset);
                return actions;
            }
            actions.push(Action::Clear);
        } else {
            self.offset += bytes.len() as u64;
            let known = usize::try_from(self.repeated).unwrap_or(usize::MAX).min(bytes.len());
            self.repeated -= known as u64;
            bytes.advance(known);
        }
        self.continues = true;
        self.resume = Some(self.offset);
        if !bytes.is_empty() {
            self.pending += bytes.len();
            actions.push(Action::Write(bytes));
        }
        actions
    }

    /// Notes that this many bytes of output were written.
    pub(in crate::cli) fn rendered(&mut self, bytes: usize) -> Vec<Action> {
        self.pending = self.pending.saturating_sub(bytes);
        if self.owes_ack() && self.rendered_to() - self.acknowledged >= ACK_EVERY {
            return self.ack();
        }
        Vec::new()
    }

    /// Acknowledges rendered output that is not acknowledged yet.
    pub(in crate::cli) fn ack(&mut self) -> Vec<Action> {
        if !self.owes_ack() {
            return Vec::new();
        }
        self.acknowledged = self.rendered_to();
        vec![Action::Control(ClientMessage::Ack { offset: self.acknowledged })]
    }

    /// Acknowledges one byte that is not written yet, while a pipe takes nothing. The program has
    /// to wait for a pipe's reader, as it would without us, but the server does not wait for a
    /// client that acknowledges nothing. The acknowledged byte is in our memory, and is written
    /// when the reader continues.
    pub(super) fn hold(&mut self) -> Vec<Action> {
        if !self.is_pipe || !self.open || self.pending == 0 || self.acknowledged >= self.offset {
            return Vec::new();
        }
        self.acknowledged += 1;
        vec![Action::Control(ClientMessage::Ack { offset: self.acknowledged })]
    }

    /// The offset up to which output is rendered. If the pending bytes begin with a snapshot or
    /// with output of an earlier connection, the result is too low, never too high.
    fn rendered_to(&self) -> u64 {
        self.offset.saturating_sub(self.pending as u64)
    }

    /// Takes keys or bytes from standard input. An error is the number of bytes that were dropped
    /// because the buffer is full.
    pub(super) fn typed(&mut self, bytes: &[u8], terminal: bool) -> Result<Vec<Action>, usize> {
        if self.mode == Mode::Ro {
            return Ok(Vec::new());
        }
        if terminal && !self.open && self.input.len() + bytes.len() > OFFLINE_INPUT_MAX {
            return Err(bytes.len());
        }
        self.input.push(bytes);
        Ok(self.send_input())
    }

    fn send_input(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.input.next()).map(Action::Input).collect()
    }

    /// Notes the terminal's size.
    pub(super) fn resized(&mut self, cols: u16, rows: u16) -> Vec<Action> {
        let changed = self.size.replace((cols, rows)) != Some((cols, rows));
        if changed && self.open && self.mode == Mode::Rw {
            vec![resize(cols, rows)]
        } else {
            Vec::new()
        }
    }

    /// Notes that the connection is gone, with a close code or without one (`None`). Returns the
    /// end of the attachment, or `None` to connect again.
    pub(in crate::cli) fn closed(&mut self, code: Option<u16>, reason: &str) -> Option<End> {
        self.open = false;
        self.snapshot = None;
        self.input.close();
        match code {
            // The session has ended, but no `exit` message has said in which way.
            Some(1000 | 4410) => Some(End::Ended),
            Some(4404) => Some(End::Failed(Failed::NoSuchSession)),
            Some(4409) => Some(End::Failed(Failed::TakenOver)),
            Some(1002 | 1003 | 1007 | 1008 | 1009) => {
                let reason = if reason.is_empty() { "not allowed" } else { reason };
                Some(End::Failed(Failed::Refused(reason.into())))
            }
            _ => None,
        }
    }
}

fn resize(cols: u16, rows: u16) -> Action {
    Action::Control(ClientMessage::Resize { cols: cols.into(), rows: rows.into() })
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
