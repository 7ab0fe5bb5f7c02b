//! `stayd __exec`: the shim, which runs first in a session. It is the session's leader from its
//! first instruction and becomes the program, so that a directory on a hung file system stalls this
//! session alone. The holder passes the terminal as descriptor 0, the specification as 3 and, as 4,
//! a connection that closes when the program has been executed.

use super::confine::{self, Step};
use super::wire::{Confinement, ExecSpec};
use crate::id::SessionId;
use crate::{pty, tree};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::execve;
use std::ffi::{CString, NulError};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};

/// The descriptor of the specification.
pub(super) const SPEC_FD: RawFd = 3;
/// The descriptor of the connection on which the holder says that the session is recorded, and the
/// shim reports a failed step.
pub(super) const ERROR_FD: RawFd = 4;
/// Added to the OOM score, so that sessions are killed before the holder is.
const OOM_MORE: i32 = 200;
/// The directories that execvp(3) searches when there is no PATH.
const PATH_DEFAULT: &str = "/usr/local/bin:/bin:/usr/bin";

/// Becomes the program; returns only if that fails.
#[must_use]
pub fn main() -> i32 {
    let Some(pipe) = pty::inherited(ERROR_FD) else { return 2 };
    if !is_recorded(&pipe) {
        return 127;
    }
    let Step(step, errno) = become_program();
    let mut report = Vec::from((errno as i32).to_le_bytes());
    report.extend_from_slice(step.as_bytes());
    // Nobody else could be told of a failure.
    let _ = File::from(pipe).write_all(&report);
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

fn become_program() -> Step {
    let mut args = std::env::args().skip(2);
    let (id, limit) = (args.next(), args.next());
    let spec = match read_spec() {
        Ok(spec) => spec,
        Err(errno) => return Step("spec", errno),
    };
    if let Err(errno) = restore_open_files(limit.as_deref()) {
        return Step("limits", errno);
    }
    if let Some(Ok(id)) = id.as_deref().map(str::parse::<SessionId>) {
        tree::mark_by_limit(id);
    }
    raise_oom_score();
    if let Err(step) = confine(&spec.confinement) {
        return step;
    }
    // As the account, which may not be allowed to enter it.
    if let Err(errno) = nix::unistd::chdir(spec.cwd.as_str()) {
        return Step("chdir", errno);
    }
    pty::default_signals();
    match execute(&spec, id.as_deref()) {
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

fn read_spec() -> Result<ExecSpec, Errno> {
    let mut file = File::from(pty::inherited(SPEC_FD).ok_or(Errno::EBADF)?);
    let os = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    // The writer of the file shares its position.
    file.rewind().map_err(os)?;
    let json = std::io::read_to_string(file).map_err(os)?;
    let spec: ExecSpec = serde_json::from_str(&json).map_err(|_| Errno::EINVAL)?;
    if spec.argv.is_empty() { Err(Errno::EINVAL) } else { Ok(spec) }
}

/// Restores the limit of open files: the holder needs many descriptors, but programs that use
/// select(2) must not have them.
fn restore_open_files(soft: Option<&str>) -> Result<(), Errno> {
    let Some(soft) = soft.and_then(|soft| soft.parse::<u64>().ok()) else { return Ok(()) };
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
fn execute(spec: &ExecSpec, id: Option<&str>) -> Result<Errno, NulError> {
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
    if let Some(id) = id {
        env.push(CString::new(format!("{}={id}", tree::MARK))?);
    }
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
