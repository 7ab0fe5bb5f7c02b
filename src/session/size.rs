//! The one size of a terminal with many clients: whose it is, and how often it changes.

use super::actor::Session;
use crate::protocol::{Mode, SizePolicy, Viewer};
use actix::prelude::*;
use std::time::{Duration, Instant};

/// After a change, further ones wait until clients have been quiet for so long: a window
/// that is dragged is a few changes, each of which makes programs draw everything anew.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// They never wait longer, so that somebody who drags on sees where it goes.
const DEBOUNCE_MAX: Duration = Duration::from_millis(250);

/// Changes of size that clients asked for a moment ago.
#[derive(Default)]
pub(super) struct Sizing {
    /// Runs out once clients have been quiet.
    quiet: Option<SpawnHandle>,
    /// Since when a change waits.
    waiting: Option<Instant>,
}

/// Columns and rows that the terminal is to have; `None`: as they are.
fn wanted(policy: SizePolicy, clients: &[Viewer]) -> Option<(u16, u16)> {
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

impl Session {
    /// Clients, or what they want, have changed: the first change counts at once, those
    /// that follow closely when they are over.
    pub(super) fn resized_by_clients(&mut self, ctx: &mut Context<Self>) {
        let Some(quiet) = self.sizing.quiet.take() else { return self.adapt(ctx) };
        ctx.cancel_future(quiet);
        let waiting = self.sizing.waiting.get_or_insert_with(Instant::now);
        if waiting.elapsed() >= DEBOUNCE_MAX {
            self.adapt(ctx);
        } else {
            self.wait_for_quiet(ctx);
        }
    }

    /// Gives the terminal the size that its clients and the policy ask for, and tells
    /// everybody if who is attached looks different now.
    pub(super) fn adapt(&mut self, ctx: &mut Context<Self>) {
        self.sizing.waiting = None;
        let viewers = self.viewers();
        let size = wanted(self.record.row.session.size_policy, &viewers);
        if viewers != self.record.row.session.clients {
            self.record.row.session.clients = viewers;
            self.link.publish(&self.record.row.session);
            self.announce(ctx);
        }
        if size.is_some_and(|size| self.set_size(size)) {
            self.wait_for_quiet(ctx);
        }
    }

    /// An administrator's size counts at once, until a client's next change.
    pub(super) fn resized_by_hand(&mut self, size: (u16, u16), ctx: &mut Context<Self>) {
        self.sizing.waiting = None;
        if let Some(quiet) = self.sizing.quiet.take() {
            ctx.cancel_future(quiet);
        }
        self.set_size(size);
    }

    fn wait_for_quiet(&mut self, ctx: &mut Context<Self>) {
        if let Some(before) = self.sizing.quiet.take() {
            ctx.cancel_future(before);
        }
        self.sizing.quiet = Some(ctx.run_later(DEBOUNCE, |session, ctx| {
            session.sizing.quiet = None;
            if session.sizing.waiting.is_some() {
                session.adapt(ctx);
            }
        }));
    }

    /// Takes the terminal's size into the record, where that says something else.
    pub(super) fn learn_size(&mut self) {
        if let Some(size) = self.link.ring().size() {
            (self.record.row.session.cols, self.record.row.session.rows) = size;
        }
    }

    /// True if the terminal had another size.
    fn set_size(&mut self, (cols, rows): (u16, u16)) -> bool {
        let has_ended = self.record.has_ended();
        let session = &mut self.record.row.session;
        // The record says what was asked for last, the ring what the terminal has. Both are
        // asked: a request must not be dropped because the record alone says it is done.
        let is_so = (session.cols, session.rows) == (cols, rows)
            && self.link.ring().size() == Some((cols, rows));
        if is_so || has_ended {
            return false;
        }
        (session.cols, session.rows) = (cols, rows);
        self.context.holder.resize(self.link.id(), cols, rows);
        self.link.screen().nudge();
        if let Some(recorded) = self.link.recording() {
            recorded.nudge();
        }
        self.save();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(mode: Mode, size: Option<(u16, u16)>, controller: bool) -> Viewer {
        let (cols, rows) = size.unzip();
        Viewer { client: String::new(), mode, cols, rows, controller }
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
}
