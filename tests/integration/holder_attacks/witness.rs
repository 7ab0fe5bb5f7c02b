//! A session that prints numbered lines, and a thread that reads each byte of them.

use super::house::{House, spec};
use super::peer::Peer;
use super::poll;
use bytes::BytesMut;
use stayd::holder::wire::{Kind, Target};
use stayd::id::SessionId;
use stayd::ring::Reader;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// About a megabyte a second, so that it also runs while others need the processor.
const SCRIPT: &str = "i=0; while :; do i=$((i+1)); echo $i; done";
/// Seconds of it.
const RING: u64 = 16 << 20;
/// Lines that must come after an attack.
const MORE: u64 = 20_000;

pub(super) struct Witness {
    pub(super) id: SessionId,
    pid: i32,
    ring: Arc<Reader>,
    lines: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
}

impl Witness {
    pub(super) fn new(house: &House) -> Witness {
        let id = SessionId::generate();
        let held = house.serve(async |holder| {
            holder.spawn(id, &spec(&["bash", "-c", SCRIPT]), RING, b"witness").await.unwrap()
        });
        let (lines, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let reading = {
            let (ring, lines, over) =
                (Arc::clone(&held.ring), Arc::clone(&lines), Arc::clone(&over));
            let dir = house.dir().to_owned();
            std::thread::spawn(move || read(&dir, id, &ring, &lines, &over))
        };
        let reading = Some(reading);
        let witness = Witness { id, pid: held.pid, ring: held.ring, lines, over, reading };
        witness.goes_on();
        witness
    }

    pub(super) fn ring(&self) -> &Reader {
        &self.ring
    }

    /// Waits until it has printed more, all of it as it must be.
    pub(super) fn goes_on(&self) {
        let from = self.lines.load(Ordering::Relaxed);
        poll("more of the witness", || {
            let failed = self.reading.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(!failed, "the witness is not whole");
            self.lines.load(Ordering::Relaxed) > from + MORE
        });
    }

    /// After the attack: the same holder, the same process, every byte.
    pub(super) fn check(mut self, house: &mut House) {
        house.assert_alive();
        self.goes_on();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
        assert_eq!(parent.parse(), Ok(house.pid()));
        assert_eq!(self.ring.ended(), None);
        self.over.store(true, Ordering::Relaxed);
        self.reading.take().unwrap().join().unwrap();
        house.assert_alive();
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn read(dir: &Path, id: SessionId, ring: &Reader, lines: &AtomicU64, over: &AtomicBool) {
    let (mut cursor, mut output) = (0, BytesMut::new());
    let (mut number, mut expected) = (0, Vec::new());
    while !over.load(Ordering::Relaxed) {
        let read = ring.read(cursor, 64 << 10, &mut output).expect("nothing is overwritten");
        cursor += read as u64;
        while expected.len() < output.len() {
            number += 1;
            expected.extend_from_slice(format!("{number}\r\n").as_bytes());
        }
        assert!(output[..] == expected[..output.len()], "wrong before offset {cursor}");
        expected.drain(..output.len());
        output.clear();
        lines.store(number, Ordering::Relaxed);
        if ring.advance_tail(cursor) {
            // Whoever is the server now is attacking.
            let mut peer = Peer::connect(dir).unwrap();
            peer.hello();
            peer.tell(Kind::Resume, &Target { id });
        }
        if read == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
