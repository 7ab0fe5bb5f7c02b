//! Starts the server in the background, for a verb that needs one.

use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::progress::Progress;
use super::retry::Retries;
use super::{out, sys};
use crate::config::{self, PathFlags, ServeFlags, Settings};
use crate::private;
use crate::tree;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::time::sleep;

/// The log of a server that was started in the background, in the state directory.
const LOG: &str = "server.log";
/// A log that is longer begins anew when the next server is started, in bytes.
const LOG_MAX: u64 = 4 << 20;

/// The server of the state directory, which is started if there is none. A server that is named by
/// its address is not started, and inside a session none is: it would be one of that session's
/// programs and end with it. Nor is one started for a profile that it would not know.
pub(super) async fn find_or_start(
    paths: &PathFlags,
    flags: &ServerFlags,
    profile: Option<&str>,
) -> Result<Endpoint, Failure> {
    match Endpoint::find(paths, flags) {
        Err(Failure::NoServer { .. })
            if flags.url.is_none() && std::env::var_os(tree::MARK).is_none() =>
        {
            check_profile(paths, profile)?;
            start(paths, flags).await
        }
        found => found,
    }
}

/// Refuses a profile that is not in the settings which the server would read. Settings that cannot be
/// read are the server's to complain of, which names the place.
fn check_profile(paths: &PathFlags, profile: Option<&str>) -> Result<(), Failure> {
    let Some(name) = profile else { return Ok(()) };
    match Settings::load(paths, &ServeFlags::default()) {
        Ok(settings) if !settings.profiles.contains_key(name) => {
            let known: Vec<&str> = settings.profiles.keys().map(String::as_str).collect();
            Err(Failure::Other(format!("no profile {name:?}; there are: {}", known.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Starts a server and waits until it answers.
async fn start(paths: &PathFlags, flags: &ServerFlags) -> Result<Endpoint, Failure> {
    let dir = config::state_dir(paths)?;
    private::claim(&dir)?;
    let path = dir.join(LOG);
    let log = open_log(&path).map_err(Failure::doing(path.display().to_string()))?;
    let before = log.metadata()?.len();
    let program = std::env::current_exe().map_err(Failure::doing("this program"))?;
    let server = sys::spawn_detached(&program, &arguments(paths)?, &log)
        .map_err(Failure::doing(program.display().to_string()))?;
    let _progress = Progress::on("starting a server");
    let mut retries = Retries::default();
    loop {
        // In this order: another verb may have started the one that answers, and ours has ended.
        let ended = server.has_ended()?;
        let failure = match Endpoint::find(paths, flags) {
            Ok(endpoint) => match Client::new(endpoint.clone())?.ready().await {
                Ok(()) => {
                    // Several verbs found no server, and another one has started it.
                    if !endpoint.server.as_ref().is_some_and(|found| found.is(server.pid())) {
                        // It would wait a little for the lock, and begin if that one is stopped.
                        server.end()?;
                    } else {
                        let (dir, log) = (dir.display(), path.display());
                        out::message(&format!(
                            "stayd: no server was running in {dir}, so one was started in the \
                             background (its page: `stayd url`; its end: `stayd stop`; its log: {log})"
                        ));
                    }
                    return Ok(endpoint);
                }
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        let gives_up = || {
            let said = said_since(&path, before);
            Failure::Other(format!("no server is running, and none could be started: {said}"))
        };
        if ended && matches!(failure, Failure::NoServer { .. }) {
            return Err(gives_up());
        }
        sleep(retries.next_wait().ok_or_else(gives_up)?).await;
    }
}

/// The arguments of `stayd` that name the same settings and state directory from any directory.
fn arguments(paths: &PathFlags) -> Result<Vec<OsString>, Failure> {
    let mut arguments = vec![OsString::from("serve")];
    let given = [("--config", &paths.config), ("--state-dir", &paths.state_dir)];
    for (flag, path) in given {
        if let Some(path) = path {
            let path: PathBuf = std::path::absolute(path).map_err(Failure::doing(flag))?;
            arguments.extend([flag.into(), path.into()]);
        }
    }
    Ok(arguments)
}

fn open_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let log = options.open(path)?;
    if log.metadata()?.len() > LOG_MAX {
        log.set_len(0)?;
    }
    Ok(log)
}

/// The last line that the server wrote after the log had this length, or where to look.
fn said_since(path: &Path, length: u64) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let new = text.get(usize::try_from(length).unwrap_or_default()..).unwrap_or_default();
    let text = String::from_utf8_lossy(new);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => line.strip_prefix("stayd: ").unwrap_or(line).to_owned(),
        None => format!("it said nothing; see {}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_last_is_told_and_not_what_an_earlier_one_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        std::fs::write(&path, "stayd: earlier\n").unwrap();
        let before = std::fs::metadata(&path).unwrap().len();
        assert!(said_since(&path, before).contains("server.log"));
        std::fs::write(&path, "stayd: earlier\nINFO\nstayd: the port is taken\n\n").unwrap();
        assert_eq!(said_since(&path, before), "the port is taken");
    }

    #[test]
    fn a_long_log_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        let log = open_log(&path).unwrap();
        log.set_len(LOG_MAX).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), LOG_MAX);
        log.set_len(LOG_MAX + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
    }
}
