//! One session's part of the shared state.

#![allow(unsafe_code)]

use super::kept::Kept;
use super::layout::{BLOB_SMALL, CheckpointWords, STEP, SlotPage};
use super::map::{BLOBS_AT, SLOT_BYTES, SharedState};
use crate::exit::Exit;
use crate::holder::wire::{BLOB_MAX, CheckpointMeta};
use crate::id::SessionId;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// The slot of one session.
#[derive(Clone, Debug)]
pub(in crate::holder) struct Slot {
    shared: Arc<SharedState>,
    index: u32,
}

/// A session that begins.
pub(in crate::holder) struct Created {
    pub(in crate::holder) id: SessionId,
    pub(in crate::holder) leader: Pid,
    pub(in crate::holder) start_time: u64,
    pub(in crate::holder) master: OwnedFd,
    pub(in crate::holder) slave: OwnedFd,
    pub(in crate::holder) ring: OwnedFd,
    pub(in crate::holder) wake: OwnedFd,
    /// The connection to the shim.
    pub(in crate::holder) report: OwnedFd,
    /// A pidfd of the leader.
    pub(in crate::holder) process: OwnedFd,
}

/// The progress of a session's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::holder) enum Progress {
    /// The shim has not executed the program yet.
    Starting,
    /// The program runs, or has run.
    Started,
    /// A step failed.
    Failed { step: String, errno: i32 },
}

impl Slot {
    pub(in crate::holder) fn new(shared: &Arc<SharedState>, index: u32) -> Slot {
        Slot { shared: Arc::clone(shared), index }
    }

    /// The slots that hold sessions.
    pub(in crate::holder) fn live(shared: &Arc<SharedState>) -> Vec<Slot> {
        let all = (0..shared.slots()).map(|index| Slot::new(shared, index));
        all.filter(Slot::is_live).collect()
    }

    pub(in crate::holder) fn shared(&self) -> &Arc<SharedState> {
        &self.shared
    }

    pub(in crate::holder) fn index(&self) -> u32 {
        self.index
    }

    pub(super) fn page(&self) -> Option<&SlotPage> {
        self.shared.page(self.index)
    }

    fn load(&self, word: impl FnOnce(&SlotPage) -> &AtomicU64) -> u64 {
        self.page().map_or(0, |page| word(page).load(Relaxed))
    }

    fn store(&self, word: impl FnOnce(&SlotPage) -> &AtomicU64, value: u64) {
        if let Some(page) = self.page() {
            word(page).store(value, Release);
        }
    }

    pub(in crate::holder) fn is_live(&self) -> bool {
        self.load(|page| &page.live) == 1
    }

    /// The word that says whether the slot holds a session, for a commit.
    pub(in crate::holder) fn live_word(&self) -> Option<&AtomicU64> {
        self.page().map(|page| &page.live)
    }

    /// Fills a free slot. The session exists from the last store on, with its blob and with the
    /// request that waits for its start.
    pub(in crate::holder) fn create(&self, created: Created, blob: &[u8], request: u32) {
        let Some(page) = self.page() else { return };
        let id = u128::from_ne_bytes(created.id.to_bytes());
        let [low, high] = &page.id;
        low.store(id as u64, Relaxed);
        high.store((id >> 64) as u64, Relaxed);
        page.leader.store(u64::try_from(created.leader.as_raw()).unwrap_or(0), Relaxed);
        page.start_time.store(created.start_time, Relaxed);
        let fds = &page.fds;
        for (word, fd) in [
            (&fds.master, created.master),
            (&fds.slave, created.slave),
            (&fds.ring, created.ring),
            (&fds.wake, created.wake),
            (&fds.report, created.report),
            (&fds.process, created.process),
        ] {
            Kept::new(fd).note(word);
        }
        for word in [&page.progress, &page.exit, &page.drained, &page.checkpoint] {
            word.store(0, Relaxed);
        }
        for word in [&page.queue.origin, &page.queue.start, &page.queue.end] {
            word.store(0, Relaxed);
        }
        for word in page.asked.iter().chain(&page.used) {
            word.store(0, Relaxed);
        }
        self.ask(request);
        self.set_blob(blob);
        page.live.store(1, Release);
    }

    /// Closes what the session has open, and gives its memory back. The slot is free already, or is
    /// so from here on.
    pub(in crate::holder) fn release(&self) {
        let Some(page) = self.page() else { return };
        page.live.store(0, Release);
        let checkpoint = self.checkpoint_words().and_then(|words| Kept::of(&words.fd));
        let fds = page.fds.all().into_iter().filter_map(Kept::of).chain(checkpoint);
        fds.for_each(Kept::close);
        self.shared.punch(self.index, 0, SLOT_BYTES);
    }

