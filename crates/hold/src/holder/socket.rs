//! SEQPACKET sockets, opened through a directory, closed to other users, with descriptors passed
//! besides the bytes.

#![allow(unsafe_code)]

use super::paths::SOCKET;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind,
    connect, getsockopt, listen, sendmsg, socket, socketpair,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most descriptors in one message (SCM_MAX_FD in the kernel).
pub(super) const FDS_MAX: usize = 253;
/// The length of the control buffer in words: a header takes two, a descriptor half of one.
const CONTROL: usize = 2 + FDS_MAX.div_ceil(2);
/// Bytes of a descriptor in a control message.
const DESCRIPTOR: usize = size_of::<RawFd>();

/// A received packet's length and descriptors.
#[derive(Debug, Default)]
pub(super) struct Packet {
    /// Bytes in the buffer; 0 once the peer is gone.
    pub(super) length: usize,
    /// Whether the packet was longer than the buffer.
    pub(super) truncated: bool,
    /// Whether descriptors were lost on the way, because this process has no room for more.
    pub(super) lost: bool,
}

/// Opens the state directory. Socket addresses have at most 108 bytes, and a path through the
/// descriptor is short, however long the directory's own is.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn address(directory: BorrowedFd<'_>) -> Result<UnixAddr, Errno> {
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    UnixAddr::new(&PathBuf::from(path))
}

fn endpoint() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
}

/// Listens in `directory`. The caller holds the lock, so nobody else listens there.
pub(super) fn listen_in(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    match unlinkat(directory, SOCKET, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let socket = endpoint()?;
    // The file must never be accessible to others, not even between bind and chmod.
    let mask = umask(Mode::from_bits_truncate(0o177));
    let bound = bind(socket.as_raw_fd(), &address(directory)?);
    umask(mask);
    bound?;
    listen(&socket, Backlog::new(16)?)?;
    Ok(socket)
}

/// Connects to the listener in `directory`. A non-blocking unix connect fails with EAGAIN only if
/// the backlog is full.
pub(super) fn connect_in(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let socket = endpoint()?;
    connect(socket.as_raw_fd(), &address(directory)?)?;
    Ok(socket)
}

/// The next connection, if one waits.
pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = accept4(listener.as_raw_fd(), flags)?;
    // SAFETY: a fresh descriptor that nothing else uses.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a connection or a message waits.
pub(super) fn readable(socket: BorrowedFd<'_>) -> bool {
    poll_for(socket, PollTimeout::ZERO)
}

/// Waits for a message, or for the peer's end. Returns false if none has come in time.
pub(super) fn wait_for(socket: BorrowedFd<'_>, most: Duration) -> bool {
    poll_for(socket, PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX))
}

/// Waits for a message, or for the peer's end. May return before.
pub(super) fn wait_readable(socket: BorrowedFd<'_>) {
    poll_for(socket, PollTimeout::NONE);
}

fn poll_for(socket: BorrowedFd<'_>, timeout: PollTimeout) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::POLLIN)];
    poll(&mut fds, timeout).is_ok_and(|count| count > 0)
}

/// Whether the peer runs as our user.
pub(super) fn peer_is_us(socket: BorrowedFd<'_>) -> bool {
    getsockopt(&socket, PeerCredentials).is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

/// Sends one packet without waiting.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> Result<(), Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None).map(|_| ())
}

