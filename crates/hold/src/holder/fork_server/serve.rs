//! The process: waits for a request, forks, answers with the child's pid.

use super::request::{REQUEST_MAX, Request, encode_answer};
use super::sibling::fork_sibling;
use crate::holder::exec::{self, Start};
use crate::holder::socket::{self, Packet, Receiver};
use crate::pty;
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// The descriptor of the holder's socket.
pub(super) const SOCKET_FD: RawFd = 3;

/// Serves the holder until it is gone. In a child it returns only if the program cannot be executed.
#[must_use]
pub fn main() -> i32 {
    let Some(socket) = pty::inherited(SOCKET_FD) else { return 2 };
    exec::set_inherited();
    let (mut receiver, mut buffer, mut fds) = (Receiver::new(), [0; REQUEST_MAX], Vec::new());
    loop {
        match receiver.receive(socket.as_fd(), &mut buffer, &mut fds) {
            // The holder is gone.
            Ok(Packet { length: 0, .. }) => return 0,
            Ok(packet) => {
                let message = buffer.get(..packet.length).unwrap_or_default();
                let forked = start(message, &mut fds).and_then(|start| {
                    Ok(match fork_sibling()? {
                        Some(pid) => Forked::Child(pid),
                        None => Forked::InChild(start),
                    })
                });
                let answer = match forked {
                    Ok(Forked::InChild(start)) => {
                        // The holder must see the end of this server, whatever its children do.
                        drop(socket);
                        return exec::main(start);
                    }
                    Ok(Forked::Child(pid)) => Ok(pid),
                    Err(errno) => Err(errno),
                };
                if socket::send(socket.as_fd(), &encode_answer(answer), &[]).is_err() {
                    return 1;
                }
            }
            Err(Errno::EAGAIN) => socket::wait_readable(socket.as_fd()),
            Err(Errno::EINTR) => {}
            Err(_) => return 1,
        }
    }
}

/// The two returns of a fork.
enum Forked<'a> {
    Child(nix::unistd::Pid),
    InChild(Start<'a>),
}

fn start<'a>(message: &'a [u8], fds: &mut Vec<OwnedFd>) -> Result<Start<'a>, Errno> {
    let Request { id, open_files, terminal } = Request::parse(message).ok_or(Errno::EINVAL)?;
    let mut fds = fds.drain(..);
    // Missing ones were lost for want of room in this process.
    let (Some(spec), Some(report)) = (fds.next(), fds.next()) else { return Err(Errno::EMFILE) };
    Ok(Start { id, open_files, terminal, spec, report })
}
