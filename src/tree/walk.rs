//! Finding a tree's members: one pass over /proc.

use super::process::{Stat, is_gone, is_refused};
use super::{MARK, Member, Tree, boot_id};
use crate::id::SessionId;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};

/// More environment than a process can be started with (execve(2): a quarter of the stack
/// limit, which at its default is 2 MiB), and a bound for hosts that allow more.
const ENVIRONMENT_MAX: u64 = 4 << 20;

/// Looks at an empty environment before it is believed.
const EMPTY_LOOKS: usize = 3;

/// Every process there is, as of about now.
pub(super) struct Snapshot {
    processes: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
    sessions: HashMap<i32, Vec<i32>>,
}

impl Snapshot {
    /// Reads /proc. What vanishes meanwhile is left out.
    ///
    /// # Errors
    /// When /proc could not be read in full (no descriptor is free): what was read would
    /// make a tree look smaller than it is.
    pub(super) fn take() -> io::Result<Snapshot> {
        let mut processes = HashMap::new();
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        let mut sessions: HashMap<i32, Vec<i32>> = HashMap::new();
        for entry in std::fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat = match Stat::read(pid) {
                Ok(stat) if !stat.is_kernel() => stat,
                Ok(_) => continue,
                Err(error) if is_gone(&error) || is_refused(&error) => continue,
                Err(error) => return Err(error),
            };
            children.entry(stat.parent).or_default().push(pid);
            sessions.entry(stat.session).or_default().push(pid);
            processes.insert(pid, stat);
        }
        Ok(Snapshot { processes, children, sessions })
    }

    /// The tree's living members, its leader last. `known` (pid → start time) are processes
    /// that earlier walks found to belong: what they have forked since belongs too.
    ///
    /// # Errors
    /// As [`Snapshot::take`], for environments.
    pub(super) fn members(
        &self,
        tree: &Tree,
        known: &HashMap<i32, u64>,
    ) -> io::Result<Vec<Member>> {
        let leader = tree.leader.as_ref().filter(|leader| {
            // Pids and start times of another boot mean nothing in this one.
            boot_id().is_ok_and(|id| id == leader.boot_id)
        });
        let mut found = Found {
            snapshot: self,
            // Nothing in a tree is older than its leader.
            since: leader.map_or(0, |leader| leader.start_time),
            spared: [Some(std::process::id() as i32), tree.holder],
            members: HashSet::new(),
        };
        for (&pid, &start_time) in known {
            if self.is(pid, start_time) {
                found.add(pid);
            }
        }
        if let Some(leader) = leader.filter(|leader| self.is(leader.pid, leader.start_time)) {
            found.add(leader.pid);
        }
        let mut unmarked = HashSet::new();
        for &pid in self.processes.keys() {
            if found.may_add(pid) {
                match mark(pid, tree.id)? {
                    Mark::Ours => found.add(pid),
                    Mark::Missing => drop(unmarked.insert(pid)),
                    Mark::Another => {}
                }
            }
        }
        // A session outlives its leader, and keeps its number from being used anew.
        if let Some(leader) = leader.filter(|leader| !self.processes.contains_key(&leader.pid)) {
            let left = self.in_session(leader.pid);
            // One certain member makes the session ours. Without one it might belong to a
            // process that had the leader's pid later, unless the orphans are our holder's.
            let ours = left.iter().any(|pid| found.members.contains(pid));
            for &pid in left {
                if ours || (unmarked.contains(&pid) && self.descends(pid, tree.holder)) {
                    found.add(pid);
                }
            }
        }
        let mut members: Vec<Member> = found
            .members
            .iter()
            .filter_map(|pid| self.processes.get(pid))
            .filter(|stat| !stat.is_gone())
            .map(|stat| Member { pid: stat.pid, start_time: stat.start_time })
            .collect();
        members.sort_by_key(|member| (leader.is_some_and(|l| l.pid == member.pid), member.pid));
        Ok(members)
    }

    fn is(&self, pid: i32, start_time: u64) -> bool {
        self.processes.get(&pid).is_some_and(|stat| stat.start_time == start_time)
    }

    fn in_session(&self, session: i32) -> &[i32] {
        self.sessions.get(&session).map_or(&[], Vec::as_slice)
    }

    fn descends(&self, pid: i32, from: Option<i32>) -> bool {
        let parent = |pid: &i32| self.processes.get(pid).map(|stat| stat.parent);
        // Bounded: /proc is not read at one instant, so the parents might form a ring.
        std::iter::successors(parent(&pid), parent)
            .take(self.processes.len())
            .any(|ancestor| Some(ancestor) == from)
    }
}

