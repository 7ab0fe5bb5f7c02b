//! The cgroups (v2) of sessions, where the holder's own was delegated to it.
//!
//! ```text
//!  stayd-holder.service     the delegated cgroup: has no processes, because its children have limits
//!  ├── stayd.main           holder, server, and sessions without limits
//!  └── stayd-<id>           a session with limits
//! ```
//!
//! A cgroup whose children have limits may have no processes of its own (cgroups(7), "no internal
//! processes"). So those in it are moved to a child first, but only when a session needs limits, and
//! never if any of them is not ours.

use crate::id::SessionId;
use crate::tree;
use nix::unistd::{AccessFlags, access};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The cgroup of all processes without limits.
const MAIN: &str = "stayd.main";
/// The beginning of the name of a session's cgroup.
const SESSION: &str = "stayd-";
/// Rounds of moving processes: some may fork meanwhile.
const MOVES: usize = 10;

/// Why sessions cannot have cgroups, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotDelegated(String);

/// Limits of a whole session, as the kernel's files take them: `("memory.max", "1048576")`.
pub type Settings = Vec<(&'static str, String)>;

/// A cgroup in which the cgroups of sessions can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegated {
    base: PathBuf,
}

impl Delegated {
    /// Finds the cgroup of the holder's process and checks that it was delegated, with all of these
    /// controllers. Changes nothing.
    ///
    /// # Errors
    /// It was not.
    pub fn find(holder: i32, controllers: &[&str]) -> Result<Self, NotDelegated> {
        let read = |path: String| fs::read_to_string(&path).unwrap_or_default();
        let cgroup = read(format!("/proc/{holder}/cgroup"));
        let mounts = read("/proc/self/mountinfo".to_owned());
        let base = base(&cgroup, &mounts)
            .ok_or_else(|| NotDelegated("this system has no cgroup v2".to_owned()))?;
        Delegated::at(base, controllers)
    }

