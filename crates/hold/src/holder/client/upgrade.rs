//! Asks a holder to make room for another program.

use super::error::HolderError;
use super::link::Link;
use crate::holder::shared::LAYOUT;
use crate::holder::socket;
use crate::holder::wire::{self, Kind};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// The longest time for it all, of which the sessions notice some milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Replaces the processes that hold the sessions of a state directory by `program`, which has to be
/// this program or another version of it. Returns what the new holder says of itself. The sessions
/// and the connection of a server go on.
///
/// # Errors
/// No holder answers, it is too old, or it refuses: then everything is as it was.
pub async fn upgrade(state_dir: &Path, program: &Path) -> Result<wire::Hello, HolderError> {
    let file = open(program, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| HolderError::Request(format!("{}: {errno}", program.display())))?;
    let directory = socket::open_directory(state_dir).map_err(HolderError::Unreachable)?;
    let connection = match socket::connect_in(directory.as_fd()) {
        Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Err(HolderError::Gone),
        connection => connection.map_err(HolderError::Unreachable)?,
    };
    if !socket::peer_is_us(connection.as_fd()) {
        return Err(HolderError::ForeignUser);
    }
    let (link, _notices) = Link::open(connection)?;
    let upgrade = wire::Upgrade { layouts: vec![LAYOUT] };
    // The first request of a connection has the number 1, which the answer repeats.
    let mut replies = link.ask(Kind::Upgrade, Some(&upgrade), &[], Some(file))?;
    let reply = tokio::time::timeout(DEADLINE, replies.next());
    let reply = reply.await.map_err(|_| HolderError::Timeout)??;
    if reply.kind == Kind::Hello { reply.control() } else { Err(reply.failure().into()) }
}
