//! A real server for each test, and clients that wait for events, never for time.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::print_stderr,
    reason = "shared by two programs, neither of which is a library or uses all of it"
)]

mod http;
mod server;
pub mod shim;
mod terminal;
mod wire;

pub use http::{Api, Reply};
pub use server::Server;
pub use terminal::{Event, Socket, Terminal, dial};
pub use wire::{Answer, Wire};

use std::time::Duration;

/// How long anything may take before a test gives up on it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Processes that carry a session's mark in their environment.
pub fn marked(id: &str) -> usize {
    let mark = format!("STAYD_SESSION={id}");
    let has_mark = |entry: &std::fs::DirEntry| {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environ.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
    };
    std::fs::read_dir("/proc").expect("/proc").flatten().filter(has_mark).count()
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
