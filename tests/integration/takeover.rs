//! Holder or guardian dies, at any moment: nobody but the log notices.

use super::holder::{House, RING, Session, kill, paths, poll, spec};
use crate::support::lives;
use stayd::holder::{Held, Holder, Notice, Paths};
use stayd::id::{ClientKey, SessionId};
use stayd::lifecycle::Exit;
use std::time::{Duration, Instant};

/// The pair of processes that hold the sessions of a house.
struct Pair {
    guardian: i32,
    holder: i32,
}

impl Pair {
    fn of(house: &House) -> Pair {
        let pid = |file| pid_in(house, file).expect("a pid");
        Pair { guardian: pid("guardian.pid"), holder: pid("holder.pid") }
    }

    /// Waits until the files name two other living processes, of which one is the other's parent.
    async fn changed(&self, house: &House) -> Pair {
        let mut found = None;
        poll("another pair", || {
            let (Some(guardian), Some(holder)) =
                (pid_in(house, "guardian.pid"), pid_in(house, "holder.pid"))
            else {
                return false;
            };
            let new = (guardian, holder) != (self.guardian, self.holder)
                && holder != self.holder
                && parent(holder) == Some(guardian);
            if new {
                found = Some(Pair { guardian, holder });
            }
            new
        })
        .await;
        found.expect("a pair")
    }
}

fn pid_in(house: &House, file: &str) -> Option<i32> {
    std::fs::read_to_string(house.dir.path().join(file)).ok()?.trim().parse().ok()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Two files of the same program, which replace each other.
fn programs(house: &House) -> [std::path::PathBuf; 2] {
    ["one", "two"].map(|name| {
        let path = house.dir.path().join(name);
        std::fs::copy(env!("CARGO_BIN_EXE_stayd"), &path).unwrap();
        path
    })
}

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Holder,
    Guardian,
}

async fn replace(house: &House, victim: Victim) -> Pair {
    let pair = Pair::of(house);
    let pid = match victim {
        Victim::Holder => pair.holder,
        Victim::Guardian => pair.guardian,
    };
    kill(pid, libc::SIGKILL).unwrap();
    pair.changed(house).await
}

const BOTH: [Victim; 2] = [Victim::Holder, Victim::Guardian];

#[tokio::test]
async fn a_session_goes_on_when_either_of_them_dies() {
    let house = House::new().await;
    let mut cat = house.spawn(&["cat"]).await;
    let (pid, key) = (cat.pid, ClientKey::named("p", "c"));
    let mut typed = 0;
    for (round, victim) in BOTH.into_iter().cycle().take(6).enumerate() {
        replace(&house, victim).await;
        let line = format!("round {round}\n");
        house.holder.input(cat.id, key, typed, line.as_bytes());
        typed += line.len() as u64;
        cat.until_output(&format!("round {round}\r\nround {round}\r\n")).await;
        assert_eq!(cat.ring.input(key).unwrap().accepted, typed);
    }
    // The connection of the server is the same all the time.
    let stats = house.holder.stats().await.unwrap();
    assert_eq!((stats.takeovers, stats.gaps, stats.unaccounted), (6, 0, Some(0)), "{stats:?}");
    assert!(lives(pid));
    assert_eq!(house.holder.keepers().holder, Pair::of(&house).holder);
    assert_eq!(house.holder.keepers().guardian, Some(Pair::of(&house).guardian));
}

#[tokio::test]
async fn exits_are_known_whoever_was_the_parent() {
    let house = House::new().await;
    let mut expected = Vec::new();
    let mut sessions = Vec::new();
    // Started by three holders: children of the guardian, of init, and of the present holder.
    for victims in [&BOTH[..1], &BOTH[1..], &[]] {
        for (script, exit) in [
            ("read x; exit 0", Exit::Code(0)),
            ("read x; exit 77", Exit::Code(77)),
            ("read x; kill -9 $$", Exit::Signal(9)),
            ("read x; kill -37 $$", Exit::Signal(37)),
        ] {
            sessions.push(house.spawn(&["bash", "-c", script]).await);
            expected.push(exit);
        }
        for victim in victims {
            replace(&house, *victim).await;
        }
    }
    for session in &sessions {
        house.holder.input(session.id, ClientKey::anonymous(), 0, b"\n");
    }
    for (session, exit) in sessions.iter_mut().zip(expected) {
        assert_eq!(session.until_end().await, exit, "{}", session.pid);
    }
    let entries = house.holder.list().await.unwrap();
    assert!(entries.iter().all(|entry| entry.exit.is_some()));
    for session in &sessions {
        house.holder.forget(session.id).await.unwrap();
    }
    assert!(house.holder.list().await.unwrap().is_empty());
    // Reaping has changed no count.
    assert_eq!(house.holder.stats().await.unwrap().unaccounted, Some(0));
}

