//! One session's recording, on the recorder's thread.

use super::cast::{Code, Header, Origin, push_event};
use super::rotation::{NextFile, Rotation};
use super::segments::{Found, Limits, Segments};
use super::tail_gate::TailGate;
use super::typed::RecordedInput;
use crate::id::{ClientKey, SessionId};
use crate::metrics::Metrics;
use crate::protocol::SNAPSHOT_MAX;
use crate::ring::{Reader, Resize};
use crate::screens::ScreenReader;
use crate::text::TextCarry;
use bytes::BytesMut;
use chrono::Utc;
use slog::{Logger, info, warn};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The most output in one event, in bytes.
const EVENT: usize = 64 << 10;
/// Lines are written once they take this many bytes, or once the first has waited for a while.
const BATCH: usize = 256 << 10;
const FLUSH_AFTER: Duration = Duration::from_millis(250);
/// Lines that may wait for a disk, in bytes; input beyond it is lost.
const LINES_MAX: usize = 4 << 20;
/// The pause between a failed write and the next attempt.
const RETRY: Duration = Duration::from_millis(250);
/// The longest time for one update, while the other recordings wait.
const UPDATE_LIMIT: Duration = Duration::from_millis(50);
/// A recording is updated at every tick for this long after its last output. Its session nudges it
/// every quarter of a second while there is more output.
const BUSY: Duration = Duration::from_millis(600);
/// An event, a batch and a snapshot are each at most this part of a small file.
const PART: u64 = 8;
/// The longest that the recorder tries to complete the recording of an ended session.
const END_LIMIT: Duration = Duration::from_secs(10);

/// What a session's recorder is started with.
pub(super) struct RecorderConfig {
    pub(super) id: SessionId,
    /// The recorder's generation: of two recorders for one session, the later has the higher one.
    pub(super) generation: u64,
    pub(super) dir: PathBuf,
    pub(super) limits: Limits,
    pub(super) ring: Arc<Reader>,
    pub(super) gate: Arc<TailGate>,
    pub(super) reader: ScreenReader,
    /// Columns and rows, used if the ring has no resize.
    pub(super) size: (u16, u16),
    pub(super) title: Option<String>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Logger,
}

pub(super) struct SessionRecorder {
    pub(super) config: RecorderConfig,
    /// The recording's files; `None` until they could be opened.
    segments: Option<Segments>,
    clock: Clock,
    /// The offset up to which output is in `lines`, or held back in `carry`.
    read: u64,
    carry: TextCarry,
    /// Columns and rows after the events so far.
    size: (u16, u16),
    /// Resizes from the ring that are not recorded yet.
    resizes: VecDeque<Resize>,
    /// The number of resizes taken from the ring.
    resizes_taken: u64,
    /// Events that are not written yet.
    lines: Vec<u8>,
    /// When the first of `lines` was added.
    lines_since: Option<Instant>,
    /// When the disk last failed; `None` once a write succeeds.
    failed: Option<Instant>,
    rotation: Rotation,
    /// When a nudge or an update last found output.
    changed: Instant,
    /// Set once the session has ended.
    finishing: Option<Finishing>,
    /// Callers of a flush, who wait until all output before an offset is written.
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    input: RecordedInput,
    /// Bytes of input that were lost since the last write.
    input_lost: u64,
    scratch: BytesMut,
}

/// Time since the file's beginning; it never goes back.
struct Clock {
    /// The time at `since`, in microseconds since the file's beginning.
    at_us: u64,
    since: Instant,
}

impl Clock {
    fn now_us(&self) -> u64 {
        let passed = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.at_us.saturating_add(passed)
    }
}

struct Finishing {
    /// The moment at which the rest of the output is given up.
    until: Instant,
    tell: Vec<oneshot::Sender<()>>,
}

impl SessionRecorder {
    pub(super) fn new(config: RecorderConfig) -> Self {
        let now = Instant::now();
        SessionRecorder {
            size: config.size,
            config,
            segments: None,
            clock: Clock { at_us: 0, since: now },
            read: 0,
            carry: TextCarry::default(),
            resizes: VecDeque::new(),
            resizes_taken: 0,
            lines: Vec::new(),
            lines_since: None,
            failed: None,
            rotation: Rotation::No,
            changed: now,
            finishing: None,
            flushes: Vec::new(),
            input: RecordedInput::default(),
            input_lost: 0,
            scratch: BytesMut::new(),
        }
    }

