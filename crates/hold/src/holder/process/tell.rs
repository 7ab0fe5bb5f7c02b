//! Notices to the server, as far as its socket takes them.

use super::peer::{Listing, Peer};
use super::sessions::Sessions;
use super::stage::Stage;
use crate::holder::wire::{Kind, Listed, Target};

/// Sends the server every notice that is due.
pub(super) fn tell(server: &mut Peer, sessions: &mut Sessions) {
    tell_waiting(server, sessions);
    tell_listing(server, sessions);
    tell_failures(server, sessions);
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
                let beside = (id, session.blob.as_slice(), session.fds());
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

fn tell_failures(server: &mut Peer, sessions: &mut Sessions) {
    while server.ready()
        && let Some((request, failure)) = sessions.failures.pop()
    {
        server.send(Kind::Failed, request, Some(&failure), None);
    }
}

fn tell_sessions(server: &mut Peer, sessions: &mut Sessions) {
    for session in sessions.table.iter_mut() {
        while server.ready()
            && let Stage::Started { asked } = &mut session.stage
            && let Some(request) = asked.pop()
        {
            let beside = (session.id, session.blob.as_slice(), session.fds());
            server.send(Kind::Entry, request, Some(&session.entry()), Some(beside));
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
    sessions.due = false;
}
