//! A record of the parts of uploads that are not whole, kept in the state directory, so that those whose
//! client never comes back are removed: a session's directory is known only while the session is there.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use slog::{Logger, info};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// A part of which nothing has come for so long is removed.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The interval at which parts are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// The record: a folder with a small file for each part.
#[derive(Clone, Debug)]
pub struct Parts(Arc<Path>);

/// The record of a part. Device and inode tell whether a file of that name is still the part.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    folder: PathBuf,
    name: String,
    device: u64,
    inode: u64,
}

impl Parts {
    /// The record in this folder, which is made when the first part comes.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Parts(dir.into())
    }

    /// Records a part in this folder, of this path.
    ///
    /// # Errors
    /// The part is gone, or its record cannot be written: the part stays until its client comes back.
    pub fn add(&self, folder: impl AsFd, path: &Path, name: &str) -> io::Result<()> {
        let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let (device, inode) = (stat.st_dev, stat.st_ino);
        let entry = Entry { folder: path.to_owned(), name: name.to_owned(), device, inode };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        fs::write(self.file(path, name), serde_json::to_vec(&entry)?)
    }

    /// Forgets a part that is whole, or that was removed. Without a record there is nothing to do.
    pub fn forget(&self, path: &Path, name: &str) {
        let _ = fs::remove_file(self.file(path, name));
    }

    /// Removes now and then the parts of which nothing has come for a day.
    pub async fn keep_removing(self, log: Logger) {
        loop {
            let parts = self.clone();
            let removed = tokio::task::spawn_blocking(move || parts.remove_old(SystemTime::now()));
            for part in removed.await.unwrap_or_default() {
                info!(log, "removed a part of an upload whose client did not come back"; "part" => part);
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        }
    }

    /// Removes the parts of which nothing has come for a day, and the records of those that are gone.
    /// Returns the paths of the parts.
    fn remove_old(&self, now: SystemTime) -> Vec<String> {
        let mut removed = Vec::new();
        for file in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let text = fs::read(file.path()).unwrap_or_default();
            // One that was being written when the machine stopped.
            let entry = serde_json::from_slice::<Entry>(&text).ok();
            let fate = entry.as_ref().map_or(Fate::Gone, |entry| entry.remove_if_old(now));
            if fate != Fate::Waits {
                let _ = fs::remove_file(file.path());
            }
            if let (Fate::Removed, Some(Entry { folder, name, .. })) = (fate, entry) {
                removed.push(folder.join(name).display().to_string());
            }
        }
        removed
    }

    fn file(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        let key = Uuid::new_v5(&Uuid::NAMESPACE_URL, path.as_os_str().as_encoded_bytes());
        self.0.join(key.simple().to_string())
    }
}

/// The state of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Something has come of it lately, or nobody can say.
    Waits,
    /// It is whole, or somebody has removed it.
    Gone,
    Removed,
}

impl Entry {
    fn remove_if_old(&self, now: SystemTime) -> Fate {
        // What is looked at and what is removed is in one folder, whatever its path means by then.
        let flags = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
        let folder = match open(&self.folder, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Fate::Gone,
            Err(_) => return Fate::Waits,
        };
        let name = self.name.as_str();
        let stat = match fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Fate::Gone,
            Err(_) => return Fate::Waits,
        };
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        let is_it =
            kind == SFlag::S_IFREG && (stat.st_dev, stat.st_ino) == (self.device, self.inode);
        if !is_it {
            return Fate::Gone;
        }
        let written = u64::try_from(stat.st_mtime).unwrap_or_default();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(written);
        // A time in the future is none: the clock was set.
        if now.duration_since(written).unwrap_or_default() < KEPT {
            return Fate::Waits;
        }
        match unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Fate::Removed,
            Err(Errno::ENOENT) => Fate::Gone,
            Err(_) => Fate::Waits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_part_is_removed_after_a_day_and_nothing_else_is() {
        let (state, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let parts = Parts::new(&state.path().join("parts"));
        let folder = File::open(dir.path()).unwrap();
        let at = dir.path().canonicalize().unwrap();
        let path = |name: &str| at.join(name);
        for name in ["old", "whole", "replaced", "not recorded"] {
            fs::write(path(name), "x").unwrap();
            if name != "not recorded" {
                parts.add(&folder, &at, name).unwrap();
            }
        }
        parts.forget(&at, "whole");
        // The inode of the first is in use until then.
        fs::write(path("other"), "mine").unwrap();
        fs::rename(path("other"), path("replaced")).unwrap();
        let now = SystemTime::now();
        let remove = |hours: u64| parts.remove_old(now + Duration::from_secs(hours * 3600));
        assert_eq!(remove(23), [""; 0]);
        assert_eq!(remove(25), [path("old").display().to_string()]);
        assert_eq!(remove(25), [""; 0]);
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["not recorded", "replaced", "whole"]);
        assert_eq!(fs::read_dir(state.path().join("parts")).unwrap().count(), 0);
    }

    #[test]
    fn records_of_what_is_gone_go_too() {
        let (state, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let parts = Parts::new(&state.path().join("parts"));
        assert!(parts.remove_old(SystemTime::now()).is_empty(), "no part has come yet");
        let folder = File::open(dir.path()).unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let at = dir.path().to_owned();
        parts.add(&folder, &at, "a").unwrap();
        drop(dir);
        fs::write(state.path().join("parts").join("torn"), "{").unwrap();
        assert!(parts.remove_old(SystemTime::now()).is_empty());
        assert_eq!(fs::read_dir(state.path().join("parts")).unwrap().count(), 0);
        assert!(parts.add(&folder, &at, "a").is_err(), "it is gone");
    }
}
