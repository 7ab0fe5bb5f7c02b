//! Runs the machine: feeds events into it, and executes the actions that it returns.

use super::keys::{DetachKeys, Keys, Typed};
use super::link::{Incoming, Link};
use super::machine::{Action, End, Machine};
use super::modes;
use super::stdio::{Input, Output};
use super::terminal::Terminal;
use crate::cli::endpoint::{Endpoint, ServerFlags};
use crate::cli::failure::Failure;
use crate::cli::out;
use crate::cli::retry::{Backoff, SETTLING, not_reached};
use crate::config::PathFlags;
use crate::protocol::SIZE_MAX;
use crate::pty;
use actix_http::ws::Message;
use actix_web::rt::signal::unix::{self, SignalKind, signal};
use chrono::{DateTime, Local};
use futures_util::future::{LocalBoxFuture, select_all};
use nix::sys::signal::{Signal, raise};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// The longest that rendered output stays unacknowledged.
const ACK_AFTER: Duration = Duration::from_millis(100);
/// The interval of acknowledgements for a pipe that takes nothing, by which the program is kept
/// waiting. The server gives up on a silent client after 5 s.
const HOLD_EVERY: Duration = Duration::from_secs(1);
/// A connection that is back within this time is not reported as lost.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// How an attachment ended.
pub(super) enum Outcome {
    /// The server has ended the attachment.
    End(End),
    /// The user has pressed the keys that detach.
    Detached,
    /// A signal to this process has ended it.
    Signal(i32),
}

