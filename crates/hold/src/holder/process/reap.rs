//! Deaths: of leaders, whose exit status is kept, and of what they have left to us.

use super::requests::failure;
use super::run::Process;
use super::session::Stage;
use super::sys;
use crate::exit::Exit;
use crate::holder::wire::{Failure, FailureCode};
use nix::errno::Errno;
use nix::unistd::Pid;

impl Process {
    /// Reaps every child that has exited.
    pub(super) fn reap(&mut self) {
        while let Some((pid, exit)) = sys::reap_one() {
            self.contained(None, |all| all.reaped(pid, exit));
        }
    }

    fn reaped(&mut self, pid: Pid, exit: Exit) {
        let Some(place) = self.sessions.take_leader(pid) else {
            self.stats.orphans_reaped = self.stats.orphans_reaped.saturating_add(1);
            return;
        };
        // Its report may be unread: it was complete before the death.
        self.report(place);
        let Some(session) = self.sessions.get(place) else { return };
        session.leader_exited(exit);
        if let Stage::Failed { step, errno, asked } = &mut session.stage {
            let failed = Failure {
                step: Some(step.clone()),
                errno: Some(*errno),
                ..failure(FailureCode::Step, Errno::from_raw(*errno).desc())
            };
            for request in std::mem::take(asked) {
                self.failures.push((request, failed.clone()));
            }
            self.sessions.remove(place);
            return;
        }
        self.due |= session.read_output();
        if session.draining() {
            self.draining.push(place);
        }
        self.rewatch(place);
    }
}
