//! One look for all who ask while another look is under way.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Whoever asks gets what was looked up after the question. A look that had begun before may lack a
/// process, so all who ask meanwhile wait for the next one, which one of them takes.
pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// The looks that were begun.
    begun: u64,
    /// Whether one is under way.
    looking: bool,
    /// Those who wait.
    waiting: usize,
    /// The last look and its number, as long as somebody waits.
    last: Option<(u64, Arc<T>)>,
}

impl<T> Shared<T> {
    pub(super) const fn new() -> Self {
        let state = State { begun: 0, looking: false, waiting: 0, last: None };
        Shared { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// What a look finds that begins after this call.
    ///
    /// # Errors
    /// Those of `look`, to the caller that has looked; another one then looks for the rest.
    pub(super) fn after_now(&self, look: impl FnOnce() -> io::Result<T>) -> io::Result<Arc<T>> {
        let mut state = self.lock();
        let wanted = state.begun.saturating_add(1);
        state.waiting = state.waiting.saturating_add(1);
        loop {
            if let Some((_, found)) = state.last.as_ref().filter(|(number, _)| *number >= wanted) {
                let found = found.clone();
                state.leave();
                return Ok(found);
            }
            if !state.looking {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.begun = state.begun.saturating_add(1);
        state.looking = true;
        let number = state.begun;
        drop(state);
        let mut looking = Looking { shared: self, found: None };
        let found = look().map(Arc::new)?;
        looking.found = Some((number, found.clone()));
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 {
            self.last = None;
        }
    }
}

/// A look that is under way. Its end wakes the others, even if it has failed or panicked.
struct Looking<'a, T> {
    shared: &'a Shared<T>,
    found: Option<(u64, Arc<T>)>,
}

impl<T> Drop for Looking<'_, T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.looking = false;
        if self.found.is_some() {
            state.last = self.found.take();
        }
        state.leave();
        drop(state);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn all_who_ask_during_a_look_share_the_next_one() {
        const ASKING: usize = 300;
        let (shared, looks) = (Shared::new(), AtomicUsize::new(0));
        let look = || Ok(looks.fetch_add(1, Ordering::SeqCst) + 1);
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (shared, look) = (&shared, &look);
            let first = scope.spawn(move || {
                shared.after_now(|| {
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    look()
                })
            });
            has_begun.recv().unwrap();
            let others: Vec<_> =
                (0..ASKING).map(|_| scope.spawn(move || shared.after_now(look))).collect();
            while shared.lock().waiting <= ASKING {
                thread::yield_now();
            }
            go_on.send(()).unwrap();
            assert_eq!(*first.join().unwrap().unwrap(), 1);
            for other in others {
                assert_eq!(*other.join().unwrap().unwrap(), 2);
            }
        });
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        assert!(shared.lock().last.is_none(), "kept for nobody");
    }

    #[test]
    fn a_failed_look_is_not_shared() {
        let shared = Shared::new();
        assert!(shared.after_now(|| Err::<u8, _>(io::ErrorKind::Other.into())).is_err());
        assert_eq!(*shared.after_now(|| Ok(7)).unwrap(), 7);
    }
}
