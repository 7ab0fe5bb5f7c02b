//! A recording read back: all its files as one, or one of them. Lines are whole, also while
//! more are being written.

use super::cast::{self, Header, next_line};
use super::segments;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Take};
use std::path::{Path, PathBuf};

/// What is read at once, in bytes: less than a line or two more.
const CHUNK: usize = 64 << 10;

/// A recording as it was when it was opened.
#[derive(Debug)]
pub struct Playback {
    /// Not read yet, with how much of it was there.
    files: VecDeque<(PathBuf, u64)>,
    current: Option<BufReader<Take<File>>>,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// Byte by byte.
    Single,
    /// As one. `first`: when the first file began, in microseconds of the recording.
    Joined { first: Option<u64>, shift_us: u64, last_us: u64 },
}

impl Playback {
    /// Opens the recording in `dir`, or one file of it. `None`: there is no such thing. Waits
    /// for the disk, as does [`Playback::next_chunk`].
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn open(dir: &Path, file: Option<u32>) -> io::Result<Option<Self>> {
        let mut files = match segments::files(dir) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mode = match file {
            Some(_) => Mode::Single,
            None => Mode::Joined { first: None, shift_us: 0, last_us: 0 },
        };
        files.retain(|number, length| file.is_none_or(|file| file == *number) && *length > 0);
        if files.is_empty() {
            return Ok(None);
        }
        let path = |(number, length)| (dir.join(segments::name(number)), length);
        Ok(Some(Playback { files: files.into_iter().map(path).collect(), current: None, mode }))
    }

    /// Some more lines; `None`: that was all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let mut chunk = BytesMut::new();
        while chunk.len() < CHUNK {
            if self.current.is_none() && !self.next_file(&mut chunk)? {
                break;
            }
            let Some(current) = &mut self.current else { continue };
            match next_line(current)? {
                Some(line) => self.mode.put(&line, &mut chunk),
                None => self.current = None,
            }
        }
        Ok((!chunk.is_empty()).then(|| chunk.freeze()))
    }

    /// Opens the next file that is still there; false: there is none.
    fn next_file(&mut self, chunk: &mut BytesMut) -> io::Result<bool> {
        while let Some((path, length)) = self.files.pop_front() {
            let file = match File::open(path) {
                Ok(file) => file,
                // The oldest ones go when there are too many.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut file = BufReader::new(file.take(length));
            if let Mode::Joined { .. } = self.mode {
                let Some(line) = next_line(&mut file)? else { continue };
                let Some(header) = Header::parse(&line) else { continue };
                if self.mode.begin(&header) {
                    chunk.extend_from_slice(&line);
                } else if header.stayd.picture {
                    // What is shown by then says the same.
                    next_line(&mut file)?;
                }
            }
            self.current = Some(file);
            return Ok(true);
        }
        Ok(false)
    }
}

impl Mode {
    /// A file of this header begins; true: it is the first.
    fn begin(&mut self, header: &Header) -> bool {
        let Mode::Joined { first, shift_us, .. } = self else { return false };
        let elapsed = header.stayd.elapsed_us;
        let is_first = first.is_none();
        *shift_us = elapsed.saturating_sub(*first.get_or_insert(elapsed));
        is_first
    }

    fn put(&mut self, line: &[u8], chunk: &mut BytesMut) {
        match self {
            Mode::Joined { shift_us, last_us, .. } => {
                // What is no event was not written by us.
                let Some((time_us, rest)) = cast::split_time(line) else { return };
                *last_us = (*last_us).max(time_us.saturating_add(*shift_us));
                chunk.extend_from_slice(&cast::at_time(*last_us, rest));
            }
            Mode::Single => chunk.extend_from_slice(line),
        }
    }
}