#[tokio::test]
async fn exits_while_nobody_watches_are_known() {
    let house = House::new().await;
    let mut sessions = Vec::new();
    for code in 0..8 {
        sessions.push(house.spawn(&["sh", "-c", &format!("read x; exit {code}")]).await);
    }
    let pair = Pair::of(&house);
    // The programs end while their parent is stopped, and it dies without having looked.
    kill(pair.holder, libc::SIGSTOP).unwrap();
    for session in &sessions {
        kill(session.pid, libc::SIGKILL).unwrap();
    }
    poll("all dead", || sessions.iter().all(|session| !lives(session.pid))).await;
    kill(pair.holder, libc::SIGKILL).unwrap();
    pair.changed(&house).await;
    for session in &mut sessions {
        assert_eq!(session.until_end().await, Exit::Signal(9));
    }
}

#[tokio::test]
async fn everything_that_is_kept_of_a_session_is_kept() {
    let mut house = House::new().await;
    let shell = house.spawn(&["sh", "-c", "stty -echo; echo up; read x; stty size; cat"]).await;
    let id = shell.id;
    house.holder.set_blob(id, &[7; 3000]).await.unwrap();
    house.holder.resize(id, 132, 43);
    let meta = stayd::holder::CheckpointMeta { offset: 0, resizes: 2, ..Default::default() };
    poll("a resize", || shell.ring.resize_count() == 2).await;
    house.holder.checkpoint(id, &meta, b"screen").await.unwrap();
    for victim in BOTH.into_iter().cycle().take(4) {
        replace(&house, victim).await;
        house = house.restart().await;
        let mut held = house.holder.adopt().await.unwrap();
        let held = held.pop().unwrap();
        assert_eq!((held.id, held.pid, held.blob.len()), (id, shell.pid, 3000));
        assert_eq!((held.cols, held.rows, held.exit), (132, 43, None));
        let checkpoint = held.checkpoint.unwrap();
        assert_eq!((checkpoint.meta, &checkpoint.read().unwrap()[..]), (meta, &b"screen"[..]));
    }
    house.holder.input(id, ClientKey::anonymous(), 0, b"\n");
    let mut shell = shell;
    shell.until_output("43 132").await;
}

/// Prints numbered lines as fast as it can, of which none is like another.
const FLOOD: &str = "stty raw; exec seq -f %010.0f 0 100000000";
const LINE: u64 = 11;

/// How often one of the two dies.
fn kills() -> usize {
    std::env::var("STAYD_TAKEOVERS").map_or(40, |text| text.parse().expect("a number"))
}

