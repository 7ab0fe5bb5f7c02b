//! A panic of the holder costs the session or connection that it was about, and nothing else.

use super::*;
use crate::exit::Exit;
use crate::holder::process::session::Session;
use crate::holder::shared::{Created, Progress, Slot};
use crate::holder::wire::MESSAGE_MAX;
use crate::id::SessionId;
use crate::pty;
use crate::ring::{CAPACITY_MIN, Writer};
use nix::sys::eventfd::EventFd;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, write};
use std::os::fd::OwnedFd;

fn event_loop() -> (tempfile::TempDir, EventLoop) {
    let dir = tempfile::tempdir().unwrap();
    let listener = socket::listen_in(socket::open_directory(dir.path()).unwrap().as_fd()).unwrap();
    let (memory, shared) = SharedState::create().unwrap();
    Kept::record(&shared.header().fds.memory, memory);
    Kept::record(&shared.header().fds.listener, listener);
    let signals = SignalFd::new(&SigSet::empty()).unwrap();
    (dir, EventLoop::restore(&Arc::new(shared), signals).unwrap())
}

/// A session without a process, and the program's side of its terminal.
fn session(event_loop: &mut EventLoop) -> (SlotKey, OwnedFd) {
    let pty = pty::open(80, 24).unwrap();
    let (ring_fd, ring) = Writer::create(CAPACITY_MIN, 0).unwrap();
    let key = event_loop.sessions.table.next_key();
    let slot = Slot::take(&event_loop.shared, key.slot).unwrap();
    let none = || memfd_create(c"nothing", MFdFlags::MFD_CLOEXEC).unwrap();
    let created = Created {
        id: SessionId::generate(),
        leader: Pid::from_raw(0),
        start_time: 0,
        master: pty.master,
        slave: none(),
        ring: ring_fd,
        wake: EventFd::new().unwrap().into(),
        report: none(),
        process: none(),
    };
    slot.create(created, b"", 1);
    slot.set_progress(&Progress::Started);
    event_loop.sessions.table.insert(Session::of(slot, ring, key).unwrap());
    event_loop.sessions.rewatch(key, &event_loop.epoll);
    (key, pty.slave)
}

#[test]
fn a_panic_costs_the_connection_that_it_was_about() {
    let (_dir, mut event_loop) = event_loop();
    let (ours, _theirs) = socket::pair().unwrap();
    event_loop.server = Some(Peer::new(ours, 1, &event_loop.epoll).unwrap());
    event_loop.contained(None, |event_loop| {
        drop(std::mem::take(&mut event_loop.inbox.bytes));
        panic!("a mistake");
    });
    assert!(event_loop.server.is_none());
    let panics = event_loop.shared.header().stats.panics.load(Relaxed);
    assert_eq!((panics, event_loop.inbox.bytes.len()), (1, MESSAGE_MAX));
}

#[test]
fn a_panic_costs_the_session_that_it_was_about() {
    let (_dir, mut event_loop) = event_loop();
    let ((bad, bad_end), (good, good_end)) = (session(&mut event_loop), session(&mut event_loop));
    event_loop.contained(Some(bad), |_| panic!("a mistake"));
    for end in [&bad_end, &good_end] {
        write(end, b"output").unwrap();
    }
    let mut events = [EpollEvent::empty(); 8];
    // The kernel delivers output with a delay, in the order in which it was written.
    let count = event_loop.epoll.wait(&mut events, EpollTimeout::from(20_000u16)).unwrap();
    let told: Vec<_> = events[..count].iter().map(|event| Token::of(event.data())).collect();
    // A session that was given up does not keep the loop busy.
    assert_eq!(told, [Some(Token::Terminal(good))]);
    event_loop.terminal(good);
    assert_eq!(event_loop.sessions.table.get(good).unwrap().ring.head(), 6);
    // Its end is reported all the same, even if by another panic.
    event_loop.sessions.table.get(bad).unwrap().leader_exited(Exit::Code(0));
    event_loop.contained(Some(bad), |_| panic!("again"));
    let bad = event_loop.sessions.table.get(bad).unwrap();
    assert!(bad.notices.exited && bad.master.is_none());
    assert_eq!(event_loop.shared.header().stats.panics.load(Relaxed), 2);
}
