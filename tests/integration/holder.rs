//! The holder, as a server uses it: real processes on real terminals.

use crate::support::lives;
use bytes::BytesMut;
use slog::{Discard, Logger, o};
use stayd::holder::wire::{self, Kind, Message};
use stayd::holder::{Held, Holder, HolderError, Notice, Paths, SpawnError, SpawnSpec, register};
use stayd::id::{ClientKey, SessionId};
use stayd::lifecycle::Exit;
use stayd::ring::Reader;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

pub(super) const RING: u64 = 256 << 10;
/// For what takes milliseconds; only a failure waits for it.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A holder in a state directory of its own; both go with it.
pub(super) struct House {
    pub(super) dir: TempDir,
    pub(super) holder: Holder,
    pub(super) notices: UnboundedReceiver<Notice>,
}

impl House {
    pub(super) async fn new() -> House {
        let dir = tempfile::tempdir().unwrap();
        let (holder, notices) = connect(&dir).await;
        House { dir, holder, notices }
    }

    /// The server goes, and another one comes.
    pub(super) async fn restart(self) -> House {
        let (holder, notices) = connect(&self.dir).await;
        let mut house = self;
        (house.holder, house.notices) = (holder, notices);
        house
    }

    pub(super) async fn spawn(&self, command: &[&str]) -> Session {
        let id = SessionId::generate();
        self.spawn_as(id, command).await.unwrap()
    }

    async fn spawn_as(&self, id: SessionId, command: &[&str]) -> Result<Session, SpawnError> {
        let held = self.holder.spawn(id, &spec(command), RING, b"blob").await?;
        Ok(Session::new(held))
    }

    async fn adopt_one(&self) -> Session {
        let mut all = self.holder.adopt().await.unwrap();
        assert_eq!(all.len(), 1);
        Session::new(all.remove(0))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Kills every session as well, since the terminals hang up.
        // Asked of the guardian: the holder that the connection has heard of may be dead.
        let guardian = std::fs::read_to_string(self.dir.path().join("guardian.pid"));
        let guardian = guardian.ok().and_then(|text| text.trim().parse().ok());
        let _ = kill(guardian.unwrap_or_else(|| self.holder.pid()), libc::SIGTERM);
    }
}

pub(super) async fn connect(dir: &TempDir) -> (Holder, UnboundedReceiver<Notice>) {
    Holder::connect_or_launch(&paths(dir), &Logger::root(Discard, o!())).await.unwrap()
}

pub(super) fn paths(dir: &TempDir) -> Paths {
    Paths { state_dir: dir.path().to_owned(), program: PathBuf::from(env!("CARGO_BIN_EXE_stayd")) }
}

pub(super) fn spec(command: &[&str]) -> SpawnSpec {
    SpawnSpec {
        login: false,
        command: command.iter().map(ToString::to_string).collect(),
        cwd: "/".to_owned(),
        env: vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("TERM".to_owned(), "xterm-256color".to_owned()),
            ("PS1".to_owned(), "$ ".to_owned()),
        ],
        cols: 80,
        rows: 24,
        checkpoints: false,
        resumed: None,
        confinement: Default::default(),
    }
}

pub(super) fn kill(pid: i32, signal: i32) -> nix::Result<()> {
    let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)
}

/// SIGKILL for holder and guardian at the same instant.
fn kill_pair(dir: &TempDir) {
    let pid = |file| {
        let text = std::fs::read_to_string(dir.path().join(file)).unwrap();
        text.trim().parse::<i32>().unwrap()
    };
    let (guardian, holder) = (pid("guardian.pid"), pid("holder.pid"));
    kill(guardian, libc::SIGSTOP).unwrap();
    kill(holder, libc::SIGKILL).unwrap();
    kill(guardian, libc::SIGKILL).unwrap();
}

/// One session and a reader's cursor in its output.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) pid: i32,
    blob: Vec<u8>,
    exit: Option<Exit>,
    size: (u16, u16),
    pub(super) ring: Arc<Reader>,
    wake: AsyncFd<std::os::fd::OwnedFd>,
    pub(super) cursor: u64,
    pub(super) output: BytesMut,
}

