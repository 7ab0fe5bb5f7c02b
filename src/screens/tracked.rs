//! One session's screen on its thread.

use super::compressed::CompressedScreen;
use super::faults::{Fault, strike};
use super::guard::guarded;
use super::handle::{CursorReports, Look, Place};
use crate::holder::{Checkpoint, CheckpointMeta, Holder};
use crate::id::{ClientKey, SessionId};
use crate::pending::Pending;
use crate::ring::Reader;
use crate::screen::{Event, Options, Screen};
use bytes::BytesMut;
use slog::{Logger, error, warn};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes emulated between two looks at the clock, and the most that is skipped at once.
const BATCH: usize = 1 << 20;
/// How long one batch may take, which ends soon after [`LOOK_LIMIT`]: a screen that needs
/// longer is broken.
const BATCH_LIMIT: Duration = Duration::from_secs(10);
/// How long one look may take: so long the other screens of a thread wait.
const LOOK_LIMIT: Duration = Duration::from_millis(100);
/// How long after its last output a session is looked at often.
const BUSY: Duration = Duration::from_millis(300);
/// How long after a checkpoint was refused it is left again: what is short of memory or
/// descriptors is not helped by haste.
const RETRY: Duration = Duration::from_millis(500);
/// A screen that has failed so often is given up.
const FAILURES_MAX: u8 = 2;
/// The most output in which a question is looked for before it is time to look, in bytes:
/// what asks is a program that begins, or redraws.
const QUESTION_MAX: u64 = 4 << 10;
/// Looks that may come before their time, which cost a notice from the holder each. Output
/// without long pauses uses them up.
const EARLY_LOOKS: u8 = 8;
/// So many looks that find nothing new give one of them back.
const QUIET_LOOKS: u8 = 6;
/// Reply bytes that may wait for a program that does not read them, before its output has
/// to wait as well, as on a real terminal.
const REPLIES_MAX: usize = 64 << 10;

/// Where the session hears of what happens on its screen.
pub type Events = Box<dyn Fn(ScreenEvents) + Send>;

/// What happened on a screen.
#[derive(Debug)]
pub struct ScreenEvents {
    /// In the order of the stream. Of what one look finds, only one bell and the last title
    /// and directory are told: a flood of them says no more.
    pub events: Vec<Event>,
    /// An earlier server has told it: titles and directories alone, because they last.
    pub again: bool,
}

/// What a screen starts from.
pub struct Origin {
    /// Whose screen.
    pub id: SessionId,
    /// Its output.
    pub ring: Arc<Reader>,
    /// Columns and rows now.
    pub size: (u16, u16),
    /// What an earlier server left with the holder.
    pub checkpoint: Option<Checkpoint>,
    /// Whether an earlier server has told what happened before.
    pub restored: bool,
    /// How much the screen keeps.
    pub options: Options,
    /// Whom to tell.
    pub events: Events,
}

enum State {
    Live(Box<Screen>),
    CompressedScreen(CompressedScreen),
    /// It failed too often: the session goes on with bytes alone.
    Degraded,
}

/// Does something with the screen, which is not there in vain: who waits for what it finds
/// hears that there is no screen once this is dropped.
pub(super) type Show = Box<dyn FnOnce(Look<&Screen>) + Send>;

/// What a holder is to keep.
pub(super) type Left = (CheckpointMeta, Vec<u8>);

pub(super) struct TrackedScreen {
    pub(super) place: Place,
    pub(super) id: SessionId,
    ring: Arc<Reader>,
    state: State,
    /// All output before it has been emulated.
    cursor: u64,
    /// Resizes that have been applied.
    resizes: u64,
    replies: Pending,
    checkpoint: Checkpointed,
    /// Since when the holder lacks the last one: it is left again.
    refused: Option<Instant>,
    /// Events of output before this offset were told by an earlier server.
    told: u64,
    head: u64,
    changed: Instant,
    failures: u8,
    /// Looks left that may come before their time. Some that find nothing new give one back,
    /// a long pause and an answer all of them.
    early_looks: u8,
    /// Looks in a row that have found nothing new.
    quiet_looks: u8,
    /// Written down it would not be whole: it stays open until it changes.
    too_large: bool,
    options: Options,
    events: Events,
    told_cursor: CursorReports,
    log: Logger,
}

/// Where the last checkpoint was made.
struct Checkpointed {
    offset: u64,
    resizes: u64,
    /// It is on its way to the holder.
    under_way: bool,
}