    /// Notes that there is output or a new size, or will be in a moment.
    pub(super) fn nudge(&mut self) {
        self.changed = Instant::now();
    }

    /// Whether there was output a moment ago, or something still has to be written.
    pub(super) fn is_busy(&self) -> bool {
        self.changed.elapsed() < BUSY
            || !self.lines.is_empty()
            || self.segments.is_none()
            || self.failed.is_some()
            || self.finishing.is_some()
            || !self.flushes.is_empty()
            || self.rotation.is_under_way()
            || self.config.ring.head() > self.read
    }

    /// Records new output. With `all` it is written at once, however little it is. Returns true if
    /// there was so much that more has probably come meanwhile.
    pub(super) fn update(&mut self, all: bool) -> bool {
        let more = self.record(all || !self.flushes.is_empty());
        if self.lines.is_empty() {
            let read = self.read;
            for (_, tell) in self.flushes.extract_if(.., |(offset, _)| *offset <= read) {
                // The caller may have gone.
                let _ = tell.send(());
            }
        }
        more
    }

    /// Sends to `tell` once all output up to now is written.
    pub(super) fn flush_for(&mut self, tell: oneshot::Sender<()>) {
        self.flushes.push((self.config.ring.head(), tell));
    }

    fn record(&mut self, all: bool) -> bool {
        let (started, from) = (Instant::now(), self.read);
        if self.failed.is_some_and(|last| !all && last.elapsed() < RETRY) || !self.ensure_open() {
            return false;
        }
        while started.elapsed() < UPDATE_LIMIT {
            let waits = self.awaits_snapshot();
            let more = !waits && self.read_output();
            let due = self.lines_since.is_some_and(|since| since.elapsed() >= FLUSH_AFTER);
            let rotates = self.rotation.stop().is_some_and(|stop| self.read >= stop);
            if (more || due || all || rotates) && !self.flush() {
                return false;
            }
            if rotates && !self.rotate() {
                return false;
            }
            if waits || !(more || rotates) {
                break;
            }
        }
        if self.lines.is_empty() && self.lines.capacity() > BATCH {
            self.lines = Vec::new();
        }
        self.read.saturating_sub(from) >= self.config.ring.capacity() / 8
    }

    /// Records that a client types `bytes`, which begin at `offset` of its input.
    pub(super) fn typed(&mut self, key: ClientKey, offset: u64, bytes: &[u8]) {
        // Record earlier output first. On a busy machine this may already include the program's
        // answer: the order is only as exact as the times, which is one tick.
        self.update(false);
        let Some(new) = self.input.new_bytes(key, offset, bytes) else { return };
        if self.segments.is_none() || self.lines.len() >= LINES_MAX {
            self.input_lost += new.len() as u64;
            return;
        }
        let text = self.input.text(key, new);
        if !text.is_empty() {
            self.push(Code::Input, &text);
        }
    }

    /// Notes that this many bytes of input did not reach the recorder.
    pub(super) fn missed_input(&mut self, bytes: u64) {
        self.input_lost += bytes;
    }

    /// Notes that the session has ended, and sends to `tell` once all of its output is written.
    pub(super) fn finish(&mut self, tell: oneshot::Sender<()>) {
        let until = Instant::now() + END_LIMIT;
        let finishing = self.finishing.get_or_insert_with(|| Finishing { until, tell: Vec::new() });
        finishing.tell.push(tell);
    }

