//! What runs, as /proc says.

use std::collections::{HashMap, HashSet};

pub(super) struct Process {
    pub(super) parent: i32,
    /// Clock ticks after boot (field 22 of proc_pid_stat(5)).
    pub(super) start_time: u64,
    dead: bool,
}

/// Everything that runs below a holder.
pub(super) struct Processes {
    holder: i32,
    all: HashMap<i32, Process>,
}

impl Processes {
    pub(super) fn below(holder: i32) -> Self {
        let numbers = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut all: HashMap<i32, Process> =
            pids.filter_map(|pid| Some((pid, process(pid)?))).collect();
        let parent = |pid: &i32| all.get(pid).map(|process| process.parent);
        let is_below = |pid: i32| {
            std::iter::successors(parent(&pid), parent).take(100).any(|above| above == holder)
        };
        let below: HashSet<i32> = all.keys().copied().filter(|pid| is_below(*pid)).collect();
        all.retain(|pid, process| below.contains(pid) && !process.dead && !is_fork_server(*pid));
        Processes { holder, all }
    }

    pub(super) fn get(&self, pid: i32) -> Option<&Process> {
        self.all.get(&pid)
    }

    /// Processes whose parent is the holder itself.
    pub(super) fn leaders(&self) -> HashSet<i32> {
        let children = self.all.iter().filter(|(_, process)| process.parent == self.holder);
        children.map(|(pid, _)| *pid).collect()
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
