//! One session's recording, on the recorder's thread.

use super::cast::{Code, Header, Origin, push_event};
use super::hold::Hold;
use super::reel::{Found, Limits, Reel};
use crate::id::{ClientKey, SessionId};
use crate::keeper::{Look, Looker};
use crate::metrics::Metrics;
use crate::protocol::SNAPSHOT_MAX;
use crate::ring::{Reader, Resize};
use crate::screen::Snapshot;
use crate::text::TextCarry;
use bytes::BytesMut;
use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use slog::{Logger, info, warn};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Output in one event, in bytes.
const EVENT: usize = 64 << 10;
/// Lines that are written at once, in bytes, and the longest that they wait for more.
const BATCH: usize = 256 << 10;
/// Of a small file an event, a batch and a picture are at most this part each.
const PART: u64 = 8;
const FLUSH_AFTER: Duration = Duration::from_millis(250);
/// Lines that may wait for a disk, in bytes; what is typed beyond it is lost.
const LINES_MAX: usize = 4 << 20;
/// How soon a disk that did not take something is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How long a look may take: so long the other recordings wait.
const LOOK_LIMIT: Duration = Duration::from_millis(50);
/// How long after its last output a session is looked at often. Its session looks each
/// quarter of a second whether there is more.
const BUSY: Duration = Duration::from_millis(600);
/// How long a full file waits for a picture with which the next one begins. Nothing is read
/// from the ring meanwhile.
const PICTURE_LIMIT: Duration = Duration::from_secs(2);
/// How long an ended session's recording is tried to be completed.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Clients whose input is told apart.
const TYPISTS_MAX: usize = 64;

/// What a tape begins with.
pub(super) struct Blank {
    pub(super) id: SessionId,
    /// Of several tapes of one session, the later.
    pub(super) generation: u64,
    pub(super) dir: PathBuf,
    pub(super) limits: Limits,
    pub(super) ring: Arc<Reader>,
    pub(super) hold: Arc<Hold>,
    pub(super) looker: Looker,
    /// Columns and rows, where the ring does not say.
    pub(super) size: (u16, u16),
    pub(super) title: Option<String>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Logger,
}

pub(super) struct Tape {
    pub(super) of: Blank,
    reel: Option<Reel>,
    clock: Clock,
    /// All output before it is in `lines`, or held back in `carry`.
    read: u64,
    carry: TextCarry,
    size: (u16, u16),
    resizes: VecDeque<Resize>,
    resizes_seen: u64,
    /// Not written yet, and since when.
    lines: Vec<u8>,
    waiting: Option<Instant>,
    /// When the disk last refused something.
    refused: Option<Instant>,
    turning: Turning,
    changed: Instant,
    ending: Option<Ending>,
    typists: HashMap<ClientKey, Typist>,
    input_lost: u64,
    scratch: BytesMut,
}

/// Time since the file's beginning; it never goes back.
struct Clock {
    at_us: u64,
    since: Instant,
}

impl Clock {
    fn now_us(&self) -> u64 {
        let passed = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.at_us.saturating_add(passed)
    }
}

type Shown = Look<(Snapshot, (u16, u16))>;

/// On the way to the next file.
enum Turning {
    No,
    /// A picture was asked for.
    Asked(Instant, BoxFuture<'static, Option<Shown>>),
    /// It begins at this offset, for this size, with this picture if there is one.
    At(u64, (u16, u16), Option<Vec<u8>>),
}

struct Ending {
    until: Instant,
    tell: Vec<oneshot::Sender<()>>,
}

/// How far a client's input is recorded.
#[derive(Default)]
struct Typist {
    end: u64,
    carry: TextCarry,
}

impl Tape {
    pub(super) fn new(of: Blank) -> Self {
        let now = Instant::now();
        Tape {
            size: of.size,
            of,
            reel: None,
            clock: Clock { at_us: 0, since: now },
            read: 0,
            carry: TextCarry::default(),
            resizes: VecDeque::new(),
            resizes_seen: 0,
            lines: Vec::new(),
            waiting: None,
            refused: None,
            turning: Turning::No,
            changed: now,
            ending: None,
            typists: HashMap::new(),
            input_lost: 0,
            scratch: BytesMut::new(),
        }
    }

