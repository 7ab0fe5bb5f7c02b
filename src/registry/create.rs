//! Checks a request for a session and turns it into a row and a command to spawn.

use super::environment::{environment, server_environment};
use crate::attention::Agents;
use crate::config::{Profile, account};
use crate::holder::{Confinement, SpawnSpec};
use crate::id::SessionId;
use crate::lifecycle::{IdleWhen, Timeouts};
use crate::protocol::{self, COMMAND_MAX, CWD_MAX, CreateSession, Session};
use crate::store::{Row, StoreError};
use chrono::Utc;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::time::Duration;

/// A directory or program on a file system that hangs takes for ever; a healthy one
/// milliseconds, also on a busy machine.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(10);
/// The step that has failed where the whole start took too long.
pub(super) const START: &str = "start";
/// The profile of a request that names neither a profile nor a command.
const DEFAULT_PROFILE: &str = "shell";
/// Columns and rows of a session whose creator does not say.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// The longest environment (names, values and two bytes for each variable) of a request, in bytes. It is kept
/// with each session, also with ended ones.
const ENV_MAX: usize = 32 << 10;

/// The settings that new sessions get.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Commands that may be started by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Programs whose screens are understood.
    pub agents: Agents,
    /// Variables that sessions of the server's own account have: where this server is.
    pub env: BTreeMap<String, String>,
    /// Seconds; `None`: never.
    pub idle_timeout_s: Option<u64>,
    /// What counts as idle.
    pub idle_when: IdleWhen,
    /// Live sessions that may exist at once.
    pub max_sessions: usize,
    /// Live sessions that one principal, the owner excepted, may have created.
    pub max_sessions_per_principal: usize,
    /// The longest file that may be put into a session's directory, in bytes; 0: none may.
    pub max_upload_bytes: u64,
    /// Bytes of a session's ring.
    pub ring_bytes: u64,
    /// Bytes of output that the ring of an idle session keeps.
    pub idle_ring_bytes: u64,
    /// Lines of scrollback of a session's screen.
    pub scrollback_lines: usize,
    /// Seconds without output after which a session is quiet; 0: never.
    pub quiet_s: u64,
    /// For how long ended sessions are kept; `None`: for ever.
    pub retention: Option<Duration>,
}

/// Why a session was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateError {
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A live session has this name.
    #[error("a live session is named {0:?} already")]
    NameTaken(String),
    /// Another session, live or ended, has this id, and gets all that is meant for it.
    #[error("{0} is the id of a session, so no other can be named like it")]
    NameIsId(String),
    /// No more sessions may be started.
    #[error("{0}")]
    TooMany(String),
    /// The process could not be started; the session is kept, with status `ERROR`.
    #[error("the command could not be started: {step}: {message}")]
    SpawnFailed {
        /// The session's final record.
        session: Box<Session>,
        /// The step that failed: `chdir`, `exec`, …
        step: String,
        /// Why it failed (errno(3)).
        errno: i32,
        /// The error in words, for people.
        message: String,
    },
    /// Something else was asked for under this `Idempotency-Key`.
    #[error("another request had this Idempotency-Key")]
    KeyReused,
    /// The database does not take the session.
    #[error("the database cannot be written: {0}")]
    Store(StoreError),
    /// The holder does not answer.
    #[error("the holder is not available: {0}")]
    Holder(String),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

impl CreateError {
    /// The program was not executed: a step of the start failed, or it took too long.
    pub(super) fn spawn_failed(session: Box<Session>, step: String, errno: i32) -> Self {
        let message = if step == START {
            let limit = START_DEADLINE.as_secs();
            format!("its directory or program did not answer in {limit} s")
        } else {
            let why = Errno::from_raw(errno).desc();
            // The path that the step failed on, so that a person can look for it.
            let of = match step.as_str() {
                "exec" => session.command.first().cloned(),
                "chdir" => Some(session.cwd.clone()),
                _ => None,
            };
            match step.strip_prefix("limits.") {
                Some(limit) if errno == Errno::EPERM as i32 => {
                    format!(
                        "{limit} of its profile is above the hard limit of the holder (ulimit -H)"
                    )
                }
                _ => of.map_or_else(|| why.to_owned(), |of| format!("{of}: {why}")),
            }
        };
        CreateError::SpawnFailed { session, step, errno, message }
    }
}

/// A checked request.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) row: Row,
    pub(super) spec: SpawnSpec,
    pub(super) timeouts: Timeouts,
    /// What the session was started from.
    pub(super) profile: Profile,
    /// The directory as the request or the profile has it.
    pub(super) cwd: Option<String>,
}

