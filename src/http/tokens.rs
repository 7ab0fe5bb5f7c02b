//! Everybody's tokens: the main one, and further ones that have names, so that several
//! people and programs can be told apart and shut out one by one. All have the same rights.
//!
//! The further ones are lines `NAME TOKEN` of a file, which `stayd token` writes beside a
//! running server and the server reads again once it has changed.

use super::token::{Principal, Token, random_hex, write_private};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file in the state directory.
const FILE: &str = "tokens";
/// The longest name, in characters.
const NAME_MAX: usize = 64;

/// Why the tokens' file was not changed or read.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// Names stand in logs, rows and on command lines.
    #[error(
        "a token's name has 1 to {NAME_MAX} letters, digits, '-', '_', '.', and begins with none of these signs"
    )]
    Name,
    /// The main token is a file of its own.
    #[error(
        "{:?} is the main token, which the file {:?} of the state directory holds",
        Principal::OWNER,
        "token"
    )]
    Main,
    /// There is one of this name.
    #[error("there is a token {0:?} already; `stayd token rm {0}` removes it")]
    Taken(String),
    /// There is none of this name.
    #[error("there is no token {0:?}")]
    Unknown(String),
    /// Somebody has written it by hand, and wrongly.
    #[error("{}, line {line}: expected a name, a space and a token", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The file cannot be used.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// One further token.
struct Named {
    name: String,
    token: Token,
    fingerprint: String,
}

/// Which state of the file was read: another one has another inode, since it is replaced.
type Stamp = (u64, i64, i64, u64);

#[derive(Default)]
struct Read {
    stamp: Option<Stamp>,
    named: Vec<Named>,
}

/// All tokens that are accepted.
pub struct Tokens {
    main: Token,
    fingerprint: String,
    file: Option<PathBuf>,
    read: Mutex<Read>,
}

impl Tokens {
    /// The main token of the state directory, which is made at the first start, and the
    /// further ones.
    ///
    /// # Errors
    /// As [`Token::load_or_create`]. A file of further ones that cannot be read only means
    /// that none of them is accepted.
    pub fn load(state_dir: &Path) -> io::Result<Tokens> {
        let mut tokens = Tokens::only(Token::load_or_create(state_dir)?);
        tokens.file = Some(state_dir.join(FILE));
        Ok(tokens)
    }

    /// One token and no further ones.
    pub(super) fn only(main: Token) -> Tokens {
        let (fingerprint, read) = (main.fingerprint(), Mutex::default());
        Tokens { main, fingerprint, file: None, read }
    }

    /// The main token.
    #[must_use]
    pub fn main(&self) -> &Token {
        &self.main
    }

    /// Whose token this is; takes as long whatever is wrong with it.
    pub(super) fn principal(&self, presented: &str) -> Option<Principal> {
        let mut found = self.main.matches(presented).then(Principal::owner);
        for named in &self.current().named {
            if named.token.matches(presented) {
                found = Some(Principal(named.name.clone()));
            }
        }
        found
    }

    /// Whose token has this fingerprint.
    pub(super) fn by_fingerprint(&self, fingerprint: &str) -> Option<Principal> {
        if fingerprint == self.fingerprint {
            return Some(Principal::owner());
        }
        let current = self.current();
        let named = current.named.iter().find(|named| named.fingerprint == fingerprint)?;
        Some(Principal(named.name.clone()))
    }

    /// The fingerprint of a principal's token.
    pub(super) fn fingerprint(&self, principal: &Principal) -> Option<String> {
        if *principal == Principal::owner() {
            return Some(self.fingerprint.clone());
        }
        let current = self.current();
        let named = current.named.iter().find(|named| named.name == principal.0)?;
        Some(named.fingerprint.clone())
    }

    /// The further tokens as the file has them now. Looking costs a microsecond, so a token
    /// that was removed opens nothing from then on.
    fn current(&self) -> MutexGuard<'_, Read> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &self.file else { return read };
        let stamp = std::fs::metadata(file).ok().as_ref().map(stamp);
        if stamp != read.stamp {
            // A line that is wrong opens nothing; the others still do. What changes after
            // the look at its stamp is seen at the next.
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let named = parse(&text).filter_map(|line| line.ok()).map(Named::new).collect();
            *read = Read { stamp, named };
        }
        read
    }
}

impl Named {
    fn new((name, token): (&str, Token)) -> Named {
        Named { name: name.to_owned(), fingerprint: token.fingerprint(), token }
    }
}

fn stamp(file: &Metadata) -> Stamp {
    (file.ino(), file.mtime(), file.mtime_nsec(), file.size())
}

/// Each line's name and token, or the number of a line that has none.
fn parse(text: &str) -> impl Iterator<Item = Result<(&str, Token), usize>> {
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(|(at, line)| {
        let parts = line.trim().split_once(' ').filter(|(name, _)| check_name(name).is_ok());
        let parts = parts.and_then(|(name, token)| Some((name, Token::new(token.trim())?)));
        parts.ok_or(at + 1)
    })
}

fn check_name(name: &str) -> Result<(), TokensError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts || name.len() > NAME_MAX || !name.chars().all(plain) {
        return Err(TokensError::Name);
    }
    if name == Principal::OWNER { Err(TokensError::Main) } else { Ok(()) }
}

/// The names of the further tokens, in the order in which they were added.
///
/// # Errors
/// The file cannot be read, or a line of it is wrong.
pub fn names(state_dir: &Path) -> Result<Vec<String>, TokensError> {
    Ok(read(state_dir)?.into_iter().map(|(name, _)| name).collect())
}

