//! Finds a tree's members in one pass over /proc.

use super::marks::{Mark, Marks, Patience, carries_limit, limit_mark};
use super::member::{Keepers, Member, Tree};
use super::process::{Stat, boot_id, is_gone, is_refused};
use super::shared::Shared;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, OnceLock};

/// Every process, read at about one time.
pub(super) struct Snapshot {
    processes: HashMap<i32, Seen>,
    children: HashMap<i32, Vec<i32>>,
    sessions: HashMap<i32, Vec<i32>>,
    /// Processes that were listed, and gone before they could be read.
    missed: Vec<i32>,
}

#[cfg(test)]
thread_local! {
    /// The snapshots that this thread has taken.
    pub(super) static WALKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A tree as one snapshot shows it.
pub(super) struct Walk {
    /// The living members, the leader last.
    pub(super) members: Vec<Member>,
    /// Whether no process but the leader is a zombie, which might have left a child just now.
    pub(super) still: bool,
}

/// All processes, the youngest first, because those may be gone soonest.
fn pids() -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    // Pids are assigned in a circle, and the last one is at the end of proc_loadavg(5). Without it
    // only the order is wrong.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let last = load.split_ascii_whitespace().last().and_then(|pid| pid.parse().ok());
    pids.sort_unstable_by_key(|&pid| (last.is_some_and(|last| pid > last), Reverse(pid)));
    Ok(pids)
}

struct Seen {
    stat: Stat,
    limit: Option<u64>,
    /// The marks, read when first needed: most trees need only a few.
    marks: OnceLock<Marks>,
}

impl Seen {
    fn marks(&self, patience: &mut Patience) -> io::Result<&Marks> {
        match self.marks.get() {
            Some(marks) => Ok(marks),
            None => Marks::read(self.stat.pid, self.limit, patience)
                .map(|marks| self.marks.get_or_init(|| marks)),
        }
    }
}

impl Snapshot {
    /// A snapshot that was begun after this call, which all callers share that ask while another
    /// one is being taken.
    ///
    /// # Errors
    /// As [`Snapshot::take`].
    pub(super) fn shared() -> io::Result<Arc<Snapshot>> {
        static SNAPSHOTS: Shared<Snapshot> = Shared::new();
        SNAPSHOTS.after_now(Snapshot::take)
    }

    /// Reads /proc. Processes that end meanwhile are left out.
    ///
    /// # Errors
    /// /proc could not be read in full (no descriptor is free): the part that was read would make a
    /// tree look smaller than it is.
    pub(super) fn take() -> io::Result<Snapshot> {
        #[cfg(test)]
        WALKS.with(|walks| walks.set(walks.get() + 1));
        let mut missed = Vec::new();
        let mut processes = HashMap::new();
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        let mut sessions: HashMap<i32, Vec<i32>> = HashMap::new();
        for pid in pids()? {
            // The mark at once, too: the process may be gone when the walk is over.
            let read = Stat::read(pid).and_then(|stat| Ok((stat, limit_mark(pid)?)));
            let (stat, limit) = match read {
                Ok((stat, _)) if stat.is_kernel() => continue,
                Ok(read) => read,
                Err(error) if is_gone(&error) => {
                    missed.push(pid);
                    continue;
                }
                Err(error) if is_refused(&error) => continue,
                Err(error) => return Err(error),
            };
            children.entry(stat.parent).or_default().push(pid);
            sessions.entry(stat.session).or_default().push(pid);
            processes.insert(pid, Seen { stat, limit, marks: OnceLock::new() });
        }
        Ok(Snapshot { processes, children, sessions, missed })
    }

    /// The tree's members. `known` (pid → start time) are processes that earlier walks found to be
    /// members: their children are members, too.
    ///
    /// # Errors
    /// As [`Snapshot::take`], for environments.
    pub(super) fn members(&self, tree: &Tree, known: &HashMap<i32, u64>) -> io::Result<Walk> {
        // Without the boot id a leader of this boot would be ignored, and its tree would look
        // empty.
        let boot = boot_id()?;
        // Pids and start times of another boot mean nothing in this one.
        let leader = tree.leader.as_ref().filter(|leader| leader.boot_id == boot);
        let mut found = Found {
            snapshot: self,
            // No member of a tree is older than its leader.
            since: leader.map_or(0, |leader| leader.start_time),
            spared: spared(tree),
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
        let mut patience = Patience::new();
        let mut unmarked = HashSet::new();
        for (&pid, seen) in &self.processes {
            if found.may_add(pid) {
                match seen.marks(&mut patience)?.say(tree.id) {
                    Mark::Ours => found.add(pid),
                    Mark::Missing => drop(unmarked.insert(pid)),
                    Mark::Another => {}
                }
            }
        }
        // A terminal session outlives its leader, and keeps its number from being reused.
        if let Some(leader) = leader.filter(|leader| !self.processes.contains_key(&leader.pid)) {
            let left = self.in_session(leader.pid);
            // One certain member proves that the terminal session is ours. Without one it might
            // belong to a later process with the leader's pid, unless the orphans are our holder's.
            let ours = left.iter().any(|pid| found.members.contains(pid));
            for &pid in left {
                if ours || (unmarked.contains(&pid) && self.descends(pid, tree.keepers)) {
                    found.add(pid);
                }
            }
        }
        let stats = found.members.iter().filter_map(|pid| self.processes.get(pid));
        let mut members: Vec<Member> = stats
            .map(|seen| seen.stat)
            .filter(|stat| !stat.is_gone())
            .map(|stat| Member { pid: stat.pid, start_time: stat.start_time })
            .collect();
        members.sort_by_key(|member| (leader.is_some_and(|l| l.pid == member.pid), member.pid));
        let ended = |pid: &i32| self.processes.get(pid).is_some_and(|seen| seen.stat.is_gone());
        let is_leader = |pid: &i32| leader.is_some_and(|leader| leader.pid == *pid);
        let still = !found.members.iter().any(|pid| ended(pid) && !is_leader(pid));
        Ok(Walk { members, still })
    }

    /// Whether all processes that were gone before they could be read are in the snapshot before:
    /// if they were strangers then, they were strangers now.
    pub(super) fn missed_nobody_new(&self, before: &Snapshot) -> bool {
        self.missed.iter().all(|pid| before.processes.contains_key(pid))
    }

    /// Every living process below `root`, children before their parents.
    pub(super) fn below(&self, root: i32) -> Vec<Member> {
        let (mut found, mut seen) = (vec![root], HashSet::from([root]));
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            let children = self.children.get(pid).into_iter().flatten();
            found.extend(children.filter(|pid| seen.insert(**pid)));
            next = next.saturating_add(1);
        }
        let members = found.iter().skip(1).rev().filter_map(|pid| self.processes.get(pid));
        members
            .filter(|seen| !seen.stat.is_gone())
            .map(|seen| Member { pid: seen.stat.pid, start_time: seen.stat.start_time })
            .collect()
    }