    /// Whether the session has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.finishing.is_some()
    }

    /// Whether the session has ended, and everything is written or given up.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(finishing) = &mut self.finishing else { return false };
        let is_written = self.segments.is_some()
            && self.lines.is_empty()
            && self.carry.held() == 0
            && self.read == self.config.ring.head();
        if is_written {
            for tell in finishing.tell.drain(..) {
                // The caller may have gone.
                let _ = tell.send(());
            }
            return true;
        }
        if Instant::now() < finishing.until {
            return false;
        }
        let lost = self.config.ring.head().saturating_sub(self.written());
        self.config.metrics.recording_gaps.inc_by(lost);
        warn!(self.config.log, "the end of a recording could not be written";
            "session" => %self.config.id, "bytes" => lost);
        true
    }

    /// The offset up to which output is in `lines`, or written.
    fn written(&self) -> u64 {
        self.read - self.carry.held() as u64
    }

    /// Opens the recording if it is not open; false if the disk fails.
    fn ensure_open(&mut self) -> bool {
        if self.segments.is_some() {
            return true;
        }
        let opened = self.open();
        self.note_disk(opened)
    }

    fn open(&mut self) -> io::Result<()> {
        let (mut segments, found) = Segments::open(&self.config.dir, self.config.limits)?;
        let (ring, position) = (&self.config.ring, *segments.position());
        let (base, known) = (ring.base(), position.begun_us != 0);
        let from = match found {
            Found::New => base,
            _ if known => position.offset.min(ring.head()),
            // The offset is unknown. The ring's tail does not pass what is not recorded, so
            // everything unrecorded is still in the ring.
            _ => ring.tail(),
        };
        // The earlier program's ring is gone, and its last output may not have been recorded.
        let ended_short = from < base;
        self.read = from.max(base);
        self.resizes_taken = ring.resize_count();
        self.resizes = ring.resizes_since(0).into();
        let behind = self.resizes.partition_point(|resize| resize.offset <= self.read);
        let then = self.resizes.drain(..behind).next_back();
        let size = then.map_or(self.size, |resize| (resize.cols, resize.rows));
        if found == Found::Whole {
            let passed = Utc::now().timestamp_micros().saturating_sub(position.begun_us);
            let passed = u64::try_from(passed).unwrap_or(0);
            self.clock = Clock { at_us: passed.max(position.time_us), since: Instant::now() };
            self.size = (position.cols, position.rows);
            self.segments = Some(segments);
            if ended_short {
                self.push(Code::Marker, "gap: the end of an earlier program's output");
            }
            self.resize(size);
            return Ok(());
        }
        self.size = size;
        self.clock = Clock { at_us: position.time_us, since: Instant::now() };
        self.begin_file(&mut segments, size, None)?;
        self.segments = Some(segments);
        if found == Found::Damaged {
            warn!(self.config.log, "a recording was damaged, and goes on in a new file";
                "session" => %self.config.id, "dir" => %self.config.dir.display());
            self.push(Code::Marker, "gap: the recording was damaged");
        }
        Ok(())
    }

    /// Requests a snapshot once the file is full; true if it has not come yet.
    fn awaits_snapshot(&mut self) -> bool {
        let (ends, written) = (self.finishing.is_some(), self.written());
        if !self.rotation.is_under_way()
            && !ends
            && self.segments.as_ref().is_some_and(|segments| segments.is_full(self.lines.len()))
        {
            self.rotation = Rotation::start(&self.config.reader, SNAPSHOT_MAX.min(self.part()));
        }
        self.rotation.awaits_snapshot(ends, &self.config.ring, written, self.size)
    }

    /// Begins the next file where the last one ends; false if the disk fails.
    fn rotate(&mut self) -> bool {
        let rotation = std::mem::replace(&mut self.rotation, Rotation::No);
        let Rotation::Until(next) = rotation else { return true };
        let NextFile { size, snapshot, .. } = &next;
        let Some(mut segments) = self.segments.take() else { return false };
        let begun = self.begin_file(&mut segments, *size, snapshot.as_deref());
        self.segments = Some(segments);
        if begun.is_err() {
            self.rotation = Rotation::Until(next);
        }
        self.note_disk(begun)
    }

    /// Begins a file at the offset up to which output is written.
    fn begin_file(
        &mut self,
        segments: &mut Segments,
        size: (u16, u16),
        snapshot: Option<&[u8]>,
    ) -> io::Result<()> {
        let (last, now) = (*segments.position(), Utc::now());
        let shell = std::env::var("SHELL").ok().map(|shell| ("SHELL".to_owned(), shell));
        let term = ("TERM".to_owned(), "xterm-256color".to_owned());
        let elapsed = if last.file > 0 { self.clock.now_us() } else { 0 };
        let header = Header {
            version: 2,
            width: size.0,
            height: size.1,
            timestamp: now.timestamp(),
            title: self.config.title.clone(),
            env: BTreeMap::from_iter([term].into_iter().chain(shell)),
            stayd: Origin {
                session: self.config.id,
                file: last.file + 1,
                offset: self.written(),
                elapsed_us: last.elapsed_us.saturating_add(elapsed),
                picture: snapshot.is_some(),
            },
        };
        let mut lines = Vec::new();
        if let Some(snapshot) = snapshot {
            push_event(&mut lines, 0, Code::Output, &String::from_utf8_lossy(snapshot));
        }
        segments.begin_file(&header, &lines, now.timestamp_micros())?;
        // The end of the last file has cut a character, which the next file repeats.
        self.read = self.written();
        self.carry = TextCarry::default();
        self.clock = Clock { at_us: 0, since: Instant::now() };
        let recorded = std::mem::replace(&mut self.size, size);
        self.resize(recorded);
        self.config.gate.wrote(self.read);
        Ok(())
    }

    /// Reads new output, up to a batch or the beginning of the next file; true if there is more.
    fn read_output(&mut self) -> bool {
        let ring = self.config.ring.clone();
        let (batch, event) = (BATCH.min(self.part()), EVENT.min(self.part()));
        while self.lines.len() < batch {
            // The order matters: a resize that comes later stands at or behind this head.
            let head = ring.head();
            let count = ring.resize_count();
            if count != self.resizes_taken {
                self.resizes.extend(ring.resizes_since(self.resizes_taken));
                self.resizes_taken = count;
            }
            while let Some(resize) = self.resizes.front().filter(|next| next.offset <= self.read) {
                let size = (resize.cols, resize.rows);
                self.resizes.pop_front();
                self.resize(size);
            }
            let next = self.resizes.front().map_or(u64::MAX, |resize| resize.offset);
            let stop = self.rotation.stop().unwrap_or(u64::MAX);
            let available = head.min(next).min(stop).saturating_sub(self.read);
            let length = usize::try_from(available).unwrap_or(event).min(event);
            if length == 0 {
                if self.finishing.is_some() && self.carry.held() > 0 {
                    // No more output can complete the character.
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

    /// The most bytes that an event, a batch and a snapshot may each take of a file.
    fn part(&self) -> usize {
        usize::try_from(self.config.limits.file_bytes / PART).unwrap_or(usize::MAX)
    }

    /// Notes that all output before `to` that is not recorded is lost.
    fn gap(&mut self, to: u64) {
        let lost = to.saturating_sub(self.written());
        self.carry = TextCarry::default();
        self.read = to.max(self.read);
        self.config.metrics.recording_gaps.inc_by(lost);
        warn!(self.config.log, "output was lost to a recording"; "session" => %self.config.id,
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
            self.lines_since = Some(Instant::now());
        }
        push_event(&mut self.lines, self.clock.now_us(), code, data);
    }

    /// Writes the lines; false if the disk fails.
    fn flush(&mut self) -> bool {
        if self.input_lost > 0 {
            let lost = std::mem::take(&mut self.input_lost);
            self.config.metrics.recording_gaps.inc_by(lost);
            self.push(Code::Marker, &format!("gap: {lost} bytes of input"));
        }
        let (offset, time_us) = (self.written(), self.clock.now_us());
        let Some(segments) = &mut self.segments else { return false };
        if self.lines.is_empty() && offset == segments.position().offset {
            return true;
        }
        let before = segments.position().offset;
        let appended = segments.append(&self.lines, offset, time_us, self.size);
        if appended.is_ok() {
            self.config.metrics.recorded.inc_by(offset.saturating_sub(before));
            self.lines.clear();
            self.lines_since = None;
            self.config.gate.wrote(offset);
        }
        self.note_disk(appended)
    }

    /// Notes, and logs once, whether the disk works; false: it fails.
    fn note_disk(&mut self, written: io::Result<()>) -> bool {
        let config = &self.config;
        match &written {
            Ok(()) if self.failed.take().is_some() => {
                info!(config.log, "a recording is written again"; "session" => %config.id);
            }
            Err(error) if self.failed.replace(Instant::now()).is_none() => {
                warn!(config.log, "a recording cannot be written; the terminal goes on";
                    "session" => %config.id, "dir" => %config.dir.display(), "error" => %error);
            }
            _ => {}
        }
        written.is_ok()
    }
}
