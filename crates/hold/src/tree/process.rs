//! A process, distinguished from every other that had the same pid.

use super::pidfd;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

/// Identifies a process by more than its pid: pids are reused, and start times begin anew at boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
    pub start_time: u64,
    /// The boot from which those ticks count.
    pub boot_id: String,
}

impl ProcessId {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(ProcessId { pid, start_time: start_time(pid)?, boot_id: boot_id()? })
    }

    /// Whether the process still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.stat().is_some()
    }

    /// Whether another process group than this process's own has its terminal: a shell runs a command
    /// in the foreground. False where the process is gone, or has no terminal.
    #[must_use]
    pub fn has_foreground_command(&self) -> bool {
        self.stat().is_some_and(|stat| stat.foreground > 0 && stat.foreground != stat.group)
    }

    /// The process group in the foreground of its terminal; `None` where the process is gone, or has
    /// no terminal.
    #[must_use]
    pub fn foreground(&self) -> Option<i32> {
        self.stat().map(|stat| stat.foreground).filter(|group| *group > 0)
    }

    /// The process's present state in /proc; `None` if it is gone, or its pid is another's.
    pub(super) fn stat(&self) -> Option<Stat> {
        if boot_id().ok()? != self.boot_id {
            return None;
        }
        let stat = Stat::read(self.pid).ok()?;
        (stat.start_time == self.start_time && !stat.is_gone()).then_some(stat)
    }
}

/// Bytes of a command line that are read for its first two words.
const NAMES_MAX: u64 = 4096;

/// The id of this boot, as `/proc/sys/kernel/random/boot_id` has it.
///
/// # Errors
/// /proc is not mounted.
pub fn boot_id() -> io::Result<String> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id.clone());
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| id.trim().to_owned()).clone())
}

/// When the process with this pid started, in clock ticks since boot.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    Stat::read(pid).map(|stat| stat.start_time)
}

/// The names under which a process runs: its own, that of its program, and that of the script where the
/// program may be an interpreter. Without directories; empty where the process is gone or hidden.
#[must_use]
pub fn names_of(pid: i32) -> Vec<String> {
    let read = |file: &str, most: u64| {
        let mut bytes = Vec::new();
        let read = File::open(format!("/proc/{pid}/{file}"))
            .and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.map(|_| bytes).unwrap_or_default()
    };
    let base = |word: &[u8]| {
        let word = String::from_utf8_lossy(word).into_owned();
        word.trim_end().rsplit('/').next().map(|name| name.trim_start_matches('-').to_owned())
    };
    let (name, command) = (read("comm", NAMES_MAX), read("cmdline", NAMES_MAX));
    let words = command.split(|&byte| byte == 0).take(2);
    let names = std::iter::once(&*name).chain(words).filter_map(base);
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.dedup();
    names
}

/// Milliseconds since boot, time asleep included (`CLOCK_BOOTTIME`).
///
/// # Panics
/// The kernel has no `CLOCK_BOOTTIME`: it is older than 2.6.39, which has no pidfds either.
#[must_use]
#[expect(clippy::expect_used, reason = "only the server asks, and it has no other clock")]
pub fn boottime_ms() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .expect("CLOCK_BOOTTIME exists since Linux 2.6.39 and the pointer is nix's");
    // The clock counts from boot, so it is never negative.
    (now.tv_sec() as u64).saturating_mul(1_000).saturating_add(now.tv_nsec() as u64 / 1_000_000)
}

