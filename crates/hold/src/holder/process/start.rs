//! The setup of the holder, from its command line to its loop.

use super::event_loop::EventLoop;
use crate::holder::fork_server::ForkServer;
use crate::holder::launch::Start;
use crate::holder::paths::{LOCK_FILE, PID_FILE, READY_ENV, SOCKET};
use crate::holder::socket;
use crate::private::{self, NotPrivate};
use crate::{pty, tree};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, chdir, getpid, unlinkat};
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The variable that marks the process which holds. Without it, a launched process starts that one.
const DETACHED_ENV: &str = "STAYD_HOLDER_DETACHED";

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
/// code. It notifies a service manager once it listens (`READY=1`, sd_notify(3)).
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
    match prepare(state_dir) {
        Ok((mut event_loop, directory, lock)) => {
            if let Some(pipe) = ready {
                // The launching process may be gone, and nobody else needs to know.
                let _ = File::from(pipe).write_all(b"ready");
            } else {
                tell_service_manager();
            }
            event_loop.run();
            clean_up(&directory);
            drop(lock);
            0
        }
        Err(error) => refuse(ready.as_ref(), &error),
    }
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
fn prepare(state_dir: &Path) -> Result<(EventLoop, OwnedFd, Flock<OwnedFd>), StartError> {
    let os = |what| move |errno| StartError::Os(what, errno);
    private::check(state_dir)?;
    let directory = socket::open_directory(state_dir).map_err(os("state directory"))?;
    let lock = lock(&directory)?;
    // Sessions start in directories of their own, and ours must not keep a file system busy.
    chdir("/").map_err(os("chdir"))?;
    // A holder inside a session does not belong to it, see `crate::tree`.
    tree::unmark_by_limit();
    set_child_subreaper(true).map_err(os("subreaper"))?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(os("open files"))?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(os("open files"))?;
    let signals = watch_signals().map_err(os("signals"))?;
    write_pid(&directory).map_err(os(PID_FILE))?;
    let listener = socket::listen_in(directory.as_fd()).map_err(os(SOCKET))?;
    let mut forks = ForkServer::default();
    // If that fails, the first session's start tries again, and says why.
    let _ = forks.start();
    let event_loop = EventLoop::new(signals, listener, soft, forks).map_err(os("epoll"))?;
    Ok((event_loop, directory, lock))
}

/// Locks the state directory, which one holder may use. The kernel unlocks it however the holder
/// dies.
fn lock(directory: &OwnedFd) -> Result<Flock<OwnedFd>, StartError> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let file = openat(directory, LOCK_FILE, flags, mode)
        .map_err(|errno| StartError::Os(LOCK_FILE, errno))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => StartError::Busy,
        errno => StartError::Os(LOCK_FILE, errno),
    })
}

/// Blocks all signals except those that end the holder or report a fault of its own. Hang-ups and
/// stop characters of a terminal from which it was started, broken pipes, limits of file size and
/// time, and mistyped signal numbers must not affect it.
fn watch_signals() -> Result<SignalFd, Errno> {
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
    let mut watched = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        watched.add(signal);
    }
    blocked.thread_block()?;
    SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Writes the pid to a temporary file and renames it, so that nobody reads half a number.
fn write_pid(directory: &OwnedFd) -> Result<(), Errno> {
    const ASIDE: &str = "holder.pid.new";
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let mut file = File::from(openat(directory, ASIDE, flags, mode)?);
    let pid = format!("{}\n", getpid());
    file.write_all(pid.as_bytes())
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    nix::fcntl::renameat(directory, ASIDE, directory, PID_FILE)
}

/// Removes the holder's files, while it still has the lock.
fn clean_up(directory: &OwnedFd) {
    for file in [SOCKET, PID_FILE] {
        // A state directory that was removed needs no cleaning.
        let _ = unlinkat(directory, file, UnlinkatFlags::NoRemoveDir);
    }
}

/// Notifies the service manager. `NOTIFY_SOCKET` is a path, or a name that begins with `@`
/// (sd_notify(3)).
fn tell_service_manager() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    // A manager that cannot be reached gives up after its own timeout.
    let _ = address.and_then(|address| {
        let datagram = UnixDatagram::unbound()?;
        datagram.set_nonblocking(true)?;
        datagram.send_to_addr(b"READY=1", &address)
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