/// Reads a flood until `enough`, and compares every byte.
async fn drink(session: &mut Session, house: &House, enough: impl Fn() -> bool) {
    let mut line = Vec::new();
    while !enough() {
        if session.ring.advance_tail(session.cursor) {
            house.holder.resume(session.id);
        }
        let read = session.ring.read(session.cursor, 64 << 10, &mut session.output).unwrap();
        for (at, byte) in session.output.split().iter().enumerate() {
            let offset = session.cursor + at as u64;
            let (number, column) = (offset / LINE, (offset % LINE) as usize);
            if column == 0 || line.is_empty() {
                line = format!("{number:010}\n").into_bytes();
            }
            assert_eq!(*byte, line[column], "at {offset}");
        }
        session.cursor += read as u64;
        if read == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_flood_is_exact_however_often_they_die() {
    let house = House::new().await;
    let mut flood = house.spawn(&["sh", "-c", FLOOD]).await;
    let mut echo = house.spawn(&["sh", "-c", "stty raw -echo; echo up; exec cat"]).await;
    echo.until_output("up").await;
    let over = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    let mut longest = Duration::ZERO;
    let killing = async {
        for round in 0..kills() {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            tokio::time::sleep(Duration::from_micros(chance >> 33 & 0x3fff)).await;
            let victim = if round % 3 == 2 { Victim::Guardian } else { Victim::Holder };
            let start = Instant::now();
            replace(&house, victim).await;
            longest = longest.max(start.elapsed());
        }
        over.store(true, relaxed);
    };
    let typing = async {
        // Every byte once, in order, by a client that sends again what was not accepted.
        let key = ClientKey::named("p", "typist");
        let mut typed = 0_u64;
        let mut echoed = echo.cursor;
        let begin = echo.cursor;
        while !over.load(relaxed) {
            let bytes: Vec<u8> = (typed..typed + 700).map(|at| (at % 251) as u8).collect();
            house.holder.input(echo.id, key, typed, &bytes);
            let accepted = || echo.ring.input(key).map_or(0, |input| input.accepted);
            poll("accepted", || accepted() >= typed + 700).await;
            typed += 700;
            while echoed < begin + typed {
                let mut output = bytes::BytesMut::new();
                let read = echo.ring.read(echoed, 64 << 10, &mut output).unwrap();
                for (at, byte) in output.iter().enumerate() {
                    let position = echoed + at as u64 - begin;
                    assert_eq!(*byte, (position % 251) as u8, "echo at {position}");
                }
                echoed += read as u64;
                if echo.ring.advance_tail(echoed) {
                    house.holder.resume(echo.id);
                }
                tokio::task::yield_now().await;
            }
        }
        typed
    };
    let ((), typed, ()) =
        tokio::join!(killing, typing, drink(&mut flood, &house, || over.load(relaxed)));
    let stats = house.holder.stats().await.unwrap();
    eprintln!(
        "{} kills: {} MiB printed and {typed} bytes typed, exact; {} operations completed; \
         longest takeover {longest:?}",
        kills(),
        flood.cursor >> 20,
        stats.completed,
    );
    assert_eq!((stats.gaps, stats.unaccounted), (0, Some(0)), "{stats:?}");
}

#[tokio::test]
async fn a_session_that_is_started_while_they_die_is_started_once() {
    let house = House::new().await;
    let mark = house.dir.path().join("started");
    for round in 0..24_u64 {
        let id = SessionId::generate();
        let script = format!("echo {round} >> {}; echo up; read x", mark.display());
        let command = spec(&["sh", "-c", &script]);
        let spawning = house.holder.spawn(id, &command, RING, b"blob");
        let killing = async {
            tokio::time::sleep(Duration::from_micros(round * 97)).await;
            replace(&house, if round % 2 == 0 { Victim::Holder } else { Victim::Guardian }).await;
        };
        let (held, _): (Result<Held, _>, Pair) = tokio::join!(spawning, async {
            killing.await;
            Pair::of(&house)
        });
        let mut session = Session::new(held.unwrap());
        assert_eq!(session.id, id);
        session.until_output("up").await;
        let text = std::fs::read_to_string(&mark).unwrap();
        assert_eq!(text.lines().filter(|line| *line == round.to_string()).count(), 1, "{text}");
    }
    let entries = house.holder.list().await.unwrap();
    assert_eq!(entries.len(), 24);
    let mut brief = house.spawn(&["sh", "-c", "cat /proc/self/maps /proc/self/stat; exit 3"]).await;
    assert_eq!(brief.until_end().await, Exit::Code(3));
    let stats = house.holder.stats().await.unwrap();
    assert_eq!((stats.gaps, stats.unaccounted), (0, Some(0)), "{stats:?}");
}

/// The fork server of a holder.
fn fork_server(holder: i32) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"stayd\0__fork\0") && parent(*pid) == Some(holder)
    })
}

#[tokio::test]
async fn a_session_that_is_started_while_the_fork_server_dies_is_started_once() {
    let house = House::new().await;
    let mark = house.dir.path().join("started");
    for round in 0..40_u64 {
        let server = fork_server(Pair::of(&house).holder);
        let script = format!("echo {round} >> {}; echo up; read x", mark.display());
        let command = ["sh", "-c", &script];
        let spawning = house.spawn(&command);
        let killing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round * 17));
            // It may be gone since an earlier round.
            server.map(|server| kill(server, libc::SIGKILL))
        });
        let mut session = spawning.await;
        session.until_output("up").await;
        killing.join().unwrap();
        let text = std::fs::read_to_string(&mark).unwrap();
        assert_eq!(text.lines().filter(|line| *line == round.to_string()).count(), 1, "{text}");
    }
    assert_eq!(house.holder.list().await.unwrap().len(), 40);
    let stats = house.holder.stats().await.unwrap();
    assert_eq!((stats.takeovers, stats.unaccounted), (0, Some(0)), "{stats:?}");
}

#[tokio::test]
async fn a_stopped_one_that_is_killed_is_replaced() {
    let house = House::new().await;
    let mut cat = house.spawn(&["cat"]).await;
    for (round, victim) in BOTH.into_iter().cycle().take(4).enumerate() {
        let pair = Pair::of(&house);
        let pid = if victim == Victim::Holder { pair.holder } else { pair.guardian };
        kill(pid, libc::SIGSTOP).unwrap();
        let line = format!("round {round}\n");
        house.holder.input(cat.id, ClientKey::anonymous(), 0, line.as_bytes());
        kill(pid, libc::SIGKILL).unwrap();
        pair.changed(&house).await;
        cat.until_output(&format!("round {round}\r\nround {round}\r\n")).await;
    }
}