    fn at(base: PathBuf, controllers: &[&str]) -> Result<Self, NotDelegated> {
        let has = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
        let has: HashSet<&str> = has.split_whitespace().collect();
        let missing: Vec<&str> =
            controllers.iter().copied().filter(|controller| !has.contains(controller)).collect();
        let shown = base.display();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(NotDelegated(format!(
                "the cgroup {shown} does not have the controllers {missing} (Delegate=yes in the unit \
                 of the holder gives it all)"
            )));
        }
        let writable = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
        let files = ["cgroup.procs", "cgroup.subtree_control"].map(|file| base.join(file));
        if !writable(&base) || !files.iter().all(|file| writable(file)) {
            return Err(NotDelegated(format!(
                "the cgroup {shown} cannot be written to (Delegate=yes in the unit of the holder \
                 allows it)"
            )));
        }
        Ok(Delegated { base })
    }

    /// Makes the cgroup of a session, with its limits. The session's first process has to enter it.
    ///
    /// # Errors
    /// Other processes than ours are in the delegated cgroup, or the kernel refuses a limit.
    pub fn create(
        &self,
        id: SessionId,
        controllers: &[&str],
        settings: &Settings,
        ours: &[i32],
    ) -> Result<PathBuf, NotDelegated> {
        self.enable(controllers, ours)?;
        let directory = self.base.join(format!("{SESSION}{id}"));
        // That of an earlier program of the session is made anew, unless somebody is left in it.
        let _ = fs::remove_dir(&directory);
        let made = match fs::create_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        made.map_err(|error| failed(&directory, &error))?;
        for (file, limit) in settings {
            let file = directory.join(file);
            if let Err(error) = fs::write(&file, limit) {
                // Nobody is in it.
                let _ = fs::remove_dir(&directory);
                return Err(failed(&file, &error));
            }
        }
        Ok(directory)
    }

    /// Lets the children of the delegated cgroup have limits.
    fn enable(&self, controllers: &[&str], ours: &[i32]) -> Result<(), NotDelegated> {
        let control = self.base.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&control).unwrap_or_default();
        let enabled: HashSet<&str> = enabled.split_whitespace().collect();
        let missing: Vec<String> = controllers
            .iter()
            .filter(|controller| !enabled.contains(*controller))
            .map(|controller| format!("+{controller}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        // The root of all cgroups is the exception to the rule, and the only one without a type.
        if self.base.join("cgroup.type").exists() {
            self.empty(ours)?;
        }
        fs::write(&control, missing.join(" ")).map_err(|error| failed(&control, &error))
    }

    /// Moves the processes in the delegated cgroup to a child. `ours` are the processes that may be
    /// moved, with all their descendants.
    fn empty(&self, ours: &[i32]) -> Result<(), NotDelegated> {
        let main = self.base.join(MAIN);
        for _ in 0..MOVES {
            let inside = processes(&self.base)?;
            if inside.is_empty() {
                return Ok(());
            }
            let mut movable: HashSet<i32> = ours.iter().copied().collect();
            for root in ours {
                let below = tree::descendants(*root).unwrap_or_default();
                movable.extend(below.iter().map(|member| member.pid));
            }
            if let Some(stranger) = inside.iter().find(|pid| !movable.contains(pid)) {
                // A process that has ended meanwhile is nobody.
                if Path::new(&format!("/proc/{stranger}")).exists() {
                    return Err(NotDelegated(format!(
                        "process {stranger}, which is none of stayd's, is in the cgroup {}",
                        self.base.display()
                    )));
                }
            }
            match fs::create_dir(&main) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(&main, &error));
                }
                _ => {}
            }
            let target = main.join("cgroup.procs");
            for pid in inside {
                match fs::write(&target, pid.to_string()) {
                    // It has ended.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    moved => moved.map_err(|error| failed(&target, &error))?,
                }
            }
        }
        let shown = self.base.display();
        Err(NotDelegated(format!("new processes keep appearing in the cgroup {shown}")))
    }

    /// Removes the cgroups of sessions that are not among these, as far as no process is left in
    /// them. Those that are younger than `age` stay: they may wait for their first process. Returns
    /// how many it has removed.
    pub fn remove_all_but(&self, keep: &HashSet<SessionId>, age: Duration) -> usize {
        let entries = fs::read_dir(&self.base).into_iter().flatten().flatten();
        let ended = entries.filter(|entry| {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(SESSION)?.parse().ok());
            let made = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            id.is_some_and(|id: SessionId| !keep.contains(&id))
                && made().is_some_and(|since| since >= age)
        });
        // What is left in one keeps it, and a later call tries again.
        ended.filter(|entry| fs::remove_dir(entry.path()).is_ok()).count()
    }
}

fn failed(path: &Path, error: &io::Error) -> NotDelegated {
    NotDelegated(format!("{}: {error}", path.display()))
}

