//! The files of one recording: `0001.cast`, `0002.cast` … and `position`, which says how much of
//! the last file is valid and up to which offset of the output the recording goes.
//!
//! `position` is written after the bytes that it counts. A server that opens the recording of a
//! killed one cuts off everything behind the position and continues at its offset, so that nothing
//! is recorded twice, and nothing is missing that is still in the ring.

use super::cast::Header;
use crate::id::SessionId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const POSITION: &str = "position";
/// The fixed length of the position file, in bytes: so short that no reader sees half of a write.
const POSITION_BYTES: usize = 256;
/// The highest number of a file that is believed. No recording gets there: a higher one is damage.
const NUMBER_MAX: u32 = 1 << 30;

/// The limits on a recording's size, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file of this size is followed by the next, which begins where the screen then is: at most
    /// a ring of output later.
    pub file_bytes: u64,
    /// The oldest files are removed so that all together stay below this.
    pub total_bytes: u64,
}

/// The point that a recording has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The last file's number; 0 if there is none yet.
    pub(super) file: u32,
    /// The valid length of the last file; bytes behind it are cut off.
    pub(super) bytes: u64,
    /// Bytes of output recorded since the session's beginning.
    pub(super) offset: u64,
    /// The last event's time, in microseconds since the file's beginning.
    pub(super) time_us: u64,
    /// Microseconds from the recording's beginning to the file's.
    pub(super) elapsed_us: u64,
    /// Unix time of the file's beginning, in microseconds.
    pub(super) begun_us: i64,
    /// Columns.
    pub(super) cols: u16,
    /// Rows.
    pub(super) rows: u16,
}

/// The state in which a recording was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was none.
    New,
    /// It is whole and continues at its position.
    Whole,
    /// Some of it is missing, although stayd never causes that; what is left is kept.
    Damaged,
}

/// One recording, open for writing.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    limits: Limits,
    /// The last file, if it can be appended to.
    cast: Option<File>,
    position_file: File,
    /// The position file's content.
    position: Position,
    /// The numbers of the files before the last, with their lengths.
    older: BTreeMap<u32, u64>,
}