impl TrackedScreen {
    pub(super) fn new(
        place: Place,
        origin: Origin,
        told_cursor: CursorReports,
        log: Logger,
    ) -> Self {
        let (base, head) = (origin.ring.base(), origin.ring.head());
        let first = origin.ring.resizes_since(0).first().copied();
        let size = first.map_or(origin.size, |first| (first.cols, first.rows));
        let mut kept = TrackedScreen {
            place,
            id: origin.id,
            state: State::CompressedScreen(CompressedScreen::blank(size)),
            cursor: base,
            resizes: 0,
            replies: Pending::starting_at(0),
            checkpoint: Checkpointed { offset: base, resizes: 0, under_way: false },
            refused: None,
            told: if origin.restored { head } else { base },
            head,
            changed: Instant::now(),
            failures: 0,
            early_looks: EARLY_LOOKS,
            quiet_looks: 0,
            too_large: false,
            options: origin.options,
            events: origin.events,
            told_cursor,
            ring: origin.ring,
            log,
        };
        if let Some(checkpoint) = origin.checkpoint {
            kept.resume(&checkpoint, size);
        }
        kept
    }

    fn resume(&mut self, checkpoint: &Checkpoint, size: (u16, u16)) {
        let meta = checkpoint.meta;
        self.cursor = meta.offset;
        self.resizes = meta.resizes;
        self.replies = Pending::starting_at(meta.replies);
        self.checkpoint.offset = meta.offset;
        self.checkpoint.resizes = meta.resizes;
        // A screen that was given up left neither bytes nor a size.
        let size = if meta.cols == 0 { size } else { (meta.cols, meta.rows) };
        self.state = State::CompressedScreen(match checkpoint.read() {
            Ok(bytes) if !bytes.is_empty() => CompressedScreen::kept(bytes, size),
            Ok(_) => CompressedScreen::blank(size),
            Err(error) => {
                warn!(self.log, "a checkpoint cannot be read; the screen begins empty";
                    "session" => %self.id, "error" => %error);
                CompressedScreen::blank(size)
            }
        });
    }

    /// There is, or will be in a moment, something to look at.
    pub(super) fn nudge(&mut self, now: Instant) {
        if now.duration_since(self.changed) >= BUSY {
            self.early_looks = EARLY_LOOKS;
        }
        self.changed = now;
    }

    /// Whether the output since the last look may ask something, so that it should not wait
    /// for the next one.
    pub(super) fn may_ask(&mut self, scratch: &mut BytesMut) -> bool {
        let new = self.ring.head().saturating_sub(self.cursor);
        if new == 0 || self.early_looks == 0 {
            return false;
        }
        self.early_looks -= 1;
        scratch.clear();
        // Every question begins with an escape, or with a C1 control: 0xc2 and 0x80 to 0x9f.
        new <= QUESTION_MAX
            && self.ring.read(self.cursor, new as usize, scratch).is_ok()
            && scratch.iter().any(|byte| matches!(byte, 0x1b | 0xc2))
    }

    /// Emulates what there is, and does what follows from it; folds the screen after so long
    /// without output. Returns what the holder is to keep, if it is time for that.
    pub(super) fn look(
        &mut self,
        now: Instant,
        fold_after: Duration,
        holder: &Holder,
        scratch: &mut BytesMut,
    ) -> Option<Left> {
        let head = self.ring.head();
        if head != self.head || self.ring.resize_count() != self.resizes {
            self.head = head;
            self.changed = now;
            self.quiet_looks = 0;
        } else {
            self.quiet_looks += 1;
            if self.quiet_looks == QUIET_LOOKS {
                self.quiet_looks = 0;
                self.early_looks = (self.early_looks + 1).min(EARLY_LOOKS);
            }
        }
        let ended = self.ring.ended().is_some();
        self.catch_up(scratch);
        if !ended {
            if self.early_looks > 0 {
                // Ask for a notice, then look again: what comes in between brings none.
                self.ring.request_watch(self.cursor + 1);
                self.catch_up(scratch);
            }
            self.reply(holder);
        }
        let idle = now.duration_since(self.changed) >= fold_after;
        // Early enough that a flood need not wait for it.
        let due = self.cursor - self.checkpoint.offset >= self.ring.capacity() / 4
            || self.refused.is_some();
        if self.checkpoint.under_way
            || self.refused.is_some_and(|since| now.duration_since(since) < RETRY)
            || !(due || idle && self.is_open())
        {
            return None;
        }
        if idle {
            self.fold();
        }
        if ended {
            // All that will ever be printed is in the ring, and the holder may know another
            // program by this session's name already.
            return None;
        }
        self.leave(now)
    }