/// A descriptor of the process with this pid and this start time.
///
/// # Errors
/// `ESRCH` or `NotFound` if that process is gone, even if its pid was reused; otherwise as
/// [`pidfd::open`].
pub(super) fn open_verified(pid: i32, start_time: u64) -> io::Result<OwnedFd> {
    let process = pidfd::open(pid)?;
    // Read after the descriptor was opened: if the pid was reused in between, the descriptor is
    // that of the dead process, and signals to it reach nobody.
    match Stat::read(pid)?.start_time == start_time {
        true => Ok(process),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// Sends a signal to the process with this pid and this start time.
///
/// # Errors
/// As [`open_verified`] and [`pidfd::send`].
pub(super) fn signal(pid: i32, start_time: u64, signal: i32) -> io::Result<()> {
    pidfd::send(open_verified(pid, start_time)?.as_fd(), signal)
}

/// Whether an error means that the process is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Whether an error means that the process is another user's.
pub(super) fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// The fields of `/proc/PID/stat` that tell to which session a process belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    pub(super) parent: i32,
    /// Its process group.
    group: i32,
    pub(super) session: i32,
    /// The process group in the foreground of its terminal; -1: it has none.
    foreground: i32,
    pub(super) start_time: u64,
    state: u8,
    flags: u64,
    threads: u64,
    /// The address of its program's code, which execve(2) sets last: until then it is 0.
    code: u64,
    /// The addresses at which its environment begins and ends.
    environment: (u64, u64),
}

impl Stat {
    /// # Errors
    /// `NotFound` if there is no such process.
    pub(super) fn read(pid: i32) -> io::Result<Stat> {
        // 52 numbers and a name; one read gives a consistent line.
        let mut line = [0; 2048];
        let mut length = 0;
        let mut file = File::open(format!("/proc/{pid}/stat"))?;
        loop {
            match file.read(line.get_mut(length..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(n) => length = length.saturating_add(n),
                // The process was reaped after we opened its file.
                Err(error) if is_gone(&error) => return Err(io::ErrorKind::NotFound.into()),
                Err(error) => return Err(error),
            }
        }
        Stat::parse(line.get(..length).unwrap_or_default())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
    }

    /// The name (field 2) is chosen by the process, so only the last `)` ends it.
    fn parse(line: &[u8]) -> Option<Stat> {
        let name_start = line.iter().position(|&byte| byte == b'(')?;
        let name_end = line.iter().rposition(|&byte| byte == b')')?;
        let pid = std::str::from_utf8(line.get(..name_start)?).ok()?.trim().parse().ok()?;
        let fields = std::str::from_utf8(line.get(name_end.checked_add(1)?..)?).ok()?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the first of these fields is its number 3.
        let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
        let address = |number| field(number).and_then(|field| field.parse().ok()).unwrap_or(0);
        Some(Stat {
            pid,
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            foreground: field(8)?.parse().ok()?,
            flags: field(9)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
            code: address(26),
            environment: (address(50), address(51)),
        })
    }

    /// Whether the process is dead, reaped or not. A process whose first thread alone has ended
    /// also has the state `Z`, but still runs.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, b'X' | b'x') || (self.state == b'Z' && self.threads <= 1)
    }

    /// The size of its environment; `None` in the middle of execve(2).
    pub(super) fn environment_size(&self) -> Option<u64> {
        let (start, end) = self.environment;
        (self.code != 0).then(|| end.saturating_sub(start))
    }

    /// Whether it is a thread of the kernel (`PF_KTHREAD`), which has no environment and belongs to
    /// no session.
    pub(super) fn is_kernel(&self) -> bool {
        self.flags & 0x0020_0000 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_runs_under_the_names_of_its_program_and_its_script() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("agent");
        std::fs::write(&script, "echo; read line").unwrap();
        let mut command = Command::new("sh");
        command.arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It runs: in the middle of an execve(2) a process has no command line.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let names = names_of(i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(names, ["sh", "agent"]);
        assert!(names_of(-1).is_empty());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"42 (a) R 1 (\xff\n) S 7 42 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 9876 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.session), (42, 7, 41));
        assert_eq!((stat.group, stat.foreground), (42, -1));
        assert_eq!((stat.start_time, stat.threads, stat.state), (9876, 3, b'S'));
        assert!(!stat.is_kernel());
        assert_eq!(Stat::parse(b"42 (cat) S 7"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn we_are_alive_and_who_we_say() {
        let me = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { start_time: me.start_time + 1, ..me.clone() }.is_alive());
        assert!(!ProcessId { boot_id: "another".into(), ..me.clone() }.is_alive());
        assert_eq!(start_time(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_reused_pid_is_never_signalled() {
        let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = bystander.id() as i32;
        let started = start_time(pid).unwrap();
        let refused = signal(pid, started - 1, libc::SIGKILL).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ESRCH));
        assert!(bystander.try_wait().unwrap().is_none());
        signal(pid, started, libc::SIGKILL).unwrap();
        bystander.wait().unwrap();
    }

    #[test]
    fn a_zombie_is_gone() {
        let mut child = Command::new("true").spawn().unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap();
        // Waits for its end without reaping it.
        let waiting = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        let pid = nix::unistd::Pid::from_raw(id.pid);
        nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), waiting).unwrap();
        assert!(Stat::read(id.pid).is_ok());
        assert!(!id.is_alive());
        child.wait().unwrap();
    }

    #[test]
    fn boottime_is_the_kernels() {
        let before = boottime_ms();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!((uptime * 1_000.0) as u64 + 10 >= before);
        assert!((uptime * 1_000.0) as u64 <= boottime_ms() + 10);
    }
}
