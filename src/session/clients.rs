//! The attached clients, and the state that all of them are told.

use super::attachment::{Attach, ConnectionEvent};
use super::connection::json_text;
use super::handle::SessionHandle;
use crate::id::ClientKey;
use crate::protocol::{Cause, Mode, ServerMessage, Session, Viewer};
use actix::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everybody is told of everybody, so what that takes grows with the square of their number.
/// Between two times there is so much rest for each: hundreds that come at once would else
/// be busy with each other.
const REST_EACH: Duration = Duration::from_millis(1);

/// One attached client.
struct Client {
    recipient: Recipient<ConnectionEvent>,
    key: ClientKey,
    name: String,
    mode: Mode,
    follows: bool,
    size: Option<(u16, u16)>,
    cause: Option<Cause>,
    sees_names: bool,
    /// Somebody looks at it.
    looking: bool,
    /// The number of its last turn of control; 0: it had none.
    turn: u64,
}

/// A session's clients, by connection.
#[derive(Default)]
pub(super) struct Clients {
    /// Boxed: a map has room for eleven at once, and most sessions have one client.
    attached: BTreeMap<u64, Box<Client>>,
    /// Clients that came when the end was decided: served, and not counted.
    late: BTreeMap<u64, Recipient<ConnectionEvent>>,
    /// The connection that came last. There is none before 1.
    last: u64,
    /// How often control of the terminal's size was given.
    turns: u64,
    /// They were told of the state a moment ago.
    resting: bool,
    /// The state has changed since.
    stale: bool,
}

impl Clients {
    /// Counts a client in. One that may type controls the terminal's size. Answers its number.
    pub(super) fn attach(&mut self, attach: Attach, handle: &SessionHandle) -> u64 {
        self.last += 1;
        let mode = attach.mode;
        let client = Client {
            recipient: attach.recipient,
            key: attach.key,
            name: attach.client,
            mode: attach.mode,
            follows: attach.follows,
            size: attach.size,
            cause: attach.cause,
            sees_names: attach.sees_names,
            looking: true,
            turn: 0,
        };
        self.attached.insert(self.last, Box::new(client));
        if mode == Mode::Rw {
            self.give_control(self.last, handle);
        }
        self.last
    }

    /// A client is not counted. Without a farewell it waits for the end. Answers its number.
    pub(super) fn attach_late(
        &mut self,
        recipient: Recipient<ConnectionEvent>,
        farewell: Option<ConnectionEvent>,
    ) -> u64 {
        self.last += 1;
        match farewell {
            Some(farewell) => recipient.do_send(farewell),
            None => drop(self.late.insert(self.last, recipient)),
        }
        self.last
    }

    fn give_control(&mut self, connection: u64, handle: &SessionHandle) {
        self.turns += 1;
        if let Some(client) = self.attached.get_mut(&connection) {
            client.turn = self.turns;
        }
        handle.set_controller(connection);
    }

    /// A client has gone. If it was in control, the one that was before it is again: the terminal
    /// must not keep the size of a phone that has left. `None`: it was not counted; else whose client it was.
    pub(super) fn detach(
        &mut self,
        connection: u64,
        handle: &SessionHandle,
    ) -> Option<Option<Cause>> {
        self.late.remove(&connection);
        let client = self.attached.remove(&connection)?;
        if handle.controller() == connection {
            let sized = self.attached.iter().filter(|(_, client)| client.size.is_some());
            let before = sized.filter(|(_, client)| client.mode == Mode::Rw);
            let before = before.max_by_key(|(_, client)| client.turn);
            handle.set_controller(before.map_or(0, |(connection, _)| *connection));
        }
        Some(client.cause)
    }

    /// Another connection of the client with this key.
    pub(super) fn of(&self, key: ClientKey) -> Option<(u64, Recipient<ConnectionEvent>)> {
        let older = self.attached.iter().find(|(_, client)| client.key == key);
        older.map(|(connection, client)| (*connection, client.recipient.clone()))
    }