fn processes(cgroup: &Path) -> Result<Vec<i32>, NotDelegated> {
    let path = cgroup.join("cgroup.procs");
    let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// The delegated cgroup of a process, from its `/proc/PID/cgroup` and our `/proc/self/mountinfo`.
fn base(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let path = Path::new(cgroup.lines().find_map(|line| line.strip_prefix("0::"))?);
    // Moved there by an earlier call.
    let path = if path.ends_with(MAIN) { path.parent()? } else { path };
    mounts.lines().find_map(|line| {
        // proc_pid_mountinfo(5): the root of the mount is field 4, its place field 5, and the type
        // comes after a field that is a dash.
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        let below = path.strip_prefix(root).ok()?;
        Some(Path::new(place).join(below))
    })
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "a test says why it was skipped")]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        25 1 0:22 / /proc rw - proc proc rw\n\
        35 1 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_cgroup_of_a_process_is_found() {
        let base = |cgroup| base(cgroup, MOUNTS);
        let unit = Some(PathBuf::from("/sys/fs/cgroup/system.slice/stayd.service"));
        assert_eq!(base("0::/system.slice/stayd.service\n"), unit);
        assert_eq!(base("1:name=systemd:/x\n0::/system.slice/stayd.service/stayd.main\n"), unit);
        assert_eq!(base("0::/\n"), Some("/sys/fs/cgroup".into()));
        assert_eq!(base("4:memory:/x\n"), None);
        assert_eq!(super::base("0::/\n", "25 1 0:22 / /proc rw - proc proc rw\n"), None);
        let part = "35 1 0:30 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(super::base("0::/a/b\n", part), Some("/sys/fs/cgroup/b".into()));
        assert_eq!(super::base("0::/c\n", part), None);
    }

    /// A directory with the files of a cgroup: no kernel, but whoever writes them is the same.
    fn pretended(controllers: &str, processes: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.controllers", controllers),
            ("cgroup.procs", processes),
            ("cgroup.subtree_control", ""),
            ("cgroup.type", "domain\n"),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        dir
    }

    #[test]
    fn a_session_gets_its_limits_and_leaves_nothing() {
        let dir = pretended("cpu memory pids\n", "");
        let delegated = Delegated::at(dir.path().to_owned(), &["memory", "pids"]).unwrap();
        let (id, other) = (SessionId::generate(), SessionId::generate());
        let limits = vec![("memory.max", "1048576".to_owned()), ("pids.max", "10".to_owned())];
        let made = delegated.create(id, &["memory", "pids"], &limits, &[]).unwrap();
        assert_eq!(fs::read_to_string(made.join("memory.max")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(made.join("pids.max")).unwrap(), "10");
        let control = fs::read_to_string(dir.path().join("cgroup.subtree_control")).unwrap();
        assert_eq!(control, "+memory +pids");
        // It is made again for the next program.
        assert_eq!(delegated.create(id, &["memory"], &limits, &[]), Ok(made.clone()));
        // The kernel's files go with their directory.
        for file in ["memory.max", "pids.max"] {
            fs::remove_file(made.join(file)).unwrap();
        }
        let remove = |keep, age| delegated.remove_all_but(&HashSet::from([keep]), age);
        assert_eq!(remove(id, Duration::ZERO), 0);
        assert_eq!(remove(other, Duration::from_secs(60)), 0);
        assert_eq!(remove(other, Duration::ZERO), 1);
        assert!(!made.exists());
    }

    #[test]
    fn what_was_not_delegated_is_told_with_the_reason() {
        let dir = pretended("cpu\n", "");
        let refused = Delegated::at(dir.path().to_owned(), &["cpu", "memory"]).unwrap_err();
        assert!(refused.0.contains("controllers memory (Delegate"), "{refused}");
        fs::remove_file(dir.path().join("cgroup.subtree_control")).unwrap();
        let refused = Delegated::at(dir.path().to_owned(), &["cpu"]).unwrap_err();
        assert!(refused.0.contains("cannot be written"), "{refused}");
    }

    #[test]
    fn strangers_are_never_moved() {
        let (us, init) = (std::process::id() as i32, 1);
        let dir = pretended("cpu\n", &format!("{us}\n{init}\n"));
        let delegated = Delegated::at(dir.path().to_owned(), &["cpu"]).unwrap();
        let id = SessionId::generate();
        let limits = vec![("cpu.max", "50000 100000".to_owned())];
        let refused = delegated.create(id, &["cpu"], &limits, &[us]).unwrap_err();
        assert!(refused.0.contains("process 1,"), "{refused}");
        assert!(!dir.path().join(MAIN).exists());
    }

    /// With the kernel's own cgroups, where this process may make some.
    #[test]
    fn ours_are_moved_so_that_their_cgroup_is_empty() {
        let us = std::process::id() as i32;
        let Ok(here) = Delegated::find(us, &[]) else {
            eprintln!("skipped: no cgroup v2 here that we may write to");
            return;
        };
        let base = here.base.join(format!("stayd-test-{us}"));
        if let Err(error) = fs::create_dir(&base) {
            eprintln!("skipped: {}: {error}", base.display());
            return;
        }
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        let moved = fs::write(base.join("cgroup.procs"), pid.to_string()).map_err(|error| {
            eprintln!("skipped: {}: {error}", base.display());
        });
        let emptied = moved.map(|()| {
            let delegated = Delegated { base: base.clone() };
            // A child of ours is ours; somebody else's is not.
            let refused = delegated.empty(&[pid + 1]).unwrap_err();
            delegated.empty(&[us]).unwrap();
            (refused, processes(&base).unwrap(), processes(&base.join(MAIN)).unwrap())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = fs::remove_dir(base.join(MAIN));
        fs::remove_dir(&base).unwrap();
        let Ok((refused, left, main)) = emptied else { return };
        assert!(refused.0.contains(&format!("process {pid},")), "{refused}");
        assert_eq!((left, main), (Vec::new(), vec![pid]));
    }
}
