//! What runs, as /proc says.

use std::collections::{HashMap, HashSet};

pub(super) struct Process {
    pub(super) parent: i32,
    /// Clock ticks after boot (field 22 of proc_pid_stat(5)).
    pub(super) start_time: u64,
    dead: bool,
}

/// Everything that runs below guardian and holder, and below leaders that have lost both: those that
/// a dead guardian had adopted.
pub(super) struct Processes {
    keepers: [i32; 2],
    adopted: HashSet<i32>,
    all: HashMap<i32, Process>,
}

impl Processes {
    pub(super) fn of(guardian: i32, holder: i32, leaders: &HashSet<i32>) -> Self {
        let numbers = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut all: HashMap<i32, Process> =
            pids.filter_map(|pid| Some((pid, process(pid)?))).collect();
        let parent = |pid: &i32| all.get(pid).map(|process| process.parent);
        let is_ours = |pid: i32| {
            pid != holder
                && std::iter::successors(Some(pid), parent)
                    .take(100)
                    .any(|at| leaders.contains(&at) || parent(&at) == Some(guardian))
        };
        let ours: HashSet<i32> = all.keys().copied().filter(|pid| is_ours(*pid)).collect();
        all.retain(|pid, process| ours.contains(pid) && !process.dead && !is_fork_server(*pid));
        let keepers = [guardian, holder];
        let lost = |pid: &&i32| all.get(pid).is_some_and(|found| !keepers.contains(&found.parent));
        let adopted = leaders.iter().filter(lost).copied().collect();
        Processes { keepers, adopted, all }
    }

    pub(super) fn get(&self, pid: i32) -> Option<&Process> {
        self.all.get(&pid)
    }

    /// Processes whose parent is one of the keepers, or was a dead one.
    pub(super) fn leaders(&self) -> HashSet<i32> {
        let is_child = |process: &Process| self.keepers.contains(&process.parent);
        let children = self.all.iter().filter(|(_, process)| is_child(process));
        children.map(|(pid, _)| *pid).chain(self.adopted.iter().copied()).collect()
    }

    /// Each process with the session that its environment names.
    pub(super) fn marked(&self) -> Vec<(i32, Option<String>)> {
        self.all.keys().map(|pid| (*pid, mark(*pid))).collect()
    }
}

pub(super) fn process(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, also parentheses and spaces.
    let fields = Vec::from_iter(stat.rsplit_once(") ")?.1.split(' '));
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
        dead: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// Whether it is the process from which the holder forks sessions, or a child that has not executed
/// its program yet.
fn is_fork_server(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"stayd\0__fork\0")
}

fn mark(pid: i32) -> Option<String> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mark = environ.split(|&byte| byte == 0).find_map(|v| v.strip_prefix(b"STAYD_SESSION="))?;
    Some(String::from_utf8_lossy(mark).into_owned())
}