#[tokio::test]
async fn the_server_is_told_who_holds() {
    let house = House::new().await;
    let mut house = house;
    let pair = replace(&house, Victim::Holder).await;
    let notice = tokio::time::timeout(super::holder::DEADLINE, house.notices.recv()).await;
    assert_eq!(notice.unwrap(), Some(Notice::TakenOver { pid: pair.holder, gaps: 0 }));
    poll("the pid", || house.holder.pid() == pair.holder).await;
}

#[tokio::test]
async fn sigterm_ends_everything_that_any_of_them_has_started() {
    let house = House::new().await;
    let mut pids = Vec::new();
    for victim in [Some(Victim::Holder), Some(Victim::Guardian), Some(Victim::Holder), None] {
        pids.push(
            house.spawn(&["sh", "-c", "trap '' HUP TERM; while :; do sleep 1; done"]).await.pid,
        );
        if let Some(victim) = victim {
            replace(&house, victim).await;
        }
    }
    let pair = Pair::of(&house);
    kill(pair.guardian, libc::SIGTERM).unwrap();
    poll("all dead", || pids.iter().all(|pid| !lives(*pid))).await;
    poll("nobody left", || !lives(pair.guardian) && !lives(pair.holder)).await;
    for file in ["holder.sock", "holder.pid", "guardian.pid"] {
        assert!(!house.dir.path().join(file).exists(), "{file}");
    }
}

#[tokio::test]
async fn an_upgrade_is_a_takeover_by_another_program() {
    let house = House::new().await;
    let mut exits = house.spawn(&["sh", "-c", "read x; exit 7"]).await;
    let mut cat = house.spawn(&["cat"]).await;
    let key = ClientKey::named("p", "c");
    let mut typed = 0;
    for (round, program) in programs(&house).iter().cycle().take(5).enumerate() {
        let pair = Pair::of(&house);
        let hello = stayd::holder::upgrade(house.dir.path(), program).await.unwrap();
        let now = pair.changed(&house).await;
        assert_eq!((hello.pid, hello.guardian), (now.holder, now.guardian));
        // The same parent: it knows the exits of its children.
        assert_eq!(now.guardian, pair.guardian);
        for pid in [now.holder, now.guardian] {
            let runs = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
            assert_eq!(&runs, program);
        }
        let line = format!("round {round}\n");
        house.holder.input(cat.id, key, typed, line.as_bytes());
        typed += line.len() as u64;
        cat.until_output(&format!("round {round}\r\nround {round}\r\n")).await;
        if round == 2 {
            replace(&house, Victim::Guardian).await;
            replace(&house, Victim::Holder).await;
        }
    }
    house.holder.input(exits.id, key, 0, b"\n");
    assert_eq!(exits.until_end().await, Exit::Code(7));
    // A file that is no program of ours replaces nothing.
    let pair = Pair::of(&house);
    let script = house.dir.path().join("script");
    std::fs::write(&script, "not a program").unwrap();
    let refused = stayd::holder::upgrade(house.dir.path(), &script).await.unwrap_err();
    assert!(refused.to_string().contains("did not start"), "{refused}");
    pair.changed(&house).await;
    house.holder.input(cat.id, key, typed, b"still here\n");
    cat.until_output("still here\r\nstill here").await;
    let stats = house.holder.stats().await.unwrap();
    assert_eq!((stats.gaps, stats.unaccounted), (0, Some(0)), "{stats:?}");
}