    /// There was output a moment ago, or something waits.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        now.duration_since(self.changed) < BUSY
            || self.can_reach(self.latest())
            || !self.replies.is_empty()
            || self.refused.is_some()
    }

    /// It will have to be folded.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Live(_)) && !self.too_large
    }

    /// All that has happened so far: bytes of output, and resizes.
    pub(super) fn latest(&self) -> (u64, u64) {
        // In this order: no resize that is counted has its place beyond that output.
        let resizes = self.ring.resize_count();
        (self.ring.head(), resizes)
    }

    /// It has not emulated as much of the output, or not taken as many sizes, and another
    /// look would go on.
    pub(super) fn can_reach(&self, (head, resizes): (u64, u64)) -> bool {
        (self.cursor < head || self.resizes < resizes) && !self.is_stuffed()
    }

    /// Shows the screen as of the last look, if there is one to be shown.
    pub(super) fn show(&mut self, show: Show) {
        let (offset, resizes) = (self.cursor, self.resizes);
        let Some(screen) = self.live() else { return };
        let shown = guarded(|| {
            strike(Fault::Read, screen);
            show(Look { offset, resizes, seen: screen });
        });
        if shown.is_none() {
            self.failed("it was read");
        }
    }

    /// The holder has the last checkpoint, or (`tracked` false) does not.
    pub(super) fn checkpoint_over(&mut self, kept: bool) {
        self.checkpoint.under_way = false;
        // The program may be waiting for it and print nothing more that would make another due.
        self.refused = (!kept).then(Instant::now);
    }

    fn is_stuffed(&self) -> bool {
        self.replies.len() >= REPLIES_MAX
    }

    fn live(&mut self) -> Option<&mut Screen> {
        if let State::CompressedScreen(folded) = &self.state {
            let unfolded = guarded(|| {
                let screen = folded.unfold(self.options);
                screen.iter().for_each(|screen| strike(Fault::Unfold, screen));
                screen
            });
            match unfolded {
                Some(Ok(screen)) => self.state = State::Live(Box::new(screen)),
                Some(Err(unreadable)) => {
                    let (cols, rows) = folded.size();
                    error!(self.log, "{}", unreadable; "session" => %self.id);
                    let screen = Screen::new(cols, rows, self.options);
                    self.state = State::Live(Box::new(screen));
                }
                None => {
                    self.failed("it was unfolded");
                    // The first time it begins anew, empty.
                    return if matches!(self.state, State::Degraded) { None } else { self.live() };
                }
            }
        }
        match &mut self.state {
            State::Live(screen) => Some(screen),
            State::CompressedScreen(_) | State::Degraded => None,
        }
    }

    /// The screen has broken: it begins anew, empty, or is given up.
    fn failed(&mut self, when: &str) {
        let size = match &self.state {
            State::Live(screen) => screen.size(),
            State::CompressedScreen(folded) => folded.size(),
            State::Degraded => return,
        };
        self.failures += 1;
        let given_up = self.failures >= FAILURES_MAX;
        self.state = if given_up {
            State::Degraded
        } else {
            State::CompressedScreen(CompressedScreen::blank(size))
        };
        error!(self.log, "a screen has failed"; "session" => %self.id, "when" => when,
            "offset" => self.cursor, "given_up" => given_up);
    }

    fn catch_up(&mut self, scratch: &mut BytesMut) {
        let started = Instant::now();
        while !self.is_stuffed() && started.elapsed() < LOOK_LIMIT {
            // In this order: a resize that comes later has its place at or behind this head.
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
            if self.cursor < self.told {
                // What comes behind it has not been told yet.
                end = end.min(self.told);
            }
            let length = usize::try_from(end - self.cursor).unwrap_or(BATCH).min(BATCH);
            if length == 0 {
                return;
            }
            scratch.clear();
            if self.ring.read(self.cursor, length, scratch).is_ok() {
                let enough = || {
                    // A whole slice of the scheduler's is longer than an echo may wait for a
                    // core, and nobody waits for this one.
                    std::thread::yield_now();
                    started.elapsed() >= LOOK_LIMIT
                };
                let mut taken = length;
                self.change("it took output", |screen, events| {
                    strike(Fault::Feed, screen);
                    taken = screen.feed_skipping(scratch, events, enough);
                });
                self.cursor += taken as u64;
            } else {
                let oldest = self.ring.oldest();
                warn!(self.log, "output was lost to a screen"; "session" => %self.id,
                    "from" => self.cursor, "to" => oldest);
                self.cursor = oldest;
            }
        }
    }

    /// Lets the emulator work on what a program has written, which may be made to break it.
    fn change(&mut self, when: &str, work: impl FnOnce(&mut Screen, &mut Vec<Event>)) {
        let (started, told) = (Instant::now(), self.cursor < self.told);
        let Some(screen) = self.live() else { return };
        let mut events = Vec::new();
        let worked = guarded(|| work(screen, &mut events));
        self.too_large = false;
        if worked.is_none() {
            self.failed(when);
        } else if started.elapsed() > BATCH_LIMIT {
            self.failed("it took too long");
        }
        let mut tell = Vec::new();
        for event in events {
            match event {
                Event::Reply(bytes) => {
                    if bytes.ends_with(b"R") {
                        self.told_cursor.now();
                    }
                    self.replies.push(&bytes);
                    // A program that asks once usually asks again.
                    self.early_looks = EARLY_LOOKS;
                }
                Event::Title(_) | Event::Cwd(_) => tell.push(event),
                _ if told => {}
                _ => tell.push(event),
            }
        }
        thin(&mut tell);
        if !tell.is_empty() {
            (self.events)(ScreenEvents { events: tell, again: told });
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

    /// A checkpoint of the screen as it is, unless the holder has that already.
    fn leave(&mut self, now: Instant) -> Option<Left> {
        let known = (self.checkpoint.offset, self.checkpoint.resizes);
        if known == (self.cursor, self.resizes) && self.refused.is_none() {
            return None;
        }
        let folded = match &self.state {
            State::Live(_) => {
                let Some(folded) = self.folded() else {
                    // What is left of the screen is left a moment later.
                    self.refused = Some(now);
                    return None;
                };
                Some(folded)
            }
            State::CompressedScreen(folded) => Some(folded.clone()),
            State::Degraded => None,
        };
        if folded.as_ref().is_some_and(|folded| !folded.is_complete()) {
            warn!(self.log, "a screen is too large to be kept whole: the holder has less of the \
                lines that are far from the cursor"; "session" => %self.id, "offset" => self.cursor);
        }
        self.refused = None;
        self.checkpoint =
            Checkpointed { offset: self.cursor, resizes: self.resizes, under_way: true };
        let (cols, rows) = folded.as_ref().map_or((0, 0), CompressedScreen::size);
        let meta = CheckpointMeta {
            offset: self.cursor,
            replies: self.replies.end(),
            resizes: self.resizes,
            cols,
            rows,
        };
        Some((meta, folded.map_or_else(Vec::new, CompressedScreen::into_bytes)))
    }

    /// The open screen, written down.
    fn folded(&mut self) -> Option<CompressedScreen> {
        let State::Live(screen) = &self.state else { return None };
        let folded = guarded(|| {
            strike(Fault::Fold, screen);
            CompressedScreen::of(screen)
        });
        if folded.is_none() {
            self.failed("it was written down");
        }
        folded
    }

    fn fold(&mut self) {
        let Some(folded) = self.folded() else { return };
        if folded.is_complete() {
            self.state = State::CompressedScreen(folded);
        } else {
            self.too_large = true;
        }
    }

    /// For a fault that tests ask for.
    pub(super) fn strike_thread(&self) {
        if let State::Live(screen) = &self.state {
            strike(Fault::Thread, screen);
        }
    }
}

/// Leaves one bell, and the last title and directory.
fn thin(events: &mut Vec<Event>) {
    let last = |wanted: fn(&Event) -> bool| events.iter().rposition(wanted);
    let kept = [
        last(|event| matches!(event, Event::Bell)),
        last(|event| matches!(event, Event::Title(_))),
        last(|event| matches!(event, Event::Cwd(_))),
    ];
    let mut at = 0;
    events.retain(|event| {
        let overtaken = matches!(event, Event::Bell | Event::Title(_) | Event::Cwd(_))
            && !kept.contains(&Some(at));
        at += 1;
        !overtaken
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_thinned_and_what_differs_is_kept_in_order() {
        let title = |text: &str| Event::Title(Some(text.to_owned()));
        let mut events = vec![
            Event::Bell,
            title("a"),
            Event::CommandStart,
            Event::Bell,
            title("b"),
            Event::CommandEnd { exit: Some(1) },
        ];
        thin(&mut events);
        let left =
            [Event::CommandStart, Event::Bell, title("b"), Event::CommandEnd { exit: Some(1) }];
        assert_eq!(events, left);
    }
}
