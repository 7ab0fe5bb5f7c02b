//! The two marks that a session's processes inherit and strangers do not have.
//!
//! The environment's `STAYD_SESSION=<id>` can be read by everyone, and is gone with `env -i`. The
//! other mark survives fork, exec, setsid(2) and a cleared environment: the soft limit
//! `RLIMIT_RTTIME` (setrlimit(2); microseconds that a real-time task may run without a pause),
//! which is unlimited on almost every system, is set to 2^62 plus 61 bits of the session's id. That
//! is more than 146,000 years, so it limits nothing. The hard limit is unchanged, so that a stayd
//! inside a session can mark its own sessions. A limit that someone has set on purpose is never
//! replaced: such a session has one mark.

use super::pidfd;
use super::process::{Stat, is_gone, is_refused};
use crate::id::SessionId;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// The environment variable that marks a session's processes; its value is the session's id.
pub const MARK: &str = "STAYD_SESSION";
/// The least limit that is a mark.
const LIMIT_LEAST: u64 = 1 << 62;
/// The bits of an id in a limit: all are random in a version 7 UUID. A limit stays below 2^63,
/// which programs with signed numbers may take for "unlimited" or worse.
const LIMIT_BITS: u64 = (1 << 61) - 1;
/// The most bytes of environment that are read: more than a process can be started with (execve(2):
/// a quarter of the stack limit, which is 2 MiB by default).
const ENVIRONMENT_MAX: u64 = 4 << 20;
/// The bytes that are read at once, so that most environments are read at one instant.
const ENVIRONMENT_READ: usize = 64 << 10;
/// The longest wait of one pass for processes that are in the middle of execve(2): on a busy
/// machine, or with a program on a slow disk, that takes milliseconds.
const EXEC_TIME: Duration = Duration::from_millis(200);
/// The pause between two looks at such a process.
const EXEC_PAUSE: Duration = Duration::from_micros(200);

/// Marks the calling process, and all processes that it will start, as the session's. A limit that
/// someone has set on purpose is kept, and then this mark is missing.
pub fn mark_by_limit(id: SessionId) {
    set_limit(limit_of(id));
}

/// Removes the mark of a session around it from the calling process.
pub fn unmark_by_limit() {
    set_limit(libc::RLIM_INFINITY);
}

/// Whether the calling process has the session's limit, so that it runs in that session, whatever
/// its environment says.
#[must_use]
pub fn is_marked_by_limit(id: SessionId) -> bool {
    getrlimit(Resource::RLIMIT_RTTIME).is_ok_and(|(soft, _)| soft == limit_of(id))
}

fn set_limit(limit: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_RTTIME)
        && soft >= LIMIT_LEAST
    {
        // This fails only for a lower hard limit. Everything else works without the mark.
        let _ = setrlimit(Resource::RLIMIT_RTTIME, limit.min(hard), hard);
    }
}

fn limit_of(id: SessionId) -> u64 {
    LIMIT_LEAST | (u128::from_be_bytes(id.to_bytes()) as u64 & LIMIT_BITS)
}

/// The session to which marks assign a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Ours,
    Another,
    /// There is no mark, or none that we may read.
    Missing,
}

/// The time that one pass over processes has left to wait for those in the middle of execve(2).
pub(super) struct Patience(Duration);

impl Patience {
    pub(super) fn new() -> Patience {
        Patience(EXEC_TIME)
    }

    /// Pauses. Returns false if no time was left.
    fn pause(&mut self) -> bool {
        let started = Instant::now();
        if !self.0.is_zero() {
            std::thread::sleep(EXEC_PAUSE);
        }
        let had_time = !self.0.is_zero();
        self.0 = self.0.saturating_sub(started.elapsed());
        had_time
    }
}

/// The marks of one process.
#[derive(Debug, Default)]
pub(super) struct Marks {
    limit: Option<u64>,
    environment: Vec<SessionId>,
    /// Whether the environment names any session.
    named: bool,
}

impl Marks {
    /// # Errors
    /// No descriptor is free, so it is unknown whether a mark is missing.
    pub(super) fn read(pid: i32, limit: Option<u64>, patience: &mut Patience) -> io::Result<Marks> {
        let mut marks = Marks { limit, ..Marks::default() };
        // A process with the other mark need not be waited for.
        marks.find(&environment(pid, limit.is_none().then_some(patience))?);
        Ok(marks)
    }

    /// Compares the marks with a session. One matching mark is enough.
    pub(super) fn say(&self, id: SessionId) -> Mark {
        if self.limit == Some(limit_of(id)) || self.environment.contains(&id) {
            Mark::Ours
        } else if self.limit.is_some() || self.named {
            Mark::Another
        } else {
            Mark::Missing
        }
    }

