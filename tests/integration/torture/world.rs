//! What clients, the one who kills and the one who checks know of each other.

use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct World {
    /// The kills are over: programs are to be told to finish.
    pub(super) over: Cell<bool>,
    /// Servers answer for other machines, which may be away: 503 means later.
    pub(super) is_fleet: Cell<bool>,
    /// A size that the first client is to give its terminal.
    pub(super) resize: Cell<Option<(u16, u16)>>,
    /// Output that the client which is furthest ahead has seen.
    lead: Cell<u64>,
    led: Notify,
    /// Something was just typed.
    pub(super) typed: Notify,
    /// When the server was started again, until somebody has seen output.
    restarted: Cell<Option<Instant>>,
    /// The longest that took.
    pub(super) slowest_return: Cell<Duration>,
    /// The longest that it took until another process held the sessions.
    pub(super) longest_pause: Cell<Duration>,
    /// Clients that have attached to the present server.
    back: RefCell<HashSet<String>>,
    attached: Notify,
    pids: RefCell<HashMap<String, Value>>,
}

impl World {
    pub(super) fn lead(&self) -> u64 {
        self.lead.get()
    }

    /// The first client has all output before `offset`; `u64::MAX`: all there is.
    pub(super) fn leads(&self, offset: u64) {
        self.lead.set(offset);
        self.led.notify_waiters();
    }

    /// Waits until the first client has come so far.
    pub(super) async fn lead_passes(&self, offset: u64) {
        loop {
            let led = self.led.notified();
            if self.lead.get() >= offset {
                return;
            }
            led.await;
        }
    }

    pub(super) fn restarts(&self) {
        self.restarted.set(Some(Instant::now()));
        self.back.borrow_mut().clear();
    }

    pub(super) fn is_back(&self, client: &str) {
        self.back.borrow_mut().insert(client.to_owned());
        self.attached.notify_waiters();
    }

    /// Waits until so many clients have attached to the present server.
    pub(super) async fn are_back(&self, clients: usize) {
        loop {
            let attached = self.attached.notified();
            if self.back.borrow().len() >= clients {
                return;
            }
            attached.await;
        }
    }

    pub(super) fn saw_output(&self) {
        if let Some(at) = self.restarted.take() {
            self.slowest_return.set(self.slowest_return.get().max(at.elapsed()));
        }
    }

    pub(super) fn pause(&self, pause: Duration) {
        self.longest_pause.set(self.longest_pause.get().max(pause));
    }

    /// A session's process is the same whenever it is looked at.
    pub(super) fn unchanged_pid(&self, session: &str, pid: &Value) {
        let mut pids = self.pids.borrow_mut();
        let first = pids.entry(session.to_owned()).or_insert_with(|| pid.clone());
        assert_eq!(first, pid, "another process in session {session}");
    }
}
