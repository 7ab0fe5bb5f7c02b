//! The two processes that hold the sessions.

use super::processes::process;
use crate::support::{Server, soon};
use actix_web::rt::time::sleep;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    guardian: i32,
    holder: i32,
}

impl Pair {
    /// Waits until both are there.
    pub(super) async fn of(server: &Server) -> Self {
        soon("a guardian and its holder", async {
            loop {
                if let Some(pair) = Pair::found(server) {
                    return pair;
                }
                sleep(AGAIN).await;
            }
        })
        .await
    }

    fn found(server: &Server) -> Option<Self> {
        let pid = |file| -> Option<i32> {
            std::fs::read_to_string(server.state().join(file)).ok()?.trim().parse().ok()
        };
        let pair = Pair { guardian: pid("guardian.pid")?, holder: pid("holder.pid")? };
        (process(pair.holder)?.parent == pair.guardian).then_some(pair)
    }

    pub(super) fn kill_holder(self) {
        kill(Pid::from_raw(self.holder), Signal::SIGKILL).expect("it runs");
    }

    pub(super) fn kill_guardian(self) {
        kill(Pid::from_raw(self.guardian), Signal::SIGKILL).expect("it runs");
    }

    /// Waits until another pair holds the sessions, and says how long that took.
    pub(super) async fn replaced(self, server: &Server) -> Duration {
        let start = Instant::now();
        while Pair::of(server).await.holder == self.holder {
            sleep(AGAIN).await;
        }
        start.elapsed()
    }
}