/// Checks a request and fills in what it leaves out.
pub(super) fn plan(request: CreateSession, defaults: &Defaults) -> Result<Plan, CreateError> {
    if let Some(name) = &request.name {
        protocol::check_name(name).map_err(CreateError::Invalid)?;
    }
    protocol::check_labels(&request.labels).map_err(CreateError::Invalid)?;
    check_lengths(&request).map_err(CreateError::Invalid)?;
    for (field, seconds) in [
        ("idle_timeout_s", request.idle_timeout_s.flatten()),
        ("first_attach_timeout_s", request.first_attach_timeout_s),
    ] {
        protocol::check_timeout(field, seconds).map_err(CreateError::Invalid)?;
    }
    let profile_name = match (&request.profile, &request.command) {
        (None, None) => Some(DEFAULT_PROFILE.to_owned()),
        (profile, _) => profile.clone(),
    };
    let profile = match &profile_name {
        None => Profile::default(),
        Some(name) => defaults.profiles.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = defaults.profiles.keys().map(String::as_str).collect();
            CreateError::Invalid(format!("no profile {name:?}; there are: {}", known.join(", ")))
        })?,
    };
    let command = request.command.unwrap_or_else(|| profile.command.clone());
    if command.first().is_none_or(String::is_empty) {
        return Err(CreateError::Invalid("command must name a program".into()));
    }
    let said = request.cwd.or_else(|| profile.cwd.clone());
    let cwd = match &said {
        Some(cwd) => directory(cwd, home()).map_err(CreateError::Invalid)?,
        None => home(),
    };
    let words = command.iter().chain([&cwd]);
    let pairs = request.env.iter().chain(&profile.env).flat_map(|(key, value)| [key, value]);
    if words.chain(pairs).any(|word| word.contains('\0')) {
        return Err(CreateError::Invalid(
            "command, cwd and env must not contain NUL characters".into(),
        ));
    }
    if let Some(key) = request.env.keys().find(|key| key.is_empty() || key.contains('=')) {
        return Err(CreateError::Invalid(format!("env: {key:?} is no name of a variable")));
    }
    let (cols, rows) = protocol::check_size(
        request.cols.unwrap_or(DEFAULT_SIZE.0).into(),
        request.rows.unwrap_or(DEFAULT_SIZE.1).into(),
    )
    .map_err(CreateError::Invalid)?;
    let timeouts = Timeouts {
        idle_s: request
            .idle_timeout_s
            .or(profile.idle_timeout_s)
            .unwrap_or(defaults.idle_timeout_s),
        first_attach_s: request.first_attach_timeout_s,
        idle_when: request.idle_when.or(profile.idle_when).unwrap_or(defaults.idle_when),
    };
    let (id, now) = (SessionId::generate(), Utc::now());
    let env = environment(id, server_environment(), &[&defaults.env, &profile.env, &request.env]);
    let session = Session {
        name: request.name,
        profile: profile_name,
        command: command.clone(),
        cwd: cwd.clone(),
        cols,
        rows,
        idle_timeout_s: timeouts.idle_s,
        idle_when: timeouts.idle_when,
        first_attach_timeout_s: timeouts.first_attach_s,
        labels: request.labels,
        size_policy: request.size_policy.or(profile.size_policy).unwrap_or_default(),
        restart: request.restart.or(profile.restart).unwrap_or_default(),
        recording: request.recording.or(profile.recording).unwrap_or_default(),
        ..Session::begun(id, now)
    };
    Ok(Plan {
        row: Row { env: request.env, ..Row::of(session) },
        spec: SpawnSpec {
            command,
            login: profile.login,
            cwd,
            env,
            cols,
            rows,
            checkpoints: true,
            resumed: None,
            // See `confine`.
            confinement: Confinement::default(),
        },
        timeouts,
        profile,
        cwd: said,
    })
}

/// Bounds everything that a session's row keeps.
fn check_lengths(request: &CreateSession) -> Result<(), String> {
    let command = request.command.as_deref().map_or(0, protocol::command_bytes);
    let cwd = request.cwd.as_ref().map_or(0, String::len);
    let env = request.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    for (field, length, most, instead) in [
        ("command", command, COMMAND_MAX, "put what is long into a file"),
        ("cwd", cwd, CWD_MAX, "no directory has a longer path"),
        ("env", env, ENV_MAX, "put what is long into a file, or into a profile of the settings"),
    ] {
        if length > most {
            return Err(format!("{field} has {length} bytes, of at most {most}: {instead}"));
        }
    }
    Ok(())
}

/// A directory as somebody says it: `~` is the server user's home, and what is relative begins
/// there.
pub(crate) fn directory(said: &str, home: String) -> Result<String, String> {
    if said.is_empty() {
        return Err("cwd must not be empty; leave it out for the home directory".into());
    }
    let in_home = match said.strip_prefix('~') {
        None => said,
        Some("") => return Ok(home),
        Some(rest) => rest.strip_prefix('/').ok_or_else(|| {
            format!("cwd: {said:?}: ~NAME is not understood, ~ is the server user's own home")
        })?,
    };
    if said.starts_with('/') {
        return Ok(said.to_owned());
    }
    // `~//x` is no way out of the home directory.
    let below = in_home.trim_start_matches('/');
    if below.is_empty() { Ok(home) } else { Ok(format!("{}/{below}", home.trim_end_matches('/'))) }
}

