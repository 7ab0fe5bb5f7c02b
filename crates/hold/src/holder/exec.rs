//! The shim, which runs first in a session: a child of the fork server. It is the session's leader
//! from its first instruction and becomes the program, so that a directory on a hung file system
//! stalls this session alone.

use super::confine::{self, Step};
use super::wire::{Confinement, ExecSpec};
use crate::id::SessionId;
use crate::{pty, tree};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, execve, setsid};
use std::ffi::{CString, NulError};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Added to the OOM score, so that sessions are killed before the holder is.
const OOM_MORE: i32 = 200;
/// The directories that execvp(3) searches when there is no PATH.
const PATH_DEFAULT: &str = "/usr/local/bin:/bin:/usr/bin";

/// What becomes of this process.
pub(super) struct Start<'a> {
    pub(super) id: SessionId,
    /// The soft limit of open files that the program gets.
    pub(super) open_files: u64,
    /// Becomes the controlling terminal, as descriptors 0, 1 and 2.
    pub(super) terminal: &'a Path,
    pub(super) spec: OwnedFd,
    /// A connection on which the holder says that the session is recorded, and a failed step is
    /// reported. It closes when the program has been executed.
    pub(super) report: OwnedFd,
}

/// Sets what all programs begin with in the process that forks, whose children inherit it.
pub(super) fn set_inherited() {
    raise_oom_score();
    pty::default_signals();
}

/// Becomes the program; returns only if that fails.
pub(super) fn main(Start { id, open_files, terminal, spec, report }: Start<'_>) -> i32 {
    if !is_recorded(&report) {
        return 127;
    }
    let Step(step, errno) = become_program(id, open_files, terminal, spec);
    let mut said = Vec::from((errno as i32).to_le_bytes());
    said.extend_from_slice(step.as_bytes());
    // Nobody else could be told of a failure.
    let _ = File::from(report).write_all(&said);
    127
}

/// Waits until the holder has recorded the session. Returns false if it has died before, and this
/// process is nobody's.
fn is_recorded(holder: &OwnedFd) -> bool {
    loop {
        match nix::unistd::read(holder, &mut [0]) {
            Err(Errno::EINTR) => {}
            read => return read == Ok(1),
        }
    }
}

fn become_program(id: SessionId, open_files: u64, terminal: &Path, spec: OwnedFd) -> Step {
    // First, so that whoever looks for the session's processes finds this one.
    tree::mark_by_limit(id);
    if let Err(errno) = take_terminal(terminal) {
        return Step("terminal", errno);
    }
    let spec = match read_spec(spec) {
        Ok(spec) => spec,
        Err(errno) => return Step("spec", errno),
    };
    if let Err(errno) = restore_open_files(open_files) {
        return Step("limits", errno);
    }
    if let Err(step) = confine(&spec.confinement) {
        return step;
    }
    // As the account, which may not be allowed to enter it.
    if let Err(errno) = nix::unistd::chdir(spec.cwd.as_str()) {
        return Step("chdir", errno);
    }
    match execute(&spec, id) {
        Ok(errno) => Step("exec", errno),
        // An argument contains a NUL.
        Err(_) => Step("spec", Errno::EINVAL),
    }
}

/// Confines this process. The account is last: the other steps may need the holder's rights.
fn confine(wanted: &Confinement) -> Result<(), Step> {
    if let Some(directory) = &wanted.cgroup {
        confine::enter_cgroup(directory)?;
    }
    confine::set_limits(&wanted.limits)?;
    match &wanted.account {
        Some(account) => confine::become_account(account, std::io::stdin().as_fd()),
        None => Ok(()),
    }
}

/// Begins a session, whose terminal is the first that its leader opens.
fn take_terminal(path: &Path) -> Result<(), Errno> {
    setsid()?;
    let terminal = open(path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    dup2_stderr(&terminal)
}

fn read_spec(spec: OwnedFd) -> Result<ExecSpec, Errno> {
    let mut file = File::from(spec);
    let os = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    // The writer of the file shares its position.
    file.rewind().map_err(os)?;
    let json = std::io::read_to_string(file).map_err(os)?;
    let spec: ExecSpec = serde_json::from_str(&json).map_err(|_| Errno::EINVAL)?;
    if spec.argv.is_empty() { Err(Errno::EINVAL) } else { Ok(spec) }
}

/// Restores the limit of open files: the holder needs many descriptors, but programs that use
/// select(2) must not have them.
fn restore_open_files(soft: u64) -> Result<(), Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)
}

/// Raises the OOM score. Failures are ignored, because the session works without it.
fn raise_oom_score() {
    const FILE: &str = "/proc/self/oom_score_adj";
    if let Ok(Ok(score)) = std::fs::read_to_string(FILE).map(|score| score.trim().parse::<i32>()) {
        let _ = std::fs::write(FILE, score.saturating_add(OOM_MORE).min(1000).to_string());
    }
}

/// Executes the program, looked up as execvp(3) does but in the PATH of its own environment.
fn execute(spec: &ExecSpec, id: SessionId) -> Result<Errno, NulError> {
    let program = spec.argv.first().map_or("", String::as_str);
    let mut args = Vec::with_capacity(spec.argv.len());
    for arg in &spec.argv {
        args.push(CString::new(arg.as_str())?);
    }
    if let (true, Some(name)) = (spec.login, args.first_mut()) {
        // A login shell's name is without its directory, as login(1) has it.
        *name = CString::new(format!("-{}", program.rsplit('/').next().unwrap_or(program)))?;
    }
    let mut env = Vec::with_capacity(spec.env.len());
    for (name, value) in spec.env.iter().filter(|(name, _)| name != tree::MARK) {
        env.push(CString::new(format!("{name}={value}"))?);
    }
    env.push(CString::new(format!("{}={id}", tree::MARK))?);
    if program.is_empty() {
        return Ok(Errno::ENOENT);
    }
    if program.contains('/') {
        return Ok(attempt(CString::new(program)?, &args, &env));
    }
    let path = spec.env.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(PATH_DEFAULT, |(_, path)| path.as_str());
    let mut outcome = Errno::ENOENT;
    for directory in path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        match attempt(CString::new(format!("{directory}/{program}"))?, &args, &env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => outcome = Errno::EACCES,
            errno => return Ok(errno),
        }
    }
    Ok(outcome)
}

fn attempt(program: CString, args: &[CString], env: &[CString]) -> Errno {
    let errno = match execve(&program, args, env) {
        Err(errno) => errno,
        Ok(never) => match never {},
    };
    if errno != Errno::ENOEXEC {
        return errno;
    }
    // A script without a `#!` line is for the shell, as execvp(3) says.
    let mut script = vec![c"/bin/sh".into(), program];
    script.extend(args.iter().skip(1).cloned());
    match execve(c"/bin/sh", &script, env) {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}
