//! The events that a screen reports to its session.

use crate::screen::Event;

/// The session's end of its screen's events.
pub type EventSink = Box<dyn Fn(ScreenEvents) + Send>;

/// The events of one update of a screen.
#[derive(Debug)]
pub struct ScreenEvents {
    /// In the order of the stream, with at most one bell, one title and one directory: the last of
    /// each, since a flood of them says no more.
    pub events: Vec<Event>,
    /// Whether an earlier server has reported these already. They are titles and directories only,
    /// which last, so that this server needs to know them.
    pub again: bool,
}

/// Keeps one bell, and the last title and directory.
pub(super) fn thin(events: &mut Vec<Event>) {
    let last = |wanted: fn(&Event) -> bool| events.iter().rposition(wanted);
    let kept = [
        last(|event| matches!(event, Event::Bell)),
        last(|event| matches!(event, Event::Title(_))),
        last(|event| matches!(event, Event::Cwd(_))),
    ];
    let mut at = 0;
    events.retain(|event| {
        let superseded = matches!(event, Event::Bell | Event::Title(_) | Event::Cwd(_))
            && !kept.contains(&Some(at));
        at += 1;
        !superseded
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_thinned_and_what_differs_is_kept_in_order() {
        let title = |text: &str| Event::Title(Some(text.to_owned()));
        let mut events = vec![
            Event::Bell,
            title("a"),
            Event::CommandStart { command: None },
            Event::Bell,
            title("b"),
            Event::CommandEnd { exit: Some(1) },
        ];
        thin(&mut events);
        let left = [
            Event::CommandStart { command: None },
            Event::Bell,
            title("b"),
            Event::CommandEnd { exit: Some(1) },
        ];
        assert_eq!(events, left);
    }
}
