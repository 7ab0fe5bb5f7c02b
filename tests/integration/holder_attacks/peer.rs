//! A peer that speaks by hand, and may say anything.

use super::DEADLINE;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg,
    socket,
};
use serde::Serialize;
use serde_json::Value;
use stayd::holder::wire::{self, Kind, Message};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

pub(super) struct Peer {
    socket: OwnedFd,
    request: u32,
}

/// A message of the holder, without the descriptors that came with it.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) request: u32,
    pub(super) json: Value,
}

impl Peer {
    pub(super) fn connect(dir: &Path) -> nix::Result<Peer> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        // Waits while the backlog is full.
        connect(socket.as_raw_fd(), &UnixAddr::new(&dir.join("holder.sock"))?)?;
        Ok(Peer { socket, request: 0 })
    }

    /// Becomes the server.
    pub(super) fn hello(&mut self) {
        let said = self.ask(Kind::Hello, Some(&wire::Hello::ours()), &[], &[]).unwrap();
        assert_eq!(said.kind, Kind::Hello, "{said:?}");
    }

    /// Sends one packet, or says that the socket takes no more.
    pub(super) fn send(&self, bytes: &[u8], fds: &[RawFd]) -> nix::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let rights = [ControlMessage::ScmRights(fds)];
        let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let fd = self.socket.as_raw_fd();
        sendmsg::<()>(fd, &[IoSlice::new(bytes)], control, flags, None).map(|_| ())
    }

    /// Sends one packet, reading what the holder says as long as there is no room.
    pub(super) fn push(&self, bytes: &[u8], fds: &[RawFd]) -> nix::Result<()> {
        loop {
            match self.send(bytes, fds) {
                Err(Errno::EAGAIN) => {
                    self.wait(PollFlags::POLLIN | PollFlags::POLLOUT);
                    self.drain();
                }
                sent => return sent,
            }
        }
    }

    /// Reads what is there and throws it away; false: the holder has closed.
    pub(super) fn drain(&self) -> bool {
        let mut bytes = [0; 256];
        loop {
            match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(Errno::EAGAIN) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Asks and waits for the answer; none: the holder has closed.
    pub(super) fn ask<T: Serialize>(
        &mut self,
        kind: Kind,
        control: Option<&T>,
        tail: &[u8],
        fds: &[RawFd],
    ) -> Option<Said> {
        self.request += 1;
        let mut bytes = Vec::new();
        wire::encode(&mut bytes, kind, self.request, control, tail).unwrap();
        self.push(&bytes, fds).ok()?;
        loop {
            let said = self.receive()?;
            if said.request == self.request {
                return Some(said);
            }
        }
    }

    /// Tells without expecting an answer.
    pub(super) fn tell<T: Serialize>(&self, kind: Kind, control: &T) {
        let mut bytes = Vec::new();
        wire::encode(&mut bytes, kind, 0, Some(control), &[]).unwrap();
        self.push(&bytes, &[]).unwrap();
    }

    /// The next message; none: the holder has closed.
    pub(super) fn receive(&self) -> Option<Said> {
        self.wait(PollFlags::POLLIN);
        let mut bytes = vec![0; wire::MESSAGE_MAX];
        let length = loop {
            // Nothing can be received into an absent control buffer: descriptors are closed.
            match recv(self.socket.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                Ok(length) => break length,
                Err(Errno::ECONNRESET | Errno::EINTR) => {}
                Err(errno) => panic!("{errno}"),
            }
        };
        let message = Message::parse(&bytes[..length]).ok()?;
        let json = serde_json::from_slice(message.json).unwrap_or_default();
        Some(Said { kind: Kind::from_byte(message.kind).unwrap(), request: message.request, json })
    }

    fn wait(&self, flags: PollFlags) {
        let mut fds = [PollFd::new(self.socket.as_fd(), flags)];
        let timeout = PollTimeout::try_from(DEADLINE).unwrap();
        assert_ne!(nix::poll::poll(&mut fds, timeout), Ok(0), "the holder does not answer");
    }
}
