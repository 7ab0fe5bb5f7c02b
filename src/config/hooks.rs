//! Hooks of the server: what is run or called when a session needs somebody, or ends.

use super::words::Seconds;
use crate::private;
use actix_http::Uri;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

const DEFAULT_TIMEOUT_S: u64 = 30;
/// Ten minutes; a program that takes longer can go on in the background.
const TIMEOUT_S: std::ops::RangeInclusive<u64> = 1..=600;
/// More are most likely a mistake, and each looks at every event.
const HOOKS_MAX: usize = 64;

/// What a hook can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookWord {
    /// A program waits for a person.
    Blocked,
    /// A program has finished what it was given.
    Done,
    /// A session has ended, however that was.
    Ended,
    /// A session has ended with the status `ERROR`.
    Error,
}

impl HookWord {
    /// Every word.
    pub const ALL: [HookWord; 4] =
        [HookWord::Blocked, HookWord::Done, HookWord::Ended, HookWord::Error];

    /// Its name in settings and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HookWord::Blocked => "blocked",
            HookWord::Done => "done",
            HookWord::Ended => "ended",
            HookWord::Error => "error",
        }
    }

    /// The word of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<HookWord> {
        HookWord::ALL.into_iter().find(|word| word.as_str() == name)
    }

    /// Whether it is about an end, after which nothing newer can take its place.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, HookWord::Ended | HookWord::Error)
    }
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Its name in the log. Never the whole URL, which may be a secret.
    pub name: String,
    /// By what a later server knows it again.
    pub key: String,
    /// What it is about; never empty.
    pub on: BTreeSet<HookWord>,
    /// What is done.
    pub target: HookTarget,
    /// Whether it is also done while somebody looks.
    pub always: bool,
    /// The longest time for one attempt.
    pub timeout: Duration,
    /// Only of sessions that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only of sessions of this profile.
    pub profile: Option<String>,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookTarget {
    /// Runs a program with these arguments; never empty.
    Command(Vec<String>),
    /// Sends a POST request.
    Url {
        /// Where to.
        url: String,
        /// The file with the secret that requests are signed with.
        secret: Option<PathBuf>,
    },
}

/// A `[[hook]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HookTable {
    name: Option<String>,
    on: BTreeSet<HookWord>,
    command: Option<Vec<String>>,
    url: Option<String>,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    always: bool,
    timeout_s: Option<Seconds>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    profile: Option<String>,
}

/// The hooks of these tables. `allow_plain`: requests may go over the network without TLS. `beside`
/// resolves a path of the file. An error is a key and its problem.
pub(super) fn hooks(
    tables: Vec<HookTable>,
    allow_plain: bool,
    beside: impl Fn(PathBuf) -> PathBuf,
) -> Result<Vec<Hook>, (String, String)> {
    let mut hooks: Vec<Hook> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let number = index + 1;
        let at = |(key, problem): (&str, String)| (format!("hook.{number}.{key}"), problem);
        if number > HOOKS_MAX {
            return Err(at(("on", format!("there are more than {HOOKS_MAX} hooks"))));
        }
        let hook = hook(table, allow_plain, &beside).map_err(at)?;
        if hooks.iter().any(|other| other.key == hook.key) {
            let problem = "another hook is the same, or has this name".to_owned();
            return Err(at(("name", problem)));
        }
        hooks.push(hook);
    }
    Ok(hooks)
}

