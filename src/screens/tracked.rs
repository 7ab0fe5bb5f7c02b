//! One session's screen on its thread.

use super::checkpoints::{Checkpoint, Checkpoints};
use super::compressed::CompressedScreen;
use super::contained::{ContainedScreen, Failed};
use super::early::{EarlyUpdates, may_ask};
use super::events::{EventSink, ScreenEvents, thin};
use super::faults::{Fault, strike};
use super::inspection::Inspection;
use super::source::OutputSource;
use crate::holder::{self, CheckpointMeta, Holder};
use crate::id::{ClientKey, SessionId};
use crate::pending::Pending;
use crate::ring::Reader;
use crate::screen::{Applied, Event, Options, PlainRun, Screen};
use crate::tree::boottime_ms;
use bytes::BytesMut;
use slog::{Logger, warn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The most output that is emulated or skipped between two readings of the clock, in bytes.
const BATCH: usize = 256 << 10;
/// The output that is looked through at once, in bytes: it stays in the processor's cache.
const LOOK: usize = 64 << 10;
/// The end of a run in which the place is searched from which the rest need not be emulated, in
/// bytes: twice what a thousand lines usually take.
const SKIP_FROM: u64 = 128 << 10;
/// The longest time for one update, while the other screens of the thread wait.
const UPDATE_LIMIT: Duration = Duration::from_millis(100);
/// A session's screen is updated at every tick for this long after its last output.
const BUSY: Duration = Duration::from_millis(300);
/// Reply bytes that may wait for a program that does not read them. Beyond this its output has to
/// wait as well, as on a real terminal.
const REPLIES_MAX: usize = 64 << 10;
/// The time, in milliseconds, that a client's terminal may take to answer a query it was shown.
const LATELY_MS: u64 = 5000;

/// When the program's cursor position query was last answered, on CLOCK_BOOTTIME in milliseconds; 0
/// if it never was. The screen's thread writes it, and the session reads it.
#[derive(Clone, Default)]
pub(super) struct CursorReports(Arc<AtomicU64>);

impl CursorReports {
    fn reported_now(&self) {
        self.0.store(boottime_ms(), Ordering::Relaxed);
    }

    pub(super) fn was_lately(&self) -> bool {
        let reported = self.0.load(Ordering::Relaxed);
        reported > 0 && boottime_ms().saturating_sub(reported) < LATELY_MS
    }
}

/// Identifies a screen. A session whose command is started again gets another screen, and readers
/// of the first one must not read the second.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ScreenKey(pub(super) u64);

/// The state from which a screen starts.
pub struct Origin {
    /// The session's id.
    pub id: SessionId,
    /// The session's output.
    pub ring: Arc<Reader>,
    /// The present size, columns and rows.
    pub size: (u16, u16),
    /// The checkpoint that an earlier server left with the holder.
    pub checkpoint: Option<holder::Checkpoint>,
    /// Whether an earlier server has reported the events of the output so far.
    pub restored: bool,
    /// The emulator's options, such as the length of the scrollback.
    pub options: Options,
    /// Receives the screen's events.
    pub events: EventSink,
}

/// Reads the screen. The closure owns the sender of the answer: when it is dropped unused, the
/// caller learns that there is no screen.
pub(super) type Inspect = Box<dyn FnOnce(Inspection<&Screen>) + Send>;

/// Output that only prints, returns, feeds lines and changes the pen. It is looked through at once,
/// and emulated when somebody looks at the screen, when something else follows, or when the program
/// pauses. Before that most of a long run is skipped.
struct Run {
    /// The offset of its end.
    end: u64,
    /// The offset that its end has to reach before some of it is skipped.
    skip_at: u64,
}

pub(super) struct TrackedScreen {
    pub(super) key: ScreenKey,
    pub(super) id: SessionId,
    ring: OutputSource,
    screen: ContainedScreen,
    /// The offset up to which the output has been emulated.
    cursor: u64,
    /// The plain run behind it, if there is one that may go on.
    run: Option<Run>,
    /// Whether the screen shows lines that were skipped, so that nobody may look at it.
    shows_skipped: bool,
    /// The number of resizes applied.
    resizes: u64,
    replies: Pending,
    checkpoints: Checkpoints,
    /// The offset up to which an earlier server has reported the events.
    reported: u64,
    /// The ring's head at the last update.
    head: u64,
    /// When a nudge or an update last found something new.
    changed: Instant,
    early: EarlyUpdates,
    events: EventSink,
    cursor_reports: CursorReports,
    log: Logger,
}

impl TrackedScreen {
    pub(super) fn new(
        key: ScreenKey,
        origin: Origin,
        cursor_reports: CursorReports,
        log: Logger,
    ) -> Self {
        let (base, head) = (origin.ring.base(), origin.ring.head());
        let first = origin.ring.resizes_since(0).first().copied();
        let size = first.map_or(origin.size, |first| (first.cols, first.rows));
        let meta = origin.checkpoint.as_ref().map(|checkpoint| checkpoint.meta);
        let (cursor, resizes) = meta.map_or((base, 0), |meta| (meta.offset, meta.resizes));
        let compressed = origin.checkpoint.as_ref().map_or_else(
            || CompressedScreen::blank(size),
            |checkpoint| starting_screen(checkpoint, size, origin.id, &log),
        );
        TrackedScreen {
            key,
            id: origin.id,
            screen: ContainedScreen::new(origin.id, origin.options, compressed, log.clone()),
            cursor,
            run: None,
            // The checkpoint may be of such a screen. What it lacks is in the ring.
            shows_skipped: true,
            resizes,
            replies: Pending::starting_at(meta.map_or(0, |meta| meta.replies)),
            checkpoints: Checkpoints::starting_at(cursor, resizes),
            reported: if origin.restored { head } else { base },
            head,
            changed: Instant::now(),
            early: EarlyUpdates::new(),
            events: origin.events,
            cursor_reports,
            ring: OutputSource::new(origin.ring),
            log,
        }
    }

    /// Notes that there is output or a new size, or will be in a moment.
    pub(super) fn nudge(&mut self, now: Instant) {
        if now.duration_since(self.changed) >= BUSY {
            self.early.refill();
        }
        self.changed = now;
    }

    /// Whether the output since the last update may contain a query, so that it should not wait for
    /// the next update.
    pub(super) fn may_ask(&mut self, scratch: &mut BytesMut) -> bool {
        let seen = self.seen();
        let new = self.ring.head().saturating_sub(seen);
        let Some(length) = self.early.spend(new) else { return false };
        scratch.clear();
        self.ring.read(seen, length, scratch).is_ok() && may_ask(scratch)
    }

    /// Takes new output, sends replies and events, and compresses the screen once it was without
    /// output for `compress_after`. If somebody looks, all output is emulated that can be in the
    /// time. Returns a checkpoint for the holder if one is due.
    pub(super) fn update(
        &mut self,
        now: Instant,
        somebody_looks: bool,
        compress_after: Duration,
        holder: &Holder,
        scratch: &mut BytesMut,
    ) -> Option<Checkpoint> {
        let head = self.ring.head();
        if head != self.head || self.ring.resize_count() != self.resizes {
            self.head = head;
            self.changed = now;
            self.early.found_output();
        } else {
            self.early.found_nothing();
        }
        let ended = self.ring.ended().is_some();
        let quiet = now.duration_since(self.changed);
        let all = somebody_looks || ended || quiet >= BUSY;
        self.catch_up(all, scratch);
        if !ended {
            if self.early.any_left() {
                // Request the notice before the last read: output that arrives between a read
                // and a later request would bring none.
                self.ring.request_watch(self.seen() + 1);
                self.catch_up(all, scratch);
            }
            self.reply(holder);
        }
        self.shorten_run(scratch);
        if quiet >= BUSY {
            // Pages that its clients have read are mapped, too.
            self.ring.let_go();
        }
        let idle = quiet >= compress_after;
        // The ring gets the skipped output back at once.
        let wanted = idle && self.is_open()
            || self.shows_skipped && !self.checkpoints.has(self.cursor, self.resizes);
        if !self.checkpoints.is_time(now, self.cursor, self.ring.capacity(), wanted) {
            return None;
        }
        if idle {
            self.screen.close(self.cursor);
        }
        if ended {
            // The program has ended and all its output is in the ring. The holder may already know
            // another program under this session's id.
            return None;
        }
        self.checkpoint(now)
    }

    /// Whether there was output a moment ago, or replies or a checkpoint still wait.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        now.duration_since(self.changed) < BUSY
            || self.can_reach(self.latest())
            || !self.replies.is_empty()
            || self.checkpoints.has_failed()
    }

    /// Whether the screen is open, and has to be compressed once it is idle.
    pub(super) fn is_open(&self) -> bool {
        self.screen.is_open()
    }

    /// The session's present point: bytes of output, and resizes.
    pub(super) fn latest(&self) -> (u64, u64) {
        // The order matters: every resize counted here stands at or before the head read next.
        let resizes = self.ring.resize_count();
        (self.ring.head(), resizes)
    }

    /// Whether the screen has not reached this point yet, and another update would bring it closer.
    pub(super) fn can_reach(&self, (head, resizes): (u64, u64)) -> bool {
        (self.cursor < head || self.resizes < resizes) && !self.has_too_many_replies()
    }

    /// Lets `inspect` read the screen as of the last update, unless the screen was given up.
    pub(super) fn show(&mut self, inspect: Inspect) {
        let (offset, resizes) = (self.cursor, self.resizes);
        self.screen.read(offset, |seen| inspect(Inspection { offset, resizes, seen }));
    }

    /// Notes that the holder has taken the checkpoint in flight, or never will.
    pub(super) fn checkpoint_finished(&mut self, taken: bool) {
        // Output that was read until now is hardly read again.
        self.ring.let_go();
        self.checkpoints.finished(taken, Instant::now());
    }

    /// Panics outside any guard if a test has asked for that.
    pub(super) fn strike_thread(&self) {
        self.screen.strike_thread();
    }

    fn has_too_many_replies(&self) -> bool {
        self.replies.len() >= REPLIES_MAX
    }

    /// The offset up to which the output was looked through.
    fn seen(&self) -> u64 {
        self.run.as_ref().map_or(self.cursor, |run| run.end)
    }

    /// Emulates output. A plain run at its end is only looked through, unless `all` is wanted.
    fn catch_up(&mut self, all: bool, scratch: &mut BytesMut) {
        let started = Instant::now();
        while !self.has_too_many_replies() {
            // Nobody may see a screen that shows what was skipped. What it lacks is fast.
            let is_patient = all && self.shows_skipped;
            let is_late = || started.elapsed() >= UPDATE_LIMIT && !is_patient;
            if is_late() {
                return;
            }
            // The order matters: a resize that comes later stands at or behind this head.
            let head = self.ring.head();
            let resize = self.ring.resizes_since(self.resizes).first().copied();
            if let Some(resize) = resize.filter(|resize| resize.offset <= self.cursor) {
                self.resizes += 1;
                self.change("it was resized", |screen, _| {
                    strike(Fault::Resize, screen);
                    screen.resize(resize.cols, resize.rows);
                });
                continue;
            }
            let mut end = resize.map_or(head, |resize| resize.offset.min(head));
            if self.cursor < self.reported {
                // A batch must not mix events that were reported with events that were not.
                end = end.min(self.reported);
            }
            // A run ends where anything else comes next.
            let leave_run = !all && end == head && resize.is_none();
            if leave_run && self.extend_run(end, scratch) {
                return;
            }
            self.skip(scratch);
            let run_has_ended = self.run.take().is_some();
            let length = usize::try_from(end - self.cursor).unwrap_or(BATCH).min(BATCH);
            if length == 0 {
                return;
            }
            // A run that has ended is emulated, whatever follows.
            let leave_run = leave_run && !run_has_ended;
            scratch.clear();
            if self.ring.read(self.cursor, length, scratch).is_ok() {
                let enough = || {
                    // Yield: an echo on another thread cannot wait a whole time slice for a core,
                    // and nobody waits for this screen.
                    std::thread::yield_now();
                    is_late()
                };
                let mut applied = Applied { bytes: length, run: None };
                self.change("it took output", |screen, events| {
                    strike(Fault::Feed, screen);
                    if leave_run {
                        applied = screen.feed_to_run(scratch, events, enough);
                    } else {
                        applied.bytes = screen.feed_skipping(scratch, events, enough);
                    }
                });
                self.cursor += applied.bytes as u64;
                self.run = applied.run.map(|length| Run {
                    end: self.cursor + length as u64,
                    skip_at: self.cursor + self.skip_after(),
                });
            } else {
                let oldest = self.ring.oldest();
                warn!(self.log, "output was lost to a screen"; "session" => %self.id,
                    "from" => self.cursor, "to" => oldest);
                self.cursor = oldest;
            }
        }
    }

    /// Looks how far the present run goes. Returns whether it may go on at `end`.
    fn extend_run(&mut self, end: u64, scratch: &mut BytesMut) -> bool {
        let Some(run) = &mut self.run else { return false };
        loop {
            let length = usize::try_from(end - run.end).unwrap_or(LOOK).min(LOOK);
            scratch.clear();
            if self.ring.read(run.end, length, scratch).is_err() {
                return false;
            }
            let more = PlainRun::of(scratch);
            run.end += more.length as u64;
            if !more.may_go_on || run.end == end || more.length == 0 {
                return more.may_go_on;
            }
        }
    }

    /// The length of a run of which some is skipped: as often as checkpoints are due, since the
    /// ring has to keep what is neither emulated nor skipped.
    fn skip_after(&self) -> u64 {
        self.ring.capacity() / 4
    }

    /// Skips some of a run that has become long, or emulates it.
    fn shorten_run(&mut self, scratch: &mut BytesMut) {
        let Some(run) = self.run.as_ref().filter(|run| run.end >= run.skip_at) else { return };
        let end = run.end;
        if self.skip(scratch) {
            self.run = Some(Run { end, skip_at: end + self.skip_after() });
        } else {
            self.catch_up(true, scratch);
        }
    }

    /// Skips what need not be emulated of the present run. Returns whether it has skipped anything.
    fn skip(&mut self, scratch: &mut BytesMut) -> bool {
        let Some(end) = self.run.as_ref().map(|run| run.end) else { return false };
        let left_max = usize::try_from(self.skip_after()).unwrap_or(usize::MAX);
        // The end of the run is nearly always enough.
        let mut window = SKIP_FROM;
        let skipped = loop {
            let start = end.saturating_sub(window).max(self.cursor);
            let (length, is_whole) = ((end - start) as usize, start == self.cursor);
            scratch.clear();
            if self.ring.read(start, length, scratch).is_err() {
                break None;
            }
            let mut cut = None;
            self.change("it skipped output", |screen, _| {
                cut = screen.skip(scratch, is_whole, left_max);
            });
            if cut.is_some() || is_whole {
                break cut.map(|cut| start + cut as u64);
            }
            window *= 2;
        };
        self.cursor = skipped.unwrap_or(self.cursor);
        skipped.is_some()
    }

    /// Lets the emulator apply output or a size, and reports the events.
    fn change(&mut self, what: &str, work: impl FnOnce(&mut Screen, &mut Vec<Event>)) {
        let again = self.cursor < self.reported;
        let mut found = Vec::new();
        self.shows_skipped = false;
        self.screen.change(what, self.cursor, |screen| {
            work(screen, &mut found);
            self.shows_skipped = screen.shows_skipped();
        });
        let mut events = Vec::new();
        for event in found {
            match event {
                Event::Reply(bytes) => {
                    if bytes.ends_with(b"R") {
                        self.cursor_reports.reported_now();
                    }
                    self.replies.push(&bytes);
                    self.early.refill();
                }
                Event::Title(_) | Event::Cwd(_) => events.push(event),
                _ if again => {}
                _ => events.push(event),
            }
        }
        thin(&mut events);
        if !events.is_empty() {
            (self.events)(ScreenEvents { events, again });
        }
    }

    fn reply(&mut self, holder: &Holder) {
        if self.replies.is_empty() {
            return;
        }
        if let Some(input) = self.ring.input(ClientKey::REPLIES) {
            self.replies.settle(input, self.ring.input_free() > 0);
        }
        while let Some(piece) = self.replies.next_piece() {
            holder.input(self.id, ClientKey::REPLIES, piece.offset, piece.bytes);
        }
    }

    /// A checkpoint of the present screen, unless the holder has that one already.
    fn checkpoint(&mut self, now: Instant) -> Option<Checkpoint> {
        if self.checkpoints.has(self.cursor, self.resizes) {
            return None;
        }
        let compressed = match self.screen.compressed(self.cursor) {
            Ok(compressed) => compressed,
            Err(Failed) => {
                // The emulator failed. The empty screen that is left gets its checkpoint a moment
                // later.
                self.checkpoints.failed_at(now);
                return None;
            }
        };
        if compressed.as_ref().is_some_and(|compressed| !compressed.is_complete()) {
            warn!(self.log, "a screen is too large to be kept whole: the holder has less of the \
                lines that are far from the cursor"; "session" => %self.id, "offset" => self.cursor);
        }
        self.checkpoints.sent(self.cursor, self.resizes);
        // A screen that was given up leaves neither bytes nor a size.
        let (cols, rows) = compressed.as_ref().map_or((0, 0), CompressedScreen::size);
        let meta = CheckpointMeta {
            offset: self.cursor,
            replies: self.replies.end(),
            resizes: self.resizes,
            cols,
            rows,
        };
        Some((meta, compressed.map_or_else(Vec::new, CompressedScreen::into_bytes)))
    }
}

/// The screen of a checkpoint, or an empty one of `size` if the checkpoint is unreadable or has no
/// screen.
fn starting_screen(
    checkpoint: &holder::Checkpoint,
    size: (u16, u16),
    id: SessionId,
    log: &Logger,
) -> CompressedScreen {
    let meta = checkpoint.meta;
    let size = if meta.cols == 0 { size } else { (meta.cols, meta.rows) };
    match checkpoint.read() {
        Ok(bytes) if !bytes.is_empty() => CompressedScreen::kept(bytes, size),
        Ok(_) => CompressedScreen::blank(size),
        Err(error) => {
            warn!(log, "a checkpoint cannot be read; the screen begins empty";
                "session" => %id, "error" => %error);
            CompressedScreen::blank(size)
        }
    }
}