/// An open connection, or an attempt to open one.
enum Line {
    Opening(LocalBoxFuture<'static, Result<Link, Failure>>),
    Open(Link),
}

/// An event of the connection.
enum Event {
    Opened(Result<Link, Failure>),
    Incoming(Incoming),
}

impl Line {
    async fn next(&mut self) -> Event {
        match self {
            Line::Opening(opening) => Event::Opened(opening.await),
            Line::Open(link) => Event::Incoming(link.next().await),
        }
    }
}

pub(super) struct Driver<'a> {
    machine: &'a mut Machine,
    paths: &'a PathFlags,
    flags: &'a ServerFlags,
    terminal: Terminal,
    output: Output,
    keys: Keys,
    backoff: Backoff,
    line: Line,
    /// Whether a connection was ever open. Before that, a failed attempt ends the verb.
    was_open: bool,
    ack_at: Option<Instant>,
    tell_at: Option<Instant>,
    /// Since when there is no connection, after there was one.
    lost_at: Option<DateTime<Local>>,
    /// What the server says of the machine that it does not reach.
    away: Option<String>,
    /// Set when the attachment has ended and the last output is still being written.
    end: Option<End>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        machine: &'a mut Machine,
        paths: &'a PathFlags,
        flags: &'a ServerFlags,
        endpoint: Endpoint,
        detach: DetachKeys,
    ) -> Result<Driver<'a>, Failure> {
        let terminal = Terminal::take().map_err(Failure::doing("the terminal"))?;
        if let Some((cols, rows)) = size(&terminal) {
            machine.resized(cols, rows);
        }
        if !terminal.output {
            machine.piped();
        }
        if !terminal.input {
            machine.input_is_no_terminal();
        }
        let line = Line::Opening(open(Duration::ZERO, Ok(endpoint), machine.target()));
        Ok(Driver {
            machine,
            paths,
            flags,
            terminal,
            output: Output::start()?,
            keys: Keys::new(detach),
            backoff: Backoff::default(),
            line,
            was_open: false,
            ack_at: None,
            tell_at: None,
            lost_at: None,
            away: None,
            end: None,
        })
    }

    /// Runs until the session ends, the user detaches or a signal arrives. When it returns, the
    /// terminal is restored.
    pub(super) async fn run(mut self) -> Result<Outcome, Failure> {
        let mut input = Input::start()?;
        let result = self.events(&mut input).await;
        input.stop().await;
        self.output.stop().await;
        drop(self.terminal);
        if let Line::Open(link) = self.line {
            link.close().await;
        }
        result
    }

    async fn events(&mut self, input: &mut Input) -> Result<Outcome, Failure> {
        let mut input_ended = false;
        let mut window = signal(SignalKind::window_change())?;
        let mut stop = signal(SignalKind::from_raw(libc::SIGTSTP))?;
        let mut resume = signal(SignalKind::from_raw(libc::SIGCONT))?;
        let mut endings = EndSignals::listen()?;
        let mut hold = interval(HOLD_EVERY);
        hold.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(end) = self.end.take_if(|_| self.machine.is_rendered()) {
                return Ok(Outcome::End(end));
            }
            let ended = self.end.is_some();
            let reading = !input_ended && self.machine.wants_input(self.terminal.input);
            tokio::select! {
                number = endings.next() => return Ok(Outcome::Signal(number)),
                _ = stop.recv() => self.suspend().await?,
                _ = resume.recv() => self.resume()?,
                event = self.line.next(), if !ended => self.event(event)?,
                typed = input.next(), if reading => match typed {
                    Some(bytes) => if self.typed(&bytes) { return Ok(Outcome::Detached) },
                    // The terminal is gone.
                    None if self.terminal.input => {
                        return Ok(Outcome::Signal(libc::SIGHUP));
                    }
                    None => input_ended = true,
                },
                Some(written) = self.output.written.recv() => match written {
                    Ok(n) => {
                        let actions = self.machine.rendered(n);
                        self.perform(actions);
                    }
                    Err(e) => {
                        return Err(Failure::Other(format!("standard output: {}", e.desc())));
                    }
                },
                _ = window.recv() => if let Some((cols, rows)) = size(&self.terminal) {
                    let actions = self.machine.resized(cols, rows);
                    self.perform(actions);
                },
                () = at(self.ack_at) => {
                    self.ack_at = None;
                    let actions = self.machine.ack();
                    self.perform(actions);
                }
                _ = hold.tick(), if !self.terminal.output => {
                    let actions = self.machine.hold();
                    self.perform(actions);
                }
                () = at(self.tell_at) => {
                    self.tell_at = None;
                    self.tell_broken();
                }
            }
            if !self.machine.owes_ack() {
                self.ack_at = None;
            } else if self.ack_at.is_none() {
                self.ack_at = Some(Instant::now() + ACK_AFTER);
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Opened(Ok(link)) => self.line = Line::Open(link),
            Event::Opened(Err(e)) if self.was_open && self.may_pass(&e) => {
                self.away = e.node_away().map(str::to_owned);
                self.reconnect();
            }
            Event::Opened(Err(failure)) => return Err(failure),
            Event::Incoming(Incoming::Text(text)) => {
                let actions = self.machine.text(&text);
                if self.machine.is_open() {
                    self.was_open = true;
                    self.tell_at = None;
                    self.lost_at = None;
                    self.away = None;
                    self.backoff.reset();
                }
                self.perform(actions);
            }
            Event::Incoming(Incoming::Binary(bytes)) => {
                let actions = self.machine.binary(bytes);
                self.perform(actions);
            }
            Event::Incoming(Incoming::Closed(code, reason)) => {
                match self.machine.closed(code, &reason) {
                    Some(end) => self.end = Some(end),
                    None => self.reconnect(),
                }
            }
        }
        Ok(())
    }

    /// Whether the next attempt may succeed. A server that has just been started may not know the machine
    /// yet.
    fn may_pass(&self, failure: &Failure) -> bool {
        let gone = self.lost_at.map(|since| Local::now() - since).unwrap_or_default();
        let is_early = gone.abs().to_std().is_ok_and(|gone| gone < SETTLING);
        failure.is_passing() || is_early && matches!(failure, Failure::UnknownNode(_))
    }

    /// Connects again after a wait. A restarted server may have another address.
    fn reconnect(&mut self) {
        if self.was_open && self.tell_at.is_none() {
            self.lost_at.get_or_insert_with(Local::now);
            self.tell_at = Some(Instant::now() + TELL_AFTER);
        }
        let endpoint = Endpoint::find(self.paths, self.flags);
        self.line = Line::Opening(open(self.backoff.next(), endpoint, self.machine.target()));
    }

    /// Restores the terminal and stops until SIGCONT. Output that is not on the terminal yet is
    /// dropped, and the next snapshot replaces it; a pipe loses nothing.
    async fn suspend(&mut self) -> Result<(), Failure> {
        if self.terminal.output {
            let output = std::mem::replace(&mut self.output, Output::start()?);
            output.stop().await;
            self.machine.output_lost();
        }
        self.terminal.release();
        // Raise SIGSTOP instead of SIGTSTP: we handle that one, and it does nothing to a process
        // without a shell that waits for it.
        raise(Signal::SIGSTOP).map_err(Failure::doing("stopping"))
    }

    /// Takes over the terminal again and redraws it, since other programs may have written to it.
    fn resume(&mut self) -> Result<(), Failure> {
        self.terminal.retake().map_err(Failure::doing("the terminal"))?;
        if self.terminal.output && self.end.is_none() {
            self.machine.screen_disturbed();
            let over = self.machine.closed(None, "");
            debug_assert!(over.is_none(), "a connection that we gave up ends nothing");
            self.reconnect();
        }
        Ok(())
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Control(message) => match serde_json::to_string(&message) {
                    Ok(text) => self.send(Message::Text(text.into())),
                    Err(e) => out::message(&format!("stayd: {e}")),
                },
                Action::Input(bytes) => self.send(Message::Binary(bytes)),
                Action::Clear if self.terminal.output => self.output.clear(),
                Action::Clear => {}
                Action::Write(bytes) => self.output.write(bytes),
                Action::Tell(message) => self.tell(&message),
                Action::Finish(end) => self.end = Some(end),
            }
        }
    }

    fn send(&self, message: Message) {
        if let Line::Open(link) = &self.line {
            link.send(message);
        }
    }

    /// Handles typed bytes. Returns whether the user wants to detach.
    fn typed(&mut self, bytes: &[u8]) -> bool {
        let (input, detach) = if self.terminal.input {
            match self.keys.feed(bytes) {
                Typed::Input(input) => (input, false),
                Typed::Detach(input) => (input, true),
            }
        } else {
            (bytes.to_vec(), false)
        };
        match self.machine.typed(&input, self.terminal.input) {
            Ok(actions) => self.perform(actions),
            // Ring the bell, as terminals do when their input queue is full.
            Err(_) if self.terminal.output => self.output.draw(&b"\x07"[..]),
            Err(_) => {}
        }
        detach
    }

    fn tell_broken(&mut self) {
        let how = match self.keys.names() {
            Some(keys) => format!(" ({keys} detaches)"),
            None => String::new(),
        };
        let what = match self.away.as_deref().zip(self.lost_at) {
            Some((why, since)) => not_reached(why, since),
            None => "connection lost; trying again".into(),
        };
        self.tell(&format!("{what}{how}"));
    }

    /// Shows a message without disturbing the session: on the terminal's last line, which the next
    /// connection redraws, or on standard error.
    fn tell(&mut self, message: &str) {
        let message: String = message.chars().filter(|c| !c.is_control()).collect();
        match self.terminal.size().filter(|_| self.terminal.output) {
            Some((cols, rows)) => {
                let text: String =
                    format!("[stayd: {message}]").chars().take(cols.into()).collect();
                self.output.draw(
                    [
                        modes::ABORT,
                        format!("\x1b7\x1b[{rows};1H\x1b[7m{text}\x1b[m\x1b[K\x1b8").as_bytes(),
                    ]
                    .concat(),
                );
                self.machine.screen_disturbed();
            }
            None => out::message(&format!("stayd: {message}")),
        }
    }
}

