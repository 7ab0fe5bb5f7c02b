//! One session's recording, on the recorder's thread.

use super::cast::{Code, push_event};
use super::rotation::Rotation;
use super::segments::{Found, Limits, Segments};
use super::tail_gate::TailGate;
use crate::id::{ClientKey, SessionId};
use crate::metrics::Metrics;
use crate::ring::{Reader, Resize};
use crate::screens::ScreenReader;
use crate::text::TextCarry;
use bytes::BytesMut;
use chrono::Utc;
use slog::{Logger, info, warn};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Output in one event, in bytes.
const EVENT: usize = 64 << 10;
/// Lines that are written at once, in bytes, and the longest that they wait for more.
const BATCH: usize = 256 << 10;
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
/// Of a small file an event, a batch and a picture are at most this part each.
const PART: u64 = 8;
/// How long an ended session's recording is tried to be completed.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Clients whose input is told apart.
const TYPISTS_MAX: usize = 64;

/// What a tape begins with.
pub(super) struct RecorderConfig {
    pub(super) id: SessionId,
    /// Of several tapes of one session, the later.
    pub(super) generation: u64,
    pub(super) dir: PathBuf,
    pub(super) limits: Limits,
    pub(super) ring: Arc<Reader>,
    pub(super) hold: Arc<TailGate>,
    pub(super) reader: ScreenReader,
    /// Columns and rows, where the ring does not say.
    pub(super) size: (u16, u16),
    pub(super) title: Option<String>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Logger,
}

pub(super) struct SessionRecorder {
    pub(super) of: RecorderConfig,
    pub(super) reel: Option<Segments>,
    pub(super) clock: Clock,
    /// All output before it is in `lines`, or held back in `carry`.
    pub(super) read: u64,
    pub(super) carry: TextCarry,
    pub(super) size: (u16, u16),
    resizes: VecDeque<Resize>,
    resizes_seen: u64,
    /// Not written yet, and since when.
    pub(super) lines: Vec<u8>,
    waiting: Option<Instant>,
    /// When the disk last refused something.
    refused: Option<Instant>,
    pub(super) turning: Rotation,
    changed: Instant,
    pub(super) ending: Option<Ending>,
    /// Who waits until all before an offset is written.
    awaited: Vec<(u64, oneshot::Sender<()>)>,
    typists: HashMap<ClientKey, Typist>,
    input_lost: u64,
    scratch: BytesMut,
}

/// Time since the file's beginning; it never goes back.
pub(super) struct Clock {
    pub(super) at_us: u64,
    pub(super) since: Instant,
}

impl Clock {
    pub(super) fn now_us(&self) -> u64 {
        let passed = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.at_us.saturating_add(passed)
    }
}

pub(super) struct Ending {
    until: Instant,
    tell: Vec<oneshot::Sender<()>>,
}

/// How far a client's input is recorded.
#[derive(Default)]
struct Typist {
    end: u64,
    carry: TextCarry,
}

impl SessionRecorder {
    pub(super) fn new(of: RecorderConfig) -> Self {
        let now = Instant::now();
        SessionRecorder {
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
            turning: Rotation::No,
            changed: now,
            ending: None,
            awaited: Vec::new(),
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
            || !self.awaited.is_empty()
            || !matches!(self.turning, Rotation::No)
            || self.of.ring.head() > self.read
    }

    /// Records what there is; `all`: and writes it, however little it is. True: there was so
    /// much that there will be more by now.
    pub(super) fn look(&mut self, all: bool) -> bool {
        let more = self.record(all || !self.awaited.is_empty());
        if self.lines.is_empty() {
            let read = self.read;
            for (_, tell) in self.awaited.extract_if(.., |(offset, _)| *offset <= read) {
                // Whoever asked may have gone.
                let _ = tell.send(());
            }
        }
        more
    }

    /// Told once all that was printed until now is written.
    pub(super) fn flush_for(&mut self, tell: oneshot::Sender<()>) {
        self.awaited.push((self.of.ring.head(), tell));
    }

    fn record(&mut self, all: bool) -> bool {
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
        // What was printed before goes before it. On a busy machine what comes of it may, too:
        // the order is as good as the times are, a tick of the thread.
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
    pub(super) fn written(&self) -> u64 {
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
        let (mut reel, found) = Segments::open(&self.of.dir, self.of.limits)?;
        let (ring, position) = (&self.of.ring, *reel.position());
        let (base, known) = (ring.base(), position.begun_us != 0);
        let from = match found {
            Found::New => base,
            _ if known => position.offset.min(ring.head()),
            // It cannot be known. Nobody has let go of what follows the tail.
            _ => ring.tail(),
        };
        // The ring of an earlier program is gone, and perhaps nobody has seen its head.
        let ended_short = from < base;
        self.read = from.max(base);
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
            if ended_short {
                self.push(Code::Marker, "gap: the end of an earlier program's output");
            }
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
            let stop = if let Rotation::At(stop, ..) = self.turning { stop } else { u64::MAX };
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

    pub(super) fn part(&self) -> usize {
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

    pub(super) fn resize(&mut self, size: (u16, u16)) {
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

    pub(super) fn refuse(&mut self, error: &io::Error) -> bool {
        if self.refused.replace(Instant::now()).is_none() {
            warn!(self.of.log, "a recording cannot be written; the terminal goes on";
                "session" => %self.of.id, "dir" => %self.of.dir.display(), "error" => %error);
        }
        false
    }

    pub(super) fn accepted(&mut self) {
        if self.refused.take().is_some() {
            info!(self.of.log, "a recording is written again"; "session" => %self.of.id);
        }
    }
}
