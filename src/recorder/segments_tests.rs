use super::super::cast::{Code, Origin, push_event};
use super::super::playback::Playback;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

const LIMITS: Limits = Limits { file_bytes: 2000, total_bytes: 1 << 20 };
const SIZE: (u16, u16) = (80, 24);

fn header(segments: &Segments, session: SessionId) -> Header {
    let now = segments.position();
    Header {
        version: 2,
        width: SIZE.0,
        height: SIZE.1,
        timestamp: 1,
        title: None,
        env: BTreeMap::new(),
        stayd: Origin {
            session,
            file: now.file + 1,
            offset: now.offset,
            elapsed_us: now.elapsed_us + now.time_us,
            picture: now.file > 0,
        },
    }
}

fn turn(segments: &mut Segments, session: SessionId) {
    let header = header(segments, session);
    let mut picture = Vec::new();
    if header.stayd.picture {
        push_event(&mut picture, 0, Code::Output, "a picture");
    }
    segments.begin_file(&header, &picture, 1).unwrap();
}

/// The output in a recording. Checks that its times are in order.
fn printed(dir: &Path) -> String {
    let (mut text, mut last) = (String::new(), 0.0);
    for line in played(dir, None).lines().skip(1) {
        let (time, code, data): (f64, String, String) = serde_json::from_str(line).unwrap();
        assert!(time >= last, "{time} after {last}");
        last = time;
        if code == "o" {
            text.push_str(&data);
        }
    }
    text
}

fn played(dir: &Path, file: Option<u32>) -> String {
    let mut playback = Playback::open(dir, file, true).unwrap().unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = playback.next_chunk().unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).unwrap()
}

/// Writes from the recording's position up to `to`, in pieces of `step`.
fn record(segments: &mut Segments, session: SessionId, output: &str, to: usize, step: usize) {
    loop {
        let from = segments.position().offset as usize;
        if from >= to {
            return;
        }
        let until = (from + step).min(to);
        let mut lines = Vec::new();
        let time = segments.position().time_us + 1000;
        push_event(&mut lines, time, Code::Output, &output[from..until]);
        if segments.is_full(lines.len()) {
            turn(segments, session);
        }
        segments.append(&lines, until as u64, time, SIZE).unwrap();
    }
}

#[test]
fn files_follow_one_another_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, session) = (dir.path().join("it"), SessionId::generate());
    let limits = Limits { file_bytes: 2000, total_bytes: 6000 };
    let (mut segments, found) = Segments::open(&dir, limits).unwrap();
    assert_eq!(found, Found::New);
    turn(&mut segments, session);
    let output: String = (0..1000).map(|number| format!("line {number:05}\r\n")).collect();
    record(&mut segments, session, &output, output.len(), 100);
    let files = files(&dir).unwrap();
    assert!(files.len() > 1 && !files.contains_key(&1), "{files:?}");
    assert!(files.values().sum::<u64>() <= 6000, "{files:?}");
    assert!(files.values().all(|length| *length <= 2000), "{files:?}");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(dir.clone()), mode(dir.join("position"))), (0o700, 0o600));
    assert_eq!(mode(segments.path(segments.position.file)), 0o600);
    // The first file that is left begins with its snapshot; those behind it do not.
    let text = printed(&dir);
    assert_eq!(text.matches("a picture").count(), 1);
    let after = text.strip_prefix("a picture").unwrap();
    assert!(output.ends_with(after) && after.len() > 1000);
    let last = segments.position().file;
    assert!(played(&dir, Some(last)).lines().nth(1).unwrap().contains("a picture"));
    assert!(Playback::open(&dir, Some(1), true).unwrap().is_none());
}

#[test]
fn what_is_missing_begins_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let session = SessionId::generate();
    let (mut segments, _) = Segments::open(dir.path(), LIMITS).unwrap();
    turn(&mut segments, session);
    record(&mut segments, session, "0123456789", 10, 5);
    let cut = |length| File::options().write(true).open(segments.path(1)).unwrap().set_len(length);
    cut(segments.position.bytes - 3).unwrap();
    let (mut again, found) = Segments::open(dir.path(), LIMITS).unwrap();
    assert_eq!((found, again.position().offset), (Found::Damaged, 10));
    assert!(again.append(b"[0.000000, \"o\", \"x\"]\n", 11, 1, SIZE).is_err());
    turn(&mut again, session);
    again.append(b"[0.000001, \"o\", \"x\"]\n", 11, 1, SIZE).unwrap();
    assert_eq!(printed(dir.path()), "01234x");
    fs::write(dir.path().join("position"), "nonsense").unwrap();
    let (lost, found) = Segments::open(dir.path(), LIMITS).unwrap();
    assert_eq!((found, lost.position().file, lost.position().offset), (Found::Damaged, 2, 0));
}

#[test]
fn only_what_is_ours_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, session) = (dir.path().join("it"), SessionId::generate());
    let (mut segments, _) = Segments::open(&dir, LIMITS).unwrap();
    turn(&mut segments, session);
    let soon = SystemTime::now() + std::time::Duration::from_secs(60);
    assert!(is_old(&dir, session, soon));
    assert!(!is_old(&dir, session, SystemTime::UNIX_EPOCH), "it is young");
    assert!(!is_old(&dir, SessionId::generate(), soon), "it is another's");
    fs::write(dir.join("notes"), "mine").unwrap();
    assert!(!is_old(&dir, session, soon));
    assert!(remove(&dir).is_err(), "it is not empty");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    fs::remove_file(dir.join("notes")).unwrap();
    remove(&dir).unwrap();
    remove(&dir).unwrap();
    assert!(!dir.exists());
}

proptest! {
    /// A killed writer leaves all or a part of what it was about to write.
    #[test]
    fn whoever_goes_on_loses_and_doubles_nothing(
        stops in prop::collection::vec((1usize..400, 1usize..120, 0usize..200, 0u8..3), 1..8),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let session = SessionId::generate();
        let output: String = (0..400).map(|number| format!("{number:07}\n")).collect();
        let mut to = 0;
        for (more, step, torn, kind) in stops {
            let (mut segments, found) = Segments::open(dir.path(), LIMITS).unwrap();
            prop_assert_ne!(found, Found::Damaged);
            if found == Found::New {
                turn(&mut segments, session);
            }
            prop_assert_eq!(segments.position().offset as usize, to);
            to = (to + more).min(output.len());
            record(&mut segments, session, &output, to, step);
            let mut lines = Vec::new();
            push_event(&mut lines, 1 << 40, Code::Output, &"x".repeat(150));
            lines.truncate(torn);
            match kind {
                // The writer died between the lines and the position that counts them.
                0 => segments.cast.as_ref().unwrap().write_all_at(&lines, segments.position.bytes).unwrap(),
                // The writer died while it began the next file.
                1 => {
                    let next = [header(&segments, session).line(), lines].concat();
                    fs::write(segments.path(segments.position.file + 1), next).unwrap();
                }
                // The writer had finished.
                _ => {}
            }
        }
        let (segments, _) = Segments::open(dir.path(), LIMITS).unwrap();
        prop_assert_eq!(segments.position().offset as usize, to);
        prop_assert_eq!(printed(dir.path()), &output[..to]);
    }
}