/// A house whose holders see files of their own, so that a test can hide /proc from them.
async fn house_apart() -> House {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let stayd = env!("CARGO_BIN_EXE_stayd");
    let script = format!("#!/bin/sh\nexec unshare --mount {stayd} \"$@\"\n");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let paths = Paths { program, ..paths(&dir) };
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let (holder, notices) = Holder::connect_or_launch(&paths, &log).await.unwrap();
    House { dir, holder, notices }
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
async fn what_the_kernel_does_not_count_is_told() {
    let may = std::process::Command::new("unshare").args(["--mount", "true"]).status();
    if !nix::unistd::geteuid().is_root() || !may.is_ok_and(|status| status.success()) {
        eprintln!("skipped: only root can hide /proc from a process, where it may mount");
        return;
    }
    let mut house = house_apart().await;
    let mut flood = house.spawn(&["sh", "-c", FLOOD]).await;
    let namespace = format!("--mount=/proc/{}/ns/mnt", Pair::of(&house).holder);
    let hide = ["mount", "-t", "tmpfs", "none", "/proc"];
    let hidden = std::process::Command::new("nsenter").arg(namespace).args(hide).status().unwrap();
    assert!(hidden.success());
    // The counts of the first were open already.
    let over = std::cell::Cell::new(false);
    let killing = async {
        replace(&house, Victim::Holder).await;
        over.set(true);
    };
    tokio::join!(killing, drink(&mut flood, &house, || over.get()));
    assert_eq!(house.holder.stats().await.unwrap().gaps, 0);
    // The next holders cannot open theirs. Most die between two operations, which leaves no doubt.
    let cursor = flood.cursor;
    let mut output = Vec::new();
    over.set(false);
    let killing = async {
        let mut chance = 0x2545_f491_4f6c_dd1d_u64;
        let doubt = async {
            while house.holder.stats().await.unwrap().gaps == 0 {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                tokio::time::sleep(Duration::from_micros(chance >> 33 & 0x3fff)).await;
                replace(&house, Victim::Holder).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), doubt).await.expect("a read in doubt");
        over.set(true);
    };
    let collecting = async {
        while !(over.get() && output.len() > 1 << 20 && output.ends_with(b"\n")) {
            if flood.ring.advance_tail(flood.cursor) {
                house.holder.resume(flood.id);
            }
            let read = flood.ring.read(flood.cursor, 64 << 10, &mut flood.output).unwrap();
            flood.cursor += read as u64;
            output.extend_from_slice(&flood.output.split());
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(killing, collecting);
    let mut gaps = 0;
    while let Ok(notice) = house.notices.try_recv() {
        if let Notice::TakenOver { gaps: more, .. } = notice {
            gaps += more;
        }
    }
    assert_eq!(gaps, 1);
    let output = String::from_utf8(output).unwrap();
    let text = "\x18\x1b\\\r\n[stayd: the process that held this session was killed, and the kernel \
        does not tell how much it had read: output may be missing here]\r\n";
    let (before, after) = output.split_once(text).expect("the session says so");
    assert!(!after.contains("stayd"), "once");
    for (at, byte) in before.bytes().enumerate() {
        let offset = cursor + at as u64;
        let line = format!("{:010}\n", offset / LINE);
        assert_eq!(byte, line.as_bytes()[(offset % LINE) as usize], "at {offset}");
    }
    // Nothing comes twice.
    let last = (cursor + before.len() as u64) / LINE;
    let numbers: Vec<u64> = after.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert!(numbers.first().is_none_or(|first| *first >= last), "{last} {:?}", numbers.first());
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[tokio::test]
async fn an_upgrade_loses_nothing_though_one_of_them_dies_meanwhile() {
    let house = House::new().await;
    let mut flood = house.spawn(&["sh", "-c", FLOOD]).await;
    let programs = programs(&house);
    let over = std::cell::Cell::new(false);
    let mut upgraded = 0;
    let upgrading = async {
        for round in 0..kills() as u64 {
            let pair = Pair::of(&house);
            let program = &programs[round as usize % 2];
            let upgrade = stayd::holder::upgrade(house.dir.path(), program);
            let killing = async {
                tokio::time::sleep(Duration::from_micros(round * 211 % 12_000)).await;
                let victim = match round % 4 {
                    0 => pair.holder,
                    1 => pair.guardian,
                    // The holder of this moment, which may be a new one.
                    2 => Pair::of(&house).holder,
                    _ => return None,
                };
                kill(victim, libc::SIGKILL).unwrap_or_default();
                Some(victim)
            };
            let (done, victim) = tokio::join!(upgrade, killing);
            upgraded += usize::from(done.is_ok());
            // Without the victim, which may need a moment to die: who would strike the other
            // before that would end both.
            poll("a whole pair", || {
                let now = (pid_in(&house, "guardian.pid"), pid_in(&house, "holder.pid"));
                now.0.is_some()
                    && (victim.is_none() || ![now.0, now.1].contains(&victim))
                    && now.1.is_some_and(|pid| lives(pid) && parent(pid) == now.0)
            })
            .await;
            // Its socket answers.
            house.holder.stats().await.unwrap();
        }
        over.set(true);
    };
    tokio::join!(upgrading, drink(&mut flood, &house, || over.get()));
    let stats = house.holder.stats().await.unwrap();
    eprintln!("{upgraded} of {} upgrades, {} MiB exact: {stats:?}", kills(), flood.cursor >> 20);
    assert_eq!((stats.gaps, stats.unaccounted), (0, Some(0)), "{stats:?}");
    assert!(upgraded > 0);
}
