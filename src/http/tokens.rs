//! All tokens: the main one, and further ones with names, so that several people and programs can
//! be told apart and revoked one by one. All have the same rights.
//!
//! The further ones are lines `NAME TOKEN` of a file, which `stayd token` writes beside a running
//! server, and which the server reads again when it has changed. A line with a `#` is ignored:
//! `stayd token rm` overwrites a token with that, in place, because a full disk must not keep a
//! token alive; `stayd token add` removes such lines.

use super::token::{Principal, STRUCK, Token, random_hex, strike_out, write_private};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file in the state directory.
const FILE: &str = "tokens";
/// The longest name, in characters.
const NAME_MAX: usize = 64;

/// Why the file of tokens was not changed or read.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The name has a character that logs, rows or command lines could not carry.
    #[error(
        "a token's name has 1 to {NAME_MAX} letters, digits, '-', '_', '.', and begins with none of these signs"
    )]
    Name,
    /// The name `owner` is the main token's, which has a file of its own.
    #[error(
        "{:?} is the main token, which the file {:?} of the state directory holds",
        Principal::OWNER,
        "token"
    )]
    Main,
    /// The name is taken.
    #[error("there is a token {0:?} already; `stayd token rm {0}` removes it")]
    Taken(String),
    /// There is none of this name.
    #[error("there is no token {0:?}")]
    Unknown(String),
    /// A line is malformed, as after an edit by hand.
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

/// Identifies the state of the file that was read: inode, times and size.
type Stamp = (u64, i64, i64, u64);

/// The further tokens, as the file had them when it was last read.
#[derive(Default)]
struct Known {
    stamp: Option<Stamp>,
    /// Stays open, so that a removal in place is seen even while no descriptor is free to open the
    /// file with.
    file: Option<Arc<File>>,
    named: Vec<Named>,
}

/// All tokens that are accepted.
pub struct Tokens {
    main: Token,
    fingerprint: String,
    file: Option<PathBuf>,
    known: Mutex<Arc<Known>>,
    /// Why the last read of the file failed; `None` if it succeeded.
    failure: Mutex<Option<String>>,
}

impl Tokens {
    /// Loads the main token of the state directory, which is made at the first start, and the
    /// further ones.
    ///
    /// # Errors
    /// As [`Token::load_or_create`]. While the file of further tokens cannot be read, none of them
    /// is accepted; see [`Tokens::failure`].
    pub fn load(state_dir: &Path) -> io::Result<Tokens> {
        let mut tokens = Tokens::only(Token::load_or_create(state_dir)?);
        tokens.file = Some(state_dir.join(FILE));
        Ok(tokens)
    }

    /// One token and no further ones.
    pub(super) fn only(main: Token) -> Tokens {
        let (fingerprint, known) = (main.fingerprint(), Mutex::default());
        Tokens { main, fingerprint, file: None, known, failure: Mutex::default() }
    }

    /// The main token.
    pub fn main(&self) -> &Token {
        &self.main
    }

    /// The principal of a token. Constant time: a wrong length takes as long as a wrong byte.
    pub(super) fn principal(&self, presented: &str) -> Option<Principal> {
        let mut found = self.main.matches(presented).then(Principal::owner);
        for named in &self.current().named {
            if named.token.matches(presented) {
                found = Some(Principal(named.name.clone()));
            }
        }
        found
    }

    /// The principal whose token has this fingerprint.
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

    /// Why the last read of the file of further tokens failed, if it did: the tokens that it held
    /// before are accepted meanwhile.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The further tokens as the file has them now. The check costs a microsecond, so a removed
    /// token is refused at once. No lock is held during disk access: a slow disk delays only the
    /// request at hand.
    fn current(&self) -> Arc<Known> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lock().clone();
        let Some(path) = &self.file else { return last };
        let (current, failure) = match last.reread(path) {
            Ok(None) => (last, None),
            Ok(Some(changed)) => {
                let changed = Arc::new(changed);
                // Another thread may store an older state after this one; its next check finds that
                // the stamp differs.
                *lock() = changed.clone();
                (changed, None)
            }
            // An error says nothing about the tokens: those known before stay, and the next request
            // reads again.
            Err(error) => (last, Some(format!("{}: {error}", path.display()))),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        current
    }
}

