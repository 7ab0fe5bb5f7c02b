//! Who has logged in with a browser: random ids, in a file beside the token so that a
//! browser is still logged in when the server has been restarted.

use super::token::{random_hex, write_private};
use super::tokens::Tokens;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use subtle::ConstantTimeEq;

/// How long a login lasts, in seconds: 30 days.
pub(super) const LOGIN_S: i64 = 30 * 24 * 3600;
/// Logins kept; the oldest makes room. One person's browsers, generously.
const LOGINS_MAX: usize = 64;
/// Failed logins in a row before the next has to wait …
const FAILURES_MAX: f64 = 10.0;
/// … and failures forgiven a second.
const FAILURES_PER_S: f64 = 1.0;

/// The logins in force.
pub struct Logins {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// Fingerprint of the main token, which logins without one of their own were got with:
    /// earlier versions knew no other.
    token: String,
    logins: Vec<Login>,
}

#[derive(Serialize, Deserialize)]
struct Login {
    id: String,
    /// Seconds since 1970.
    expires: i64,
    /// Fingerprint of the token that it was got with: without that it ends.
    #[serde(default)]
    token: Option<String>,
}

impl Logins {
    /// The logins that were in force when the last server on this state directory stopped.
    /// A file that cannot be read is as good as none: people log in again.
    #[must_use]
    pub fn load(state_dir: &Path, tokens: &Tokens) -> Logins {
        let file = state_dir.join("logins");
        let saved = std::fs::read(&file).ok();
        let saved = saved.and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        let mut state = State { token: tokens.main().fingerprint(), logins: Vec::new() };
        if let Some(saved) = saved {
            state.logins = saved.logins;
            for login in &mut state.logins {
                login.token.get_or_insert_with(|| saved.token.clone());
            }
            // Those of tokens that are gone do not come back with them.
            state.logins.retain(|login| {
                login.token.as_deref().is_some_and(|token| tokens.by_fingerprint(token).is_some())
            });
        }
        Logins { file: Some(file), state: Mutex::new(state) }
    }

    /// No logins, and none that outlive the server.
    #[must_use]
    pub fn in_memory() -> Logins {
        let state = State { token: String::new(), logins: Vec::new() };
        Logins { file: None, state: Mutex::new(state) }
    }

    /// A fresh login's id, got with the token of this fingerprint.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub(super) fn issue(&self, token: &str) -> Result<String, getrandom::Error> {
        let id = random_hex()?;
        let mut state = self.lock();
        let now = Utc::now().timestamp();
        state.logins.retain(|login| login.expires > now);
        let surplus = (state.logins.len() + 1).saturating_sub(LOGINS_MAX);
        state.logins.drain(..surplus);
        let token = Some(token.to_owned());
        state.logins.push(Login { id: id.clone(), expires: now + LOGIN_S, token });
        self.save(&state);
        Ok(id)
    }

    /// The fingerprint of the token that a login in force was got with.
    pub(super) fn token_of(&self, id: &str) -> Option<String> {
        let now = Utc::now().timestamp();
        let state = self.lock();
        let mut found = None;
        for login in &state.logins {
            let same: bool = login.id.as_bytes().ct_eq(id.as_bytes()).into();
            if same && login.expires > now {
                found = Some(login.token.as_ref().unwrap_or(&state.token));
            }
        }
        found.cloned()
    }

    pub(super) fn revoke(&self, id: &str) {
        let mut state = self.lock();
        state.logins.retain(|login| login.id != id);
        self.save(&state);
    }

    /// A login that could not be saved holds until the server stops.
    fn save(&self, state: &State) {
        let Some(file) = &self.file else { return };
        if let Ok(bytes) = serde_json::to_vec(state) {
            let _ = write_private(file, &bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Slows guessing down: a bucket of failures for all clients together, so that neither
/// many addresses nor a table of them help an attacker.
pub(super) struct Throttle(Mutex<(f64, Option<Instant>)>);

impl Throttle {
    pub(super) fn new() -> Throttle {
        Throttle(Mutex::new((0.0, None)))
    }

    /// Whether somebody may try.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.failures(now, 0.0) + 1.0 <= FAILURES_MAX
    }

    /// Somebody tried with the wrong token.
    pub(super) fn failed(&self, now: Instant) {
        self.failures(now, 1.0);
    }

    fn failures(&self, now: Instant, more: f64) -> f64 {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (failures, since) = *bucket;
        let passed = since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        let failures = (failures - passed * FAILURES_PER_S).max(0.0) + more;
        *bucket = (failures, Some(now));
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn tokens(dir: &Path) -> Tokens {
        Tokens::load(dir).unwrap()
    }

    impl Logins {
        fn is_valid(&self, id: &str) -> bool {
            self.token_of(id).is_some()
        }
    }

    #[test]
    fn logins_survive_a_restart_but_not_another_token() {
        let dir = tempfile::tempdir().unwrap();
        let first = tokens(dir.path());
        let logins = Logins::load(dir.path(), &first);
        let id = logins.issue(&first.main().fingerprint()).unwrap();
        assert!(logins.is_valid(&id));
        assert!(Logins::load(dir.path(), &first).is_valid(&id));
        std::fs::remove_file(dir.path().join("token")).unwrap();
        assert!(!Logins::load(dir.path(), &tokens(dir.path())).is_valid(&id));
        logins.revoke(&id);
        assert!(!logins.is_valid(&id));
        assert!(!Logins::load(dir.path(), &first).is_valid(&id));
    }

    #[test]
    fn a_login_ends_with_its_token_and_one_of_an_earlier_version_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let first = tokens(dir.path());
        let main = first.main().fingerprint();
        let expires = Utc::now().timestamp() + 1000;
        let old = format!(r#"{{"token":"{main}","logins":[{{"id":"old","expires":{expires}}}]}}"#);
        std::fs::write(dir.path().join("logins"), old).unwrap();
        crate::http::tokens::add(dir.path(), "anna").unwrap();
        let logins = Logins::load(dir.path(), &first);
        assert_eq!(logins.token_of("old"), Some(main));
        let anna = first.fingerprint(&crate::http::token::Principal("anna".into())).unwrap();
        let id = logins.issue(&anna).unwrap();
        let again = Logins::load(dir.path(), &first);
        assert_eq!(again.token_of(&id), Some(anna));
        assert!(again.is_valid("old"));
        crate::http::tokens::remove(dir.path(), "anna").unwrap();
        let after = Logins::load(dir.path(), &first);
        assert!(!after.is_valid(&id) && after.is_valid("old"));
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
        assert_eq!(logins.lock().logins.len(), LOGINS_MAX);
        logins.lock().logins.last_mut().unwrap().expires = Utc::now().timestamp();
        assert!(!logins.is_valid(&last));
    }

    #[test]
    fn a_damaged_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let token = tokens(dir.path());
        std::fs::write(dir.path().join("logins"), b"{\"token\":3").unwrap();
        let logins = Logins::load(dir.path(), &token);
        assert!(logins.is_valid(&logins.issue("token").unwrap()));
    }

    #[test]
    fn failures_are_forgiven_with_time() {
        let throttle = Throttle::new();
        let start = Instant::now();
        for _ in 0..10 {
            assert!(throttle.is_open(start));
            throttle.failed(start);
        }
        assert!(!throttle.is_open(start));
        assert!(!throttle.is_open(start + Duration::from_millis(900)));
        assert!(throttle.is_open(start + Duration::from_secs(1)));
        throttle.failed(start + Duration::from_secs(1));
        assert!(!throttle.is_open(start + Duration::from_secs(1)));
    }
}
