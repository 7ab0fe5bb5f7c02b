//! Notices to the server, as far as its socket takes them.

use super::peer::{Listing, Peer};
use super::sessions::Sessions;
use crate::holder::wire::{Failure, Kind, Listed, Target};

/// Sends the server every notice that is due.
pub(super) fn tell(server: &mut Peer, sessions: &mut Sessions) {
    tell_waiting(server, sessions);
    tell_listing(server, sessions);
    if sessions.due {
        tell_sessions(server, sessions);
    }
}

fn tell_waiting(server: &mut Peer, sessions: &mut Sessions) {
    match server.waiting_for() {
        None => server.flush(&[]),
        Some(id) => match sessions.table.by_id(id) {
            Some(session) => server.flush(session.fds().as_slice()),
            None => server.flush(&[]),
        },
    }
}

fn tell_listing(server: &mut Peer, sessions: &mut Sessions) {
    while server.ready()
        && let Some(listing) = server.listing
    {
        let next = sessions.table.after(listing.after);
        if let Some((id, key)) = next
            && let Some(left) = listing.left.checked_sub(1)
        {
            if let Some(session) = sessions.table.get(key) {
                let beside = (id, session.slot.blob(), session.fds());
                let entry = session.entry();
                server.send(Kind::Entry, listing.request, Some(&entry), Some(beside));
            }
            server.listing = Some(Listing { after: Some(id), left, ..listing });
        } else {
            let listed = Listed { more: next.is_some() };
            server.send(Kind::Listed, listing.request, Some(&listed), None);
            server.listing = None;
        }
    }
}

fn tell_sessions(server: &mut Peer, sessions: &mut Sessions) {
    for session in sessions.table.iter_mut() {
        let failed = session.stage.failed().filter(|_| session.exit.is_some());
        let failure = failed.map(|(step, errno)| Failure::of_shim(step, errno));
        while server.ready()
            && (failure.is_some() || session.stage.has_started())
            && let Some(request) = session.slot.asked()
        {
            if let Some(failure) = &failure {
                server.send(Kind::Failed, request, Some(failure), None);
            } else {
                let beside = (session.id, session.slot.blob(), session.fds());
                server.send(Kind::Entry, request, Some(&session.entry()), Some(beside));
            }
            session.slot.answered(Some(request));
        }
        if failure.is_some() {
            continue;
        }
        let target = Target { id: session.id };
        if session.notices.output && server.ready() {
            session.notices.output = false;
            server.send(Kind::Output, 0, Some(&target), None);
        }
        if session.notices.exited && server.ready() {
            session.notices.exited = false;
            server.send(Kind::Exited, 0, Some(&target), None);
        }
        if !server.ready() {
            return;
        }
    }
    sessions.remove_failed();
    sessions.due = false;
}
