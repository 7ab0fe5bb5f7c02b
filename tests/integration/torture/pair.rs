//! The two processes that hold the sessions.

use super::processes::process;
use crate::support::{Server, soon};
use actix_web::rt::task::JoinHandle;
use actix_web::rt::time::sleep;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
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

    /// An upgrade may have replaced it by now.
    pub(super) fn kill_holder(self) {
        let _ = kill(Pid::from_raw(self.holder), Signal::SIGKILL);
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

/// The replacement of both by another program, which may fail when one of them is killed meanwhile.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    under_way: Option<JoinHandle<bool>>,
    pub(super) done: u64,
}

impl Upgrade {
    pub(super) fn begin(&mut self, server: &Server) {
        let state = server.state().to_owned();
        self.under_way = Some(actix_web::rt::spawn(async move {
            stayd::holder::upgrade(&state, Path::new(env!("CARGO_BIN_EXE_stayd"))).await.is_ok()
        }));
    }

    /// Waits for its end.
    pub(super) async fn is_over(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            self.done += u64::from(soon("an upgrade, or none", under_way).await.expect("no panic"));
        }
    }
}