    fn find(&mut self, environment: &[u8]) {
        let values = environment
            .split(|&byte| byte == 0)
            .filter_map(|entry| entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
        for value in values {
            self.named = true;
            let id: Option<SessionId> =
                std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            self.environment.extend(id);
        }
    }
}

/// A process's limit, if it is a mark of any session.
///
/// # Errors
/// No descriptor is free.
pub(super) fn limit_mark(pid: i32) -> io::Result<Option<u64>> {
    Ok(limit(pid)?.filter(|limit| (LIMIT_LEAST..1 << 63).contains(limit)))
}

/// Whether a process has the session's limit, which is the mark that is read faster.
pub(super) fn carries_limit(pid: i32, id: SessionId) -> bool {
    limit(pid).is_ok_and(|limit| limit == Some(limit_of(id)))
}

/// A process's environment. In the middle of execve(2) a process shows an empty one, or a part of
/// the last one, which must not pass for a missing mark: with patience it is read until it is whole.
fn environment(pid: i32, mut patience: Option<&mut Patience>) -> io::Result<Vec<u8>> {
    loop {
        let mut environment = Vec::with_capacity(ENVIRONMENT_READ);
        match File::open(format!("/proc/{pid}/environ")) {
            // The part that was read before an error counts, because the process may be ending.
            Ok(file) => drop(file.take(ENVIRONMENT_MAX).read_to_end(&mut environment)),
            Err(error) if is_gone(&error) || is_refused(&error) => return Ok(environment),
            Err(error) => return Err(error),
        }
        let is_cut = is_cut(pid, environment.len());
        if !(is_cut && patience.as_deref_mut().is_some_and(Patience::pause)) {
            return Ok(environment);
        }
    }
}

/// Whether an environment of this size may be a part of the process's.
fn is_cut(pid: i32, size: usize) -> bool {
    let at_one_instant = (1..ENVIRONMENT_READ).contains(&size);
    let has_another_size = |stat: Stat| {
        !stat.is_gone()
            && stat.environment_size().map(|s| s.min(ENVIRONMENT_MAX)) != Some(size as u64)
    };
    !at_one_instant && Stat::read(pid).is_ok_and(has_another_size)
}

/// The soft limit. For another user's process (a set-user-id program in the session) only /proc
/// shows it, which takes ten times as long to read. A process that is gone is an error: nobody can
/// tell whether it had the mark.
fn limit(pid: i32) -> io::Result<Option<u64>> {
    match pidfd::realtime_limit(pid) {
        Ok(limit) => Ok(Some(limit)),
        Err(error) if is_refused(&error) => {
            match std::fs::read_to_string(format!("/proc/{pid}/limits")) {
                Ok(limits) => Ok(parse_limit(&limits)),
                Err(error) if is_refused(&error) => Ok(None),
                Err(error) => Err(error),
            }
        }
        Err(error) if is_gone(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The limit in /proc's text; `None` for "unlimited".
fn parse_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn named(environment: &str, id: SessionId) -> Mark {
        let mut marks = Marks::default();
        marks.find(environment.as_bytes());
        marks.say(id)
    }

    #[test]
    fn a_mark_is_a_whole_entry() {
        let id = SessionId::generate();
        assert_eq!(named(&format!("A=1\0STAYD_SESSION={id}\0B=2\0"), id), Mark::Ours);
        assert_eq!(named(&format!("STAYD_SESSION={id}\0"), id), Mark::Ours);
        assert_eq!(named(&format!("STAYD_SESSION={id}x\0"), id), Mark::Another);
        assert_eq!(named("STAYD_SESSION=\0", id), Mark::Another);
        assert_eq!(named(&format!("A=STAYD_SESSION={id}\0"), id), Mark::Missing);
        assert_eq!(named(&format!("STAYD_SESSIONS={id}\0"), id), Mark::Missing);
        assert_eq!(named("", id), Mark::Missing);
    }

    #[test]
    fn one_mark_of_a_session_is_enough() {
        let (id, other) = (SessionId::generate(), SessionId::generate());
        assert_ne!(limit_of(id), limit_of(other));
        let mut marks = Marks { limit: Some(limit_of(id)), ..Marks::default() };
        assert_eq!((marks.say(id), marks.say(other)), (Mark::Ours, Mark::Another));
        marks.find(format!("STAYD_SESSION={other}\0").as_bytes());
        assert_eq!((marks.say(id), marks.say(other)), (Mark::Ours, Mark::Ours));
    }

    #[test]
    fn a_limit_is_no_limit_and_fits_a_signed_number() {
        for byte in [0, 0xff] {
            let limit = limit_of(SessionId::from_bytes([byte; 16]));
            assert!((LIMIT_LEAST..1 << 63).contains(&limit), "{limit}");
        }
    }

    #[test]
    fn a_process_that_starts_one_program_after_another_keeps_its_mark() {
        let id = SessionId::generate();
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("again");
        std::fs::write(&script, "exec sh \"$0\"").unwrap();
        let mut child = Command::new("sh").arg(&script).env(MARK, id.to_string()).spawn().unwrap();
        let pid = child.id() as i32;
        let read = || Marks::read(pid, None, &mut Patience::new()).unwrap();
        let missed = (0..3_000).filter(|_| read().say(id) != Mark::Ours).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(missed, 0);
    }

    #[test]
    fn the_kernel_and_its_text_agree_on_a_limit() {
        let id = SessionId::generate();
        let ulimit = format!("ulimit -S -R {} && exec env -i sleep 60", limit_of(id));
        let mut child = Command::new("bash").args(["-c", &ulimit]).spawn().unwrap();
        let pid = child.id() as i32;
        let read = |pid| Marks::read(pid, limit_mark(pid).unwrap(), &mut Patience::new()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while read(pid).say(id) != Mark::Ours || !environment(pid, None).unwrap().is_empty() {
            assert!(Instant::now() < deadline, "{:?}", read(pid));
            std::thread::yield_now();
        }
        let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        assert_eq!(parse_limit(&text), Some(limit_of(id)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(parse_limit("Max realtime timeout   unlimited  unlimited  us"), None);
    }
}
