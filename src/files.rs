//! Files that clients put into a session's directory, or take from there. An upload comes in pieces,
//! each at its offset, so that it goes on after a lost connection and a restarted server.
//!
//! The directory is the present one of the session's first process, as the kernel knows it: no
//! program can name another one.

mod finished;
mod parts;

pub use finished::{Finished, UploadId};
pub use parts::Parts;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, readlink, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The folder in the directory for uploads that are to be kept apart.
pub const UPLOADS: &str = "uploads";
/// The longest name of an uploaded file, in bytes; the part's name is longer.
const NAME_MAX: usize = 200;
/// The longest name of an upload, in bytes.
const UPLOAD_MAX: usize = 40;
/// How many files of one name are kept apart by a number.
const SAME_NAME_MAX: u32 = 1000;

/// Why it does not work.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The process belongs to somebody else, for whom this server must not read and write.
    #[error("the session runs as another account, whose files this server leaves alone")]
    OtherAccount,
    /// The name of a file or an upload is none.
    #[error("{0}")]
    Name(&'static str),
    /// The upload has so many bytes, and the piece begins elsewhere.
    #[error("{0} bytes of this upload have come")]
    Gap(u64),
    /// It is no regular file.
    #[error("this is not a regular file: only such are read and written")]
    NotAFile,
    /// There are a thousand files of that name.
    #[error("there are too many files of that name")]
    TooMany,
    /// A system call has failed.
    #[error("{}: {}", .0, .1.desc())]
    Os(String, Errno),
}

/// A session's directory, or its folder for uploads.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// An upload under way: which, and of which file.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    /// The client's name for it, by which it goes on: letters, digits and `-`.
    pub key: &'a str,
    /// The name that the file is to have.
    pub name: &'a str,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Folder {
    /// The present directory of a process.
    ///
    /// # Errors
    /// The process is gone, or not ours; its directory cannot be opened.
    pub fn of(process: i32) -> Result<Self, FileError> {
        let path = format!("/proc/{process}");
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let process = open(path.as_str(), flags, Mode::empty()).map_err(os(&path))?;
        if !is_ours(&process).map_err(os(&path))? {
            return Err(FileError::OtherAccount);
        }
        let cwd = openat(&process, "cwd", flags, Mode::empty());
        cwd.map(Folder).map_err(os("the session's directory"))
    }

    /// The folder for uploads in it, which is made if there is none.
    ///
    /// # Errors
    /// It cannot be made, or something else has its name.
    pub fn uploads(&self) -> Result<Self, FileError> {
        match mkdirat(&self.0, UPLOADS, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(FileError::Os(UPLOADS.to_owned(), errno)),
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.0, UPLOADS, flags, Mode::empty()).map(Folder).map_err(os(UPLOADS))
    }

    /// Its path, as this process sees it.
    ///
    /// # Errors
    /// It has been removed, or its path is not UTF-8.
    pub fn path(&self) -> Result<String, FileError> {
        let path = readlink(format!("/proc/self/fd/{}", self.0.as_raw_fd()).as_str());
        let path = path.map_err(os("the session's directory"))?;
        path.into_string().map_err(|_| FileError::Name("the directory's path is not UTF-8"))
    }

    /// Writes a piece of an upload of `total` bytes at its offset; how many bytes of it there are
    /// then. A piece that has come before is written again.
    ///
    /// # Errors
    /// There is a gap before the piece, more has come than `total`, or the piece cannot be written.
    /// The bytes that have come are kept.
    pub fn write(
        &self,
        upload: Upload<'_>,
        offset: u64,
        bytes: &[u8],
        total: u64,
    ) -> Result<u64, FileError> {
        let part = upload.part()?;
        let create = if offset == 0 { OFlag::O_CREAT } else { OFlag::empty() };
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.0, part.as_str(), flags | create, mode()) {
            Err(Errno::ENOENT) if offset > 0 => return Err(FileError::Gap(0)),
            file => file.map_err(os(upload.name))?,
        };
        let there = regular(&fstat(&file).map_err(os(upload.name))?)?;
        if offset > there || there > total {
            return Err(FileError::Gap(there));
        }
        let written = File::from(file).write_all_at(bytes, offset);
        written.map_err(|error| {
            let errno = error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
            FileError::Os(upload.name.to_owned(), errno)
        })?;
        Ok(there.max(offset.saturating_add(bytes.len() as u64)))
    }

    /// Gives an upload that is whole its name, or one with a number if that is taken: nothing is
    /// replaced. Returns the name.
    ///
    /// # Errors
    /// It cannot be renamed; it is kept under the name of a part.
    pub fn finish(&self, upload: Upload<'_>) -> Result<String, FileError> {
        let part = upload.part()?;
        for number in 0..SAME_NAME_MAX {
            let name = numbered(upload.name, number);
            let flags = RenameFlags::RENAME_NOREPLACE;
            match renameat2(&self.0, part.as_str(), &self.0, name.as_str(), flags) {
                Ok(()) => return Ok(name),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(FileError::Os(name, errno)),
            }
        }
        Err(FileError::TooMany)
    }

    /// Removes what has come of an upload.
    ///
    /// # Errors
    /// There is nothing of it, or it cannot be removed.
    pub fn cancel(&self, upload: Upload<'_>) -> Result<(), FileError> {
        let part = upload.part()?;
        unlinkat(&self.0, part.as_str(), UnlinkatFlags::NoRemoveDir).map_err(os(upload.name))
    }

    /// Opens a file for reading, by its path from here on, and says how long it is.
    ///
    /// # Errors
    /// There is none, it is no regular file, or it may not be read.
    pub fn open(&self, path: &str) -> Result<(File, u64), FileError> {
        let problem = || os(path);
        // A device may do something when it is opened, and is none of ours.
        regular(&fstatat(&self.0, path, AtFlags::empty()).map_err(problem())?)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.0, path, flags, Mode::empty()).map_err(problem())?;
        let length = regular(&fstat(&file).map_err(problem())?)?;
        Ok((File::from(file), length))
    }
}

