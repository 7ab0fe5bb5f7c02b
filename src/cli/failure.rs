//! Failures of verbs, and their exit codes.

use std::io;

/// Why a verb has failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command line is wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// No session has this id or name: exit code 3.
    #[error("no such session: {0}")]
    NoSuchSession(String),
    /// The fleet has no machine of this name: exit code 3.
    #[error("{0}")]
    UnknownNode(String),
    /// There is none to attach to: exit code 3.
    #[error(
        "no session runs; `stayd run` starts one, `stayd ls --all` lists those that have ended"
    )]
    NoSession,
    /// The session has ended: exit code 3.
    #[error(
        "{word} has ended ({how}); `stayd screen {word}` prints what it showed last, \
         `stayd restart {word}` runs it again"
    )]
    Ended {
        /// The argument that named it.
        word: String,
        /// The reason, code or signal of its end, and how long ago that was.
        how: String,
    },
    /// No server runs there.
    #[error("no server answers at {at}; start one with `stayd serve`")]
    NoServer {
        /// The address or directory that was tried.
        at: String,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// The wait has timed out: exit code 124, as timeout(1) has it.
    #[error("the wait has timed out")]
    TimedOut,
    /// SIGINT came: exit code 130, as shells have it.
    #[error("interrupted: {0} was not copied")]
    Interrupted(String),
    /// The server refused, in its own words.
    #[error("{detail}")]
    Refused {
        /// The stable code, such as `name_taken`.
        code: String,
        /// An explanation for people.
        detail: String,
    },
    /// Any other failure.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The process's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::NoSuchSession(_)
            | Failure::UnknownNode(_)
            | Failure::NoSession
            | Failure::Ended { .. } => 3,
            Failure::TimedOut => 124,
            Failure::Interrupted(_) => 130,
            Failure::NoServer { .. }
            | Failure::Unreachable(_)
            | Failure::Refused { .. }
            | Failure::Other(_) => 1,
        }
    }

    /// Whether a retry may succeed, such as while the server is being restarted.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Failure::NoServer { .. } | Failure::Unreachable(_) => true,
            Failure::Refused { code, .. } => code == "unavailable" || self.node_away().is_some(),
            _ => false,
        }
    }

    /// If a machine of the fleet is not reached: what the server says of it.
    pub(super) fn node_away(&self) -> Option<&str> {
        match self {
            Failure::Refused { code, detail } => {
                ["node_offline", "node_unreachable"].contains(&&**code).then_some(detail)
            }
            _ => None,
        }
    }

    /// Whether nobody was there in the first place. A verb that has not begun does not wait then: what
    /// is only started again is back before anybody is told so.
    pub(super) fn is_nobody(&self) -> bool {
        match self {
            Failure::NoServer { .. } => true,
            Failure::Refused { code, .. } => code == "node_offline",
            _ => false,
        }
    }

    /// For `map_err`: an error of the system, prefixed with what was being done.
    pub(super) fn doing<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |e| Failure::Other(format!("{what}: {e}"))
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(e: crate::config::ConfigError) -> Self {
        Failure::Usage(e.to_string())
    }
}

impl From<crate::private::NotPrivate> for Failure {
    fn from(e: crate::private::NotPrivate) -> Self {
        Failure::Other(e.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Failure::Other(e.to_string())
    }
}
