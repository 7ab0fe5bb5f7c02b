//! Checks that the state directory is private: its owner, mode and kind, and those of all files
//! that are used in it, before they are used. Another user who could put files there could plant a
//! database, or have us write through a symbolic link. Since the directory is closed to others,
//! nothing can be exchanged after the check.

use nix::unistd::{Uid, User, geteuid};
use std::fs::{DirBuilder, Metadata, Permissions, read_dir, set_permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The files of the state directory, by the beginning of their names: the database has further
/// files beside it, and a new version of a file is written beside the old one first.
const FILES: [&str; 8] = [
    "reserve",
    "lock",
    "listen",
    "holder.pid",
    "holder.lock",
    "stayd.db",
    "server.log",
    "vapid.key",
];
const SOCKETS: [&str; 2] = ["holder.sock", "server.sock"];
const DIRECTORIES: [&str; 1] = ["recordings"];

/// A file or directory that must not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct NotPrivate {
    /// The directory or the file.
    pub path: PathBuf,
    /// The problem, and what the user should do.
    pub problem: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Socket,
    Directory,
}

/// Creates the directory if it is missing, closes it and its files to others, and checks all of it.
///
/// # Errors
/// The first path that another user owns or can access.
pub fn claim(dir: &Path) -> Result<(), NotPrivate> {
    let failed = |error: io::Error| wrong(dir, error.to_string());
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    own(dir, &inspect(dir)?)?;
    // The directory may exist already, with another mode.
    set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
    check_entries(dir, close)?;
    for name in DIRECTORIES {
        let path = dir.join(name);
        if still_there(&path)?.is_some() {
            check_tree(&path)?;
        }
    }
    Ok(())
}

/// Checks the directory for commands that only talk to the server. Nothing is changed, and the
/// content of its subdirectories, which may be large, is left to the server. A missing directory is
/// fine.
///
/// # Errors
/// The first path that another user owns or can access.
pub fn check(dir: &Path) -> Result<(), NotPrivate> {
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrong(dir, error.to_string())),
        Ok(found) => {
            own(dir, &found)?;
            not_writable(dir, &found)?;
        }
    }
    check_entries(dir, not_writable)
}

/// Checks a file with a secret that the settings name, through links: a regular file, of this user
/// or root's, closed to all others.
///
/// # Errors
/// The problem with it.
pub fn check_secret(path: &Path) -> Result<(), NotPrivate> {
    let found = inspect(path)?;
    if !found.is_file() {
        return Err(wrong(path, "expected a file"));
    }
    let owner = Uid::from_raw(found.uid());
    if owner != geteuid() && !owner.is_root() {
        return Err(wrong(path, format!("it belongs to {}", name(owner))));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let advice = "make it a new secret, and close it with `chmod go-rwx`";
        return Err(wrong(path, format!("others may use it (mode {mode:o}); {advice}")));
    }
    Ok(())
}

/// Handles the mode of a file that is ours.
type Mode = fn(&Path, &Metadata) -> Result<(), NotPrivate>;

fn check_entries(dir: &Path, mode: Mode) -> Result<(), NotPrivate> {
    for (path, name) in entries(dir)? {
        let begins = |with: &[&str]| with.iter().any(|with| name.starts_with(with));
        let kind = if begins(&SOCKETS) {
            Kind::Socket
        } else if begins(&FILES) {
            Kind::File
        } else if begins(&DIRECTORIES) {
            Kind::Directory
        } else {
            // We may not read it.
            continue;
        };
        check_entry(&path, kind, mode)?;
    }
    Ok(())
}