/// Whether all four user ids of a process are this one's: a program that runs as root for somebody else
/// (setuid) has kept the id of that one.
fn is_ours(process: &OwnedFd) -> Result<bool, Errno> {
    let file = openat(process, "status", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    let read = File::from(file).read_to_string(&mut text);
    read.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let ids = text.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let ours = geteuid().to_string();
    Ok(ids.split_whitespace().count() == 4 && ids.split_whitespace().all(|id| id == ours))
}

impl Upload<'_> {
    /// The name of the file as long as it is not whole.
    ///
    /// # Errors
    /// One of the names is none.
    pub fn part(&self) -> Result<String, FileError> {
        let Upload { key, name } = self;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if key.is_empty() || key.len() > UPLOAD_MAX || !key.bytes().all(is_word) {
            let what = "an upload is named by 1 to 40 letters, digits and hyphens";
            return Err(FileError::Name(what));
        }
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(FileError::Name("a file has a name of 1 to 200 bytes"));
        }
        if matches!(*name, "." | "..") || name.contains('/') || name.chars().any(char::is_control) {
            return Err(FileError::Name("a file's name has no / and no control character"));
        }
        Ok(format!(".{name}.{key}.part"))
    }
}

/// The length of a regular file, in bytes; anything else is refused.
fn regular(stat: &FileStat) -> Result<u64, FileError> {
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG {
        return Err(FileError::NotAFile);
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// `report.pdf`, `report (1).pdf` …
fn numbered(name: &str, number: u32) -> String {
    let stem = name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len());
    match number {
        0 => name.to_owned(),
        _ => format!("{} ({number}){}", &name[..stem], &name[stem..]),
    }
}

fn mode() -> Mode {
    Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH
}

fn os(what: &str) -> impl FnOnce(Errno) -> FileError {
    let what = what.to_owned();
    |errno| FileError::Os(what, errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let fd = File::open(dir.path()).unwrap();
        (dir, Folder(fd.into()))
    }

    const REPORT: Upload<'static> = Upload { key: "a-1", name: "report.pdf" };

    #[test]
    fn an_upload_goes_on_where_it_was_and_replaces_nothing() {
        let (dir, folder) = folder();
        fs::write(dir.path().join("report.pdf"), "mine").unwrap();
        assert!(matches!(folder.write(REPORT, 3, b"x", 6), Err(FileError::Gap(0))));
        assert_eq!(folder.write(REPORT, 0, b"one", 6).unwrap(), 3);
        assert!(matches!(folder.write(REPORT, 4, b"x", 6), Err(FileError::Gap(3))));
        assert_eq!(folder.write(REPORT, 0, b"one", 6).unwrap(), 3, "the answer was lost");
        assert_eq!(folder.write(REPORT, 3, b"two", 6).unwrap(), 6);
        assert!(matches!(folder.write(REPORT, 0, b"on", 2), Err(FileError::Gap(6))));
        assert_eq!(folder.finish(REPORT).unwrap(), "report (1).pdf");
        assert_eq!(fs::read(dir.path().join("report (1).pdf")).unwrap(), b"onetwo");
        assert_eq!(fs::read(dir.path().join("report.pdf")).unwrap(), b"mine");
        assert!(matches!(folder.finish(REPORT), Err(FileError::Os(_, Errno::ENOENT))));
    }

    #[test]
    fn what_is_cancelled_leaves_nothing() {
        let (dir, folder) = folder();
        folder.write(REPORT, 0, b"one", 6).unwrap();
        folder.cancel(REPORT).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(folder.cancel(REPORT).is_err());
    }

    #[test]
    fn names_lead_nowhere_else() {
        let (dir, folder) = folder();
        let long = "x".repeat(201);
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a\nb", "a\0b", &long] {
            let upload = Upload { key: "a", name };
            assert!(matches!(folder.write(upload, 0, b"", 0), Err(FileError::Name(_))), "{name:?}");
        }
        for key in ["", "a/b", "..", &"x".repeat(41)] {
            let upload = Upload { key, name: "a" };
            assert!(matches!(folder.write(upload, 0, b"", 0), Err(FileError::Name(_))), "{key:?}");
        }
        // Somebody has put a link where the part is to be, and where the folder is to be.
        let outside = dir.path().join("outside");
        symlink(&outside, dir.path().join(".a.a.part")).unwrap();
        symlink("/tmp", dir.path().join(UPLOADS)).unwrap();
        let upload = Upload { key: "a", name: "a" };
        assert!(matches!(folder.write(upload, 0, b"x", 1), Err(FileError::Os(..))));
        assert!(matches!(folder.uploads(), Err(FileError::Os(..))));
        assert!(!outside.exists());
    }

    #[test]
    fn only_regular_files_are_read() {
        let (dir, folder) = folder();
        fs::write(dir.path().join("file"), "text").unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), mode()).unwrap();
        assert_eq!(folder.open("file").unwrap().1, 4);
        assert!(matches!(folder.open("pipe"), Err(FileError::NotAFile)));
        assert!(matches!(folder.open("."), Err(FileError::NotAFile)));
        assert!(matches!(folder.open("none"), Err(FileError::Os(_, Errno::ENOENT))));
        assert_eq!(folder.path().unwrap(), dir.path().canonicalize().unwrap().to_str().unwrap());
    }

    #[test]
    fn numbers_stand_before_the_extension() {
        let names = ["a.tar.gz", "a", ".profile"].map(|name| numbered(name, 2));
        assert_eq!(names, ["a.tar (2).gz", "a (2)", ".profile (2)"]);
    }
}