/// The members found so far: closed under parentage and led sessions.
struct Found<'a> {
    snapshot: &'a Snapshot,
    since: u64,
    spared: [Option<i32>; 2],
    members: HashSet<i32>,
}

impl Found<'_> {
    fn may_add(&self, pid: i32) -> bool {
        let young_enough = |stat: &Stat| stat.start_time >= self.since;
        !self.members.contains(&pid)
            && !self.spared.contains(&Some(pid))
            && self.snapshot.processes.get(&pid).is_some_and(young_enough)
    }

    /// Adds a process, its descendants, and whoever is in a session that one of them leads.
    fn add(&mut self, pid: i32) {
        let mut waiting = vec![pid];
        while let Some(pid) = waiting.pop() {
            if !self.may_add(pid) {
                continue;
            }
            self.members.insert(pid);
            waiting.extend(self.snapshot.children.get(&pid).into_iter().flatten());
            // Only the session of a process that leads it: all in it have forked from there.
            waiting.extend(self.snapshot.in_session(pid));
        }
    }
}

/// What a process's environment says of its session.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Ours,
    Another,
    /// No mark, or an environment that we may not read: another user's.
    Missing,
}

fn mark(pid: i32, id: SessionId) -> io::Result<Mark> {
    let mut environment = Vec::new();
    // A process in the middle of execve(2) shows an empty environment for some microseconds.
    for _ in 0..EMPTY_LOOKS {
        match File::open(format!("/proc/{pid}/environ")) {
            // What was read before an error counts: the process may be ending.
            Ok(file) => drop(file.take(ENVIRONMENT_MAX).read_to_end(&mut environment)),
            Err(error) if is_gone(&error) || is_refused(&error) => return Ok(Mark::Missing),
            Err(error) => return Err(error),
        }
        if !environment.is_empty() {
            break;
        }
        std::thread::yield_now();
    }
    Ok(find_mark(&environment, id))
}

fn find_mark(environment: &[u8], id: SessionId) -> Mark {
    let id = id.to_string();
    let marks = environment
        .split(|&byte| byte == 0)
        .filter_map(|entry| entry.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
    let mut found = Mark::Missing;
    for value in marks {
        if value == id.as_bytes() {
            return Mark::Ours;
        }
        found = Mark::Another;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_whole_entry() {
        let id = SessionId::generate();
        let environment = |text: String| find_mark(text.as_bytes(), id);
        assert_eq!(environment(format!("A=1\0STAYD_SESSION={id}\0B=2\0")), Mark::Ours);
        assert_eq!(environment(format!("STAYD_SESSION={id}\0")), Mark::Ours);
        assert_eq!(environment(format!("STAYD_SESSION={id}x\0")), Mark::Another);
        assert_eq!(environment("STAYD_SESSION=\0".into()), Mark::Another);
        assert_eq!(environment(format!("A=STAYD_SESSION={id}\0")), Mark::Missing);
        assert_eq!(environment(format!("STAYD_SESSIONS={id}\0")), Mark::Missing);
        assert_eq!(environment(String::new()), Mark::Missing);
    }

    #[test]
    fn thousands_of_processes_are_walked_quickly() {
        // Not a benchmark: a guard against a walk that is quadratic in what it finds.
        let stat = Stat::read(std::process::id() as i32).unwrap();
        let mut snapshot = Snapshot::take().unwrap();
        for pid in 1_000_000..1_050_000 {
            snapshot.children.entry(pid - 1).or_default().push(pid);
            snapshot.sessions.entry(1_000_000).or_default().push(pid);
            let mut stat = stat;
            stat.pid = pid;
            snapshot.processes.insert(pid, stat);
        }
        let tree = Tree { id: SessionId::generate(), leader: None, holder: None };
        let known = HashMap::from([(1_000_000, stat.start_time)]);
        let started = std::time::Instant::now();
        assert_eq!(snapshot.members(&tree, &known).unwrap().len(), 50_000);
        assert!(started.elapsed().as_secs() < 5);
    }
}
