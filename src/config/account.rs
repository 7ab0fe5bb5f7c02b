//! The user's shell and home directory. Where the environment lacks them or has unusable ones,
//! others are found, because every session without settings of its own would fail otherwise.

use super::paths::Env;
use nix::unistd::{AccessFlags, Uid, User, access};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Programs that stand in the place of a shell and refuse logins.
const NO_SHELLS: [&str; 6] = ["nologin", "false", "true", "sync", "halt", "shutdown"];
/// The shells of last resort.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// The default shell and home directory of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The absolute path of a program: `$SHELL`, otherwise the shell of the user's entry in the
    /// password database, otherwise `/bin/bash` or `/bin/sh`.
    pub shell: String,
    /// An absolute path: `$HOME`, otherwise that of the entry, otherwise `/`.
    pub home: String,
    /// Why `$SHELL` or `$HOME` is not used, for people; empty if both are.
    pub warnings: Vec<String>,
}

/// The account of this process. It is looked up once, at the start: a file system that hangs later
/// must not delay sessions elsewhere.
pub fn account() -> &'static Account {
    static ACCOUNT: OnceLock<Account> = OnceLock::new();
    ACCOUNT.get_or_init(|| Account::of(&|name| std::env::var_os(name), &entry))
}

/// The shell and home directory in the password database; either may be missing.
#[derive(Default)]
struct Entry {
    shell: Option<PathBuf>,
    home: Option<PathBuf>,
}

fn entry() -> Entry {
    let user = User::from_uid(Uid::current()).ok().flatten();
    let (shell, home) = user.map(|user| (user.shell, user.dir)).unzip();
    Entry { shell, home }
}

impl Account {
    fn of(env: Env<'_>, entry: &dyn Fn() -> Entry) -> Account {
        let mut warnings = Vec::new();
        let shell = shell(env("SHELL"), entry, &mut warnings);
        let home = home(env("HOME"), entry, &mut warnings);
        Account { shell, home, warnings }
    }
}

fn shell(named: Option<OsString>, entry: &dyn Fn() -> Entry, warnings: &mut Vec<String>) -> String {
    let mut unfit = Vec::new();
    let mut choose = |from: &str, path: PathBuf| match why_no_shell(&path) {
        None => path.into_os_string().into_string().ok(),
        Some(why) => {
            unfit.push(format!("{from} ({}) {why}", path.display()));
            None
        }
    };
    let chosen = named.and_then(|path| choose("SHELL", path.into()));
    // An empty field means /bin/sh (passwd(5)).
    let in_entry = || entry().shell.filter(|shell| !shell.as_os_str().is_empty());
    let chosen = chosen.or_else(|| choose("the user's shell", in_entry()?));
    let chosen = chosen.unwrap_or_else(|| {
        let found = SHELLS.iter().find(|path| why_no_shell(Path::new(path)).is_none());
        (*found.unwrap_or(&SHELLS[1])).to_owned()
    });
    if !unfit.is_empty() {
        warnings.push(format!("{}; sessions have {chosen} instead", unfit.join("; ")));
    }
    chosen
}

fn why_no_shell(path: &Path) -> Option<&'static str> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.as_os_str().is_empty() {
        Some("is empty")
    } else if !path.is_absolute() {
        Some("is no absolute path")
    } else if NO_SHELLS.contains(&name) {
        Some("is a program that lets nobody in")
    } else if !path.is_file() {
        Some("is no file")
    } else if access(path, AccessFlags::X_OK).is_err() {
        Some("is not executable")
    } else {
        path.to_str().is_none().then_some("is not UTF-8")
    }
}

fn home(named: Option<OsString>, entry: &dyn Fn() -> Entry, warnings: &mut Vec<String>) -> String {
    let mut unfit = Vec::new();
    let mut choose = |from: &str, path: PathBuf| match why_no_home(&path) {
        None => path.into_os_string().into_string().ok(),
        Some(why) => {
            unfit.push(format!("{from} ({}) {why}", path.display()));
            None
        }
    };
    let is_named = named.is_some();
    let chosen = named.and_then(|path| choose("HOME", path.into()));
    let chosen = chosen.or_else(|| choose("the user's home directory", entry().home?));
    if !is_named {
        unfit.insert(0, "HOME is not set".to_owned());
    }
    let chosen = chosen.unwrap_or_else(|| "/".to_owned());
    if !unfit.is_empty() {
        warnings.push(format!("{}; sessions have {chosen} instead", unfit.join("; ")));
    }
    chosen
}

fn why_no_home(path: &Path) -> Option<&'static str> {
    if path.as_os_str().is_empty() {
        Some("is empty")
    } else if !path.is_absolute() {
        Some("is no absolute path")
    } else if !path.is_dir() {
        Some("is no directory")
    } else if access(path, AccessFlags::X_OK).is_err() {
        Some("may not be entered")
    } else {
        path.to_str().is_none().then_some("is not UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn of(shell: Option<&str>, home: Option<&str>, entry: [Option<&Path>; 2]) -> Account {
        let env = |name: &str| match name {
            "SHELL" => shell.map(OsString::from),
            "HOME" => home.map(OsString::from),
            _ => None,
        };
        let [shell, home] = entry.map(|path| path.map(Path::to_owned));
        Account::of(&env, &|| Entry { shell: shell.clone(), home: home.clone() })
    }

    #[test]
    fn what_cannot_be_a_shell_is_passed_over_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (good, plain) = (file("goodsh", 0o755), file("plainsh", 0o644));
        let home = dir.path().to_str();
        let fit = of(good.to_str(), home, [None; 2]);
        assert_eq!((fit.shell.as_str(), fit.warnings.len()), (good.to_str().unwrap(), 0));
        for (unfit, why) in [
            ("", "empty"),
            ("sh", "absolute"),
            ("/usr/sbin/nologin", "nobody in"),
            ("/bin/false", "nobody in"),
            ("/nowhere/zsh", "no file"),
            (dir.path().to_str().unwrap(), "no file"),
            (plain.to_str().unwrap(), "not executable"),
        ] {
            let found = of(Some(unfit), home, [Some(&good), None]);
            assert_eq!(found.shell, good.to_str().unwrap(), "{unfit}: that of the entry");
            let [warning] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
            assert!(warning.contains(why) && warning.contains(unfit), "{warning}");
            let found = of(Some(unfit), home, [Some(Path::new("/sbin/nologin")), None]);
            assert!(SHELLS.contains(&found.shell.as_str()), "{unfit}: {}", found.shell);
        }
        let unset = of(None, home, [Some(&good), None]);
        assert_eq!((unset.shell.as_str(), unset.warnings.len()), (good.to_str().unwrap(), 0));
    }

    #[test]
    fn what_cannot_be_a_home_is_passed_over_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for (home, why) in [
            (None, "not set"),
            (Some(""), "empty"),
            (Some("home"), "absolute"),
            (Some("/nowhere/at/all"), "no directory"),
            (file.to_str(), "no directory"),
        ] {
            let found = of(Some("/bin/sh"), home, [None, Some(dir.path())]);
            assert_eq!(Some(found.home.as_str()), dir.path().to_str(), "{home:?}");
            assert!(found.warnings[0].contains(why), "{:?}", found.warnings);
            assert_eq!(of(Some("/bin/sh"), home, [None, Some(&file)]).home, "/");
        }
        let fit = of(Some("/bin/sh"), dir.path().to_str(), [None; 2]);
        assert_eq!(fit.warnings, [""; 0]);
    }
}
