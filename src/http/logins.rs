//! The logins of browsers: random ids, in a file beside the token, so that a browser is still
//! logged in after a restart of the server.
//!
//! A thread of their own writes the file, so that no worker waits for a disk. A login that has
//! ended is overwritten in place where the file cannot be replaced: a full disk, or a process
//! without free descriptors, must not bring it back at the next start.

use super::token::{STRUCK, random_hex, strike_out, write_private};
use super::tokens::Tokens;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The duration of a login, in seconds: 30 days.
pub(super) const LOGIN_S: i64 = 30 * 24 * 3600;
/// The most logins; a new one replaces the oldest. More than one person's browsers.
const LOGINS_MAX: usize = 64;
/// The file in the state directory.
const FILE: &str = "logins";
/// The longest that a request waits for the disk.
const SAVE_LIMIT: Duration = Duration::from_secs(3);
/// The time after which a failed write is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The logins in force.
pub struct Logins {
    state: Arc<Mutex<State>>,
    /// Asks the thread to write the file; `None` in tests, which keep them in memory.
    saver: Option<Sender<Tell>>,
}

/// Answers whether every login that has ended stays ended after a restart; if not, why.
type Tell = oneshot::Sender<Result<(), String>>;

#[derive(Clone, Default, Serialize, Deserialize)]
struct State {
    logins: Vec<Login>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Login {
    id: String,
    /// Seconds since 1970.
    expires: i64,
    /// Fingerprint of the token that it was made with: the login ends when that token is gone.
    token: String,
}

impl Logins {
    /// The logins that were in force when the last server on this state directory stopped.
    /// A damaged file counts as empty: people log in again.
    ///
    /// # Errors
    /// The file is there and cannot be opened or read, which says nothing of who is logged in;
    /// or the system refuses a thread.
    pub fn load(state_dir: &Path, tokens: &Tokens) -> io::Result<Logins> {
        let path = state_dir.join(FILE);
        let mut bytes = Vec::new();
        let mut opened = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        if let Some(file) = &mut opened {
            file.read_to_end(&mut bytes)?;
        }
        let mut state = serde_json::from_slice::<State>(&bytes).unwrap_or_default();
        state.logins.retain(|login| {
            !login.id.contains(char::from(STRUCK)) && tokens.by_fingerprint(&login.token).is_some()
        });
        let state = Arc::new(Mutex::new(state));
        let (saver, asked) = channel();
        let thread = Saver { path, file: opened, state: state.clone() };
        std::thread::Builder::new().name(FILE.to_owned()).spawn(move || thread.run(&asked))?;
        Ok(Logins { state, saver: Some(saver) })
    }

    /// No logins; those to come are not saved.
    #[cfg(test)]
    pub(super) fn in_memory() -> Logins {
        Logins { state: Arc::default(), saver: None }
    }

    /// Makes a login with the token of this fingerprint and returns its id. The login holds at
    /// once, and after a restart once it is saved.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub(super) fn issue(&self, token: &str) -> Result<String, getrandom::Error> {
        let id = random_hex()?;
        let mut state = lock(&self.state);
        let now = Utc::now().timestamp();
        state.logins.retain(|login| login.expires > now);
        let surplus = (state.logins.len() + 1).saturating_sub(LOGINS_MAX);
        state.logins.drain(..surplus);
        let token = token.to_owned();
        state.logins.push(Login { id: id.clone(), expires: now + LOGIN_S, token });
        Ok(id)
    }

    /// The fingerprint of the token that a login in force was made with.
    pub(super) fn token_of(&self, id: &str) -> Option<String> {
        let now = Utc::now().timestamp();
        let state = lock(&self.state);
        let mut found = None;
        for login in &state.logins {
            let same: bool = login.id.as_bytes().ct_eq(id.as_bytes()).into();
            if same && login.expires > now {
                found = Some(&login.token);
            }
        }
        found.cloned()
    }

    /// Ends a login at once, and also after a restart once that is saved.
    pub(super) fn revoke(&self, id: &str) {
        lock(&self.state).logins.retain(|login| login.id != id);
    }

