//! Whether a process runs inside a session, asked by the process and not by the session.

use super::marks::{Mark, Marks, Patience, limit_mark};
use super::member::Keepers;
use super::process::{Stat, is_gone, is_refused};
use crate::id::SessionId;
use std::io;

/// More parents than any process has: the kernel allows 32 nested pid namespaces, and shells
/// rarely nest a hundred times. Who has more is not believed.
const PARENTS_MAX: usize = 4096;

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The holder is not above it.
    Outside,
    /// The holder is above it, or its guardian: they adopt every orphan of their sessions.
    Below {
        /// Their child that is above it, or itself. A session's leader, or an orphan.
        child: i32,
    },
}

/// Looks for the holder, its guardian and the leaders of sessions among a process and its parents.
/// The caller has a pidfd of the process, and
/// asks afterwards whether it still runs.
///
/// Where /proc hides other users' processes (hidepid, proc(5)), the chain ends at the first of them:
/// the holder is our own user's, and what a session has had another user start is left to the marks.
///
/// # Errors
/// When the process or one of its parents goes meanwhile: the chain is then not known.
pub fn standing(pid: i32, keepers: Keepers, leads: impl Fn(i32) -> bool) -> io::Result<Standing> {
    let mut at = Stat::read(pid)?;
    for _ in 0..PARENTS_MAX {
        match at.parent {
            // A leader that a dead guardian had adopted is below nobody that is known.
            _ if leads(at.pid) => return Ok(Standing::Below { child: at.pid }),
            parent if keepers.contain(parent) => return Ok(Standing::Below { child: at.pid }),
            // Init, or the process that is init in a container, has no parent that is seen.
            parent if parent <= 1 => return Ok(Standing::Outside),
            parent => {
                let above = match Stat::read(parent) {
                    Ok(above) => above,
                    Err(error) if is_gone(&error) || is_refused(&error) => {
                        // A parent that is gone has left its children to another.
                        let again = Stat::read(at.pid)?;
                        if again.start_time != at.start_time {
                            return Err(error);
                        }
                        if again.parent == parent {
                            return Ok(Standing::Outside);
                        }
                        at = again;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                // Parents are older than their children: this one has a dead one's pid.
                if above.start_time > at.start_time {
                    return Err(io::ErrorKind::NotFound.into());
                }
                at = above;
            }
        }
    }
    Err(io::Error::other("too many parents"))
}

/// Which of these sessions has left its mark on a process.
///
/// # Errors
/// When no descriptor is free to look.
pub fn marked_by(
    pid: i32,
    mut sessions: impl Iterator<Item = SessionId>,
) -> io::Result<Option<SessionId>> {
    let marks = Marks::read(pid, limit_mark(pid)?, &mut Patience::new())?;
    Ok(sessions.find(|&id| marks.say(id) == Mark::Ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_parent_is_found_however_far_up() {
        let me = std::process::id() as i32;
        let mut child = Command::new("sh").args(["-c", "sleep 60 & echo; wait"]).spawn().unwrap();
        let pid = child.id() as i32;
        let of = |holder| standing(pid, Keepers { holder, guardian: None }, |_| false);
        assert_eq!(of(me).unwrap(), Standing::Below { child: pid });
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(of(parent).unwrap(), Standing::Below { child: me });
        assert_eq!(of(i32::MAX).unwrap(), Standing::Outside);
        let guarded = Keepers { holder: i32::MAX, guardian: Some(parent) };
        assert_eq!(standing(pid, guarded, |_| false).unwrap(), Standing::Below { child: me });
        let nobody = Keepers { holder: i32::MAX, guardian: None };
        assert_eq!(standing(pid, nobody, |at| at == me).unwrap(), Standing::Below { child: me });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(of(me).is_err(), "it is gone");
    }

    #[test]
    fn a_mark_of_one_of_them_is_found() {
        let (ours, other) = (SessionId::generate(), SessionId::generate());
        let mut child =
            Command::new("sleep").arg("60").env("STAYD_SESSION", ours.to_string()).spawn().unwrap();
        let pid = child.id() as i32;
        assert_eq!(marked_by(pid, [other, ours].into_iter()).unwrap(), Some(ours));
        assert_eq!(marked_by(pid, [other].into_iter()).unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