impl Session {
    pub(super) fn new(held: Held) -> Session {
        Session {
            id: held.id,
            pid: held.pid,
            blob: held.blob,
            exit: held.exit,
            size: (held.cols, held.rows),
            ring: held.ring,
            wake: register(held.wake, Interest::READABLE).unwrap(),
            cursor: 0,
            output: BytesMut::new(),
        }
    }

    /// Waits until `done` says so, looking again at each wake; the output read so far is in
    /// `self.output`.
    pub(super) async fn until(&mut self, what: &str, mut done: impl FnMut(&Session) -> bool) {
        let wait = async {
            loop {
                let read = self.ring.read(self.cursor, 64 << 10, &mut self.output).unwrap();
                self.cursor += read as u64;
                if done(self) {
                    return;
                }
                if read == 0 {
                    self.ring.request_wake(self.cursor + 1);
                    if self.ring.head() == self.cursor && !done(self) {
                        self.wake.readable().await.unwrap().clear_ready();
                    }
                }
            }
        };
        let waited = timeout(DEADLINE, wait).await;
        assert!(waited.is_ok(), "no {what} in {:?}", String::from_utf8_lossy(&self.output));
    }

    pub(super) async fn until_output(&mut self, text: &str) {
        self.until(text, |session| session.text().contains(text)).await;
    }

    /// All output, and how the leader ended.
    pub(super) async fn until_end(&mut self) -> Exit {
        self.until("end", |session| {
            session.ring.ended().is_some() && session.cursor == session.ring.head()
        })
        .await;
        self.ring.ended().unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Waits for the ledger, which nobody is told of.
    pub(super) async fn until_accepted(&self, key: ClientKey, bytes: u64) {
        let reached = || self.ring.input(key).is_some_and(|input| input.accepted >= bytes);
        poll("acceptance", reached).await;
    }
}

/// For what has no event.
pub(super) async fn poll(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(DEADLINE, wait).await.is_ok(), "no {what}");
}

#[tokio::test]
async fn a_session_starts_echoes_and_exits() {
    let mut house = House::new().await;
    let mut shell = house.spawn(&["sh"]).await;
    assert!(lives(shell.pid));
    let key = ClientKey::named("test", "a");
    house.holder.input(shell.id, key, 0, b"echo $((6*7)) $STAYD_SESSION; tty\r");
    shell.until_output(&format!("42 {}\r\n/dev/pts/", shell.id)).await;
    house.holder.input(shell.id, key, 34, b"exit 3\r");
    assert_eq!(shell.until_end().await, Exit::Code(3));
    let notice = timeout(DEADLINE, house.notices.recv()).await.unwrap();
    assert_eq!(notice, Some(Notice::Exited(shell.id)));
    // The status is kept until it is forgotten.
    let kept = house.adopt_one().await;
    assert_eq!((kept.exit, kept.blob.as_slice()), (Some(Exit::Code(3)), &b"blob"[..]));
    house.holder.forget(shell.id).await.unwrap();
    assert!(house.holder.adopt().await.unwrap().is_empty());
    assert!(house.holder.forget(shell.id).await.is_err());
}

#[tokio::test]
async fn all_output_precedes_the_end() {
    let house = House::new().await;
    for _ in 0..20 {
        let mut session = house.spawn(&["sh", "-c", "seq 1 5000; exec seq 5001 9999"]).await;
        assert_eq!(session.until_end().await, Exit::Code(0));
        assert!(session.text().ends_with("9998\r\n9999\r\n"));
        assert_eq!(session.text().lines().count(), 9999);
    }
}

