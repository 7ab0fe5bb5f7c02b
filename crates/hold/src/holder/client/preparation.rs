//! A start in two parts, so that what is slow about the first can be done while something else is
//! waited for.

use super::entry::held;
use super::error::{HolderError, SpawnError};
use super::link::Link;
use super::session::{Held, SpawnSpec};
use crate::holder::memfd;
use crate::holder::wire::{self, ExecSpec, Kind};
use crate::id::SessionId;
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A session that [`Holder::prepare`](super::Holder::prepare) has made ready to be started.
#[derive(Debug)]
pub struct Preparation {
    link: Arc<Link>,
    spawn: wire::Spawn,
    blob: Vec<u8>,
    spec: OwnedFd,
}

impl Preparation {
    pub(super) fn new(
        link: Arc<Link>,
        id: SessionId,
        spec: &SpawnSpec,
        ring_capacity: u64,
        blob: &[u8],
    ) -> Result<Self, HolderError> {
        let resumed = spec.resumed.as_ref();
        let spawn = wire::Spawn {
            id,
            cols: spec.cols,
            rows: spec.rows,
            ring_capacity,
            checkpoints: spec.checkpoints,
            base: resumed.map_or(0, |resumed| resumed.base),
            preface: resumed.map_or_else(String::new, |resumed| resumed.preface.clone()),
        };
        let spec = exec_spec(spec).map_err(|errno| HolderError::Request(errno.to_string()))?;
        Ok(Preparation { link, spawn, blob: blob.to_vec(), spec })
    }

    /// Starts the session, or returns the held one of that id. It may take long, if the program's
    /// directory is on a hung file system.
    ///
    /// # Errors
    /// A step failed, a limit was reached, or the holder cannot be reached.
    pub async fn start(self) -> Result<Held, SpawnError> {
        let Preparation { link, spawn, blob, spec } = self;
        let mut replies = link.ask(Kind::Spawn, Some(&spawn), &blob, Some(spec))?;
        let reply = replies.next().await?;
        match reply.kind {
            Kind::Entry => Ok(held(reply.control()?, reply).map_err(|unusable| unusable.error)?),
            _ => Err(reply.failure().into()),
        }
    }
}

/// Argument lists and environments may be longer than a message, so they are in a memfd.
fn exec_spec(spec: &SpawnSpec) -> Result<OwnedFd, Errno> {
    let spec = ExecSpec {
        argv: spec.command.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        login: spec.login,
        confinement: spec.confinement.clone(),
    };
    let json = serde_json::to_vec(&spec).map_err(|_| Errno::EINVAL)?;
    memfd::sealed(c"stayd-spec", &json)
}
