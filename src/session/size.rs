//! The one size of a terminal with many clients: whose it is, and how often it changes.

use crate::protocol::{Mode, SizePolicy, Viewer};
use std::time::{Duration, Instant};

/// After a change, further ones wait until clients have been quiet for so long: a window
/// that is dragged is a few changes, each of which makes programs draw everything anew.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// They never wait longer, so that somebody who drags on sees where it goes.
const DEBOUNCE_MAX: Duration = Duration::from_millis(250);

/// Changes of size that clients asked for a moment ago.
#[derive(Debug, Default)]
pub(super) struct Sizing {
    /// The terminal was resized, and clients have not been quiet since.
    resting: bool,
    /// Since when a change waits.
    waiting: Option<Instant>,
}

impl Sizing {
    /// Clients, or what they want, have changed: the first change counts at once (`None`), those
    /// that follow closely when clients have been quiet for so long.
    pub(super) fn changed(&mut self, now: Instant) -> Option<Duration> {
        if !self.resting {
            return None;
        }
        let waiting = *self.waiting.get_or_insert(now);
        if now.duration_since(waiting) >= DEBOUNCE_MAX {
            self.resting = false;
            return None;
        }
        Some(DEBOUNCE)
    }

    /// Looks at the sizes that clients want now.
    pub(super) fn adapted(&mut self) {
        self.waiting = None;
    }

    /// The terminal was resized because of them: after how long they have been quiet.
    pub(super) fn resized(&mut self) -> Duration {
        self.resting = true;
        DEBOUNCE
    }

    /// Clients have been quiet. True: the size that they want now is to be applied.
    pub(super) fn quiet(&mut self) -> bool {
        self.resting = false;
        self.waiting.is_some()
    }

    /// An administrator's size counts, until a client's next change.
    pub(super) fn forget(&mut self) {
        *self = Sizing::default();
    }
}

/// Columns and rows that the terminal is to have; `None`: as they are.
pub(super) fn wanted(policy: SizePolicy, clients: &[Viewer]) -> Option<(u16, u16)> {
    let size = |client: &Viewer| client.cols.zip(client.rows);
    match policy {
        SizePolicy::Latest => clients.iter().find(|client| client.controller).and_then(size),
        SizePolicy::Smallest => clients
            .iter()
            .filter(|client| client.mode == Mode::Rw)
            .filter_map(size)
            .reduce(|(cols, rows), (c, r)| (cols.min(c), rows.min(r))),
        SizePolicy::Fixed => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(mode: Mode, size: Option<(u16, u16)>, controller: bool) -> Viewer {
        let (cols, rows) = size.unzip();
        Viewer { client: String::new(), mode, cols, rows, controller, looking: true }
    }

    #[test]
    fn each_policy_has_its_size() {
        let clients = [
            client(Mode::Rw, Some((100, 30)), false),
            client(Mode::Rw, Some((90, 40)), true),
            client(Mode::Rw, None, false),
            client(Mode::Ro, Some((10, 5)), false),
        ];
        assert_eq!(wanted(SizePolicy::Latest, &clients), Some((90, 40)));
        assert_eq!(wanted(SizePolicy::Smallest, &clients), Some((90, 30)));
        assert_eq!(wanted(SizePolicy::Fixed, &clients), None);
        // Nobody of them counts, or has a size.
        assert_eq!(wanted(SizePolicy::Latest, &clients[..1]), None);
        assert_eq!(wanted(SizePolicy::Smallest, &clients[2..]), None);
    }

    #[test]
    fn a_window_that_is_dragged_is_a_few_changes() {
        let (mut sizing, start) = (Sizing::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(sizing.changed(at(0)), None, "the first counts at once");
        sizing.adapted();
        assert_eq!(sizing.resized(), DEBOUNCE);
        for ms in [10, 40, 80, 200] {
            assert_eq!(sizing.changed(at(ms)), Some(DEBOUNCE));
        }
        assert_eq!(sizing.changed(at(260)), None, "it has waited for long enough");
        sizing.adapted();
        sizing.resized();
        assert!(!sizing.quiet(), "nothing has changed since");
        sizing.resized();
        assert_eq!(sizing.changed(at(300)), Some(DEBOUNCE));
        assert!(sizing.quiet());
        sizing.resized();
        sizing.forget();
        assert_eq!(sizing.changed(at(310)), None);
    }
}