    pub(in crate::holder) fn id(&self) -> SessionId {
        let (low, high) = (self.load(|page| &page.id[0]), self.load(|page| &page.id[1]));
        SessionId::from_bytes((u128::from(high) << 64 | u128::from(low)).to_ne_bytes())
    }

    pub(in crate::holder) fn leader(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.load(|page| &page.leader)).unwrap_or(0))
    }

    pub(in crate::holder) fn start_time(&self) -> u64 {
        self.load(|page| &page.start_time)
    }

    pub(in crate::holder) fn master(&self) -> Option<Kept> {
        Kept::of(&self.page()?.fds.master)
    }

    pub(in crate::holder) fn ring(&self) -> Option<Kept> {
        Kept::of(&self.page()?.fds.ring)
    }

    pub(in crate::holder) fn wake(&self) -> Option<Kept> {
        Kept::of(&self.page()?.fds.wake)
    }

    pub(in crate::holder) fn report(&self) -> Option<Kept> {
        Kept::of(&self.page()?.fds.report)
    }

    pub(in crate::holder) fn process(&self) -> Option<Kept> {
        Kept::of(&self.page()?.fds.process)
    }

    pub(in crate::holder) fn close_master(&self) {
        self.close(|page| &page.fds.master);
    }

    pub(in crate::holder) fn close_slave(&self) {
        self.close(|page| &page.fds.slave);
    }

    pub(in crate::holder) fn close_report(&self) {
        self.close(|page| &page.fds.report);
    }

    fn close(&self, word: impl FnOnce(&SlotPage) -> &AtomicU64) {
        let Some(word) = self.page().map(word) else { return };
        if let Some(fd) = Kept::of(word) {
            fd.forget(word);
        }
    }

    pub(in crate::holder) fn progress(&self) -> Progress {
        let Some(page) = self.page() else { return Progress::Started };
        match page.progress.load(Relaxed) {
            0 => Progress::Starting,
            2 => {
                let words = page.failed_step.iter().map(|word| word.load(Relaxed).to_ne_bytes());
                let bytes: Vec<u8> = words.flatten().take_while(|byte| *byte != 0).collect();
                Progress::Failed {
                    step: String::from_utf8_lossy(&bytes).into_owned(),
                    errno: page.failed_errno.load(Relaxed) as i32,
                }
            }
            _ => Progress::Started,
        }
    }

    pub(in crate::holder) fn set_progress(&self, progress: &Progress) {
        let Some(page) = self.page() else { return };
        let word = match progress {
            Progress::Starting => 0,
            Progress::Started => 1,
            Progress::Failed { step, errno } => {
                let mut bytes = [0; STEP];
                for (byte, from) in bytes.iter_mut().zip(step.bytes()) {
                    *byte = from;
                }
                let (chunks, _) = bytes.as_chunks::<8>();
                for (word, chunk) in page.failed_step.iter().zip(chunks) {
                    word.store(u64::from_ne_bytes(*chunk), Relaxed);
                }
                page.failed_errno.store(u64::from(errno.cast_unsigned()), Relaxed);
                2
            }
        };
        page.progress.store(word, Release);
    }

    /// Notes a request that waits for the start. Returns false if too many do already.
    pub(in crate::holder) fn ask(&self, request: u32) -> bool {
        let Some(page) = self.page() else { return false };
        let wanted = u64::from(request).saturating_add(1);
        let noted = page.asked.iter().any(|word| word.load(Relaxed) == wanted);
        let free = page.asked.iter().find(|word| word.load(Relaxed) == 0).filter(|_| !noted);
        if let Some(word) = free {
            word.store(wanted, Release);
        }
        noted || free.is_some()
    }

    /// A request that waits for the start.
    pub(in crate::holder) fn asked(&self) -> Option<u32> {
        let words = self.page()?.asked.iter().map(|word| word.load(Relaxed));
        words.filter_map(|word| u32::try_from(word.checked_sub(1)?).ok()).next()
    }

    /// A request is answered, or all of them are void.
    pub(in crate::holder) fn answered(&self, request: Option<u32>) {
        let wanted = request.map(|request| u64::from(request).saturating_add(1));
        for word in self.page().into_iter().flat_map(|page| &page.asked) {
            if wanted.is_none_or(|wanted| word.load(Relaxed) == wanted) {
                word.store(0, Release);
            }
        }
    }

    pub(in crate::holder) fn exit(&self) -> Option<Exit> {
        Exit::from_word(self.load(|page| &page.exit))
    }

    pub(in crate::holder) fn set_exit(&self, exit: Exit) {
        self.store(|page| &page.exit, exit.to_word());
    }

    pub(in crate::holder) fn drained(&self) -> u64 {
        self.load(|page| &page.drained)
    }

    pub(in crate::holder) fn set_drained(&self, bytes: u64) {
        self.store(|page| &page.drained, bytes);
    }

    /// The blob that is stored with the session.
    pub(in crate::holder) fn blob(&self) -> &[u8] {
        let word = self.load(|page| &page.blob);
        let (place, length) = ((word >> 32) as usize, word as u32 as usize);
        match self.blob_place(place).filter(|(_, room)| length <= *room) {
            // SAFETY: within the place, which is not written while it is the valid one.
            Some((bytes, _)) => unsafe { std::slice::from_raw_parts(bytes, length) },
            None => &[],
        }
    }

    /// Replaces the blob, of at most [`BLOB_MAX`] bytes.
    pub(in crate::holder) fn set_blob(&self, blob: &[u8]) {
        let now = (self.load(|page| &page.blob) >> 32) as usize;
        let first = if blob.len() <= BLOB_SMALL { 0 } else { 2 };
        let place = if now == first { first.saturating_add(1) } else { first };
        let Some((bytes, room)) = self.blob_place(place) else { return };
        let length = blob.len().min(room);
        // SAFETY: as many bytes as there is room for; nobody reads a place that is not the valid
        // one, and `blob` is in a message.
        unsafe { std::ptr::copy_nonoverlapping(blob.as_ptr(), bytes, length) };
        self.store(|page| &page.blob, (place as u64) << 32 | length as u64);
    }

    /// A place of blobs, and how much fits into it: two on the first page, two large ones.
    fn blob_place(&self, place: usize) -> Option<(*mut u8, usize)> {
        let (offset, room) = match place {
            0 | 1 => {
                let skipped = place.saturating_mul(BLOB_SMALL);
                (offset_of!(SlotPage, small_blobs).saturating_add(skipped), BLOB_SMALL)
            }
            2 => (BLOBS_AT, BLOB_MAX),
            3 => (BLOBS_AT.saturating_add(BLOB_MAX), BLOB_MAX),
            _ => return None,
        };
        Some((self.shared.bytes(self.index, offset, room)?, room))
    }

    fn checkpoint_words(&self) -> Option<&CheckpointWords> {
        let valid = usize::try_from(self.load(|page| &page.checkpoint)).ok()?.checked_sub(1)?;
        self.page()?.checkpoints.get(valid)
    }

    /// The last checkpoint: what it represents, and its file with its length.
    pub(in crate::holder) fn checkpoint(&self) -> Option<(CheckpointMeta, Option<(Kept, u64)>)> {
        let words = self.checkpoint_words()?;
        let size = words.size.load(Relaxed);
        let meta = CheckpointMeta {
            offset: words.offset.load(Relaxed),
            replies: words.replies.load(Relaxed),
            resizes: words.resizes.load(Relaxed),
            cols: (size >> 16) as u16,
            rows: size as u16,
        };
        Some((meta, Kept::of(&words.fd).map(|fd| (fd, words.length.load(Relaxed)))))
    }

    /// Keeps a checkpoint in place of the last one, whose file is closed.
    pub(in crate::holder) fn set_checkpoint(
        &self,
        meta: &CheckpointMeta,
        file: Option<(OwnedFd, u64)>,
    ) {
        let Some(page) = self.page() else { return };
        let [first, second] = &page.checkpoints;
        let last = self.checkpoint_words();
        let (spare, number) =
            if page.checkpoint.load(Relaxed) == 1 { (second, 2) } else { (first, 1) };
        spare.offset.store(meta.offset, Relaxed);
        spare.replies.store(meta.replies, Relaxed);
        spare.resizes.store(meta.resizes, Relaxed);
        spare.size.store(u64::from(meta.cols) << 16 | u64::from(meta.rows), Relaxed);
        match file {
            Some((fd, length)) => {
                spare.length.store(length, Relaxed);
                Kept::new(fd).note(&spare.fd);
            }
            None => spare.fd.store(0, Relaxed),
        }
        page.checkpoint.store(number, Release);
        if let Some(fd) = last.and_then(|last| Kept::of(&last.fd)) {
            fd.close();
        }
    }

    /// When each client's input was used last; the clients are in the ring's ledger.
    pub(in crate::holder) fn used(&self, client: usize) -> Option<&AtomicU64> {
        self.page()?.used.get(client)
    }

    /// The error with which a slot cannot be had.
    pub(in crate::holder) fn take(shared: &Arc<SharedState>, index: u32) -> Result<Slot, Errno> {
        shared.grow_to(index)?;
        Ok(Slot::new(shared, index))
    }
}
