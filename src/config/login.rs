//! An account of this machine, under which the sessions of a profile run.

use nix::unistd::{Group, Uid, User};

/// The group that may write to terminals, if a machine has it.
const TTY: &str = "tty";
/// The shell of an entry that names none (passwd(5)).
const DEFAULT_SHELL: &str = "/bin/sh";

/// An account, as the password database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Its id; never root's.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its home directory, an absolute path that may not exist.
    pub home: String,
    /// Its shell, which may be one that lets nobody in.
    pub shell: String,
    /// The group `tty`, if there is one.
    pub tty: Option<u32>,
}

impl Login {
    /// Looks up an account for a server that runs as this process does. A directory service may
    /// answer slowly.
    ///
    /// # Errors
    /// This process is not root, there is no such account, or it cannot be used; as a sentence.
    pub fn find(name: &str) -> Result<Login, String> {
        find(name, Uid::effective(), &|name| {
            User::from_name(name).map_err(|errno| errno.desc().to_owned())
        })
    }

    /// The directory in which its sessions start: its home, or `/` if it has none.
    #[must_use]
    pub fn directory(&self) -> String {
        let is_there = std::path::Path::new(&self.home).is_dir();
        if is_there { self.home.clone() } else { "/".to_owned() }
    }
}

type LookUp<'a> = &'a dyn Fn(&str) -> Result<Option<User>, String>;

fn find(name: &str, us: Uid, look_up: LookUp<'_>) -> Result<Login, String> {
    if !us.is_root() {
        return Err(format!(
            "only a server that runs as root can start sessions as another user, and this one \
             runs with the user id {us}"
        ));
    }
    if name.is_empty() || name.contains('\0') {
        return Err(format!("expected the name of an account, not {name:?}"));
    }
    let found = look_up(name).map_err(|why| format!("cannot look up the account {name:?}: {why}"));
    let user = found?.ok_or_else(|| format!("this machine has no account {name:?}"))?;
    if user.uid.is_root() {
        return Err(format!(
            "{name:?} is root, as the server is: leave the user out for sessions of root"
        ));
    }
    let path = |what: &str, path: std::path::PathBuf| {
        let text = path.into_os_string().into_string().ok();
        text.filter(|text| text.starts_with('/')).ok_or_else(|| {
            format!("the {what} of the account {name:?} is no absolute path in UTF-8")
        })
    };
    let shell = match user.shell.as_os_str().is_empty() {
        true => DEFAULT_SHELL.to_owned(),
        false => path("shell", user.shell)?,
    };
    // Without the group, nobody but the account may write to the terminal.
    let tty = Group::from_name(TTY).ok().flatten().map(|group| group.gid.as_raw());
    Ok(Login {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: path("home directory", user.dir)?,
        shell,
        tty,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Gid;

    fn user(name: &str, uid: u32, home: &str, shell: &str) -> User {
        User {
            name: name.to_owned(),
            passwd: Default::default(),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(100),
            gecos: Default::default(),
            dir: home.into(),
            shell: shell.into(),
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_in_a_sentence() {
        let root = Uid::from_raw(0);
        let refused = |user: Option<User>| {
            find("anna", root, &|_| Ok(user.clone())).expect_err("it cannot be used")
        };
        assert!(refused(None).contains("no account \"anna\""));
        assert!(refused(Some(user("anna", 0, "/", ""))).contains("is root"));
        assert!(refused(Some(user("anna", 7, "home", ""))).contains("home directory"));
        assert!(refused(Some(user("anna", 7, "/", "sh"))).contains("shell"));
        let anna = |_: &str| Ok(Some(user("anna", 7, "/nowhere/at/all", "")));
        let unable = find("anna", Uid::from_raw(1000), &anna).unwrap_err();
        assert!(unable.contains("runs as root") && unable.contains("1000"), "{unable}");
        assert!(find("", root, &anna).is_err() && find("a\0", root, &anna).is_err());
        let broken = find("anna", root, &|_| Err("timed out".to_owned())).unwrap_err();
        assert!(broken.contains("timed out"), "{broken}");
        let found = find("anna", root, &anna).unwrap();
        assert_eq!((found.uid, found.gid, found.shell.as_str()), (7, 100, "/bin/sh"));
        assert_eq!((found.home.as_str(), found.directory().as_str()), ("/nowhere/at/all", "/"));
    }
}
