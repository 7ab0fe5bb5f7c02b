//! A real server for each test, and clients that wait for events, never for time.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::print_stderr,
    reason = "shared by two programs, neither of which is a library or uses all of it"
)]

mod http;
mod nats;
mod server;
pub mod shim;
mod sshd;
mod terminal;
mod wire;

pub use http::{Api, Reply};
pub use nats::{NatsCluster, NatsPlace, NatsServer};
pub use server::Server;
pub use sshd::{Ending, Sshd, free_port};
pub use terminal::{Event, Socket, Terminal, dial};
pub use wire::{Answer, Wire};

use std::fmt::Display;
use std::time::Duration;

/// How long anything may take before a test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Processes that carry a session's mark in their environment.
pub fn marked(id: &str) -> usize {
    let mark = format!("STAYD_SESSION={id}");
    let has_mark = |entry: &std::fs::DirEntry| {
        let environ = environ(&entry.path());
        environ.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
    };
    std::fs::read_dir("/proc").expect("/proc").flatten().filter(has_mark).count()
}

/// A process's environment. In the middle of an execve(2) there is none to be seen, so what is empty
/// is read again for a while, unless it is a thread of the kernel.
fn environ(process: &std::path::Path) -> Vec<u8> {
    for _ in 0..10 {
        let environ = std::fs::read(process.join("environ")).unwrap_or_default();
        if !environ.is_empty() || process.join("exe").read_link().is_err() {
            return environ;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Vec::new()
}

/// Whether a process runs. One that has ended and that nobody has reaped yet does not.
pub fn lives(pid: impl Display) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Descriptors that a process has open.
pub fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").count()
}

/// Waits for a future, but not forever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match actix_web::rt::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out: {what}"),
    }
}