impl Segments {
    /// Opens a recording, or creates its directory. Unless it is found whole, the caller has to
    /// begin the next file before it appends anything.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(super) fn open(dir: &Path, limits: Limits) -> io::Result<(Self, Found)> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let position_file = options().create(true).truncate(false).open(dir.join(POSITION))?;
        let mut files = files(dir)?;
        let last = files.last_key_value().map(|(number, _)| *number);
        let kept = read_position(&position_file)?;
        let (known, mut found) = match (kept, last) {
            (Some(position), _) if position.file == 0 => (position, Found::New),
            (Some(position), _) => (position, Found::Whole),
            (None, None) => (Position::default(), Found::New),
            (None, Some(file)) => (Position { file, ..Position::default() }, Found::Damaged),
        };
        if kept.is_none() && found == Found::New {
            // Written before the first file, so that a file without a position is always damage.
            write_position(&position_file, &known)?;
        }
        for number in files.split_off(&known.file.saturating_add(1)).into_keys() {
            fs::remove_file(dir.join(name(number)))?;
        }
        files.remove(&known.file);
        let mut segments = Segments {
            dir: dir.to_owned(),
            limits,
            cast: None,
            position_file,
            position: known,
            older: files,
        };
        if found == Found::Whole {
            match options().open(segments.path(known.file)) {
                Ok(cast) if cast.metadata()?.len() >= known.bytes => {
                    cast.set_len(known.bytes)?;
                    segments.cast = Some(cast);
                }
                Ok(_) => found = Found::Damaged,
                Err(error) if error.kind() == ErrorKind::NotFound => found = Found::Damaged,
                Err(error) => return Err(error),
            }
        }
        if found == Found::Damaged {
            // The position's count is not to be believed.
            let metadata = fs::metadata(segments.path(known.file));
            segments.position.bytes = metadata.map_or(0, |metadata| metadata.len());
        }
        Ok((segments, found))
    }

    /// The point that the recording has reached.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Whether the last file is full once it has `more` bytes.
    pub(super) fn is_full(&self, more: usize) -> bool {
        self.position.bytes.saturating_add(more as u64) >= self.limits.file_bytes
    }

    /// Appends whole lines, with which all output before `offset` is recorded. After an error the
    /// lines do not count, and may be appended again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn append(
        &mut self,
        lines: &[u8],
        offset: u64,
        time_us: u64,
        (cols, rows): (u16, u16),
    ) -> io::Result<()> {
        let Some(cast) = &self.cast else { return Err(ErrorKind::NotFound.into()) };
        let bytes = self.position.bytes + lines.len() as u64;
        let then = Position { bytes, offset, time_us, cols, rows, ..self.position };
        let written = cast
            .write_all_at(lines, self.position.bytes)
            .and_then(|()| write_position(&self.position_file, &then));
        if written.is_err() {
            // Spare readers the torn line. Even if this fails, the line is overwritten later.
            let _ = cast.set_len(self.position.bytes);
            return written;
        }
        self.position = then;
        if bytes > self.limits.file_bytes {
            self.prune();
        }
        Ok(())
    }

    /// Begins the next file with these lines, of which the first is `header`, and removes the
    /// oldest files if there are too many.
    ///
    /// # Errors
    /// The file cannot be written; the last file is still the last then.
    pub(super) fn begin_file(
        &mut self,
        header: &Header,
        snapshot: &[u8],
        begun_us: i64,
    ) -> io::Result<()> {
        let file = header.stayd.file;
        let lines = [&header.line(), snapshot].concat();
        let then = Position {
            file,
            bytes: lines.len() as u64,
            offset: header.stayd.offset,
            time_us: 0,
            elapsed_us: header.stayd.elapsed_us,
            begun_us,
            cols: header.width,
            rows: header.height,
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.path(file);
        let cast = options().create(true).truncate(true).open(&path)?;
        let written =
            cast.write_all_at(&lines, 0).and_then(|()| write_position(&self.position_file, &then));
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        if self.position.file > 0 {
            self.older.insert(self.position.file, self.position.bytes);
        }
        (self.cast, self.position) = (Some(cast), then);
        self.prune();
        Ok(())
    }

    /// Removes the oldest files, to make room for the last one.
    fn prune(&mut self) {
        let last = self.position.bytes.max(self.limits.file_bytes);
        let room = self.limits.total_bytes.saturating_sub(last);
        while self.older.values().sum::<u64>() > room {
            let Some((number, _)) = self.older.pop_first() else { return };
            // The next server counts again what cannot be removed.
            let _ = fs::remove_file(self.path(number));
        }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(name(number))
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Reads the position; `None` if there is none or it is damaged. A failed read is an error, because
/// it means neither.
fn read_position(file: &File) -> io::Result<Option<Position>> {
    let mut bytes = [0; POSITION_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {
            let position: Option<Position> = serde_json::from_slice(&bytes).ok();
            Ok(position.filter(|position| position.file <= NUMBER_MAX))
        }
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_position(file: &File, position: &Position) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(position)?;
    bytes.resize(POSITION_BYTES - 1, b' ');
    bytes.push(b'\n');
    file.write_all_at(&bytes, 0)
}

/// The name of a file.
pub(super) fn name(number: u32) -> String {
    format!("{number:04}.cast")
}

fn number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".cast")?.parse().ok()?;
    ((1..=NUMBER_MAX).contains(&number) && self::name(number) == name).then_some(number)
}

/// The files of a recording by number, with their lengths.
///
/// # Errors
/// The directory cannot be read.
pub(super) fn files(dir: &Path) -> io::Result<BTreeMap<u32, u64>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(number) {
            match entry.metadata() {
                Ok(metadata) => drop(files.insert(number, metadata.len())),
                // The file may have been removed meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(files)
}

/// Removes a recording, and leaves anything else in its directory.
///
/// # Errors
/// A file cannot be removed. A missing directory is no error.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    };
    match files(dir) {
        Ok(files) => {
            for number in files.into_keys() {
                gone(fs::remove_file(dir.join(name(number))))?;
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    gone(fs::remove_file(dir.join(POSITION)))?;
    gone(fs::remove_dir(dir))
}

/// Whether a directory certainly is the recording of this session, and was last written before
/// `before`: it is the user's own, has nothing else in it, and its files name the session.
pub(super) fn is_old(dir: &Path, id: SessionId, before: SystemTime) -> bool {
    let ours = |path: &Path| {
        let metadata = fs::symlink_metadata(path).ok();
        metadata.filter(|metadata| metadata.uid() == nix::unistd::geteuid().as_raw())
    };
    let is_old = |metadata: &Metadata| metadata.modified().is_ok_and(|at| at < before);
    if !ours(dir).is_some_and(|metadata| metadata.is_dir() && is_old(&metadata)) {
        return false;
    }
    let Ok(entries) = fs::read_dir(dir) else { return false };
    let is_part = |entry: io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        let says_so = || Header::of(&path).is_some_and(|it| it.stayd.session == id);
        let is_ours = ours(&path).is_some_and(|it| it.is_file() && is_old(&it));
        Some(is_ours && (name == POSITION || number(name).is_some() && says_so()))
    };
    entries.map(is_part).all(|part| part == Some(true))
}

#[cfg(test)]
#[path = "segments_tests.rs"]
mod tests;
