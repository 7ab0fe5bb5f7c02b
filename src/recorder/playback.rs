//! Reads a recording back: all its files as one, or one of them. Only whole lines are returned,
//! even while more are being written.

use super::cast::{self, Header, next_line};
use super::segments;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Take};
use std::path::{Path, PathBuf};

/// Bytes that are read at once; a line or two more may follow.
const CHUNK: usize = 64 << 10;

/// A recording as of the moment it was opened.
#[derive(Debug)]
pub struct Playback {
    /// The files that are not read yet, with their lengths at that moment.
    files: VecDeque<(PathBuf, u64)>,
    current: Option<BufReader<Take<File>>>,
    mode: Mode,
    /// Whether events of input are among the lines.
    with_input: bool,
}

#[derive(Debug)]
enum Mode {
    /// One file, byte by byte.
    Single,
    /// All files as one. `first` is when the first file began, in microseconds of the recording.
    Joined { first: Option<u64>, shift_us: u64, last_us: u64 },
}

impl Playback {
    /// Opens the recording in `dir`, or one file of it; `None` if there is none. Blocks on the
    /// disk, as [`Playback::next_chunk`] does.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn open(
        dir: &Path,
        file: Option<u32>,
        with_input: bool,
    ) -> io::Result<Option<Self>> {
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
        let files = files.into_iter().map(path).collect();
        Ok(Some(Playback { files, current: None, mode, with_input }))
    }

    /// The next lines; `None` at the end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let mut chunk = BytesMut::new();
        while chunk.len() < CHUNK {
            if self.current.is_none() && !self.next_file(&mut chunk)? {
                break;
            }
            let Some(current) = &mut self.current else { continue };
            match next_line(current)? {
                Some(line) if !self.with_input && cast::is_input(&line) => {}
                Some(line) => self.mode.put(&line, &mut chunk),
                None => self.current = None,
            }
        }
        Ok((!chunk.is_empty()).then(|| chunk.freeze()))
    }

    /// Opens the next file that still exists; false if there is none.
    fn next_file(&mut self, chunk: &mut BytesMut) -> io::Result<bool> {
        while let Some((path, length)) = self.files.pop_front() {
            let file = match File::open(path) {
                Ok(file) => file,
                // The oldest files are removed when there are too many.
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
                    // Skip the snapshot: the output shown so far has led to the same screen.
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
    /// Begins a file with this header; true if it is the first.
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
                // A line that is no event was not written by stayd.
                let Some((time_us, rest)) = cast::split_time(line) else { return };
                *last_us = (*last_us).max(time_us.saturating_add(*shift_us));
                chunk.extend_from_slice(&cast::at_time(*last_us, rest));
            }
            Mode::Single => chunk.extend_from_slice(line),
        }
    }
}