/// Waits, then connects.
fn open(
    wait: Duration,
    endpoint: Result<Endpoint, Failure>,
    target: String,
) -> LocalBoxFuture<'static, Result<Link, Failure>> {
    Box::pin(async move {
        sleep(wait).await;
        // The files of a server that is just starting may not be there yet.
        let endpoint = endpoint.map_err(|e| Failure::Unreachable(e.to_string()))?;
        Link::open(&endpoint, &target).await
    })
}

fn size(terminal: &Terminal) -> Option<(u16, u16)> {
    terminal.size().map(|(cols, rows)| (cols.min(SIZE_MAX), rows.min(SIZE_MAX)))
}

/// Resolves at that time, or never for `None`.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The signals whose default action ends a process. The terminal has to be restored first.
struct EndSignals(Vec<(unix::Signal, i32)>);

impl EndSignals {
    /// Listens for all of them, except those that are ignored, as SIGHUP is after `nohup`.
    fn listen() -> std::io::Result<EndSignals> {
        const NUMBERS: [i32; 10] = [
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGALRM,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGVTALRM,
            libc::SIGPROF,
            libc::SIGXCPU,
        ];
        let heard = NUMBERS.into_iter().filter(|number| !pty::is_ignored(*number));
        let listen = |number| Ok((signal(SignalKind::from_raw(number))?, number));
        heard.map(listen).collect::<std::io::Result<_>>().map(EndSignals)
    }

    /// The number of the next signal.
    async fn next(&mut self) -> i32 {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let next = self.0.iter_mut().map(|(signal, number)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        select_all(next).await.0
    }
}
