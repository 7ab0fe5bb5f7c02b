//! The holder's side.

use super::request::{ANSWER, Request, parse_answer};
use super::serve::SOCKET_FD;
use crate::holder::{launch, socket};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The longest wait for an answer, which takes a tenth of a millisecond. Only a server that somebody
/// has stopped (SIGSTOP) takes longer; it is killed, because the terminals wait meanwhile.
const DEADLINE: Duration = Duration::from_secs(2);

/// The fork server as the holder knows it; it is started when it is first needed.
#[derive(Debug, Default)]
pub(in crate::holder) struct ForkServer(Option<Running>);

#[derive(Debug)]
struct Running {
    pid: Pid,
    socket: OwnedFd,
}

impl ForkServer {
    /// Starts it, if it does not run, so that the first session need not wait for it.
    pub(in crate::holder) fn start(&mut self) -> Result<(), Errno> {
        if self.0.is_none() {
            self.0 = Some(Running::start()?);
        }
        Ok(())
    }

    /// Has it fork. The child is ours, and takes the two descriptors.
    pub(in crate::holder) fn fork(
        &mut self,
        request: &Request<'_>,
        spec: BorrowedFd<'_>,
        report: BorrowedFd<'_>,
    ) -> Result<Pid, Errno> {
        let message = request.encode();
        let fds = [socket::raw(&spec), socket::raw(&report)];
        self.start()?;
        if self.send(&message, &fds) == Err(Errno::EPIPE) {
            // It has died since, and has not got the request.
            self.0 = None;
            self.start()?;
            self.send(&message, &fds)?;
        }
        let answer = self.0.as_ref().ok_or(Errno::ECHILD).and_then(Running::answer);
        if answer.is_err() {
            // Another one may do better: its limits are those that we have then. The socket closes,
            // which ends this one.
            self.0 = None;
        }
        answer
    }

    fn send(&self, message: &[u8], fds: &[i32]) -> Result<(), Errno> {
        let running = self.0.as_ref().ok_or(Errno::EPIPE)?;
        socket::send(running.socket.as_fd(), message, fds)
    }
}

impl Running {
    fn start() -> Result<Self, Errno> {
        let (socket, theirs) = socket::pair()?;
        let start = launch::Start {
            program: Path::new("/proc/self/exe"),
            args: &[c"stayd".into(), c"__fork".into()],
            env: &[],
            stdio: Path::new("/dev/null"),
            pass: &[(theirs.as_fd(), SOCKET_FD)],
        };
        Ok(Running { pid: start.spawn()?, socket })
    }

    fn answer(&self) -> Result<Pid, Errno> {
        if !socket::wait_for(self.socket.as_fd(), DEADLINE) {
            // It has not ended, which its socket would tell, so that the pid is its own. A child that
            // it may yet have started is hung up on with its terminal.
            let _ = kill(self.pid, Signal::SIGKILL);
            return Err(Errno::ETIMEDOUT);
        }
        let mut answer = [0; ANSWER];
        // Not read(2), whose bytes the holder would have to account for.
        match recv(socket::raw(&self.socket), &mut answer, MsgFlags::empty()) {
            Ok(ANSWER) => parse_answer(answer),
            // It has died, with the request or without it.
            Ok(_) | Err(Errno::ECONNRESET) => Err(Errno::ECHILD),
            Err(errno) => Err(errno),
        }
    }
}
