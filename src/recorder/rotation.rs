//! From one file of a recording to the next.

use super::cast::{Code, Header, Origin, push_event};
use super::segments::Segments;
use super::session::{Clock, SessionRecorder};
use crate::protocol::SNAPSHOT_MAX;
use crate::screen::Snapshot;
use crate::screens::Inspection;
use crate::text::TextCarry;
use bytes::BytesMut;
use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

/// How long a full file waits for a picture with which the next one begins. Nothing is read
/// from the ring meanwhile.
const PICTURE_LIMIT: Duration = Duration::from_secs(2);

pub(super) type Shown = Inspection<(Snapshot, (u16, u16))>;

/// On the way to the next file.
pub(super) enum Rotation {
    No,
    /// A picture was asked for.
    Asked(Instant, BoxFuture<'static, Option<Shown>>),
    /// It begins at this offset, for this size, with this picture if there is one.
    At(u64, (u16, u16), Option<Vec<u8>>),
}

impl SessionRecorder {
    /// Asks for a picture once the file is full; true: it has not come yet.
    pub(super) fn waits_for_picture(&mut self) -> bool {
        let ends = self.ending.is_some();
        if let Rotation::No = self.turning
            && !ends
            && self.reel.as_ref().is_some_and(|reel| reel.is_full(self.lines.len()))
        {
            let most = SNAPSHOT_MAX.min(self.part());
            let look =
                self.of.reader.inspect(move |screen| (screen.snapshot(0, most), screen.size()));
            self.turning = Rotation::Asked(Instant::now(), look.boxed());
        }
        let Rotation::Asked(since, look) = &mut self.turning else { return false };
        let shown = match look.now_or_never() {
            Some(shown) => shown,
            // What is left, a ring at most, still goes into this file.
            None if ends => {
                self.turning = Rotation::No;
                return false;
            }
            None if since.elapsed() < PICTURE_LIMIT => return true,
            None => None,
        };
        self.turning = self.place(shown);
        false
    }

    /// Where the next file begins, so that the picture fits.
    fn place(&mut self, shown: Option<Shown>) -> Rotation {
        let written = self.written();
        let plain = Rotation::At(written, self.size, None);
        let Some(Inspection { offset, resizes, seen: (snapshot, size) }) = shown else {
            return plain;
        };
        let look = Inspection { offset, resizes, seen: snapshot }.whole(&self.of.ring);
        let (offset, mut picture) = (look.offset, look.seen.bytes);
        if look.seen.partial > 0 {
            return plain;
        }
        let Some(behind) = written.checked_sub(offset).filter(|&behind| behind > 0) else {
            return Rotation::At(offset, size, Some(picture));
        };
        // A screen that is behind the recording, which takes a hopeless emulator: what it
        // has not seen yet is in the ring.
        let mut since = BytesMut::new();
        let resized = self.of.ring.resizes_since(resizes);
        let length = usize::try_from(behind).unwrap_or(usize::MAX);
        match self.of.ring.read(offset, length, &mut since) {
            Ok(read) if read == length && resized.is_empty() && length <= SNAPSHOT_MAX => {
                picture.extend_from_slice(&since);
                Rotation::At(written, size, Some(picture))
            }
            _ => plain,
        }
    }

    pub(super) fn is_at_turn(&self) -> bool {
        matches!(self.turning, Rotation::At(stop, ..) if self.read >= stop)
    }

    /// Begins the next file where the last has come to; false: the disk refuses.
    pub(super) fn turn(&mut self) -> bool {
        let Rotation::At(stop, size, picture) = std::mem::replace(&mut self.turning, Rotation::No)
        else {
            return true;
        };
        let Some(mut reel) = self.reel.take() else { return false };
        let begun = self.begin_file(&mut reel, size, picture.as_deref());
        self.reel = Some(reel);
        match begun {
            Ok(()) => {
                self.accepted();
                true
            }
            Err(error) => {
                self.turning = Rotation::At(stop, size, picture);
                self.refuse(&error)
            }
        }
    }

    /// Begins a file at what is written.
    pub(super) fn begin_file(
        &mut self,
        reel: &mut Segments,
        size: (u16, u16),
        picture: Option<&[u8]>,
    ) -> io::Result<()> {
        let (last, now) = (*reel.position(), Utc::now());
        let shell = std::env::var("SHELL").ok().map(|shell| ("SHELL".to_owned(), shell));
        let term = ("TERM".to_owned(), "xterm-256color".to_owned());
        let elapsed = if last.file > 0 { self.clock.now_us() } else { 0 };
        let header = Header {
            version: 2,
            width: size.0,
            height: size.1,
            timestamp: now.timestamp(),
            title: self.of.title.clone(),
            env: BTreeMap::from_iter([term].into_iter().chain(shell)),
            stayd: Origin {
                session: self.of.id,
                file: last.file + 1,
                offset: self.written(),
                elapsed_us: last.elapsed_us.saturating_add(elapsed),
                picture: picture.is_some(),
            },
        };
        let mut lines = Vec::new();
        if let Some(picture) = picture {
            push_event(&mut lines, 0, Code::Output, &String::from_utf8_lossy(picture));
        }
        reel.turn(&header, &lines, now.timestamp_micros())?;
        // A character that is cut by the end of the last file is read again for this one.
        self.read = self.written();
        self.carry = TextCarry::default();
        self.clock = Clock { at_us: 0, since: Instant::now() };
        let wanted = std::mem::replace(&mut self.size, size);
        self.resize(wanted);
        self.of.hold.wrote(self.read);
        Ok(())
    }
}