impl Known {
    /// Reads the file again if it has changed; `None`: it has not.
    fn reread(&self, path: &Path) -> io::Result<Option<Known>> {
        let now = match std::fs::symlink_metadata(path) {
            Ok(metadata) => stamp(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.stamp.is_some().then(Known::default));
            }
            Err(error) => return Err(error),
        };
        if self.stamp == Some(now) {
            return Ok(None);
        }
        let same = |stamp: &Stamp| stamp.0 == now.0;
        let file = match &self.file {
            Some(file) if self.stamp.as_ref().is_some_and(same) => file.clone(),
            _ => Arc::new(open(path, OpenOptions::new().read(true))?),
        };
        // The stamp is taken first, so that a change during the read is found at the next check.
        let stamp = stamp(&file.metadata()?);
        let mut bytes = vec![0; usize::try_from(stamp.3).unwrap_or(0)];
        let length = read_at_most(&file, &mut bytes)?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        // A malformed line is ignored; the others still count.
        let named = parse(&text).filter_map(|line| Named::new(line.ok()?)).collect();
        Ok(Some(Known { stamp: Some(stamp), file: Some(file), named }))
    }
}

/// Opens the file without ever blocking: since the directory was checked, something else may have
/// been put in its place, and opening a pipe would wait for a writer.
fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let file = how.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("expected a file, and it is none; remove it"))
}

