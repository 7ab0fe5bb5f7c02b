//! `stayd stop`: ends the server, and with `--all` the holder and every session.

use super::failure::Failure;
use super::local::is_locked;
use super::out;
use super::progress::Progress;
use super::sys::Process;
use crate::config::{self, PathFlags};
use crate::private;
use crate::tree::{self, Keepers, Standing};
use clap::Args;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The longest that a server may take to stop while no process of its sessions ends: it may end its
/// sessions, flushes its store and closes its connections.
const SERVER_TIMEOUT: Duration = Duration::from_secs(45);
/// The same for a holder: it ends every session's tree, with 3 s of grace before
/// SIGKILL.
const HOLDER_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// End all sessions too, and the process that holds them
    #[arg(long)]
    all: bool,
    /// Also from inside one of the sessions, which end with --all
    #[arg(long)]
    force: bool,
}

pub(super) fn stop(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let dir = config::state_dir(paths)?;
    private::check(&dir)?;
    if std::env::var_os("STAYD_URL").is_some_and(|url| !url.is_empty()) {
        return Err(Failure::Other(format!(
            "STAYD_URL is set, and `stayd stop` acts on this machine's state directory, {}: unset \
             STAYD_URL to stop the server there",
            dir.display()
        )));
    }
    if !flags.force && runs_inside(&dir) {
        return Err(Failure::Other(format!(
            "this command runs inside a session of the server that it would stop ({}): run it \
             outside, or add --force",
            dir.display()
        )));
    }
    // The server ends the sessions itself, so that it records how they ended.
    let how = if flags.all { libc::SIGUSR2 } else { libc::SIGTERM };
    let (server, holder_found) = end_both(&dir, how, flags.all, SERVER_TIMEOUT)?;
    // A server that is late is still told of, once its sessions have ended.
    let found = server? || holder_found;
    let held = if flags.all { None } else { holder(&dir)? };
    let at = dir.display();
    match (found, held) {
        (true, None) => {}
        (true, Some(_)) => out::message(
            "stayd: the server has stopped, and sessions run on; `stayd serve` finds them, `stayd \
             stop --all` ends them",
        ),
        (false, Some(pid)) => out::message(&format!(
            "stayd: no server runs in {at}, but process {pid} still holds sessions there; `stayd stop \
             --all` ends them, `stayd serve` finds them"
        )),
        (false, None) => out::message(&format!("stayd: nothing runs in {at}")),
    }
    Ok(u8::from(!found))
}

/// Ends the server, and with `all` the holder, even if the server is late. Returns what has become
/// of the server, and whether there was a holder to end.
fn end_both(
    dir: &Path,
    how: i32,
    all: bool,
    patience: Duration,
) -> Result<(Result<bool, Failure>, bool), Failure> {
    let server = end("server", dir, ("lock", "lock"), how, patience);
    if !all {
        return Ok((server, false));
    }
    if let Err(late) = &server {
        out::message(&format!("stayd: {late}; its sessions are ended without it"));
    }
    // Stop the holder after the server, which would otherwise start another one. It ends
    // everything that it still holds, which is everything if there was no server.
    // The guardian passes the signal on, and ends last.
    let files = ("guardian.pid", "holder.lock");
    let holder = end("holder", dir, files, libc::SIGTERM, HOLDER_TIMEOUT)?;
    Ok((server, holder))
}

/// The process that holds the sessions of a state directory, if there is one.
fn holder(dir: &Path) -> Result<Option<i32>, Failure> {
    if !is_locked(&dir.join("holder.lock"))? {
        return Ok(None);
    }
    let text = std::fs::read_to_string(dir.join("holder.pid")).unwrap_or_default();
    Ok(text.split_whitespace().next().and_then(|word| word.parse().ok()))
}