    fn is(&self, pid: i32, start_time: u64) -> bool {
        self.processes.get(&pid).is_some_and(|seen| seen.stat.start_time == start_time)
    }

    fn in_session(&self, session: i32) -> &[i32] {
        self.sessions.get(&session).map_or(&[], Vec::as_slice)
    }

    fn descends(&self, pid: i32, from: Option<Keepers>) -> bool {
        let parent = |pid: &i32| self.processes.get(pid).map(|seen| seen.stat.parent);
        // Bounded: /proc is not read at one instant, so the parents might form a ring.
        std::iter::successors(parent(&pid), parent)
            .take(self.processes.len())
            .any(|ancestor| from.is_some_and(|keepers| keepers.contain(ancestor)))
    }
}

/// Finds the processes that are new since the last call, for a tree that keeps forking while a
/// whole walk takes too long.
#[derive(Default)]
pub(super) struct Newcomers {
    looked_at: HashSet<i32>,
}

impl Newcomers {
    /// Calls back for each new process that has the tree's mark, as soon as it is found. Returns
    /// the number of all new processes.
    ///
    /// # Errors
    /// As [`Snapshot::take`].
    pub(super) fn each(&mut self, tree: &Tree, mut told: impl FnMut(Member)) -> io::Result<usize> {
        let pids = pids()?;
        let spared = spared(tree);
        let mut come = 0_usize;
        for &pid in &pids {
            if self.looked_at.contains(&pid) || spared.contains(&Some(pid)) {
                continue;
            }
            come = come.saturating_add(1);
            let stat = match Stat::read(pid) {
                Ok(stat) => stat,
                Err(error) if is_gone(&error) || is_refused(&error) => continue,
                Err(error) => return Err(error),
            };
            if !stat.is_gone() && carries_limit(pid, tree.id) {
                told(Member { pid, start_time: stat.start_time });
            }
        }
        self.looked_at = pids.into_iter().collect();
        Ok(come)
    }
}

/// The processes that are never members: this one, and the keepers.
fn spared(tree: &Tree) -> [Option<i32>; 3] {
    let keepers = tree.keepers;
    let guardian = keepers.and_then(|keepers| keepers.guardian);
    [Some(std::process::id() as i32), keepers.map(|keepers| keepers.holder), guardian]
}

/// The members found so far, together with their descendants and the sessions that they lead.
struct Found<'a> {
    snapshot: &'a Snapshot,
    since: u64,
    spared: [Option<i32>; 3],
    members: HashSet<i32>,
}

impl Found<'_> {
    fn may_add(&self, pid: i32) -> bool {
        let young_enough = |seen: &Seen| seen.stat.start_time >= self.since;
        !self.members.contains(&pid)
            && !self.spared.contains(&Some(pid))
            && self.snapshot.processes.get(&pid).is_some_and(young_enough)
    }

    /// Adds a process, its descendants, and all processes in sessions that one of them leads.
    fn add(&mut self, pid: i32) {
        let mut waiting = vec![pid];
        while let Some(pid) = waiting.pop() {
            if !self.may_add(pid) {
                continue;
            }
            self.members.insert(pid);
            waiting.extend(self.snapshot.children.get(&pid).into_iter().flatten());
            // Only the session of a process that leads it, because all in it were forked from
            // there.
            waiting.extend(self.snapshot.in_session(pid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;

    #[test]
    fn thousands_of_processes_are_walked_quickly() {
        // This is no benchmark, but a guard against a walk that is quadratic in what it finds.
        let stat = Stat::read(std::process::id() as i32).unwrap();
        let mut snapshot = Snapshot::take().unwrap();
        for pid in 1_000_000..1_050_000 {
            snapshot.children.entry(pid - 1).or_default().push(pid);
            snapshot.sessions.entry(1_000_000).or_default().push(pid);
            let mut stat = stat;
            stat.pid = pid;
            snapshot.processes.insert(pid, Seen { stat, limit: None, marks: OnceLock::new() });
        }
        let tree = Tree { id: SessionId::generate(), leader: None, keepers: None };
        let known = HashMap::from([(1_000_000, stat.start_time)]);
        let started = std::time::Instant::now();
        assert_eq!(snapshot.members(&tree, &known).unwrap().members.len(), 50_000);
        assert!(started.elapsed().as_secs() < 5);
    }
}
