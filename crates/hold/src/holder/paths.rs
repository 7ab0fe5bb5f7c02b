//! The paths of a holder's files.

use std::path::PathBuf;

/// Where a holder lives and how to start one.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The state directory: `holder.sock`, `holder.pid` and `holder.lock` are in it.
    pub state_dir: PathBuf,
    /// The program whose `hold` verb is started when no holder answers.
    pub program: PathBuf,
}

impl Paths {
    /// A holder in `state_dir`, started from the running program itself.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        // The link, and not its target: an upgrade may have replaced the file.
        Paths { state_dir: state_dir.into(), program: PathBuf::from("/proc/self/exe") }
    }
}

/// The socket in the state directory.
pub(super) const SOCKET: &str = "holder.sock";
/// The holder's process id, in decimal.
pub(super) const PID_FILE: &str = "holder.pid";
/// The guardian's process id, in decimal.
pub(super) const GUARDIAN_FILE: &str = "guardian.pid";
/// The file that the one holder of a state directory keeps locked for as long as it lives.
pub(super) const LOCK_FILE: &str = "holder.lock";
/// The variable that names the descriptor on which a launched holder reports that it listens.
pub(super) const READY_ENV: &str = "STAYD_HOLDER_READY";