    /// There is, or will be in a moment, something to look at.
    pub(super) fn nudge(&mut self) {
        self.changed = Instant::now();
    }

    /// There was output a moment ago, or something waits.
    pub(super) fn is_busy(&self) -> bool {
        self.changed.elapsed() < BUSY
            || !self.lines.is_empty()
            || self.reel.is_none()
            || self.refused.is_some()
            || self.ending.is_some()
            || !matches!(self.turning, Turning::No)
            || self.of.ring.head() > self.read
    }

    /// Records what there is; `all`: and writes it, however little it is. True: there was so
    /// much that there will be more by now.
    pub(super) fn look(&mut self, all: bool) -> bool {
        let (started, from) = (Instant::now(), self.read);
        if self.refused.is_some_and(|last| !all && last.elapsed() < RETRY) || !self.opened() {
            return false;
        }
        while started.elapsed() < LOOK_LIMIT {
            let waits = self.waits_for_picture();
            let more = !waits && self.pull();
            let due = self.waiting.is_some_and(|since| since.elapsed() >= FLUSH_AFTER);
            let turns = self.is_at_turn();
            if (more || due || all || turns) && !self.flush() {
                return false;
            }
            if turns && !self.turn() {
                return false;
            }
            if waits || !(more || turns) {
                break;
            }
        }
        if self.lines.is_empty() && self.lines.capacity() > BATCH {
            self.lines = Vec::new();
        }
        self.read.saturating_sub(from) >= self.of.ring.capacity() / 8
    }

    /// Somebody types: `bytes` begin at `offset` of this client's input.
    pub(super) fn typed(&mut self, key: ClientKey, offset: u64, bytes: &[u8]) {
        // What was printed before goes before it.
        self.look(false);
        if self.typists.len() >= TYPISTS_MAX && !self.typists.contains_key(&key) {
            self.typists.clear();
        }
        let typist = self.typists.entry(key).or_default();
        // A piece that the holder had no room for is sent again.
        let known = usize::try_from(typist.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) else { return };
        typist.end = offset.saturating_add(bytes.len() as u64);
        if self.reel.is_none() || self.lines.len() >= LINES_MAX {
            self.input_lost += new.len() as u64;
            return;
        }
        let text = typist.carry.feed(new);
        if !text.is_empty() {
            self.push(Code::Input, &text);
        }
    }

    /// So much of what was typed did not come here.
    pub(super) fn missed_input(&mut self, bytes: u64) {
        self.input_lost += bytes;
    }

    /// The session has ended. Told once all of its output is written.
    pub(super) fn finish(&mut self, tell: oneshot::Sender<()>) {
        let until = Instant::now() + END_LIMIT;
        let ending = self.ending.get_or_insert_with(|| Ending { until, tell: Vec::new() });
        ending.tell.push(tell);
    }

    /// Whether the session has ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether it has ended, and all is written that can be.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(ending) = &mut self.ending else { return false };
        let is_written = self.reel.is_some()
            && self.lines.is_empty()
            && self.carry.held() == 0
            && self.read == self.of.ring.head();
        if is_written {
            for tell in ending.tell.drain(..) {
                // Whoever waited may have gone.
                let _ = tell.send(());
            }
            return true;
        }
        if Instant::now() < ending.until {
            return false;
        }
        let lost = self.of.ring.head().saturating_sub(self.written());
        self.of.metrics.recording_gaps.inc_by(lost);
        warn!(self.of.log, "the end of a recording could not be written";
            "session" => %self.of.id, "bytes" => lost);
        true
    }

    /// All output before it is in `lines`, or written.
    fn written(&self) -> u64 {
        self.read - self.carry.held() as u64
    }

