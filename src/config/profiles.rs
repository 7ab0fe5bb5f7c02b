//! Profiles: commands that clients may start by name.

use super::account::account;
use super::limits::Limits;
use super::login::Login;
use super::resume::Resume;
use super::words::{Control, IdleTimeout};
use crate::protocol::{IdleWhen, Recording, RestartPolicy, SizePolicy};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The built-in profile of a shell.
const SHELL: &str = "shell";

/// A command that clients may start by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Whether the program is started as a login shell: as `-bash`, which makes it read the user's
    /// profile.
    pub login: bool,
    /// Directory to start in; `None` is the home directory.
    pub cwd: Option<String>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// Seconds from the last client's detaching to destruction. `None` is the server's default,
    /// `Some(None)` is never.
    pub idle_timeout_s: Option<Option<u64>>,
    /// What counts as idle; `None` is the server's default.
    pub idle_when: Option<IdleWhen>,
    /// The policy for the terminal's size; `None` is the size of the client that typed last.
    pub size_policy: Option<SizePolicy>,
    /// The policy for restarts; `None` is never.
    pub restart: Option<RestartPolicy>,
    /// The extent of the recording; `None` is no recording.
    pub recording: Option<Recording>,
    /// What programs inside a session may do with the server; `None`: nothing.
    pub control: Option<Control>,
    /// How the program resumes its work when its session is restarted; `None` if it cannot.
    pub resume: Option<Resume>,
    /// Whether its shell loads the shell integration by itself.
    pub shell_integration: bool,
    /// The account that the sessions run under; `None` is the server's own.
    pub user: Option<Login>,
    /// The sessions' limits.
    pub limits: Limits,
}

/// A `[profile.NAME]`. A table that overrides a built-in profile may leave the command out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileTable {
    pub(super) command: Option<Vec<String>>,
    pub(super) login: Option<bool>,
    pub(super) cwd: Option<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    pub(super) idle_timeout_s: Option<IdleTimeout>,
    pub(super) idle_when: Option<IdleWhen>,
    pub(super) size_policy: Option<SizePolicy>,
    pub(super) restart: Option<RestartPolicy>,
    pub(super) recording: Option<Recording>,
    pub(super) control: Option<Control>,
    pub(super) resume: Option<Resume>,
    pub(super) shell_integration: Option<bool>,
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) limits: Limits,
}

impl Profile {
    /// A profile that runs a program by its name, without arguments.
    fn of(program: String) -> Self {
        Profile { command: vec![program], ..Profile::default() }
    }

    /// The built-in profile of that name. A machine may not have the program.
    #[must_use]
    pub fn claude() -> Self {
        Profile { resume: Some(Resume::claude()), ..Profile::of("claude".into()) }
    }
}

pub(super) fn built_in() -> BTreeMap<String, Profile> {
    let shell = Profile::of(account().shell.clone());
    BTreeMap::from([(SHELL.into(), shell), ("claude".into(), Profile::claude())])
}

/// The profile of a table, based on the built-in one of that name. An error is a key and its
/// problem.
pub(super) fn profile(
    name: &str,
    base: Option<Profile>,
    table: ProfileTable,
) -> Result<Profile, (&'static str, String)> {
    let resume = table.resume.or_else(|| base.as_ref()?.resume.clone());
    if let Some(resume) = &resume {
        resume.check().map_err(|problem| ("resume", problem))?;
    }
    let user = table.user.map(|name| Login::find(&name)).transpose();
    let user = user.map_err(|problem| ("user", problem))?;
    table.limits.check().map_err(|problem| ("limits", problem))?;
    let command = match (table.command, base) {
        (Some(command), _) => command,
        // The shell is the account's own.
        (None, Some(_)) if name == SHELL && user.is_some() => {
            user.iter().map(|user| user.shell.clone()).collect()
        }
        (None, Some(base)) => base.command,
        (None, None) => {
            let expected = "missing; expected an array of program and arguments";
            return Err(("command", format!("{expected}, such as [{name:?}]")));
        }
    };
    if command.first().is_none_or(String::is_empty) {
        let expected = "expected an array of program and arguments, such as [\"bash\"]";
        return Err(("command", format!("{expected}, not {command:?}")));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(("command", "a program or argument cannot contain NUL".into()));
    }
    let bad_name = |key: &&String| key.is_empty() || key.contains(['=', '\0']);
    if let Some(key) = table.env.keys().find(bad_name) {
        return Err(("env", format!("expected the name of a variable, not {key:?}")));
    }
    Ok(Profile {
        command,
        login: table.login.unwrap_or_default(),
        cwd: table.cwd,
        env: table.env,
        idle_timeout_s: table.idle_timeout_s.map(|timeout| timeout.0),
        idle_when: table.idle_when,
        size_policy: table.size_policy,
        restart: table.restart,
        recording: table.recording,
        control: table.control,
        resume,
        shell_integration: table.shell_integration.unwrap_or_default(),
        user,
        limits: table.limits,
    })
}