/// Checks the recordings, which are directories of files.
fn check_tree(dir: &Path) -> Result<(), NotPrivate> {
    for (path, _) in entries(dir)? {
        let Some(found) = still_there(&path)? else { continue };
        let kind = if found.is_dir() { Kind::Directory } else { Kind::File };
        check_entry(&path, kind, close)?;
        if kind == Kind::Directory {
            check_tree(&path)?;
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<(PathBuf, String)>, NotPrivate> {
    let failed = |error: io::Error| wrong(dir, error.to_string());
    let named =
        |entry: std::fs::DirEntry| (entry.path(), entry.file_name().to_string_lossy().into_owned());
    read_dir(dir).map_err(failed)?.map(|entry| entry.map(named).map_err(failed)).collect()
}

fn check_entry(path: &Path, kind: Kind, mode: Mode) -> Result<(), NotPrivate> {
    let Some(found) = still_there(path)? else { return Ok(()) };
    let (is, expected) = match kind {
        Kind::File => (found.is_file(), "a file"),
        Kind::Socket => (found.file_type().is_socket(), "a socket"),
        Kind::Directory => (found.is_dir(), "a directory"),
    };
    if found.is_symlink() {
        return Err(wrong(path, "it is a symbolic link, which is not followed; remove it"));
    }
    if !is {
        return Err(wrong(path, format!("expected {expected}, and it is none; remove it")));
    }
    own(path, &found)?;
    mode(path, &found)
}

fn own(path: &Path, found: &Metadata) -> Result<(), NotPrivate> {
    let (owner, us) = (Uid::from_raw(found.uid()), geteuid());
    if owner == us {
        return Ok(());
    }
    let (owner, us) = (name(owner), name(us));
    let advice = format!("run stayd as {owner}, or give --state-dir another directory");
    Err(wrong(path, format!("it belongs to {owner}, not to {us}; {advice}")))
}

/// Refuses a file that others can write, because its content may be theirs.
fn not_writable(path: &Path, found: &Metadata) -> Result<(), NotPrivate> {
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o022 == 0 || found.file_type().is_socket() {
        return Ok(());
    }
    let advice = "if nobody has changed it, close it with `chmod go-rwx`";
    Err(wrong(path, format!("others may write it (mode {mode:o}); {advice}")))
}

/// Closes a file that others can only read, which an editor may have written.
fn close(path: &Path, found: &Metadata) -> Result<(), NotPrivate> {
    not_writable(path, found)?;
    let mode = found.permissions().mode();
    if mode & 0o077 == 0 || found.file_type().is_socket() {
        return Ok(());
    }
    let private = Permissions::from_mode(mode & 0o700);
    set_permissions(path, private).map_err(|error| wrong(path, error.to_string()))
}

fn name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("user {uid}"),
    }
}

fn inspect(path: &Path) -> Result<Metadata, NotPrivate> {
    std::fs::metadata(path).map_err(|error| wrong(path, error.to_string()))
}

/// The metadata of a file; `None` if it is gone, because a running server replaces and removes
/// files.
fn still_there(path: &Path) -> Result<Option<Metadata>, NotPrivate> {
    match symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(|error| wrong(path, error.to_string())),
    }
}

fn wrong(path: &Path, problem: impl Into<String>) -> NotPrivate {
    NotPrivate { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// A directory with each kind of file, as a server leaves it.
    fn used() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        claim(dir.path()).unwrap();
        for name in FILES.iter().chain(&["stayd.db-wal", "stayd.db-shm"]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir_all(dir.path().join("recordings/a")).unwrap();
        fs::write(dir.path().join("recordings/a/1.cast"), "").unwrap();
        for name in SOCKETS {
            drop(UnixListener::bind(dir.path().join(name)).unwrap());
        }
        dir
    }

    const ALL: [&str; 13] = [
        "reserve",
        "lock",
        "listen",
        "holder.pid",
        "holder.lock",
        "holder.sock",
        "server.sock",
        "server.log",
        "stayd.db",
        "stayd.db-wal",
        "stayd.db-shm",
        "recordings",
        "recordings/a/1.cast",
    ];

    #[track_caller]
    fn refused(dir: &Path, name: &str, word: &str) {
        // `check` does not read subdirectories; only the server does.
        let checked = if name.contains('/') { claim(dir) } else { check(dir) };
        for refused in [checked, claim(dir)] {
            let error = refused.expect_err(name);
            assert_eq!(error.path, dir.join(name));
            assert!(error.problem.contains(word), "{error}");
        }
    }

    #[test]
    fn what_is_ours_alone_is_in_order_and_what_others_may_read_is_closed() {
        let dir = used();
        check(dir.path()).unwrap();
        claim(dir.path()).unwrap();
        for name in ALL {
            let mode = fs::symlink_metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert!(name.ends_with(".sock") || mode & 0o077 == 0, "{name}: {mode:o}");
        }
        fs::write(dir.path().join("notes"), "not ours to read").unwrap();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        claim(dir.path()).unwrap();
        check(&dir.path().join("missing")).unwrap();
    }

    #[test]
    fn links_and_other_kinds_are_refused() {
        for name in ALL {
            let dir = used();
            let path = dir.path().join(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            symlink("/etc/passwd", &path).unwrap();
            refused(dir.path(), name, "symbolic link");
        }
        for name in ALL.iter().filter(|name| !name.starts_with("recordings")) {
            let dir = used();
            let path = dir.path().join(name);
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            refused(dir.path(), name, "expected");
        }
    }

    #[test]
    fn what_others_may_write_is_refused() {
        for name in ALL.iter().filter(|name| !name.ends_with(".sock")) {
            let dir = used();
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(0o720)).unwrap();
            refused(dir.path(), name, "others may write");
        }
        let dir = used();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(check(dir.path()).unwrap_err().problem.contains("others may write"));
        claim(dir.path()).unwrap();
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let chown = |path: &Path| std::os::unix::fs::lchown(path, Some(12_345), None).unwrap();
        for name in ALL {
            let dir = used();
            chown(&dir.path().join(name));
            refused(dir.path(), name, "user 12345");
        }
        let dir = used();
        chown(dir.path());
        assert!(claim(dir.path()).unwrap_err().problem.contains("--state-dir"));
        assert!(check(dir.path()).unwrap_err().problem.contains("--state-dir"));
    }
}