fn read_at_most(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

impl Named {
    fn new((name, token): (&str, &str)) -> Option<Named> {
        let token = Token::new(token)?;
        Some(Named { name: name.to_owned(), fingerprint: token.fingerprint(), token })
    }
}

fn stamp(file: &Metadata) -> Stamp {
    (file.ino(), file.mtime(), file.mtime_nsec(), file.size())
}

/// Each line's name and token, or the number of a line that has none.
fn parse(text: &str) -> impl Iterator<Item = Result<(&str, &str), usize>> {
    let counts = |line: &str| !line.trim().is_empty() && !line.contains(char::from(STRUCK));
    text.lines().enumerate().filter(move |(_, line)| counts(line)).map(|(at, line)| {
        let parts = line.trim().split_once(' ').map(|(name, token)| (name, token.trim()));
        let good =
            |(name, token): &(&str, &str)| check_name(name).is_ok() && Token::new(token).is_some();
        parts.filter(good).ok_or(at + 1)
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
    let path = state_dir.join(FILE);
    let (_, text) = read(state_dir, OpenOptions::new().read(true))?.unzip();
    let text = text.unwrap_or_default();
    Ok(lines(&path, &text)?.into_iter().map(|(name, _)| name.to_owned()).collect())
}

/// Makes a further token of this name and returns it.
///
/// # Errors
/// The name is not allowed or taken, or the file cannot be used.
pub fn add(state_dir: &Path, name: &str) -> Result<String, TokensError> {
    check_name(name)?;
    let path = state_dir.join(FILE);
    let failed = |error: io::Error| TokensError::Io { path: path.clone(), error };
    let _lock = lock(state_dir)?;
    let (_, text) = read(state_dir, OpenOptions::new().read(true))?.unzip();
    let text = text.unwrap_or_default();
    let named = lines(&path, &text)?;
    if named.iter().any(|(known, _)| *known == name) {
        return Err(TokensError::Taken(name.to_owned()));
    }
    let token = random_hex().map_err(|none| failed(io::Error::other(none)))?;
    let all = named.into_iter().chain([(name, token.as_str())]);
    let text: String = all.map(|(name, token)| format!("{name} {token}\n")).collect();
    write_private(&path, text.as_bytes()).map_err(failed)?;
    Ok(token)
}

/// Removes a further token, and with it all logins that were made with it. Needs no free space.
///
/// # Errors
/// There is none of this name, or the file cannot be used.
pub fn remove(state_dir: &Path, name: &str) -> Result<(), TokensError> {
    if name == Principal::OWNER {
        return Err(TokensError::Main);
    }
    let path = state_dir.join(FILE);
    let unknown = || TokensError::Unknown(name.to_owned());
    let _lock = lock(state_dir)?;
    let opened = read(state_dir, OpenOptions::new().read(true).write(true))?;
    let (file, text) = opened.ok_or_else(unknown)?;
    let begin = text.as_ptr() as usize;
    let places: Vec<_> = lines(&path, &text)?
        .into_iter()
        .filter(|(known, _)| *known == name)
        .map(|(_, token)| (token.as_ptr() as usize - begin, token.len()))
        .map(|(start, length)| start..start + length)
        .collect();
    if places.is_empty() {
        return Err(unknown());
    }
    strike_out(&file, places).map_err(|error| TokensError::Io { path, error })
}

/// Locks the directory: of two processes that change the file at once, one change would be lost.
fn lock(state_dir: &Path) -> Result<Flock<File>, TokensError> {
    let failed = |error: io::Error| TokensError::Io { path: state_dir.to_owned(), error };
    let dir = File::open(state_dir).map_err(failed)?;
    Flock::lock(dir, FlockArg::LockExclusive).map_err(|(_, error)| failed(error.into()))
}

/// The file and its content; `None`: there is none yet.
fn read(state_dir: &Path, how: &mut OpenOptions) -> Result<Option<(File, String)>, TokensError> {
    let path = state_dir.join(FILE);
    let mut text = String::new();
    match open(&path, how).and_then(|mut file| file.read_to_string(&mut text).map(|_| file)) {
        Ok(file) => Ok(Some((file, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && state_dir.is_dir() => Ok(None),
        Err(error) => Err(TokensError::Io { path, error }),
    }
}

fn lines<'a>(path: &Path, text: &'a str) -> Result<Vec<(&'a str, &'a str)>, TokensError> {
    let wrong = |line| TokensError::Line { path: path.to_owned(), line };
    parse(text).map(|line| line.map_err(wrong)).collect()
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
    fn a_removal_that_is_torn_removes() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::load(dir.path()).unwrap();
        let (anna, ben) = (add(dir.path(), "anna").unwrap(), add(dir.path(), "ben").unwrap());
        let path = dir.path().join(FILE);
        let whole = std::fs::read_to_string(&path).unwrap();
        let start = whole.find(&anna).unwrap();
        for torn in 1..=anna.len() {
            // The disk has the beginning of what was written, or the end.
            for from in [start, start + anna.len() - torn] {
                std::fs::write(&path, &whole).unwrap();
                let file = File::options().write(true).open(&path).unwrap();
                strike_out(&file, std::iter::once(from..from + torn)).unwrap();
                let left = std::fs::read_to_string(&path).unwrap();
                let left = left.lines().next().unwrap().strip_prefix("anna ").unwrap().to_owned();
                for lost in [anna.as_str(), &left, left.trim_matches('#')] {
                    assert_eq!(tokens.principal(lost), None, "{torn} at {from}");
                }
                assert_eq!(tokens.principal(&ben), Some(Principal("ben".into())));
                assert_eq!(names(dir.path()).unwrap(), ["ben"]);
            }
        }
    }

    #[test]
    fn a_token_that_is_part_of_another_goes_alone() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::load(dir.path()).unwrap();
        let text = "a sixteen-characters\n# of the build\nb sixteen-characters-2\n";
        std::fs::write(dir.path().join(FILE), text).unwrap();
        remove(dir.path(), "a").unwrap();
        assert_eq!(tokens.principal("sixteen-characters"), None);
        assert_eq!(tokens.principal("sixteen-characters-2"), Some(Principal("b".into())));
        assert!(matches!(remove(dir.path(), "a"), Err(TokensError::Unknown(_))));
    }

    #[test]
    fn a_file_that_cannot_be_read_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::load(dir.path()).unwrap();
        let anna = add(dir.path(), "anna").unwrap();
        assert!(tokens.principal(&anna).is_some());
        let (path, away) = (dir.path().join(FILE), dir.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        std::os::unix::fs::symlink(FILE, &path).unwrap();
        assert!(tokens.principal(&anna).is_some());
        assert!(tokens.failure().is_some_and(|why| why.contains(FILE)));
        std::fs::rename(&away, &path).unwrap();
        remove(dir.path(), "anna").unwrap();
        assert_eq!((tokens.principal(&anna), tokens.failure()), (None, None));
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