fn hook(
    table: HookTable,
    allow_plain: bool,
    beside: impl Fn(PathBuf) -> PathBuf,
) -> Result<Hook, (&'static str, String)> {
    if table.on.is_empty() {
        let expected = "expected some of \"blocked\", \"done\", \"ended\" and \"error\"";
        return Err(("on", expected.into()));
    }
    let timeout = table.timeout_s.map_or(DEFAULT_TIMEOUT_S, |Seconds(seconds)| seconds);
    if !TIMEOUT_S.contains(&timeout) {
        let (least, most) = (TIMEOUT_S.start(), TIMEOUT_S.end());
        return Err(("timeout_s", format!("expected {least} to {most}, not {timeout}")));
    }
    let (target, called) = match (table.command, table.url) {
        (Some(command), None) => {
            if table.secret_file.is_some() {
                return Err((
                    "secret_file",
                    "a command needs none: only requests are signed".into(),
                ));
            }
            program(command)?
        }
        (None, Some(url)) => {
            let host = host_of(&url, allow_plain).map_err(|problem| ("url", problem))?;
            let secret = table.secret_file.map(beside);
            if let Some(secret) = &secret {
                check_secret(secret).map_err(|problem| ("secret_file", problem))?;
            }
            (HookTarget::Url { url, secret }, host)
        }
        (Some(_), Some(_)) => {
            return Err(("url", "there is also a command, and a hook has one of both".into()));
        }
        (None, None) => {
            let expected = "missing; expected a command such as [\"notify-send\"], or a url";
            return Err(("command", expected.into()));
        }
    };
    if table.name.as_ref().is_some_and(|name| name.is_empty() || name.contains(char::is_control)) {
        return Err(("name", "expected a name in one line".into()));
    }
    let (labels, profile) = (table.labels, table.profile);
    let key = table.name.clone().unwrap_or_else(|| {
        let what = format!("{target:?} {:?} {labels:?} {profile:?}", table.on);
        Uuid::new_v5(&Uuid::NAMESPACE_OID, what.as_bytes()).to_string()
    });
    Ok(Hook {
        name: table.name.unwrap_or(called),
        key,
        on: table.on,
        target,
        always: table.always,
        timeout: Duration::from_secs(timeout),
        labels,
        profile,
    })
}

fn program(command: Vec<String>) -> Result<(HookTarget, String), (&'static str, String)> {
    let Some(program) = command.first().filter(|program| !program.is_empty()).cloned() else {
        let expected = "expected an array of program and arguments, such as [\"notify-send\"]";
        return Err(("command", format!("{expected}, not {command:?}")));
    };
    if command.iter().any(|word| word.contains('\0')) {
        return Err(("command", "a program or argument cannot contain NUL".into()));
    }
    Ok((HookTarget::Command(command), program))
}

/// The scheme and host of a URL that may be called.
fn host_of(url: &str, allow_plain: bool) -> Result<String, String> {
    let expected = "expected an address such as \"https://example.org/hook\"";
    // What is wrong with it may be in the part that is a secret, so it is not repeated.
    let parsed: Uri = url.parse().map_err(|error| format!("{expected}: {error}"))?;
    let (scheme, host) = match (parsed.scheme_str(), parsed.host()) {
        (Some(scheme @ ("http" | "https")), Some(host)) if !host.is_empty() => (scheme, host),
        _ => return Err(expected.into()),
    };
    if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a name and a password in an address are not sent; use secret_file".into());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = bare == "localhost"
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    if scheme == "http" && !is_loopback && !allow_plain {
        return Err("everybody on the way could read what terminals say; expected https://, or \
                    allow_plain = true"
            .into());
    }
    Ok(format!("{scheme}://{host}"))
}

fn check_secret(path: &std::path::Path) -> Result<(), String> {
    private::check_secret(path).map_err(|error| error.to_string())?;
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim_ascii().is_empty() {
        true => Err(format!("{}: it is empty", path.display())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_loopback_may_be_called_without_tls() {
        for url in ["http://localhost:1/x", "http://127.0.0.1/", "http://[::1]:9", "https://a.b/c"]
        {
            assert!(host_of(url, false).is_ok(), "{url}");
        }
        for url in ["http://example.org/", "http://10.0.0.1/", "http://[fe80::1]/"] {
            assert!(host_of(url, false).unwrap_err().contains("allow_plain"), "{url}");
            assert!(host_of(url, true).is_ok(), "{url}");
        }
        for url in
            ["", "example.org", "/x", "ftp://a/", "https://", "https://a:b@c/", "https://a b"]
        {
            assert!(host_of(url, true).is_err(), "{url}");
        }
        assert_eq!(host_of("https://a.b/secret", false).unwrap(), "https://a.b");
    }

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(check_secret(&path).unwrap_err().contains("No such file"));
        std::fs::write(&path, "\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o600);
        assert!(check_secret(&path).unwrap_err().contains("empty"));
        std::fs::write(&path, "s3cret\n").unwrap();
        check_secret(&path).unwrap();
        for open in [0o640, 0o604, 0o620] {
            mode(open);
            assert!(check_secret(&path).unwrap_err().contains("chmod"), "{open:o}");
        }
        assert!(check_secret(dir.path()).unwrap_err().contains("expected a file"));
    }

    #[test]
    fn a_word_has_one_name() {
        for word in HookWord::ALL {
            assert_eq!(HookWord::named(word.as_str()), Some(word));
        }
        assert_eq!(HookWord::named("busy"), None);
    }
}
