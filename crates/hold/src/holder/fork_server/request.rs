//! What the holder asks of the fork server, and the answer. Both are of one binary, so the messages
//! have no version.

use crate::id::SessionId;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A process that becomes a session's program. Its specification and the pipe for its report are
/// the two descriptors that come with the message, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::holder) struct Request<'a> {
    pub(in crate::holder) id: SessionId,
    /// The soft limit of open files that the program gets.
    pub(in crate::holder) open_files: u64,
    /// Its controlling terminal.
    pub(in crate::holder) terminal: &'a Path,
}

/// The longest message: a terminal's path is short.
pub(super) const REQUEST_MAX: usize = 256;
/// The length of an answer.
pub(super) const ANSWER: usize = size_of::<i32>();

impl<'a> Request<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let terminal = self.terminal.as_os_str().as_bytes();
        [&self.id.to_bytes()[..], &self.open_files.to_le_bytes(), terminal].concat()
    }

    pub(super) fn parse(message: &'a [u8]) -> Option<Self> {
        let (id, rest) = message.split_first_chunk()?;
        let (open_files, terminal) = rest.split_first_chunk()?;
        Some(Request {
            id: SessionId::from_bytes(*id),
            open_files: u64::from_le_bytes(*open_files),
            terminal: Path::new(OsStr::from_bytes(terminal)),
        })
    }
}

/// The child's pid, or a negative errno, as system calls have it.
pub(super) fn encode_answer(forked: Result<Pid, Errno>) -> [u8; ANSWER] {
    forked.map_or_else(|errno| (errno as i32).wrapping_neg(), Pid::as_raw).to_le_bytes()
}

pub(super) fn parse_answer(answer: [u8; ANSWER]) -> Result<Pid, Errno> {
    match i32::from_le_bytes(answer) {
        pid if pid > 0 => Ok(Pid::from_raw(pid)),
        errno => Err(Errno::from_raw(errno.wrapping_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_come_back_as_they_were() {
        let request = Request {
            id: SessionId::generate(),
            open_files: 1024,
            terminal: Path::new("/dev/pts/17"),
        };
        let message = request.encode();
        assert!(message.len() < REQUEST_MAX);
        assert_eq!(Request::parse(&message), Some(request));
        assert_eq!(Request::parse(&message[..20]), None);
        for answer in [Ok(Pid::from_raw(4_194_304)), Err(Errno::EAGAIN)] {
            assert_eq!(parse_answer(encode_answer(answer)), answer);
        }
    }
}