/// Receives packets. It keeps its control buffer between them.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Words and not bytes, so that the control messages in it are aligned.
    control: Box<[u64]>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Receiver { control: vec![0; CONTROL].into_boxed_slice() }
    }

    /// Takes one packet into `buffer` and its descriptors, all of them close-on-exec, into `fds`,
    /// which is emptied first. EAGAIN if there is none.
    ///
    /// nix's own parser gives up on MSG_CTRUNC, and then the descriptors that did arrive
    /// would stay open for ever; so the control messages are walked here.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Result<Packet, Errno> {
        self.receive_with(0, socket, buffer, fds)
    }

    /// As `receive`, but the packet stays the next one.
    pub(super) fn peek(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Result<Packet, Errno> {
        self.receive_with(libc::MSG_PEEK, socket, buffer, fds)
    }

    fn receive_with(
        &mut self,
        more_flags: libc::c_int,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
    ) -> Result<Packet, Errno> {
        fds.clear();
        let mut slices = [IoSliceMut::new(buffer)];
        // SAFETY: msghdr is plain data for which zero is the empty value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        // IoSliceMut is guaranteed to be an iovec on Unix.
        header.msg_iov = slices.as_mut_ptr().cast();
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&*self.control) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC | more_flags;
        // SAFETY: header points at buffers that live through the call, with their lengths.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        let length = usize::try_from(Errno::result(length)?).unwrap_or(0);
        // SAFETY: the kernel has filled in the control messages that the header describes;
        // the walk below stays within it by way of the macros made for that.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        while !message.is_null() {
            // SAFETY: not null, so it is a whole, aligned header within the control buffer.
            let head = unsafe { message.read() };
            if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
                // SAFETY: pure arithmetic.
                let empty = unsafe { libc::CMSG_LEN(0) } as usize;
                let bytes = (head.cmsg_len as usize).saturating_sub(empty);
                for index in 0..bytes / DESCRIPTOR {
                    // SAFETY: `index` is within the message's data as its length tells; a
                    // descriptor in it was made for us and is known to nobody else.
                    let fd = unsafe {
                        let data = libc::CMSG_DATA(message).cast::<RawFd>();
                        OwnedFd::from_raw_fd(data.add(index).read_unaligned())
                    };
                    fds.push(fd);
                }
            }
            // SAFETY: the same as for the first.
            message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
        }
        let flagged = |flag| header.msg_flags & flag != 0;
        let (truncated, lost) = (flagged(libc::MSG_TRUNC), flagged(libc::MSG_CTRUNC));
        Ok(Packet { length, truncated, lost })
    }
}

/// Registers a descriptor with the current runtime, edge-triggered: an eventfd that nobody reads
/// needs it, so that each write to it is one event.
///
/// # Errors
/// The kernel cannot watch the descriptor.
pub fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names the same open descriptor for as long as it lives.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Both ends of a connection.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
}

/// The number of a descriptor, for a list that the kernel reads.
pub(super) fn raw(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};

    #[test]
    fn packets_keep_their_bounds_and_descriptors() {
        let (a, b) = pair().unwrap();
        let file = memfd_create(c"x", MFdFlags::MFD_CLOEXEC).unwrap();
        send(a.as_fd(), b"one", &[]).unwrap();
        send(a.as_fd(), b"two", &[raw(&file), raw(&file)]).unwrap();
        let (mut receiver, mut buffer, mut fds) = (Receiver::new(), [0; 64], Vec::new());
        let packet = receiver.receive(b.as_fd(), &mut buffer, &mut fds).unwrap();
        assert_eq!((&buffer[..packet.length], fds.len()), (&b"one"[..], 0));
        let packet = receiver.receive(b.as_fd(), &mut buffer, &mut fds).unwrap();
        assert_eq!((&buffer[..packet.length], fds.len()), (&b"two"[..], 2));
        assert!(!packet.truncated);
        let none = receiver.receive(b.as_fd(), &mut buffer, &mut fds);
        assert_eq!(none.unwrap_err(), Errno::EAGAIN);
        drop(a);
        assert_eq!(receiver.receive(b.as_fd(), &mut buffer, &mut fds).unwrap().length, 0);
    }

    #[test]
    fn a_packet_longer_than_the_buffer_says_so() {
        let (a, b) = pair().unwrap();
        send(a.as_fd(), &[7; 65], &[]).unwrap();
        let (mut receiver, mut buffer, mut fds) = (Receiver::new(), [0; 64], Vec::new());
        assert!(receiver.receive(b.as_fd(), &mut buffer, &mut fds).unwrap().truncated);
    }

    #[test]
    fn a_path_longer_than_an_address_works() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let directory = open_directory(&deep).unwrap();
        assert_eq!(connect_in(directory.as_fd()).unwrap_err(), Errno::ENOENT);
        let listener = listen_in(directory.as_fd()).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&deep.join(SOCKET).metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
        let client = connect_in(directory.as_fd()).unwrap();
        let served = accept(listener.as_fd()).unwrap();
        assert!(peer_is_us(served.as_fd()) && peer_is_us(client.as_fd()));
        drop((listener, served));
        assert_eq!(connect_in(directory.as_fd()).unwrap_err(), Errno::ECONNREFUSED);
        // A stale file is replaced.
        listen_in(directory.as_fd()).unwrap();
    }
}
