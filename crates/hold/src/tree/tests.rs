//! Real processes: each test starts a tree, ends it, and checks what is left.

use super::*;
use crate::id::SessionId;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Short, so that programs which ignore signals do not hold the tests up.
const QUICK: Grace = Grace {
    hup: Duration::from_millis(150),
    term: Duration::from_millis(150),
    kill: Duration::from_secs(20),
};

/// A session's leader, started as the holder starts one: it leads its own terminal session and is
/// marked.
struct Planted {
    tree: Tree,
    leader: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Planted {
    /// Runs a script, which must print `ready` once its tree is complete.
    fn new(script: &str) -> Planted {
        let planted = Planted::begin(script);
        planted.ready()
    }

    fn begin(script: &str) -> Planted {
        let id = SessionId::generate();
        let mut leader = Command::new("setsid")
            .args(["sh", "-c", script])
            .env(MARK, id.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(leader.stdout.take().unwrap());
        let process = ProcessId::of(leader.id() as i32).unwrap();
        Planted { tree: Tree { id, leader: Some(process), keepers: None }, leader, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn ready(mut self) -> Planted {
        assert_eq!(self.line(), "ready");
        self
    }

    /// A pid that the script prints.
    fn pid(&mut self) -> ProcessId {
        ProcessId::of(self.line().parse().unwrap()).unwrap()
    }

    fn members(&self) -> Vec<i32> {
        self.tree.members().unwrap().iter().map(|member| member.pid).collect()
    }

    /// Ends the tree and checks that nothing is left of it.
    fn end(&self) -> EndReport {
        let report = self.tree.end(QUICK).unwrap();
        assert_eq!(report.left, []);
        assert_eq!(self.members(), [] as [i32; 0]);
        report
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.tree.signal(libc::SIGKILL);
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}

/// A process that no tree may touch.
struct Bystander(Child);

impl Bystander {
    fn new() -> Bystander {
        Bystander(Command::new("sleep").arg("300").env_remove(MARK).spawn().unwrap())
    }

    fn assert_unharmed(&mut self) {
        assert!(self.0.try_wait().unwrap().is_none());
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// So long that a busy machine is not taken for a process that does not end.
const PATIENT: Grace = Grace {
    hup: Duration::from_secs(60),
    term: Duration::from_secs(60),
    kill: Duration::from_secs(60),
};

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_plain_tree_goes_with_the_first_signal() {
    let mut bystander = Bystander::new();
    let planted = Planted::new("sleep 300 & sleep 300 & echo ready; wait");
    assert_eq!(planted.members().len(), 3);
    assert_eq!(planted.members().last(), Some(&(planted.leader.id() as i32)));
    let started = Instant::now();
    let report = planted.tree.end(PATIENT).unwrap();
    assert_eq!(report, EndReport { ended: 3, left: vec![] });
    assert!(started.elapsed() < PATIENT.hup, "took the whole grace");
    bystander.assert_unharmed();
}

#[test]
fn who_ignores_hangups_is_terminated() {
    let planted = Planted::new("trap '' HUP; sleep 300 & echo ready; wait");
    let started = Instant::now();
    planted.end();
    assert!(started.elapsed() >= QUICK.hup);
}

#[test]
fn who_ignores_everything_is_killed() {
    let mut bystander = Bystander::new();
    let planted = Planted::new("trap '' HUP TERM INT; sleep 300 & sleep 300 & echo ready; wait");
    let started = Instant::now();
    assert_eq!(planted.end().ended, 3);
    assert!(started.elapsed() >= QUICK.hup + QUICK.term);
    bystander.assert_unharmed();
}

#[test]
fn a_setsid_child_is_found_by_parentage_even_without_the_mark() {
    let mut planted = Planted::begin("env -i setsid sleep 300 & echo $!; echo ready; wait");
    let away = planted.pid();
    let planted = planted.ready();
    wait_until("setsid took place", || away.stat().unwrap().session == away.pid);
    assert!(planted.members().contains(&away.pid));
    planted.end();
    assert!(!away.is_alive());
}

#[test]
fn a_double_fork_is_found_by_its_mark() {
    // The middle process ends at once: its child is adopted by another process, in a session of its
    // own that none of ours leads.
    let mut planted = Planted::begin(
        "setsid sh -c 'trap \"\" HUP; setsid sleep 300 & echo $!' </dev/null & wait $!
         echo ready; sleep 300",
    );
    let away = planted.pid();
    let planted = planted.ready();
    wait_until("adopted", || {
        let stat = away.stat().unwrap();
        stat.session == away.pid && stat.parent != planted.leader.id() as i32
    });
    assert!(planted.members().contains(&away.pid));
    planted.end();
    assert!(!away.is_alive());
}

#[test]
fn orphans_are_found_after_the_leaders_end() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let mut planted = Planted::begin("sleep 300 & echo $!; echo ready; read _");
    let orphan = planted.pid();
    let mut planted = planted.ready();
    planted.leader.wait().unwrap();
    assert_eq!(planted.members(), [orphan.pid]);
    // Another session's orphan stays that session's, even in a terminal session with our leader's
    // number.
    planted.tree.id = SessionId::generate();
    assert_eq!(planted.members(), [] as [i32; 0]);
    planted.tree.keepers =
        Some(Keepers { holder: nix::unistd::Pid::this().as_raw(), guardian: None });
    assert_eq!(planted.members(), [] as [i32; 0]);
    planted.end();
    assert!(orphan.is_alive());
    Member { pid: orphan.pid, start_time: orphan.start_time }.signal(libc::SIGKILL).unwrap();
}

#[test]
fn unmarked_orphans_of_the_holder_are_found_by_the_leaders_session() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let mut planted = Planted::begin("env -i sleep 300 & echo $!; echo ready; read _");
    let orphan = planted.pid();
    let mut planted = planted.ready();
    planted.leader.wait().unwrap();
    // Without the holder its session is unknown, once env(1) has shed the mark.
    wait_until("unmarked", || planted.members().is_empty());
    planted.tree.keepers = Some(Keepers { holder: std::process::id() as i32, guardian: None });
    assert_eq!(planted.members(), [orphan.pid]);
    planted.end();
    assert!(!orphan.is_alive());
}

#[test]
fn stopped_processes_are_ended() {
    let mut planted = Planted::begin("sleep 300 & echo $!; kill -STOP $!; echo ready; wait");
    let stopped = planted.pid();
    let planted = planted.ready();
    let started = Instant::now();
    planted.tree.end(PATIENT).unwrap();
    assert!(!stopped.is_alive());
    // It was continued, and acted on the first signal.
    assert!(started.elapsed() < PATIENT.hup);
}

#[test]
fn a_leader_that_keeps_forking_is_ended() {
    let mut bystander = Bystander::new();
    // Each child lives a little and ignores what it can. The number is bounded, in case the test
    // fails.
    let planted = Planted::new(
        "trap '' HUP TERM; echo ready; i=0
         while [ $i -lt 20000 ]; do i=$((i+1)); sleep 0.2 & done; sleep 300",
    );
    let report = planted.end();
    assert!(report.ended > 1);
    bystander.assert_unharmed();
}

#[test]
fn a_process_whose_first_thread_ended_is_still_there() {
    // Python can end the first thread alone; without it this test does nothing.
    let program = "import ctypes, threading, time
threading.Thread(target=time.sleep, args=(300,)).start()
print('ready', flush=True)
ctypes.CDLL(None).pthread_exit(None)";
    if Command::new("python3").arg("-c").arg("import ctypes").status().is_err() {
        return;
    }
    let planted = Planted::new(&format!("exec python3 -c \"{program}\""));
    let leader = planted.tree.leader.clone().unwrap();
    let zombie = || std::fs::read_to_string(format!("/proc/{}/stat", leader.pid)).unwrap();
    wait_until("the first thread has ended", || zombie().contains(") Z "));
    assert!(leader.is_alive());
    planted.end();
}

#[test]
fn a_leader_that_is_not_the_one_is_nobody() {
    let mut bystander = Bystander::new();
    let process = ProcessId::of(bystander.0.id() as i32).unwrap();
    let later = ProcessId { start_time: process.start_time - 1, ..process.clone() };
    let other_boot = ProcessId { boot_id: "another".into(), ..process };
    for leader in [later, other_boot] {
        let tree = Tree { id: SessionId::generate(), leader: Some(leader), keepers: None };
        assert_eq!(tree.members().unwrap(), []);
        assert_eq!(tree.signal(libc::SIGKILL).unwrap(), 0);
        assert_eq!(tree.end(QUICK).unwrap(), EndReport::default());
    }
    bystander.assert_unharmed();
}

#[test]
fn the_caller_and_the_holder_never_belong() {
    let mut holder = Bystander(Command::new("sleep").arg("300").spawn().unwrap());
    let me = ProcessId::of(std::process::id() as i32).unwrap();
    let pid = holder.0.id() as i32;
    let tree = |leader, holder: Option<i32>| {
        let keepers = holder.map(|holder| Keepers { holder, guardian: None });
        Tree { id: SessionId::generate(), leader, keepers }
    };
    let members = tree(Some(me), Some(pid)).members().unwrap();
    assert!(members.iter().all(|member| member.pid != pid));
    assert_eq!(tree(ProcessId::of(pid).ok(), Some(pid)).signal(libc::SIGKILL).unwrap(), 0);
    holder.assert_unharmed();
}

#[test]
fn a_signal_reaches_the_whole_tree_once() {
    let planted = Planted::new("sleep 300 & setsid sleep 300 & echo ready; wait");
    assert_eq!(planted.tree.signal(libc::SIGCONT).unwrap(), 3);
    assert_eq!(planted.tree.signal(0).unwrap(), 3);
    assert_eq!(planted.tree.signal(-1).unwrap(), 0);
}

/// Runs this test once more in a pid namespace of its own, where the next pid can be chosen.
#[test]
fn whoever_has_a_dead_members_pid_next_is_never_signalled() {
    const INSIDE: &str = "STAYD_TEST_PID_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return reuse_a_pid();
    }
    let name = "tree::tests::whoever_has_a_dead_members_pid_next_is_never_signalled";
    let inside = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .output();
    let Ok(inside) = inside else { return skipped("there is no unshare(1)") };
    let said = String::from_utf8_lossy(&inside.stdout);
    if !said.contains("running 1 test") {
        return skipped(&String::from_utf8_lossy(&inside.stderr));
    }
    assert!(inside.status.success(), "{said}{}", String::from_utf8_lossy(&inside.stderr));
    said.lines().filter(|line| line.starts_with("skipped")).for_each(skipped);
}

#[allow(clippy::print_stdout, reason = "for whoever reads the test's output")]
fn skipped(why: &str) {
    println!("skipped: no pid could be reused: {why}");
}

fn reuse_a_pid() {
    let sleep = || Bystander(Command::new("sleep").arg("300").env_remove(MARK).spawn().unwrap());
    let mut dead = sleep();
    let old = ProcessId::of(dead.0.id() as i32).unwrap();
    let member = Member { pid: old.pid, start_time: old.start_time };
    let held = process::open_verified(old.pid, old.start_time).unwrap();
    dead.0.kill().unwrap();
    dead.0.wait().unwrap();
    // Start times are counted in hundredths of a second.
    let died = boottime_ms();
    wait_until("another tick", || boottime_ms() > died + 20);
    if let Err(error) = std::fs::write("/proc/sys/kernel/ns_last_pid", (old.pid - 1).to_string()) {
        return skipped(&error.to_string());
    }
    let mut next = sleep();
    assert_eq!(next.0.id() as i32, old.pid, "the pid was to be reused");

    assert!(process::is_gone(&member.signal(libc::SIGKILL).unwrap_err()));
    let late = pidfd::send(std::os::fd::AsFd::as_fd(&held), libc::SIGKILL).unwrap_err();
    assert!(process::is_gone(&late), "{late}");
    let tree = Tree { id: SessionId::generate(), leader: Some(old), keepers: None };
    assert_eq!(tree.members().unwrap(), []);
    assert_eq!(tree.signal(libc::SIGKILL).unwrap(), 0);
    assert_eq!(tree.end(QUICK).unwrap(), EndReport::default());
    next.assert_unharmed();
    // With the right start time the same call reaches it.
    let start_time = start_time(member.pid).unwrap();
    Member { start_time, ..member }.signal(libc::SIGKILL).unwrap();
    next.0.wait().unwrap();
}

#[test]
fn many_trees_are_found_by_one_walk() {
    let mut planted: Vec<Planted> =
        (0..20).map(|_| Planted::begin("setsid sleep 300 & echo $!; echo ready; wait")).collect();
    let away: Vec<i32> = planted.iter_mut().map(|planted| planted.pid().pid).collect();
    let planted: Vec<Planted> = planted.into_iter().map(Planted::ready).collect();
    let trees: Vec<Tree> = planted.iter().map(|planted| planted.tree.clone()).collect();
    let before = walk::WALKS.with(std::cell::Cell::get);
    // Nobody is below a process that does not exist.
    let found = descendants_and_members(i32::MAX, &trees).unwrap();
    assert_eq!(walk::WALKS.with(std::cell::Cell::get), before + 1);
    let pids: HashSet<i32> = found.iter().map(|member| member.pid).collect();
    assert_eq!(pids.len(), found.len(), "nobody is named twice");
    assert!(away.iter().all(|pid| pids.contains(pid)));
    assert!(planted.iter().all(|planted| pids.contains(&(planted.leader.id() as i32))));
}