/// The directory in which a session starts unless its request names another.
pub(crate) fn home() -> String {
    account().home.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{LABEL_MAX, LABELS_MAX};

    fn defaults() -> Defaults {
        let shell = Profile { command: vec!["/bin/sh".into()], ..Profile::default() };
        Defaults {
            profiles: BTreeMap::from([("shell".to_owned(), shell)]),
            agents: Agents::default(),
            env: BTreeMap::new(),
            idle_timeout_s: Some(1800),
            idle_when: IdleWhen::default(),
            max_sessions: 10,
            max_sessions_per_principal: 10,
            max_upload_bytes: 1 << 20,
            ring_bytes: 1 << 20,
            idle_ring_bytes: 1 << 16,
            scrollback_lines: 1000,
            quiet_s: 5,
            retention: None,
        }
    }

    fn refusal(request: CreateSession) -> String {
        plan(request, &defaults()).unwrap_err().to_string()
    }

    #[test]
    fn directories_begin_at_home() {
        for (said, is) in [
            ("/tmp/x", "/tmp/x"),
            ("/", "/"),
            ("x/y", "/home/a/x/y"),
            (".", "/home/a/."),
            ("~", "/home/a"),
            ("~/", "/home/a"),
            ("~/x", "/home/a/x"),
            ("~//x", "/home/a/x"),
        ] {
            assert_eq!(directory(said, "/home/a".into()).as_deref(), Ok(is), "{said}");
        }
        assert_eq!(directory("x", "/".into()).as_deref(), Ok("/x"));
        assert!(directory("~bert/x", "/".into()).unwrap_err().contains("~bert"));
        assert!(directory("", "/".into()).is_err());
    }

    #[test]
    fn an_empty_request_is_a_shell() {
        let plan = plan(CreateSession::default(), &defaults()).unwrap();
        assert_eq!(plan.spec.command, ["/bin/sh"]);
        assert_eq!(plan.row.session.profile.as_deref(), Some("shell"));
        assert_eq!((plan.spec.cols, plan.spec.rows), (80, 24));
        assert_eq!(plan.timeouts.idle_s, Some(1800));
    }

    #[test]
    fn a_command_needs_no_profile_and_null_means_never() {
        let request = CreateSession {
            command: Some(vec!["top".into()]),
            idle_timeout_s: Some(None),
            ..CreateSession::default()
        };
        let plan = plan(request, &defaults()).unwrap();
        assert_eq!(plan.row.session.profile, None);
        assert_eq!(plan.timeouts.idle_s, None);
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        let command = |words: &[&str]| CreateSession {
            command: Some(words.iter().map(|&word| word.to_owned()).collect()),
            ..CreateSession::default()
        };
        assert!(refusal(command(&[])).contains("program"));
        assert!(refusal(command(&["a\0b"])).contains("NUL"));
        let named = |name: &str| CreateSession { name: Some(name.into()), ..Default::default() };
        assert!(refusal(named("")).contains("1 to 64"));
        assert!(refusal(named("a/b")).contains("slashes"));
        let profile = CreateSession { profile: Some("zsh".into()), ..Default::default() };
        assert!(refusal(profile).contains("there are: shell"));
        let wide = CreateSession { cols: Some(0), ..Default::default() };
        assert!(refusal(wide).contains("cols"));
    }

    #[test]
    fn whatever_is_kept_with_a_session_is_bounded_and_named() {
        let word = |length: usize| "x".repeat(length);
        let with = |change: &dyn Fn(&mut CreateSession)| {
            let mut request = CreateSession::default();
            change(&mut request);
            plan(request, &defaults()).map_err(|error| error.to_string())
        };
        let env = |name: usize, value: usize| BTreeMap::from([(word(name), word(value))]);
        let label = |key: usize, value: usize| BTreeMap::from([(word(key), word(value))]);
        let labels = |count: usize| (0..count).map(|n| (n.to_string(), word(1))).collect();
        type Change<'a> = Box<dyn Fn(&mut CreateSession, usize) + 'a>;
        let fields: [(&str, usize, Change<'_>); 9] = [
            ("name", 64, Box::new(|r, n| r.name = Some(word(n)))),
            ("command", COMMAND_MAX - 1, Box::new(|r, n| r.command = Some(vec![word(n)]))),
            (
                "command",
                COMMAND_MAX / 2,
                Box::new(|r, n| r.command = Some((0..n).map(|_| word(1)).collect())),
            ),
            ("cwd", CWD_MAX, Box::new(|r, n| r.cwd = Some(word(n)))),
            ("env", ENV_MAX - 3, Box::new(|r, n| r.env = env(1, n))),
            ("env", ENV_MAX - 3, Box::new(|r, n| r.env = env(n, 1))),
            ("label", LABEL_MAX, Box::new(|r, n| r.labels = label(1, n))),
            ("label", LABEL_MAX, Box::new(|r, n| r.labels = label(n, 1))),
            ("labels", LABELS_MAX, Box::new(|r, n| r.labels = labels(n))),
        ];
        for (field, most, change) in fields {
            with(&|request| change(request, most)).unwrap_or_else(|e| panic!("{field}: {e}"));
            let refused = with(&|request| change(request, most + 1)).err();
            let refused = refused.unwrap_or_else(|| panic!("{field}: {} is accepted", most + 1));
            assert!(refused.contains(field), "{field}: {refused}");
        }
    }
}