    /// The server leaves its clients, so no client is the cause. Answers their connections.
    pub(super) fn left_by_server(&mut self) -> Vec<u64> {
        self.attached.values_mut().for_each(|client| client.cause = None);
        self.attached.keys().copied().collect()
    }

    /// As others see them.
    pub(super) fn viewers(&self, controller: u64) -> Vec<Viewer> {
        let viewers = self.attached.iter().map(|(connection, client)| Viewer {
            client: client.name.clone(),
            mode: client.mode,
            cols: client.size.map(|(cols, _)| cols),
            rows: client.size.map(|(_, rows)| rows),
            controller: *connection == controller,
            looking: client.looking,
        });
        viewers.collect()
    }

    /// Somebody begins or ceases to look at a client.
    pub(super) fn look(&mut self, connection: u64, looking: bool) {
        if let Some(client) = self.attached.get_mut(&connection) {
            client.looking = looking;
        }
    }

    /// Whether somebody looks at any of them.
    pub(super) fn are_looked_at(&self) -> bool {
        self.attached.values().any(|client| client.looking)
    }

    /// The number of clients that hold the program back.
    pub(super) fn followers(&self) -> usize {
        self.attached.values().filter(|client| client.follows).count()
    }

    /// A client types. False: it may not.
    pub(super) fn take_control(&mut self, connection: u64, handle: &SessionHandle) -> bool {
        let client = self.attached.get(&connection);
        let may = client.is_some_and(|client| client.mode == Mode::Rw);
        if may {
            self.give_control(connection, handle);
        }
        may
    }

    /// A client tells the size of its terminal. False: that of one who looks on does not count.
    pub(super) fn resize(
        &mut self,
        connection: u64,
        size: (u16, u16),
        handle: &SessionHandle,
    ) -> bool {
        let client = self.attached.get_mut(&connection);
        let Some(client) = client.filter(|client| client.mode == Mode::Rw) else { return false };
        client.size = Some(size);
        // A client that tells its size takes control unless the controller has told one.
        let controller = self.attached.get(&handle.controller());
        if controller.is_none_or(|client| client.size.is_none()) {
            self.give_control(connection, handle);
        }
        true
    }

    /// Tells some of those who are counted.
    fn tell(&self, event: &ConnectionEvent, whom: impl Fn(&Client) -> bool) {
        for client in self.attached.values().filter(|client| whom(client)) {
            client.recipient.do_send(event.clone());
        }
    }

    pub(super) fn tell_all(&self, event: &ConnectionEvent) {
        let clients = self.attached.values().map(|client| &client.recipient);
        for recipient in clients.chain(self.late.values()) {
            recipient.do_send(event.clone());
        }
    }

    /// Tells all of the state as it is now, and answers for how long they are then left alone;
    /// `None`: they were told a moment ago, and will be told what it is after their rest.
    pub(super) fn tell_state(&mut self, session: &Session) -> Option<Duration> {
        if self.resting {
            self.stale = true;
            return None;
        }
        self.resting = true;
        let state = |clients: Vec<Viewer>| {
            ConnectionEvent::State(json_text(&ServerMessage::State {
                status: session.status,
                active_connections: session.active_connections,
                destroy_at: session.destroy_at,
                clients,
            }))
        };
        self.tell(&state(session.clients.clone()), |client| client.sees_names);
        if self.attached.values().any(|client| !client.sees_names) {
            let mut clients = session.clients.clone();
            clients.iter_mut().for_each(Viewer::hide_name);
            self.tell(&state(clients), |client| !client.sees_names);
        }
        Some(REST_EACH * u32::try_from(self.attached.len()).unwrap_or(u32::MAX))
    }

    /// The rest is over. True: the state has changed since.
    pub(super) fn rested(&mut self) -> bool {
        self.resting = false;
        std::mem::take(&mut self.stale)
    }
}
