//! Finds the holder, or starts one.

use super::error::HolderError;
use super::link::{self, Link};
use super::session::Notice;
use crate::holder::launch::Start;
use crate::holder::paths::{Paths, READY_ENV};
use crate::holder::socket;
use crate::holder::wire::{self, Kind};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::pipe2;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::sync::mpsc::UnboundedReceiver;

/// The timeout of the whole connection: a holder starts in milliseconds, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);
/// The pause between attempts to reach a holder that another process is starting at this moment, or
/// whose backlog is full. Nothing but its socket could be waited on.
const RETRY: Duration = Duration::from_millis(10);
/// The descriptor number at which a launched holder finds the pipe for its readiness report.
const READY_FD: i32 = 3;

/// The connection, and the holder's notices.
type Connection = (Link, UnboundedReceiver<Notice>);

pub(super) async fn connect_or_launch(
    paths: &Paths,
    log: &slog::Logger,
) -> Result<Connection, HolderError> {
    tokio::time::timeout(DEADLINE, find(paths, log)).await.map_err(|_| HolderError::Timeout)?
}

async fn find(paths: &Paths, log: &slog::Logger) -> Result<Connection, HolderError> {
    let directory = socket::open_directory(&paths.state_dir).map_err(HolderError::Unreachable)?;
    loop {
        match socket::connect_in(directory.as_fd()) {
            Ok(socket) => match greet(socket).await {
                // The holder died, or closed a connection that came while it was shutting down.
                Err(HolderError::Gone) => {}
                greeted => return greeted,
            },
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => {
                if launch(paths).await? {
                    slog::info!(log, "started the holder"; "state_dir" => %paths.state_dir.display());
                    continue;
                }
            }
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(HolderError::Unreachable(errno)),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn greet(socket: OwnedFd) -> Result<Connection, HolderError> {
    if !socket::peer_is_us(socket.as_fd()) {
        return Err(HolderError::ForeignUser);
    }
    let (link, notices) = Link::open(socket)?;
    let mut replies = link.ask(Kind::Hello, Some(&wire::Hello::ours()), &[], None)?;
    let reply = replies.next().await?;
    if reply.kind != Kind::Hello && !link::version_refused(&reply) {
        return Err(reply.failure().into());
    }
    let hello: wire::Hello = reply.control()?;
    if hello.major != wire::MAJOR {
        return Err(HolderError::Version { theirs: hello.major });
    }
    link.introduce(hello);
    Ok((link, notices))
}

/// Starts a holder and waits until it listens. Returns false if another one is starting.
async fn launch(paths: &Paths) -> Result<bool, HolderError> {
    let failed = |what: &str, errno: Errno| HolderError::Launch(format!("{what}: {errno}"));
    let (ready, theirs) =
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(|errno| failed("pipe", errno))?;
    let words = || -> Option<(Vec<CString>, Vec<CString>)> {
        let dir = CString::new(paths.state_dir.as_os_str().as_bytes()).ok()?;
        let args = vec![c"stayd".into(), c"hold".into(), c"--state-dir".into(), dir];
        // The settings and the mark of a session around this server must not reach the holder.
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os() {
            if !name.as_bytes().starts_with(b"STAYD_") {
                let pair = [name.as_bytes(), value.as_bytes()].join(&b'=');
                env.push(CString::new(pair).ok()?);
            }
        }
        env.push(CString::new(format!("{READY_ENV}={READY_FD}")).ok()?);
        Some((args, env))
    };
    let (args, env) = words().ok_or_else(|| failed("state directory", Errno::EINVAL))?;
    let start = Start {
        program: &paths.program,
        args: &args,
        env: &env,
        stdio: Path::new("/dev/null"),
        pass: &[(theirs.as_fd(), READY_FD)],
    };
    let starter = start.spawn().map_err(|errno| failed("spawn", errno))?;
    drop(theirs);
    let said = read_to_end(ready).await;
    // The process that we started has started the holder proper and exits at once, so that the
    // holder is no child of ours. Another thread may have reaped it.
    let _ = waitpid(starter, None);
    match said.as_bytes() {
        b"ready" => Ok(true),
        b"busy" => Ok(false),
        b"" => Err(HolderError::Launch("it ended before it listened".to_owned())),
        _ => Err(HolderError::Launch(said)),
    }
}

/// Reads a pipe until its last writer has closed it.
async fn read_to_end(pipe: OwnedFd) -> String {
    let mut said = Vec::new();
    let Ok(pipe) = socket::register(pipe, Interest::READABLE) else {
        return "cannot watch a pipe".to_owned();
    };
    loop {
        let Ok(mut ready) = pipe.readable().await else { break };
        let mut buffer = [0; 512];
        match nix::unistd::read(pipe.get_ref(), &mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}
