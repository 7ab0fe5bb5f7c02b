//! The start of a session, as its shim reports it.

use crate::holder::shared::{Kept, Progress, Slot, account};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::os::fd::AsRawFd;

/// The progress of a session's start.
#[derive(Debug)]
pub(super) struct Stage {
    progress: Progress,
    /// The connection to the shim, which names a failed step on it, or closes it.
    report: Option<Kept>,
}

impl Stage {
    /// The stage of a session. A shim that waits to be told that the session is recorded is told
    /// so, again if need be.
    pub(super) fn of(slot: &Slot) -> Self {
        let stage = Stage { progress: slot.progress(), report: slot.report() };
        if let (Progress::Starting, Some(report)) = (&stage.progress, &stage.report) {
            // A shim that is gone tells so itself.
            let _ = account::write(slot.shared(), report, b"g");
        }
        stage
    }

    /// The connection to watch, while the result is not known.
    pub(super) fn report(&self) -> Option<&Kept> {
        self.report.as_ref().filter(|_| self.progress == Progress::Starting)
    }

    pub(super) fn has_started(&self) -> bool {
        self.progress == Progress::Started
    }

    /// The step that has failed, and its error.
    pub(super) fn failed(&self) -> Option<(&str, i32)> {
        match &self.progress {
            Progress::Failed { step, errno } => Some((step, *errno)),
            Progress::Starting | Progress::Started => None,
        }
    }

    /// Reads the shim's report, or its end. Returns true once the result is known.
    pub(super) fn hear(&mut self, slot: &Slot) -> bool {
        let Some(report) = self.report() else { return false };
        let mut said = [0; 64];
        // The report stays in the socket: it is not lost if this process dies before the next line.
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        self.progress = match recv(report.as_raw_fd(), &mut said, flags) {
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            // Closed by the exec, or by a death that the exit status reports.
            Ok(0) | Err(_) => Progress::Started,
            Ok(count) => {
                let said = said.get(..count).and_then(|said| said.split_first_chunk::<4>());
                let (errno, step) = said.map_or((0, String::new()), |(errno, step)| {
                    (i32::from_le_bytes(*errno), String::from_utf8_lossy(step).into_owned())
                });
                Progress::Failed { step, errno }
            }
        };
        slot.set_progress(&self.progress);
        self.report = None;
        slot.close_report();
        true
    }
}