/// Makes a further token of this name; the token.
///
/// # Errors
/// The name is none or taken, or the file cannot be used.
pub fn add(state_dir: &Path, name: &str) -> Result<String, TokensError> {
    check_name(name)?;
    change(state_dir, |named| {
        if named.iter().any(|(known, _)| known == name) {
            return Err(TokensError::Taken(name.to_owned()));
        }
        let error = |error| TokensError::Io { path: state_dir.join(FILE), error };
        let token = random_hex().map_err(|none| error(io::Error::other(none)))?;
        named.push((name.to_owned(), token.clone()));
        Ok(token)
    })
}

/// Removes a further token, and with it all logins that were got with it.
///
/// # Errors
/// There is none of this name, or the file cannot be used.
pub fn remove(state_dir: &Path, name: &str) -> Result<(), TokensError> {
    if name == Principal::OWNER {
        return Err(TokensError::Main);
    }
    change(state_dir, |named| {
        let before = named.len();
        named.retain(|(known, _)| known != name);
        if named.len() == before {
            return Err(TokensError::Unknown(name.to_owned()));
        }
        Ok(())
    })
}

fn change<T>(
    state_dir: &Path,
    change: impl FnOnce(&mut Vec<(String, String)>) -> Result<T, TokensError>,
) -> Result<T, TokensError> {
    // Two that change it at once would lose one change; the directory is the lock.
    let failed = |path: &Path, error: io::Error| TokensError::Io { path: path.to_owned(), error };
    let dir = File::open(state_dir).map_err(|error| failed(state_dir, error))?;
    let _lock = Flock::lock(dir, FlockArg::LockExclusive)
        .map_err(|(_, error)| failed(state_dir, error.into()))?;
    let mut named = read(state_dir)?;
    let changed = change(&mut named)?;
    let text: String = named.iter().map(|(name, token)| format!("{name} {token}\n")).collect();
    let file = state_dir.join(FILE);
    write_private(&file, text.as_bytes()).map_err(|error| failed(&file, error))?;
    Ok(changed)
}

fn read(state_dir: &Path) -> Result<Vec<(String, String)>, TokensError> {
    let path = state_dir.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && state_dir.is_dir() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(TokensError::Io { path, error }),
    };
    parse(&text)
        .map(|line| {
            let (name, token) =
                line.map_err(|line| TokensError::Line { path: path.clone(), line })?;
            Ok((name.to_owned(), token.expose().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn tokens_come_and_go_beside_a_running_server() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::load(dir.path()).unwrap();
        let main = tokens.main().expose().to_owned();
        assert_eq!(tokens.principal(&main), Some(Principal::owner()));
        let anna = add(dir.path(), "anna").unwrap();
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let build = add(dir.path(), "build.2").unwrap();
        assert_eq!(names(dir.path()).unwrap(), ["anna", "build.2"]);
        let principal = |token: &str| tokens.principal(token).map(|principal| principal.0);
        assert_eq!(principal(&anna).as_deref(), Some("anna"));
        assert_eq!(principal(&build).as_deref(), Some("build.2"));
        assert_eq!(principal("anna"), None);
        let fingerprint = tokens.fingerprint(&Principal("anna".into())).unwrap();
        assert!(tokens.by_fingerprint(&fingerprint).is_some());
        remove(dir.path(), "anna").unwrap();
        assert_eq!(principal(&anna), None);
        assert_eq!(tokens.by_fingerprint(&fingerprint), None);
        assert_eq!(principal(&build).as_deref(), Some("build.2"));
        // Another of the same name is another.
        let again = add(dir.path(), "anna").unwrap();
        assert_ne!(again, anna);
        assert_eq!(tokens.by_fingerprint(&fingerprint), None);
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        assert_eq!(principal(&again), None);
        assert_eq!(principal(&main).as_deref(), Some("owner"));
    }

    #[test]
    fn names_are_plain_and_not_the_main_ones() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", " ", "a b", "-a", "a\n", "ä", &"x".repeat(65)] {
            assert!(matches!(add(dir.path(), bad), Err(TokensError::Name)), "{bad:?}");
        }
        assert!(matches!(add(dir.path(), "owner"), Err(TokensError::Main)));
        assert!(matches!(remove(dir.path(), "owner"), Err(TokensError::Main)));
        assert!(matches!(remove(dir.path(), "a"), Err(TokensError::Unknown(_))));
        add(dir.path(), "a").unwrap();
        assert!(matches!(add(dir.path(), "a"), Err(TokensError::Taken(_))));
    }

    #[test]
    fn what_was_written_by_hand_and_wrongly_opens_nothing_and_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::load(dir.path()).unwrap();
        let text = "good sixteen-characters\nbad short\nowner sixteen-characters-2\n";
        std::fs::write(dir.path().join(FILE), text).unwrap();
        assert_eq!(tokens.principal("sixteen-characters"), Some(Principal("good".into())));
        assert_eq!(tokens.principal("sixteen-characters-2"), None);
        assert_eq!(tokens.principal("short"), None);
        assert!(matches!(add(dir.path(), "more"), Err(TokensError::Line { line: 2, .. })));
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), text);
    }

    #[test]
    fn two_that_add_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let dir = dir.path();
                scope.spawn(move || add(dir, &format!("t{n}")).unwrap());
            }
        });
        assert_eq!(names(dir.path()).unwrap().len(), 8);
    }
}