/// Whether this process runs inside a session of the holder in this directory.
fn runs_inside(dir: &Path) -> bool {
    let pid = |file| -> Option<i32> {
        let text = std::fs::read_to_string(dir.join(file)).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    let holder = pid("holder.pid");
    let keepers = holder.map(|holder| Keepers { holder, guardian: pid("guardian.pid") });
    let us = std::process::id() as i32;
    let standing = keepers.map(|keepers| tree::standing(us, keepers, |_| false));
    matches!(standing, Some(Ok(Standing::Below { .. })))
}

/// Stops the process that holds a lock file and waits for its end. Returns whether there was one.
/// `files` are the file with its process id and its lock file.
fn end(
    what: &str,
    dir: &Path,
    (pid_file, lock_file): (&str, &str),
    signal: i32,
    limit: Duration,
) -> Result<bool, Failure> {
    let path = dir.join(pid_file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        // A process that cannot be checked may well be running.
        Err(e) => return Err(Failure::Other(format!("{}: {e}", path.display()))),
    };
    let Some(pid) = text.split_whitespace().next().and_then(|word| word.parse().ok()) else {
        return Ok(false);
    };
    // Check the lock while a pidfd already refers to the process, so that another process with a
    // reused id is never signalled.
    let Some(process) = Process::open(pid)? else { return Ok(false) };
    if !is_locked(&dir.join(lock_file))? {
        return Ok(false);
    }
    process.signal(signal)?;
    let _progress = Progress::on(format!("waiting for the {what} to stop"));
    let mut left = held(dir);
    // Thousands of sessions take their time: it goes on as long as they become fewer.
    while !process.wait(limit)? {
        let now = held(dir);
        if now >= left {
            return Err(Failure::Other(format!(
                "the {what} (process {pid}) has not stopped, and within {limit:?} none of the {now} \
                 processes of its sessions has ended"
            )));
        }
        left = now;
    }
    Ok(true)
}

/// How many processes the guardian of a state directory has below it; 0 if that is unknown.
fn held(dir: &Path) -> usize {
    let text = std::fs::read_to_string(dir.join("guardian.pid")).unwrap_or_default();
    let guardian = text.split_whitespace().next().and_then(|word| word.parse().ok());
    guardian.and_then(|guardian| tree::descendants(guardian).ok()).map_or(0, |below| below.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;
    use std::fs::File;
    use std::process::Command;

    fn end_lock(dir: &Path) -> bool {
        end("server", dir, ("lock", "lock"), libc::SIGTERM, Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn the_holder_of_the_lock_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!end_lock(dir.path()), "no file");
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        // Reap the process, as the parent of a real server does.
        let id = child.id();
        let waiter = std::thread::spawn(move || child.wait().unwrap());
        let path = dir.path().join("lock");
        std::fs::write(&path, format!("{id}\n")).unwrap();
        let lock = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
        assert!(end_lock(dir.path()));
        waiter.join().unwrap();
        drop(lock);
    }

    #[test]
    fn a_process_without_the_lock_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        std::fs::write(dir.path().join("lock"), child.id().to_string()).unwrap();
        assert!(!end_lock(dir.path()), "nobody holds the lock");
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_holder_is_ended_although_the_server_does_not_answer() {
        let dir = tempfile::tempdir().unwrap();
        let start = || Command::new("sleep").arg("1000").spawn().unwrap();
        let lock = |file: &str| {
            let file = File::create(dir.path().join(file)).unwrap();
            Flock::lock(file, FlockArg::LockExclusive).unwrap()
        };
        let (mut server, mut holder) = (start(), start());
        // A stopped process acts on no signal but SIGKILL.
        let stopped = Process::open(server.id() as i32).unwrap().unwrap();
        stopped.signal(libc::SIGSTOP).unwrap();
        // Until it has stopped, another signal may come to it first.
        let pid = Pid::from_raw(server.id() as i32);
        let waited = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(waited, WaitStatus::Stopped(..)), "{waited:?}");
        let _locks = (lock("lock"), lock("holder.lock"));
        std::fs::write(dir.path().join("lock"), server.id().to_string()).unwrap();
        std::fs::write(dir.path().join("guardian.pid"), holder.id().to_string()).unwrap();
        let waiter = std::thread::spawn(move || holder.wait().unwrap());
        let ended = end_both(dir.path(), libc::SIGUSR2, true, Duration::from_millis(10));
        let still_there = server.try_wait().unwrap().is_none();
        server.kill().unwrap();
        server.wait().unwrap();
        let (late, found) = ended.unwrap();
        assert!(late.is_err() && found && still_there);
        waiter.join().unwrap();
    }
}
