//! Files of a recording, which the disk or somebody else may have changed.

use super::cast::{Header, at_time, split_time};
use super::playback::Playback;
use super::segments::{self, Limits, Segments};
use crate::fuzz::target;

target!(recordings, |bytes: &[u8]| {
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if let Some(header) = Header::parse(line) {
            assert_eq!(Header::parse(&header.line()), Some(header));
        }
        if let Some((time_us, rest)) = split_time(line) {
            let again = at_time(time_us, rest);
            assert_eq!(split_time(&again), Some((time_us, rest)));
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    // The first byte says where the second file begins.
    let (&first, rest) = bytes.split_first().unwrap_or((&0, bytes));
    let files = rest.split_at(rest.len() * usize::from(first) / 256);
    std::fs::write(dir.path().join(segments::name(1)), files.0).expect("written");
    std::fs::write(dir.path().join(segments::name(2)), files.1).expect("written");
    for file in [None, Some(1), Some(2), Some(3)] {
        let Some(mut playback) = Playback::open(dir.path(), file, true).expect("opened") else {
            continue;
        };
        let mut length = 0;
        while let Some(chunk) = playback.next_chunk().expect("read") {
            assert!(chunk.ends_with(b"\n"), "whole lines only");
            length += chunk.len();
        }
        // A time that is moved has at most 20 digits more.
        assert!(length <= bytes.len() * 24);
    }
});

target!(positions, |bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    let mut position = bytes.to_vec();
    position.resize(256, b' ');
    std::fs::write(dir.path().join("position"), position).expect("written");
    let line = "{\"version\": 2}\n".repeat(10);
    std::fs::write(dir.path().join(segments::name(1)), &line).expect("written");
    let limits = Limits { file_bytes: 64 << 10, total_bytes: 1 << 20 };
    let (mut segments, _) = Segments::open(dir.path(), limits).expect("opened");
    let position = *segments.position();
    assert!(position.file == 0 || position.bytes <= line.len() as u64, "{position:?}");
    let _ = segments.is_full(100);
    let _ = segments.append(b"[1.0, \"o\", \"x\"]\n", 7, 8, (80, 24));
});
