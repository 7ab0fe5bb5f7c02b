//! A session on its way to the program, as its shim reports it.

use nix::errno::Errno;
use nix::unistd::read;
use std::os::fd::OwnedFd;

/// Where a session is on its way to the program.
#[derive(Debug)]
pub(super) enum Stage {
    /// The shim has not executed the program yet.
    Starting {
        /// Says which step failed, or closes.
        report: OwnedFd,
        /// Requests that wait for it.
        asked: Vec<u32>,
    },
    /// A step failed; the session goes as soon as the shim is reaped and this is told.
    Failed { step: String, errno: i32, asked: Vec<u32> },
    /// The program runs, or has run; these requests have not been told yet.
    Started { asked: Vec<u32> },
}

impl Stage {
    /// The requests that have not been told yet how it went.
    pub(super) fn asked(&mut self) -> &mut Vec<u32> {
        match self {
            Stage::Starting { asked, .. }
            | Stage::Failed { asked, .. }
            | Stage::Started { asked } => asked,
        }
    }

    /// The shim has said something, or nothing more. True: now it is known how it went.
    pub(super) fn hear(&mut self) -> bool {
        let Stage::Starting { report, asked } = self else { return false };
        let mut said = [0; 64];
        *self = match read(&*report, &mut said) {
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            // Closed by the exec (or by a death that its exit status tells).
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
