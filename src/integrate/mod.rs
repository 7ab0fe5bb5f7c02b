//! Shell integration: scripts by which an interactive shell tells its terminal where commands begin
//! and end (OSC 133), what they are, and its directory (OSC 7). A shell loads one by a line in its own
//! settings, or because its profile says `shell_integration`.
//!
//! | shell | how a session of such a profile loads it |
//! |---|---|
//! | bash | `PROMPT_COMMAND` in its environment evaluates the script before the first prompt |
//! | zsh | `ZDOTDIR` names a directory of the server's, whose `.zshenv` goes on to the user's own |
//! | fish | `XDG_DATA_DIRS` begins with a directory of the server's, which has a `vendor_conf.d` |
//!
//! And the hooks by which agents report what they do: [`for_claude`] and its neighbours.

mod claude;

use crate::config::Profile;
pub use claude::{for_claude, for_codex, for_gemini, with_hooks, without_hooks};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A shell that has an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash 4.4 and newer.
    Bash,
    /// zsh.
    Zsh,
    /// fish 3.1 and newer.
    Fish,
}

/// The directory of the scripts, in the state directory.
const DIRECTORY: &str = "integrate";

impl Shell {
    /// The shell that a command runs, by the name of its program.
    fn of(command: &[String]) -> Option<Self> {
        let program = Path::new(command.first()?).file_name()?;
        match program.to_str()? {
            "bash" => Some(Shell::Bash),
            "zsh" => Some(Shell::Zsh),
            "fish" => Some(Shell::Fish),
            _ => None,
        }
    }

    /// The script, to be evaluated by the shell. It does nothing outside of sessions, and the second
    /// time.
    #[must_use]
    pub fn script(self) -> &'static str {
        match self {
            Shell::Bash => include_str!("stayd.bash"),
            Shell::Zsh => include_str!("stayd.zsh"),
            Shell::Fish => include_str!("stayd.fish"),
        }
    }

    /// The shell's own file of settings, as the environment says, and the line in it that loads the
    /// script where there is a `stayd`.
    #[must_use]
    pub fn settings(self, home: &Path) -> (PathBuf, &'static str) {
        let below = |variable: &str, otherwise: PathBuf| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .map_or(otherwise, Into::into)
        };
        match self {
            Shell::Bash => (
                home.join(".bashrc"),
                r#"[ -z "${STAYD_SESSION-}" ] || ! command -v stayd >/dev/null || eval "$(stayd integrate bash)""#,
            ),
            Shell::Zsh => (
                below("ZDOTDIR", home.to_owned()).join(".zshrc"),
                r#"[ -z "${STAYD_SESSION-}" ] || ! command -v stayd >/dev/null || eval "$(stayd integrate zsh)""#,
            ),
            Shell::Fish => (
                below("XDG_CONFIG_HOME", home.join(".config")).join("fish/config.fish"),
                "set -q STAYD_SESSION; and type -q stayd; and stayd integrate fish | source",
            ),
        }
    }

    /// The variables by which a shell loads the script from a directory of [`write`].
    fn variables(self, directory: &str) -> Vec<(&'static str, String)> {
        let own = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        match self {
            Shell::Bash => vec![
                ("PROMPT_COMMAND", r#"eval "$STAYD_INTEGRATE""#.to_owned()),
                ("STAYD_INTEGRATE", self.script().to_owned()),
            ],
            Shell::Zsh => {
                let before = own("ZDOTDIR").map(|before| ("STAYD_ZDOTDIR", before));
                let ours = ("ZDOTDIR", format!("{directory}/zsh"));
                before.into_iter().chain([ours]).collect()
            }
            Shell::Fish => {
                let before = own("XDG_DATA_DIRS");
                let before = before.unwrap_or_else(|| "/usr/local/share:/usr/share".to_owned());
                vec![("XDG_DATA_DIRS", format!("{directory}:{before}"))]
            }
        }
    }
}

/// Gives profiles that ask for it the variables that load the integration. Those of the profile
/// itself go over them. Returns the names of the profiles that get none: they run no shell that has
/// one, or under an account that may not read the files.
///
/// # Errors
/// The files cannot be written.
pub fn prepare<'a>(
    state_dir: &Path,
    profiles: impl Iterator<Item = (&'a String, &'a mut Profile)>,
) -> io::Result<Vec<String>> {
    let directory = state_dir.join(DIRECTORY);
    let mut written = false;
    let mut without = Vec::new();
    for (name, profile) in profiles.filter(|(_, profile)| profile.shell_integration) {
        let shell = Shell::of(&profile.command);
        let shell = shell.filter(|shell| *shell == Shell::Bash || profile.user.is_none());
        let (Some(shell), Some(path)) = (shell, directory.to_str()) else {
            without.push(name.clone());
            continue;
        };
        if !std::mem::replace(&mut written, true) {
            write(&directory)?;
        }
        for (key, value) in shell.variables(path) {
            profile.env.entry(key.to_owned()).or_insert(value);
        }
    }
    Ok(without)
}

/// Writes the files that zsh and fish read.
fn write(directory: &Path) -> io::Result<()> {
    let (zsh, fish) = (directory.join("zsh"), directory.join("fish/vendor_conf.d"));
    for folder in [&zsh, &fish] {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    fs::write(zsh.join(".zshenv"), include_str!("zshenv"))?;
    fs::write(zsh.join("stayd.zsh"), Shell::Zsh.script())?;
    fs::write(fish.join("stayd.fish"), Shell::Fish.script())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn profile(command: &str) -> Profile {
        let command = vec![command.to_owned()];
        Profile { command, shell_integration: true, ..Profile::default() }
    }

    #[test]
    fn profiles_of_shells_get_their_variables_and_others_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut own = profile("/usr/bin/bash");
        own.env.insert("PROMPT_COMMAND".to_owned(), "mine".to_owned());
        let mut profiles = BTreeMap::from(
            [("own", own), ("fish", profile("fish")), ("top", profile("top"))]
                .map(|(name, profile)| (name.to_owned(), profile)),
        );
        assert_eq!(prepare(dir.path(), profiles.iter_mut()).unwrap(), ["top"]);
        assert_eq!(profiles["own"].env["PROMPT_COMMAND"], "mine");
        let directories = &profiles["fish"].env["XDG_DATA_DIRS"];
        let ours = directories.split(':').next().unwrap();
        assert!(Path::new(ours).join("fish/vendor_conf.d/stayd.fish").exists());
        assert!(profiles["top"].env.is_empty());
    }
}
