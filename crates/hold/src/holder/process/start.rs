//! The setup of the holder, from its command line to its loop.

use super::guardian;
use super::stand_in::{self, Over};
use crate::holder::launch::Start;
use crate::holder::paths::{LOCK_FILE, READY_ENV, SOCKET};
use crate::holder::shared::{Kept, SharedState, kept};
use crate::holder::socket;
use crate::private::{self, NotPrivate};
use crate::{pty, tree};
use nix::errno::Errno;
use nix::fcntl::{FdFlag, Flock, FlockArg, OFlag, openat};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, chdir, getpid};
use std::cell::Cell;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// The variable that marks the process which holds. Without it, a launched process starts that one.
const DETACHED_ENV: &str = "STAYD_HOLDER_DETACHED";

/// The variable by which a service manager names the socket that it listens on (sd_notify(3)).
const NOTIFY_ENV: &str = "NOTIFY_SOCKET";

/// Why the holder cannot start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    /// Another holder uses this state directory.
    #[error("busy")]
    Busy,
    /// Another user can write to the state directory, or to something in it.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// A system call has failed.
    #[error("{0}: {1}")]
    Os(&'static str, Errno),
}

/// `stayd hold --state-dir DIR`: holds sessions until SIGTERM, in the foreground. Returns the exit
/// code. It notifies a service manager once it listens (`READY=1`, sd_notify(3)), and under one it
/// waits while another holder has the directory.
///
/// If a server has launched it (which passes a pipe), it first starts itself once more and exits,
/// so that the holder is nobody's child and no server has to reap it.
#[must_use]
pub fn main(state_dir: &Path) -> i32 {
    let ready = std::env::var(READY_ENV).ok().and_then(|fd| fd.parse::<RawFd>().ok());
    pty::close_inherited(ready);
    let ready = ready.and_then(pty::inherited);
    if let Some(pipe) = &ready
        && std::env::var_os(DETACHED_ENV).is_none()
    {
        let detached = detach(state_dir, pipe.as_fd());
        return detached.map_or_else(|error| refuse(Some(pipe), &error), |()| 0);
    }
    let is_managed = ready.is_none() && std::env::var_os(NOTIFY_ENV).is_some();
    let prepared = loop {
        match prepare(state_dir) {
            Err(StartError::Busy) if is_managed => match wait_for_another(state_dir) {
                Ok(Over::Ended) => {}
                Ok(Over::Asked) => return 0,
                Err(error) => break Err(error),
            },
            prepared => break prepared,
        }
    };
    match prepared {
        Ok(shared) => {
            // Each of several processes has a copy of this value, and one of them closes the pipe.
            let ready = Cell::new(ready.map(Kept::unrecorded));
            guardian::run(&shared, None, |first| {
                if !first {
                    // This process is the guardian from now on.
                    tell_service_manager(&format!("MAINPID={}", getpid()));
                } else if let Some(pipe) = ready.take() {
                    // The launching process may be gone, and nobody else needs to know.
                    let _ = nix::unistd::write(&pipe, b"ready");
                    pipe.close();
                } else {
                    tell_service_manager("READY=1");
                }
            })
        }
        Err(error) => refuse(ready.as_ref(), &error),
    }
}

/// `stayd hold --continue FD`: continues what another program has held, as the same process. Returns
/// the exit code. Signals are blocked as that program has left them.
#[must_use]
pub fn continue_main(memory: &str) -> i32 {
    let memory = memory.parse::<RawFd>().ok().and_then(pty::inherited);
    let Some(memory) = memory.map(Kept::unrecorded) else { return 2 };
    // If it is not known after all, the old holder goes on as soon as this process has ended.
    let Ok(shared) = SharedState::open(memory.as_fd()) else { return 1 };
    if kept::close_on_exec(&shared, FdFlag::FD_CLOEXEC).is_err() {
        return 1;
    }
    let holder = i32::try_from(shared.header().holder.load(Relaxed)).unwrap_or(0);
    guardian::run(&Arc::new(shared), Some(Pid::from_raw(holder)), |first| {
        if !first {
            tell_service_manager(&format!("MAINPID={}", getpid()));
        }
    })
}

/// Waits while another holder has the state directory. When this process is asked to end, that one
/// has ended, too.
fn wait_for_another(state_dir: &Path) -> Result<Over, StartError> {
    let os = |what| move |errno| StartError::Os(what, errno);
    let directory = socket::open_directory(state_dir).map_err(os("state directory"))?;
    block_signals().map_err(os("signals"))?;
    tell_service_manager("READY=1");
    let over = stand_in::wait(directory.as_fd()).map_err(os("another holder"))?;
    if over == Over::Asked {
        // The manager takes this process's end for that of all sessions.
        while matches!(lock(&directory), Err(StartError::Busy)) {
            stand_in::wait(directory.as_fd()).map_err(os("another holder"))?;
        }
    }
    Ok(over)
}

