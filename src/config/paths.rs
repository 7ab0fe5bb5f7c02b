//! The default paths: the XDG base directories.

use std::ffi::OsString;
use std::path::PathBuf;

/// Looks up an environment variable; a parameter so that tests can bring their own.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// `$XDG_STATE_HOME/stayd`, else `~/.local/state/stayd`; `None` without a home.
pub(super) fn state_dir(env: Env<'_>) -> Option<PathBuf> {
    base(env, "XDG_STATE_HOME", ".local/state").map(|base| base.join("stayd"))
}

/// `$XDG_CONFIG_HOME/stayd/stayd.toml`, else `~/.config/stayd/stayd.toml`.
pub(super) fn config_file(env: Env<'_>) -> Option<PathBuf> {
    base(env, "XDG_CONFIG_HOME", ".config").map(|base| base.join("stayd/stayd.toml"))
}

fn base(env: Env<'_>, variable: &str, in_home: &str) -> Option<PathBuf> {
    // XDG Base Directory Specification: a relative path is to be ignored.
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    env(variable)
        .and_then(absolute)
        .or_else(|| env("HOME").and_then(absolute).map(|home| home.join(in_home)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn xdg_goes_before_home_and_must_be_absolute() {
        let home = |name: &str| (name == "HOME").then(|| "/home/me".into());
        assert_eq!(state_dir(&home).unwrap(), Path::new("/home/me/.local/state/stayd"));
        assert_eq!(config_file(&home).unwrap(), Path::new("/home/me/.config/stayd/stayd.toml"));
        let both = |name: &str| match name {
            "XDG_STATE_HOME" => Some("/state".into()),
            "XDG_CONFIG_HOME" => Some("relative".into()),
            other => home(other),
        };
        assert_eq!(state_dir(&both).unwrap(), Path::new("/state/stayd"));
        assert_eq!(config_file(&both).unwrap(), Path::new("/home/me/.config/stayd/stayd.toml"));
        assert_eq!(state_dir(&|_| None), None);
    }
}
