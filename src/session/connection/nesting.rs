//! Which sessions are shown inside which: a client that runs inside one session and is
//! attached to another prints there what the other prints. In a circle that never ends.

use crate::id::SessionId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// For each session that is shown somewhere, where: once for each client that says so.
type Places = HashMap<SessionId, Vec<SessionId>>;

/// The clients that have said which session they run in; one for the whole server.
#[derive(Debug, Default)]
pub struct Nesting(Mutex<Places>);

/// That a session is shown inside another, until this is dropped.
#[derive(Debug)]
pub struct Nested {
    nesting: Arc<Nesting>,
    shown: SessionId,
    inside: SessionId,
}

impl Nesting {
    /// Notes that a client which runs inside one session is attached to another. `None`: that
    /// would close a circle. Of two that would only together, the second is refused.
    pub fn show(self: &Arc<Self>, shown: SessionId, inside: SessionId) -> Option<Nested> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_shown_inside(&places, inside, shown) {
            return None;
        }
        places.entry(shown).or_default().push(inside);
        Some(Nested { nesting: self.clone(), shown, inside })
    }
}

/// Whether a session is shown inside another, or is the same, through however many others.
fn is_shown_inside(places: &Places, session: SessionId, place: SessionId) -> bool {
    let (mut seen, mut next) = (HashSet::from([session]), vec![session]);
    while let Some(session) = next.pop() {
        if session == place {
            return true;
        }
        let inside = places.get(&session).into_iter().flatten();
        next.extend(inside.filter(|&&inside| seen.insert(inside)));
    }
    false
}

impl Drop for Nested {
    fn drop(&mut self) {
        let mut places = self.nesting.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(inside) = places.get_mut(&self.shown) else { return };
        if let Some(at) = inside.iter().position(|inside| *inside == self.inside) {
            inside.swap_remove(at);
        }
        if inside.is_empty() {
            places.remove(&self.shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_any_length_is_refused_and_open_again_once_a_link_is_gone() {
        let ids: Vec<SessionId> = (0..6).map(|_| SessionId::generate()).collect();
        for length in 1..=ids.len() {
            let nesting = Arc::new(Nesting::default());
            let circle = &ids[..length];
            let mut chain: Vec<_> =
                circle.windows(2).map(|pair| nesting.show(pair[1], pair[0]).unwrap()).collect();
            assert!(nesting.show(circle[0], circle[length - 1]).is_none(), "{length}");
            // A second client of the same kind is no circle.
            let twice = circle.windows(2).map(|pair| nesting.show(pair[1], pair[0]).unwrap());
            drop(twice.collect::<Vec<_>>());
            if chain.pop().is_some() {
                assert!(nesting.show(circle[0], circle[length - 1]).is_some(), "{length}");
            }
        }
    }

    #[test]
    fn of_many_that_would_close_a_circle_together_one_is_refused() {
        let ids: [SessionId; 3] = std::array::from_fn(|_| SessionId::generate());
        for _ in 0..100 {
            let nesting = Arc::new(Nesting::default());
            let edges = [(ids[0], ids[1]), (ids[1], ids[2]), (ids[2], ids[0])];
            let shown: Vec<_> = edges
                .map(|(shown, inside)| {
                    let nesting = nesting.clone();
                    std::thread::spawn(move || nesting.show(shown, inside))
                })
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            assert_eq!(shown.iter().flatten().count(), 2);
        }
    }
}