#[tokio::test]
async fn a_signal_ends_as_a_signal() {
    let house = House::new().await;
    let mut session = house.spawn(&["sleep", "1000"]).await;
    house.holder.signal(session.id, libc::SIGKILL).await.unwrap();
    assert_eq!(session.until_end().await, Exit::Signal(libc::SIGKILL));
    let refused = house.holder.signal(session.id, libc::SIGKILL).await;
    assert!(matches!(refused, Err(HolderError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_signal_goes_to_the_foreground() {
    let house = House::new().await;
    let script = "trap 'echo shell' INT; set -m; \
        sh -c 'trap \"echo fore; exit\" INT; echo ready; while :; do sleep 0.05; done'; \
        echo after; read x";
    let mut session = house.spawn(&["bash", "-c", script]).await;
    session.until_output("ready").await;
    house.holder.signal(session.id, libc::SIGINT).await.unwrap();
    session.until_output("after").await;
    assert!(session.text().contains("fore") && !session.text().contains("shell"));
}

#[tokio::test]
async fn failures_name_their_step() {
    let house = House::new().await;
    let step = |result: Result<Session, SpawnError>| match result {
        Err(SpawnError::Step { step, errno }) => (step, errno),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it started"),
    };
    let id = SessionId::generate();
    let missing = house.spawn_as(id, &["no-such-program"]).await;
    assert_eq!(step(missing), ("exec".to_owned(), libc::ENOENT));
    // Nothing is left of it, so the same id may start.
    assert!(house.holder.adopt().await.unwrap().is_empty());
    house.spawn_as(id, &["cat"]).await.unwrap();
    let denied = house.spawn_as(SessionId::generate(), &["/etc/passwd"]).await;
    assert_eq!(step(denied), ("exec".to_owned(), libc::EACCES));
    let nul = house.spawn_as(SessionId::generate(), &["echo", "a\0b"]).await;
    assert_eq!(step(nul), ("spec".to_owned(), libc::EINVAL));
    let mut elsewhere = spec(&["cat"]);
    elsewhere.cwd = "/no/such/directory".to_owned();
    let nowhere = house.holder.spawn(SessionId::generate(), &elsewhere, RING, b"").await;
    assert_eq!(step(nowhere.map(Session::new)), ("chdir".to_owned(), libc::ENOENT));
    let ring = house.holder.spawn(SessionId::generate(), &spec(&["cat"]), 3, b"").await;
    assert!(matches!(ring, Err(SpawnError::Holder(HolderError::Refused { .. }))), "{ring:?}");
    assert_eq!(house.holder.stats().await.unwrap().orphans_reaped, 0);
}

#[tokio::test]
async fn the_same_id_is_the_same_session() {
    let house = House::new().await;
    let id = SessionId::generate();
    let (first, second) = tokio::join!(house.spawn_as(id, &["cat"]), house.spawn_as(id, &["cat"]));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.pid, second.pid);
    assert_eq!(house.spawn_as(id, &["cat"]).await.unwrap().pid, first.pid);
    assert_eq!(house.holder.stats().await.unwrap().sessions, 1);
}

#[tokio::test]
async fn input_is_taken_exactly_once() {
    let house = House::new().await;
    let mut session = house.spawn(&["sh", "-c", "stty raw -echo; echo ready; cat"]).await;
    session.until_output("ready\n").await;
    let start = session.output.len();
    let key = ClientKey::named("test", "a");
    let send = |offset, bytes: &[u8]| house.holder.input(session.id, key, offset, bytes);
    send(0, b"abcdef");
    send(0, b"abcdef");
    send(3, b"defghi");
    send(20, b"gap");
    send(9, b"j");
    // A client of another name counts for itself.
    house.holder.input(session.id, ClientKey::named("test", "b"), 0, b"!");
    session.until_output("j!").await;
    assert_eq!(&session.output[start..], b"abcdefghij!");
    let input = session.ring.input(key).unwrap();
    assert_eq!((input.accepted, input.seen), (10, 23));
}

#[tokio::test]
async fn a_full_queue_takes_a_prefix() {
    let house = House::new().await;
    let script = "stty raw -echo; echo ready; exec sleep 1000";
    let mut session = house.spawn(&["bash", "-c", script]).await;
    session.until_output("ready").await;
    let key = ClientKey::named("test", "a");
    let typed = vec![b'x'; 400_000];
    house.holder.input(session.id, key, 0, &typed);
    let full = || session.ring.input(key).is_some_and(|input| input.seen == 400_000);
    poll("all to be seen", full).await;
    let input = session.ring.input(key).unwrap();
    assert!(input.accepted < 400_000, "the kernel takes some, the queue 64 KiB: {input:?}");
    // The holder's own queue is part of it, and bounded.
    assert!(session.ring.input_free() < 64 << 10);
    assert!(input.accepted >= 64 << 10);
}

#[tokio::test]
async fn refused_input_goes_on_when_the_program_reads() {
    let house = House::new().await;
    let script = "stty raw -echo; echo ready; sleep 0.3; head -c 300000 | cksum; read -r x";
    let mut session = house.spawn(&["bash", "-c", script]).await;
    session.until_output("ready").await;
    let key = ClientKey::named("test", "a");
    let typed: Vec<u8> = (0..300_000u32).map(|n| b'a' + (n % 23) as u8).collect();
    house.holder.input(session.id, key, 0, &typed);
    let wait = async {
        loop {
            let input = session.ring.input(key);
            let accepted = input.map_or(0, |input| input.accepted);
            if accepted == 300_000 {
                return;
            }
            let all_seen = input.is_some_and(|input| input.seen == 300_000);
            if all_seen && session.ring.input_free() > 0 {
                house.holder.input(session.id, key, accepted, &typed[accepted as usize..]);
            }
            // The timer is for what was accepted meanwhile, which nobody is told of.
            let _ = timeout(Duration::from_millis(20), session.wake.readable())
                .await
                .map(|ready| ready.unwrap().clear_ready());
        }
    };
    let waited = timeout(DEADLINE, wait).await;
    let state = (session.ring.input(key), session.ring.input_free());
    assert!(waited.is_ok(), "{state:?}");
    session.until_output(" 300000").await;
    let mut expected = std::process::Command::new("cksum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut expected.stdin.take().unwrap(), &typed).unwrap();
    let expected = expected.wait_with_output().unwrap().stdout;
    let expected = String::from_utf8(expected).unwrap();
    assert!(session.text().contains(expected.trim()), "{} {expected}", session.text());
}

#[tokio::test]
async fn resizes_are_stamped_where_they_happened() {
    let house = House::new().await;
    let script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done";
    let mut session = house.spawn(&["bash", "-c", script]).await;
    session.until_output("24 80").await;
    let before = session.cursor;
    house.holder.resize(session.id, 132, 43);
    house.holder.resize(session.id, 0, 43);
    session.until_output("43 132").await;
    let resizes = session.ring.resizes_since(0);
    let resizes: Vec<_> =
        resizes.iter().map(|resize| (resize.offset, resize.cols, resize.rows)).collect();
    assert_eq!(resizes, [(0, 80, 24), (before, 132, 43)]);
    assert!(session.ring.resizes_since(2).is_empty());
    assert_eq!(house.adopt_one().await.size, (132, 43));
}

#[tokio::test]
async fn a_new_server_goes_on_where_the_old_one_was() {
    let mut house = House::new().await;
    let script = "i=0; while [ $i -lt 60000 ]; do echo line-$i; i=$((i+1)); done; sleep 1000";
    let session = house.spawn(&["bash", "-c", script]).await;
    let (id, pid) = (session.id, session.pid);
    let (mut cursor, mut output) = (0, BytesMut::new());
    drop(session);
    while !output.ends_with(b"line-59999\r\n") {
        // A server that reads a while, lets the ring fill up, and dies.
        house = house.restart().await;
        let mut session = house.adopt_one().await;
        assert_eq!((session.id, session.pid), (id, pid));
        session.cursor = cursor;
        let until = cursor + 100_000;
        if session.ring.advance_tail(cursor) {
            house.holder.resume(id);
        }
        session
            .until("100,000 bytes more", |session| {
                if session.ring.advance_tail(session.cursor) {
                    house.holder.resume(id);
                }
                session.cursor >= until || session.output.ends_with(b"line-59999\r\n")
            })
            .await;
        cursor = session.cursor;
        output.extend_from_slice(&session.output);
    }
    let expected: String = (0..60000).map(|n| format!("line-{n}\r\n")).collect();
    assert!(output == expected.as_bytes(), "bytes were lost or doubled");
}

#[tokio::test]
async fn input_of_a_dead_server_is_taken_once() {
    let house = House::new().await;
    let mut session = house.spawn(&["sh", "-c", "stty raw -echo; echo ready; cat"]).await;
    session.until_output("ready\n").await;
    let start = session.output.len();
    let key = ClientKey::named("test", "a");
    for n in 0..500u64 {
        house.holder.input(session.id, key, n, &[b'a' + (n % 26) as u8]);
    }
    // The old handle goes with everything that it had sent; the new one sends all again.
    let house = house.restart().await;
    let typed: Vec<u8> = (0..500u64).map(|n| b'a' + (n % 26) as u8).collect();
    house.holder.input(session.id, key, 0, &typed);
    session.until_accepted(key, 500).await;
    session.until("500 bytes", |session| session.output.len() - start >= 500).await;
    assert_eq!(&session.output[start..], &typed[..]);
}

#[tokio::test]
async fn a_full_ring_stops_the_program_and_nothing_is_lost() {
    let house = House::new().await;
    let mut session = house.spawn(&["seq", "1", "100000"]).await;
    let readable = RING - stayd::ring::IN_FLIGHT;
    poll("a full ring", || session.ring.blocked()).await;
    assert_eq!(session.ring.head(), readable);
    let id = session.id;
    session
        .until("all of it", |session| {
            if session.ring.advance_tail(session.cursor) {
                house.holder.resume(id);
            }
            session.ring.ended().is_some() && session.cursor == session.ring.head()
        })
        .await;
    let expected: String = (1..=100_000).map(|n| format!("{n}\r\n")).collect();
    assert!(session.output == expected.as_bytes());
}

#[tokio::test]
async fn a_watcher_is_told_of_output_once() {
    let mut house = House::new().await;
    let mut session = house.spawn(&["cat"]).await;
    session.ring.request_watch(1);
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"x\r");
    let notice = timeout(DEADLINE, house.notices.recv()).await.unwrap();
    assert_eq!(notice, Some(Notice::Output(session.id)));
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"y\r");
    // The echo and what cat says of it, in whichever order.
    session.until("y twice", |session| session.text().matches('y').count() == 2).await;
    house.holder.stats().await.unwrap();
    assert!(house.notices.try_recv().is_err());
}

#[tokio::test]
async fn a_background_process_does_not_hold_the_end_up() {
    let house = House::new().await;
    let script = "trap '' HUP; (sleep 1000; echo late) & echo $!; exit 7";
    let mut session = house.spawn(&["sh", "-c", script]).await;
    assert_eq!(session.until_end().await, Exit::Code(7));
    let pid: i32 = session.text().trim().parse().unwrap();
    assert!(lives(pid), "what ignores the hang-up lives on");
    house.holder.forget(session.id).await.unwrap();
    kill(pid, libc::SIGKILL).unwrap();
    poll("the orphan's end", || !std::fs::exists(format!("/proc/{pid}")).unwrap()).await;
    assert_eq!(house.holder.stats().await.unwrap().orphans_reaped, 1);
}

#[tokio::test]
async fn a_leader_may_let_go_of_its_terminal_and_come_back() {
    let house = House::new().await;
    let script = "exec </dev/null >/dev/null 2>&1; sleep 0.2; exec >/dev/tty; echo back";
    let mut session = house.spawn(&["sh", "-c", script]).await;
    assert_eq!(session.until_end().await, Exit::Code(0));
    assert!(session.text().contains("back"));
}

#[tokio::test]
async fn blobs_are_replaced_and_bounded() {
    let house = House::new().await;
    let session = house.spawn(&["cat"]).await;
    house.holder.set_blob(session.id, &[7; 4096]).await.unwrap();
    assert_eq!(house.adopt_one().await.blob, [7; 4096]);
    assert!(house.holder.set_blob(session.id, &[7; 4097]).await.is_err());
    assert!(house.holder.set_blob(SessionId::generate(), b"").await.is_err());
}

#[tokio::test]
async fn a_running_session_is_not_forgotten() {
    let house = House::new().await;
    let session = house.spawn(&["cat"]).await;
    assert!(house.holder.forget(session.id).await.is_err());
    assert!(lives(session.pid));
}

#[tokio::test]
async fn more_than_a_page_is_adopted() {
    let house = House::new().await;
    let mut pids = Vec::new();
    for _ in 0..130 {
        pids.push(house.spawn(&["cat"]).await.pid);
    }
    let house = house.restart().await;
    let adopted: Vec<i32> =
        house.holder.adopt().await.unwrap().iter().map(|held| held.pid).collect();
    assert_eq!(adopted, pids);
}

#[tokio::test]
async fn sessions_have_clean_signals_limits_and_descriptors() {
    let house = House::new().await;
    let run = async |command: &[&str]| {
        let mut session = house.spawn(command).await;
        assert_eq!(session.until_end().await, Exit::Code(0));
        session.text()
    };
    let status = run(&["cat", "/proc/self/status"]).await;
    let mask = |name: &str| {
        let mask = status.split(name).nth(1).unwrap().split_whitespace().next().unwrap();
        u64::from_str_radix(mask, 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    // 32 and 33 are glibc's own, which its posix_spawn leaves ignored.
    assert_eq!(mask("SigIgn:") & !0x1_8000_0000, 0);
    // 3 is the listed directory itself.
    assert_eq!(run(&["ls", "/proc/self/fd"]).await.split_whitespace().count(), 4);
    let soft = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    let soft = soft.unwrap().0.to_string();
    assert_eq!(run(&["sh", "-c", "ulimit -n"]).await.trim(), soft);
    let ours = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let more = ours.trim().parse::<i32>().unwrap().saturating_add(200).min(1000);
    assert_eq!(run(&["cat", "/proc/self/oom_score_adj"]).await.trim(), more.to_string());
}

#[tokio::test]
async fn a_second_holder_is_refused() {
    let house = House::new().await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_stayd"))
        .args(["hold", "--state-dir"])
        .arg(house.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another holder"));
    house.holder.stats().await.unwrap();
    let pid = std::fs::read_to_string(house.dir.path().join("holder.pid")).unwrap();
    assert_eq!(pid.trim().parse::<i32>().unwrap(), house.holder.pid());
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let house = House::new().await;
    let first = house.holder.pid();
    kill_pair(&house.dir);
    let house = house.restart().await;
    assert_ne!(house.holder.pid(), first);
    house.spawn(&["cat"]).await;
}

#[tokio::test]
async fn the_death_of_holder_and_guardian_is_told() {
    let mut house = House::new().await;
    let session = house.spawn(&["cat"]).await;
    kill_pair(&house.dir);
    let notice = timeout(DEADLINE, house.notices.recv()).await.unwrap();
    assert_eq!(notice, Some(Notice::Gone));
    assert!(matches!(house.holder.stats().await, Err(HolderError::Gone)));
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"into the void");
    poll("the session's end", || !lives(session.pid)).await;
}

#[tokio::test]
async fn sigterm_ends_everything() {
    let mut house = House::new().await;
    let script = "trap '' HUP TERM; setsid sh -c 'trap \"\" HUP TERM; echo pid $$ end; \
        while :; do sleep 1; done' & echo up; while :; do sleep 1; done";
    let mut stubborn = house.spawn(&["bash", "-c", script]).await;
    let meek = house.spawn(&["cat"]).await;
    stubborn.until_output(" end").await;
    let text = stubborn.text();
    let away = text.split("pid ").nth(1).unwrap().split(' ').next().unwrap();
    let away: i32 = away.parse().unwrap();
    kill(house.holder.pid(), libc::SIGTERM).unwrap();
    while timeout(DEADLINE, house.notices.recv()).await.unwrap() != Some(Notice::Gone) {}
    assert!(!lives(stubborn.pid) && !lives(meek.pid) && !lives(away));
    assert_eq!(stubborn.ring.ended(), Some(Exit::Signal(libc::SIGKILL)));
    poll("a clean directory", || !house.dir.path().join("holder.sock").exists()).await;
}

/// A server that speaks by hand.
pub(super) struct Raw(pub(super) std::os::fd::OwnedFd);

impl Raw {
    pub(super) fn connect(house: &House) -> Raw {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
        let flags = SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        let address = UnixAddr::new(&house.dir.path().join("holder.sock")).unwrap();
        connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address).unwrap();
        Raw(fd)
    }

    pub(super) fn send(&self, bytes: &[u8]) {
        nix::unistd::write(&self.0, bytes).unwrap();
    }

    pub(super) fn ask<T: serde::Serialize>(&self, kind: Kind, control: Option<&T>) {
        let mut bytes = Vec::new();
        wire::encode(&mut bytes, kind, 7, control, &[]).unwrap();
        self.send(&bytes);
    }

    /// The next message's kind and control words; none once the holder has closed.
    pub(super) fn receive(&self) -> Option<(Kind, serde_json::Value)> {
        let mut bytes = vec![0; wire::MESSAGE_MAX];
        let length = nix::unistd::read(&self.0, &mut bytes).unwrap();
        let message = Message::parse(&bytes[..length]).ok()?;
        let json = serde_json::from_slice(message.json).unwrap_or_default();
        Some((Kind::from_byte(message.kind).unwrap(), json))
    }
}

#[tokio::test]
async fn nothing_that_a_peer_sends_harms_the_holder() {
    let house = House::new().await;
    let mut session = house.spawn(&["cat"]).await;
    // Strangers: nonsense, requests before hello, a foreign version, silence.
    let raw = Raw::connect(&house);
    raw.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(raw.receive(), None);
    let raw = Raw::connect(&house);
    raw.ask(Kind::List, Some(&wire::List::default()));
    assert_eq!(raw.receive().unwrap().0, Kind::Failed);
    assert_eq!(raw.receive(), None);
    let foreign = Raw::connect(&house);
    foreign.ask(Kind::Hello, Some(&serde_json::json!({"major": 99, "pid": 1, "new": [1, 2]})));
    let (kind, failure) = foreign.receive().unwrap();
    assert_eq!(
        (kind, &failure["code"], &failure["major"]),
        (Kind::Failed, &"version".into(), &1.into())
    );
    let silent: Vec<Raw> = (0..40).map(|_| Raw::connect(&house)).collect();
    // The server is still the one it was.
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"still here\r");
    session.until_output("still here\r\nstill here").await;
    assert_eq!(house.holder.stats().await.unwrap().refused, 1);
    drop(silent);
    // A server of a newer minor version: what is unknown is refused, one by one.
    let raw = Raw::connect(&house);
    raw.ask(Kind::Hello, Some(&serde_json::json!({"major": 1, "minor": 77, "new": true})));
    assert_eq!(raw.receive().unwrap().0, Kind::Hello);
    raw.send(&[99, 0, 0, 0, 7, 0, 0, 0]);
    assert_eq!(raw.receive().unwrap().1["code"], "invalid");
    raw.send(b"x");
    raw.send(&vec![b'x'; 100_000]);
    raw.send(&[Kind::Input as u8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
    for kind in 0..=255 {
        raw.send(&[kind, 0, 2, 0, 0, 0, 0, 0, b'{', b'}']);
        raw.send(&[kind, 0, 255, 255, 7, 0, 0, 0, b'{', b'}']);
        let id = SessionId::generate();
        let json = format!(r#"{{"id":"{id}","cols":1,"rows":1,"signal":1,"ring_capacity":1}}"#);
        let mut message = vec![kind, 0, json.len() as u8, 0, 0, 0, 0, 0];
        message.extend_from_slice(json.as_bytes());
        raw.send(&message);
    }
    raw.ask(Kind::Signal, Some(&wire::Signal { id: session.id, signal: 4711 }));
    while raw.receive().unwrap().1["message"] != "no such signal" {}
    let house = house.restart().await;
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"and now\r");
    session.until_output("and now\r\nand now").await;
    assert!(house.holder.stats().await.unwrap().malformed > 300);
}

#[tokio::test]
async fn descriptors_that_nobody_asked_for_are_closed() {
    let house = House::new().await;
    let open = || std::fs::read_dir(format!("/proc/{}/fd", house.holder.pid())).unwrap().count();
    let raw = Raw::connect(&house);
    raw.ask(Kind::Hello, Some(&wire::Hello::ours()));
    raw.receive().unwrap();
    let before = open();
    let fds = [0; 200];
    let message = [Kind::Stats as u8, 0, 0, 0, 7, 0, 0, 0];
    for _ in 0..10 {
        let rights = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
        nix::sys::socket::sendmsg::<()>(
            std::os::fd::AsRawFd::as_raw_fd(&raw.0),
            &[std::io::IoSlice::new(&message)],
            &rights,
            nix::sys::socket::MsgFlags::empty(),
            None,
        )
        .unwrap();
        raw.receive().unwrap();
    }
    // The last ones go after the answer.
    poll("the descriptors' end", || open() == before).await;
}

#[tokio::test]
async fn a_server_that_died_without_reading_is_still_heard() {
    let house = House::new().await;
    let mut session = house.spawn(&["cat"]).await;
    let raw = Raw::connect(&house);
    raw.ask(Kind::Hello, Some(&wire::Hello::ours()));
    raw.receive().unwrap();
    // Unread answers make the kernel say ECONNRESET before it hands out what we sent.
    let key = ClientKey::named("test", "a");
    for n in 0..200u64 {
        raw.ask(Kind::Stats, None::<&()>);
        let bytes = &[b'a' + (n % 26) as u8];
        raw.send(
            &wire::InputTail { id: session.id, key, offset: n, bytes }.encode(wire::Kind::Input),
        );
    }
    drop(raw);
    session.until_accepted(key, 200).await;
    let house = house.restart().await;
    house.holder.input(session.id, key, 200, b"\r");
    session.until_output("xyzabcdefghijklmnopqr\r\n").await;
}

#[tokio::test]
async fn a_server_that_does_not_read_delays_nobody() {
    let house = House::new().await;
    let mut session = house.spawn(&["cat"]).await;
    let raw = Raw::connect(&house);
    raw.ask(Kind::Hello, Some(&wire::Hello::ours()));
    raw.receive().unwrap();
    let mut bytes = Vec::new();
    wire::encode(&mut bytes, Kind::List, 7, Some(&wire::List::default()), &[]).unwrap();
    // Until neither side takes any more.
    let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
    let mut asked = 0;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&raw.0);
    let mut idle = 0;
    while idle < 20 {
        match nix::sys::socket::send(fd, &bytes, flags) {
            Ok(_) => (asked, idle) = (asked + 1, 0),
            Err(_) => {
                idle += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    assert!(lives(session.pid) && asked > 100);
    // All of it is answered, in order, once it reads again.
    for _ in 0..asked {
        assert_eq!(raw.receive().unwrap().0, Kind::Entry);
        assert_eq!(raw.receive().unwrap().0, Kind::Listed);
    }
    let house = house.restart().await;
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"hello\r");
    session.until_output("hello\r\nhello").await;
}

#[tokio::test]
async fn a_limit_of_the_system_is_a_clean_error() {
    let house = House::new().await;
    let mut session = house.spawn(&["cat"]).await;
    let limit = |most: &str| {
        let mut prlimit = std::process::Command::new("prlimit");
        prlimit.args(["--pid", &house.holder.pid().to_string(), &format!("--nofile={most}")]);
        assert!(prlimit.status().unwrap().success());
    };
    limit("16:4096");
    for _ in 0..10 {
        let refused = house.spawn_as(SessionId::generate(), &["cat"]).await.err();
        assert!(matches!(refused, Some(SpawnError::Limit(_))), "{refused:?}");
    }
    house.holder.input(session.id, ClientKey::anonymous(), 0, b"fine\r");
    session.until_output("fine\r\nfine").await;
    // Nothing of the failures is left.
    assert_eq!(house.holder.stats().await.unwrap().sessions, 1);
    limit("4096:4096");
    house.spawn(&["cat"]).await;
}