    /// Resolves once the logins are written, or once that has failed: it is tried again then.
    ///
    /// # Errors
    /// Says why a login that has ended may be accepted again after a restart.
    pub(super) async fn save(&self) -> Result<(), String> {
        let Some(saver) = &self.saver else { return Ok(()) };
        let (tell, told) = oneshot::channel();
        // The thread runs as long as this exists.
        let _ = saver.send(tell);
        match timeout(SAVE_LIMIT, told).await {
            Ok(Ok(saved)) => saved,
            _ => Err(format!("the disk has not answered in {} s", SAVE_LIMIT.as_secs())),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the file.
struct Saver {
    path: PathBuf,
    /// Open, so that a login can be ended in it while no descriptor is free.
    file: Option<File>,
    state: Arc<Mutex<State>>,
}

impl Saver {
    /// Writes once for all requests that arrive during the write before.
    fn run(mut self, asked: &Receiver<Tell>) {
        let mut written = true;
        loop {
            let first = match written {
                true => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => asked.recv_timeout(RETRY),
            };
            let tell: Vec<Tell> = match first {
                Ok(first) => std::iter::once(first).chain(asked.try_iter()).collect(),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // The lock is not held over the disk.
            let state = lock(&self.state).clone();
            let replaced = self.replace(&state);
            written = replaced.is_ok();
            let saved = replaced.or_else(|_| self.end_in_place(&state));
            let saved = saved.map_err(|error| format!("{}: {error}", self.path.display()));
            for tell in tell {
                // The caller may have gone.
                let _ = tell.send(saved.clone());
            }
        }
    }

    fn replace(&mut self, state: &State) -> io::Result<()> {
        self.file = Some(write_private(&self.path, &serde_json::to_vec(state)?)?);
        Ok(())
    }

    /// Overwrites ended logins in the file as it is.
    fn end_in_place(&mut self, state: &State) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        let Ok(saved) = serde_json::from_slice::<State>(&bytes) else { return Ok(()) };
        let in_force = |id: &str| state.logins.iter().any(|login| login.id == id);
        let ended = saved.logins.iter().map(|login| login.id.as_str()).filter(|id| !in_force(id));
        strike_out(file, ended.filter_map(|id| position_of(&bytes, id)).collect::<Vec<_>>())
    }
}

/// The position of an id in the file. Ids are random, so nothing else in the file is like one.
fn position_of(bytes: &[u8], id: &str) -> Option<Range<usize>> {
    let start = bytes.windows(id.len().max(1)).position(|part| part == id.as_bytes())?;
    Some(start..start + id.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(dir: &Path) -> Tokens {
        Tokens::load(dir).unwrap()
    }

    impl Logins {
        fn is_valid(&self, id: &str) -> bool {
            self.token_of(id).is_some()
        }
    }

    fn load(dir: &Path, tokens: &Tokens) -> Logins {
        Logins::load(dir, tokens).unwrap()
    }

    #[actix_web::test]
    async fn logins_survive_a_restart_but_not_another_token() {
        let dir = tempfile::tempdir().unwrap();
        let first = tokens(dir.path());
        let logins = load(dir.path(), &first);
        let id = logins.issue(&first.main().fingerprint()).unwrap();
        assert!(logins.is_valid(&id));
        logins.save().await.unwrap();
        assert!(load(dir.path(), &first).is_valid(&id));
        std::fs::remove_file(dir.path().join("token")).unwrap();
        assert!(!load(dir.path(), &tokens(dir.path())).is_valid(&id));
        logins.revoke(&id);
        assert!(!logins.is_valid(&id));
        logins.save().await.unwrap();
        assert!(!load(dir.path(), &first).is_valid(&id));
    }

    #[actix_web::test]
    async fn a_login_ends_with_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let first = tokens(dir.path());
        crate::http::tokens::add(dir.path(), "anna").unwrap();
        let logins = load(dir.path(), &first);
        let main = logins.issue(&first.main().fingerprint()).unwrap();
        let anna = first.fingerprint(&crate::http::token::Principal("anna".into())).unwrap();
        let id = logins.issue(&anna).unwrap();
        logins.save().await.unwrap();
        let again = load(dir.path(), &first);
        assert_eq!(again.token_of(&id), Some(anna));
        assert!(again.is_valid(&main));
        crate::http::tokens::remove(dir.path(), "anna").unwrap();
        let after = load(dir.path(), &first);
        assert!(!after.is_valid(&id) && after.is_valid(&main));
    }

    #[test]
    fn nothing_but_an_id_is_valid() {
        let logins = Logins::in_memory();
        let id = logins.issue("token").unwrap();
        for other in ["", "x", &id[1..], &format!("{id}0"), &id.to_uppercase()] {
            assert!(!logins.is_valid(other), "{other}");
        }
    }

    #[test]
    fn logins_are_bounded_and_expire() {
        let logins = Logins::in_memory();
        let first = logins.issue("token").unwrap();
        for _ in 1..LOGINS_MAX {
            logins.issue("token").unwrap();
        }
        assert!(logins.is_valid(&first));
        let last = logins.issue("token").unwrap();
        assert!(!logins.is_valid(&first));
        assert_eq!(lock(&logins.state).logins.len(), LOGINS_MAX);
        lock(&logins.state).logins.last_mut().unwrap().expires = Utc::now().timestamp();
        assert!(!logins.is_valid(&last));
    }

    #[test]
    fn a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let token = tokens(dir.path());
        std::fs::write(dir.path().join("logins"), b"{\"token\":3").unwrap();
        let logins = load(dir.path(), &token);
        assert!(logins.is_valid(&logins.issue("token").unwrap()));
    }

    #[actix_web::test]
    async fn a_login_is_ended_where_the_file_cannot_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let token = tokens(dir.path());
        let main = token.main().fingerprint();
        let logins = load(dir.path(), &token);
        let (stays, goes) = (logins.issue(&main).unwrap(), logins.issue(&main).unwrap());
        logins.save().await.unwrap();
        // Nothing can be made beside the file, nor the file be opened, any more.
        let away = dir.path().with_extension("away");
        std::fs::rename(dir.path(), &away).unwrap();
        logins.revoke(&goes);
        let unsaved = logins.issue(&main).unwrap();
        assert_eq!(logins.save().await, Ok(()));
        std::fs::rename(&away, dir.path()).unwrap();
        let after = load(dir.path(), &token);
        assert!(after.is_valid(&stays) && !after.is_valid(&goes));
        assert!(!after.is_valid(&"#".repeat(goes.len())));
        // The login that could not be written is written once the file can be.
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !load(dir.path(), &token).is_valid(&unsaved) {
            assert!(std::time::Instant::now() < deadline, "it is tried again");
            actix_web::rt::task::yield_now().await;
        }
    }
}