    /// Opens the recording if it is not; false: the disk refuses.
    fn opened(&mut self) -> bool {
        if self.reel.is_some() {
            return true;
        }
        match self.open() {
            Ok(()) => {
                self.accepted();
                true
            }
            Err(error) => self.refuse(&error),
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let (mut reel, found) = Reel::open(&self.of.dir, self.of.limits)?;
        let (ring, position) = (&self.of.ring, *reel.position());
        let (tail, head) = (ring.oldest().max(ring.tail()), ring.head());
        let known = position.begun_us != 0;
        self.read = if known { position.offset.min(head) } else { tail };
        self.resizes_seen = ring.resize_count();
        self.resizes = ring.resizes_since(0).into();
        let behind = self.resizes.partition_point(|resize| resize.offset <= self.read);
        let then = self.resizes.drain(..behind).next_back();
        let size = then.map_or(self.size, |resize| (resize.cols, resize.rows));
        if found == Found::Whole {
            let passed = Utc::now().timestamp_micros().saturating_sub(position.begun_us);
            let passed = u64::try_from(passed).unwrap_or(0);
            self.clock = Clock { at_us: passed.max(position.time_us), since: Instant::now() };
            self.size = (position.cols, position.rows);
            self.reel = Some(reel);
            self.begin_again();
            self.resize(size);
            return Ok(());
        }
        self.size = size;
        self.clock = Clock { at_us: position.time_us, since: Instant::now() };
        self.begin_file(&mut reel, size, None)?;
        self.reel = Some(reel);
        if found == Found::Damaged {
            warn!(self.of.log, "a recording was damaged, and goes on in a new file";
                "session" => %self.of.id, "dir" => %self.of.dir.display());
            self.push(Code::Marker, "gap: the recording was damaged");
        }
        Ok(())
    }

    /// Goes on with the output of another program where the end of the last one's is lost: its
    /// ring is gone, and perhaps nobody has seen how much there was.
    fn begin_again(&mut self) {
        let base = self.of.ring.base();
        if self.read < base {
            self.read = base;
            self.push(Code::Marker, "gap: the end of an earlier program's output");
        }
    }

    /// Reads what the ring has, up to a batch or the next file; true: there is more.
    fn pull(&mut self) -> bool {
        let ring = self.of.ring.clone();
        let (batch, event) = (BATCH.min(self.part()), EVENT.min(self.part()));
        while self.lines.len() < batch {
            // In this order: a resize that comes later has its place at or behind this head.
            let head = ring.head();
            let count = ring.resize_count();
            if count != self.resizes_seen {
                self.resizes.extend(ring.resizes_since(self.resizes_seen));
                self.resizes_seen = count;
            }
            while let Some(resize) = self.resizes.front().filter(|next| next.offset <= self.read) {
                let size = (resize.cols, resize.rows);
                self.resizes.pop_front();
                self.resize(size);
            }
            let next = self.resizes.front().map_or(u64::MAX, |resize| resize.offset);
            let stop = if let Turning::At(stop, ..) = self.turning { stop } else { u64::MAX };
            let available = head.min(next).min(stop).saturating_sub(self.read);
            let length = usize::try_from(available).unwrap_or(event).min(event);
            if length == 0 {
                if self.ending.is_some() && self.carry.held() > 0 {
                    // Nothing more comes that could complete it.
                    let text = self.carry.finish().map(String::from);
                    self.push(Code::Output, &text.unwrap_or_default());
                }
                return false;
            }
            self.scratch.clear();
            if ring.read(self.read, length, &mut self.scratch).is_err() {
                self.gap(ring.oldest());
                continue;
            }
            self.changed = Instant::now();
            self.read += length as u64;
            let text = self.carry.feed(&self.scratch);
            if !text.is_empty() {
                self.push(Code::Output, &text);
            }
        }
        true
    }

    fn part(&self) -> usize {
        usize::try_from(self.of.limits.file_bytes / PART).unwrap_or(usize::MAX)
    }

    /// All output before `to` that is not recorded is lost.
    fn gap(&mut self, to: u64) {
        let lost = to.saturating_sub(self.written());
        self.carry = TextCarry::default();
        self.read = to.max(self.read);
        self.of.metrics.recording_gaps.inc_by(lost);
        warn!(self.of.log, "output was lost to a recording"; "session" => %self.of.id,
            "bytes" => lost);
        self.push(Code::Marker, &format!("gap: {lost} bytes"));
    }

    fn resize(&mut self, size: (u16, u16)) {
        if self.size != size {
            self.size = size;
            self.push(Code::Resize, &format!("{}x{}", size.0, size.1));
        }
    }

    fn push(&mut self, code: Code, data: &str) {
        if self.lines.is_empty() {
            self.waiting = Some(Instant::now());
        }
        push_event(&mut self.lines, self.clock.now_us(), code, data);
    }

    /// Writes the lines; false: the disk refuses.
    fn flush(&mut self) -> bool {
        if self.input_lost > 0 {
            let lost = std::mem::take(&mut self.input_lost);
            self.of.metrics.recording_gaps.inc_by(lost);
            self.push(Code::Marker, &format!("gap: {lost} bytes of input"));
        }
        let (offset, time_us) = (self.written(), self.clock.now_us());
        let Some(reel) = &mut self.reel else { return false };
        if self.lines.is_empty() && offset == reel.position().offset {
            return true;
        }
        let before = reel.position().offset;
        if let Err(error) = reel.append(&self.lines, offset, time_us, self.size) {
            return self.refuse(&error);
        }
        self.of.metrics.recorded.inc_by(offset.saturating_sub(before));
        self.lines.clear();
        self.waiting = None;
        self.of.hold.wrote(offset);
        self.accepted();
        true
    }

    fn refuse(&mut self, error: &io::Error) -> bool {
        if self.refused.replace(Instant::now()).is_none() {
            warn!(self.of.log, "a recording cannot be written; the terminal goes on";
                "session" => %self.of.id, "dir" => %self.of.dir.display(), "error" => %error);
        }
        false
    }

    fn accepted(&mut self) {
        if self.refused.take().is_some() {
            info!(self.of.log, "a recording is written again"; "session" => %self.of.id);
        }
    }

    /// Asks for a picture once the file is full; true: it has not come yet.
    fn waits_for_picture(&mut self) -> bool {
        let ends = self.ending.is_some();
        if let Turning::No = self.turning
            && !ends
            && self.reel.as_ref().is_some_and(|reel| reel.is_full(self.lines.len()))
        {
            let most = SNAPSHOT_MAX.min(self.part());
            let look = self.of.looker.look(move |screen| (screen.snapshot(0, most), screen.size()));
            self.turning = Turning::Asked(Instant::now(), look.boxed());
        }
        let Turning::Asked(since, look) = &mut self.turning else { return false };
        let shown = match look.now_or_never() {
            Some(shown) => shown,
            // What is left, a ring at most, still goes into this file.
            None if ends => {
                self.turning = Turning::No;
                return false;
            }
            None if since.elapsed() < PICTURE_LIMIT => return true,
            None => None,
        };
        self.turning = self.place(shown);
        false
    }

    /// Where the next file begins, so that the picture fits.
    fn place(&mut self, shown: Option<Shown>) -> Turning {
        let written = self.written();
        let plain = Turning::At(written, self.size, None);
        let Some(Look { offset, resizes, seen: (snapshot, size) }) = shown else { return plain };
        let look = Look { offset, resizes, seen: snapshot }.whole(&self.of.ring);
        let (offset, mut picture) = (look.offset, look.seen.bytes);
        if look.seen.partial > 0 {
            return plain;
        }
        let Some(behind) = written.checked_sub(offset).filter(|&behind| behind > 0) else {
            return Turning::At(offset, size, Some(picture));
        };
        // A screen that is behind the recording, which takes a hopeless emulator: what it
        // has not seen yet is in the ring.
        let mut since = BytesMut::new();
        let resized = self.of.ring.resizes_since(resizes);
        let length = usize::try_from(behind).unwrap_or(usize::MAX);
        match self.of.ring.read(offset, length, &mut since) {
            Ok(read) if read == length && resized.is_empty() && length <= SNAPSHOT_MAX => {
                picture.extend_from_slice(&since);
                Turning::At(written, size, Some(picture))
            }
            _ => plain,
        }
    }

    fn is_at_turn(&self) -> bool {
        matches!(self.turning, Turning::At(stop, ..) if self.read >= stop)
    }

    /// Begins the next file where the last has come to; false: the disk refuses.
    fn turn(&mut self) -> bool {
        let Turning::At(stop, size, picture) = std::mem::replace(&mut self.turning, Turning::No)
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
                self.turning = Turning::At(stop, size, picture);
                self.refuse(&error)
            }
        }
    }

    /// Begins a file at what is written.
    fn begin_file(
        &mut self,
        reel: &mut Reel,
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
