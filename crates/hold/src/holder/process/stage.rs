//! The start of a session, as its shim reports it.

use nix::errno::Errno;
use nix::unistd::read;
use std::os::fd::OwnedFd;

/// The progress of a session's start.
#[derive(Debug)]
pub(super) enum Stage {
    /// The shim has not executed the program yet.
    Starting {
        /// The pipe on which the shim names a failed step, or which it closes.
        report: OwnedFd,
        /// Requests that wait for the result.
        asked: Vec<u32>,
    },
    /// A step failed. The session is removed once the shim is reaped and the requests are answered.
    Failed { step: String, errno: i32, asked: Vec<u32> },
    /// The program runs, or has run. These requests have not been answered yet.
    Started { asked: Vec<u32> },
}

impl Stage {
    /// The requests that have not been answered yet.
    pub(super) fn asked(&mut self) -> &mut Vec<u32> {
        match self {
            Stage::Starting { asked, .. }
            | Stage::Failed { asked, .. }
            | Stage::Started { asked } => asked,
        }
    }

    /// Reads the shim's report, or its end. Returns true once the result is known.
    pub(super) fn hear(&mut self) -> bool {
        let Stage::Starting { report, asked } = self else { return false };
        let mut said = [0; 64];
        *self = match read(&*report, &mut said) {
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            // Closed by the exec, or by a death that the exit status reports.
            Ok(0) | Err(_) => Stage::Started { asked: std::mem::take(asked) },
            Ok(count) => {
                let said = said.get(..count).and_then(|said| said.split_first_chunk::<4>());
                let (errno, step) = said.map_or((0, String::new()), |(errno, step)| {
                    (i32::from_le_bytes(*errno), String::from_utf8_lossy(step).into_owned())
                });
                Stage::Failed { step, errno, asked: std::mem::take(asked) }
            }
        };
        true
    }
}
