//! One writer for each client's input. The holder counts a client's bytes by their offsets and
//! trims what it has already: two that write with one count would lose each other's bytes.
//!
//! A WebSocket is the writer of its client for as long as it is attached; the newest one wins.
//! Requests (`POST …/input`) take turns within their session, so that each is typed whole, and
//! give way to a WebSocket of their client.

use crate::id::ClientKey;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedMutexGuard, oneshot};

/// The writers of one session.
#[derive(Default)]
pub(super) struct Writers {
    current: Mutex<HashMap<ClientKey, Current>>,
    /// Held by the request that is being typed. It is fair: first come, first served.
    turn: Arc<tokio::sync::Mutex<()>>,
    requests: AtomicU64,
}

/// The owner of a writer. Connections are numbered by their session, requests by [`Writers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Connection(u64),
    Request(u64),
    /// A client that may only watch.
    Nobody,
}

struct Current {
    who: Who,
    /// Resolves once a request has gone.
    gone: Option<oneshot::Receiver<()>>,
}

/// The right to write one client's input, until it is dropped or somebody takes it over.
pub struct InputWriter {
    writers: Arc<Writers>,
    key: ClientKey,
    who: Who,
    /// A request's turn, and who waits for its end: given up after the right itself.
    _turn: Option<(OwnedMutexGuard<()>, oneshot::Sender<()>)>,
}

/// A WebSocket of this client is attached and counts the client's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAttached;

impl Writers {
    /// The right of a connection. Takes it over from an older one at once; a request that is
    /// being typed is waited for until it has noticed. A connection that is older than the one
    /// that has the right gets none.
    pub(super) async fn connection(self: &Arc<Self>, key: ClientKey, number: u64) -> InputWriter {
        let writer = self.writer(key, Who::Connection(number), None);
        let gone = {
            let mut current = self.lock();
            match current.get(&key) {
                Some(Current { who: Who::Connection(other), .. }) if *other > number => None,
                _ => current
                    .insert(key, Current { who: writer.who, gone: None })
                    .and_then(|before| before.gone),
            }
        };
        if let Some(gone) = gone {
            // The request says so by dropping the other end.
            let _ = gone.await;
        }
        writer
    }

    /// One who never writes.
    pub(super) fn nobody(self: &Arc<Self>, key: ClientKey) -> InputWriter {
        self.writer(key, Who::Nobody, None)
    }

    /// The right of a request, when its turn comes.
    pub(super) async fn request(
        self: &Arc<Self>,
        key: ClientKey,
    ) -> Result<InputWriter, ClientAttached> {
        // Before the wait, which would be in vain, and after it.
        self.check_detached(key)?;
        let turn = self.turn.clone().lock_owned().await;
        let mut current = self.lock();
        if let Some(Current { who: Who::Connection(_), .. }) = current.get(&key) {
            return Err(ClientAttached);
        }
        let (tell, gone) = oneshot::channel();
        let who = Who::Request(self.requests.fetch_add(1, Ordering::Relaxed));
        current.insert(key, Current { who, gone: Some(gone) });
        drop(current);
        Ok(self.writer(key, who, Some((turn, tell))))
    }

    fn check_detached(&self, key: ClientKey) -> Result<(), ClientAttached> {
        match self.lock().get(&key) {
            Some(Current { who: Who::Connection(_), .. }) => Err(ClientAttached),
            _ => Ok(()),
        }
    }

    fn writer(
        self: &Arc<Self>,
        key: ClientKey,
        who: Who,
        turn: Option<(OwnedMutexGuard<()>, oneshot::Sender<()>)>,
    ) -> InputWriter {
        InputWriter { writers: self.clone(), key, who, _turn: turn }
    }

    /// A panic elsewhere leaves the table whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InputWriter {
    /// The client whose input it writes.
    pub fn key(&self) -> ClientKey {
        self.key
    }

    /// Whether it still has the right.
    pub(super) fn is_current(&self) -> bool {
        self.has_right(&self.writers.lock())
    }

    /// Sends something while it has the right: whoever takes it over afterwards finds all that
    /// was sent on its way already. False: it has not, and nothing was sent.
    pub(super) fn send(&self, send: impl FnOnce()) -> bool {
        let current = self.writers.lock();
        let may = self.has_right(&current);
        if may {
            send();
        }
        may
    }

    fn has_right(&self, current: &HashMap<ClientKey, Current>) -> bool {
        current.get(&self.key).is_some_and(|current| current.who == self.who)
    }
}

impl Drop for InputWriter {
    fn drop(&mut self) {
        let mut current = self.writers.lock();
        if self.has_right(&current) {
            current.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn writers() -> (Arc<Writers>, ClientKey) {
        (Arc::default(), ClientKey::named("token", "a"))
    }

    #[test]
    fn the_newest_connection_has_the_right_in_whatever_order_they_ask() {
        let (writers, key) = writers();
        for (first, second) in [(1, 2), (2, 1)] {
            let first = writers.connection(key, first).now_or_never().unwrap();
            let second = writers.connection(key, second).now_or_never().unwrap();
            let newest = if second.who == Who::Connection(2) { &second } else { &first };
            for writer in [&first, &second] {
                assert_eq!(writer.send(|| {}), writer.who == newest.who);
            }
            drop((first, second));
            assert!(writers.lock().is_empty());
        }
        assert!(!writers.nobody(key).send(|| {}));
    }

    #[test]
    fn requests_take_turns_and_a_connection_waits_for_the_one_that_it_displaces() {
        let (writers, key) = writers();
        let first = writers.request(key).now_or_never().unwrap().unwrap();
        let mut second = Box::pin(writers.request(key));
        let mut other = Box::pin(writers.request(ClientKey::anonymous()));
        assert!((&mut second).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        let mut connection = Box::pin(writers.connection(key, 1));
        assert!((&mut connection).now_or_never().is_none());
        assert!(!first.is_current() && !first.send(|| {}));
        drop(first);
        let connection = connection.now_or_never().unwrap();
        assert!(connection.is_current());
        assert_eq!(second.now_or_never().unwrap().err(), Some(ClientAttached));
        assert!(other.now_or_never().unwrap().unwrap().is_current());
        assert_eq!(writers.request(key).now_or_never().unwrap().err(), Some(ClientAttached));
        drop(connection);
        assert!(writers.request(key).now_or_never().unwrap().is_ok());
        assert!(writers.lock().is_empty());
    }

    #[test]
    fn a_request_that_is_given_up_leaves_its_turn() {
        let (writers, key) = writers();
        let first = writers.request(key).now_or_never().unwrap().unwrap();
        let mut waiting = Box::pin(writers.request(key));
        assert!((&mut waiting).now_or_never().is_none());
        drop(waiting);
        drop(first);
        assert!(writers.request(key).now_or_never().unwrap().is_ok());
    }
}