fn detach(state_dir: &Path, pipe: BorrowedFd<'_>) -> Result<(), StartError> {
    let number = 3;
    let invalid = |_| StartError::Os("state directory", Errno::EINVAL);
    let dir = CString::new(state_dir.as_os_str().as_bytes()).map_err(invalid)?;
    let args = [c"stayd".into(), c"hold".into(), c"--state-dir".into(), dir];
    let mut env = vec![
        CString::new(format!("{READY_ENV}={number}")).map_err(invalid)?,
        CString::new(format!("{DETACHED_ENV}=1")).map_err(invalid)?,
    ];
    for (name, value) in std::env::vars_os() {
        if name != READY_ENV {
            let pair = [name.as_bytes(), value.as_bytes()].join(&b'=');
            env.push(CString::new(pair).map_err(invalid)?);
        }
    }
    let start = Start {
        program: Path::new("/proc/self/exe"),
        args: &args,
        env: &env,
        stdio: Path::new("/dev/null"),
        pass: &[(pipe, number)],
    };
    start.spawn().map(|_| ()).map_err(|errno| StartError::Os("spawn", errno))
}

/// Everything that can fail, before readiness is reported.
fn prepare(state_dir: &Path) -> Result<Arc<SharedState>, StartError> {
    let os = |what| move |errno| StartError::Os(what, errno);
    private::check(state_dir)?;
    let directory = socket::open_directory(state_dir).map_err(os("state directory"))?;
    let lock = lock(&directory)?;
    // Sessions start in directories of their own, and ours must not keep a file system busy.
    chdir("/").map_err(os("chdir"))?;
    // A holder inside a session does not belong to it, see `crate::tree`.
    tree::unmark_by_limit();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(os("open files"))?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(os("open files"))?;
    block_signals().map_err(os("signals"))?;
    let listener = socket::listen_in(directory.as_fd()).map_err(os(SOCKET))?;
    let (memory, shared) = SharedState::create().map_err(os("state"))?;
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let poke = EventFd::from_flags(flags).map_err(os("eventfd"))?;
    let header = shared.header();
    header.open_files.store(soft, Release);
    let fds = &header.fds;
    for (word, fd) in [
        (&fds.memory, memory),
        (&fds.directory, directory),
        (&fds.lock, lock),
        (&fds.listener, listener),
        (&fds.poke, poke.into()),
    ] {
        Kept::record(word, fd);
    }
    Ok(Arc::new(shared))
}

/// Locks the state directory, which one holder may use. The kernel unlocks it however the holder
/// dies.
fn lock(directory: &OwnedFd) -> Result<OwnedFd, StartError> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let file = openat(directory, LOCK_FILE, flags, mode)
        .map_err(|errno| StartError::Os(LOCK_FILE, errno))?;
    let lock =
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => StartError::Busy,
            errno => StartError::Os(LOCK_FILE, errno),
        })?;
    let kept = lock.try_clone().map_err(|error| {
        StartError::Os(LOCK_FILE, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    });
    // Dropping it would unlock the file, whose lock is its copy's, too.
    std::mem::forget(lock);
    kept
}

/// Blocks all signals except those that end the holder or report a fault of its own. Hang-ups and
/// stop characters of a terminal from which it was started, broken pipes, limits of file size and
/// time, and mistyped signal numbers must not affect it.
fn block_signals() -> Result<(), Errno> {
    let mut blocked = SigSet::all();
    for fault in [
        Signal::SIGABRT,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGSEGV,
        Signal::SIGSYS,
        Signal::SIGTRAP,
    ] {
        blocked.remove(fault);
    }
    blocked.thread_block()
}

/// Notifies the service manager. `NOTIFY_SOCKET` is a path, or a name that begins with `@`
/// (sd_notify(3)).
fn tell_service_manager(what: &str) {
    let Some(socket) = std::env::var_os(NOTIFY_ENV) else { return };
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    // A manager that cannot be reached gives up after its own timeout.
    let _ = address.and_then(|address| {
        let datagram = UnixDatagram::unbound()?;
        datagram.set_nonblocking(true)?;
        datagram.send_to_addr(what.as_bytes(), &address)
    });
}

fn refuse(pipe: Option<&OwnedFd>, error: &StartError) -> i32 {
    // The launching process may be gone, and stderr may be closed.
    if let Some(pipe) = pipe {
        let _ = nix::unistd::write(pipe, error.to_string().as_bytes());
    } else {
        let text = match error {
            StartError::Busy => "another holder runs in this state directory".to_owned(),
            error => error.to_string(),
        };
        let _ = writeln!(std::io::stderr(), "stayd hold: {text}");
    }
    1
}
