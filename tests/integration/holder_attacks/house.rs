//! A holder of our own, as our child, so that its death would tell how.

use super::peer::Peer;
use super::poll;
use super::witness::Witness;
use slog::{Discard, Logger, o};
use stayd::holder::{Held, Holder, Paths, SpawnError, SpawnSpec};
use stayd::id::SessionId;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub(super) const RING: u64 = 256 << 10;

pub(super) struct House {
    dir: TempDir,
    /// The guardian.
    child: Child,
    holder: i32,
}

impl House {
    pub(super) fn new() -> House {
        House::with(|_, _| ())
    }

    /// With something else about its state directory, or how it is started.
    pub(super) fn with(adjust: impl FnOnce(&Path, &mut Command)) -> House {
        let dir = tempfile::Builder::new().prefix("stayd").tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
        command.args(["hold", "--state-dir"]).arg(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        adjust(dir.path(), &mut command);
        let child = command.spawn().unwrap();
        let mut house = House { dir, child, holder: 0 };
        poll("socket of the holder", || house.dir.path().join("holder.pid").exists());
        poll("listening holder", || house.dir.path().join("holder.sock").exists());
        house.holder = house.present_holder();
        house
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn pid(&self) -> i32 {
        self.holder
    }

    fn present_holder(&self) -> i32 {
        let text = std::fs::read_to_string(self.dir().join("holder.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// A connection that has said nothing.
    pub(super) fn stranger(&self) -> Peer {
        Peer::connect(self.dir()).unwrap()
    }

    /// A connection that is the server now.
    pub(super) fn server(&self) -> Peer {
        let mut peer = self.stranger();
        peer.hello();
        peer
    }

    /// Does something by the server's own means, with a connection made for that.
    pub(super) fn serve<T>(&self, deed: impl AsyncFnOnce(&Holder) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let program = PathBuf::from(env!("CARGO_BIN_EXE_stayd"));
            let paths = Paths { state_dir: self.dir().to_owned(), program };
            let log = Logger::root(Discard, o!());
            let (holder, _notices) = Holder::connect_or_launch(&paths, &log).await.unwrap();
            assert_eq!(holder.pid(), self.pid(), "another holder");
            let limit = Duration::from_secs(60);
            tokio::time::timeout(limit, deed(&holder)).await.expect("an answer of the holder")
        })
    }

    pub(super) fn try_spawn(&self, command: &[&str]) -> Result<Held, SpawnError> {
        self.serve(async |holder| {
            holder.spawn(SessionId::generate(), &spec(command), RING, b"blob").await
        })
    }

    pub(super) fn spawn(&self, command: &[&str]) -> Held {
        self.try_spawn(command).unwrap()
    }

    /// Many sessions that only sleep.
    pub(super) fn spawn_sleepers(&self, count: usize) -> Vec<SessionId> {
        self.serve(async |holder| {
            let mut ids = Vec::new();
            for _ in 0..count {
                let id = SessionId::generate();
                holder.spawn(id, &spec(&["sleep", "1000"]), RING, b"").await.unwrap();
                ids.push(id);
            }
            ids
        })
    }

    pub(super) fn witness(&self) -> Witness {
        Witness::new(self)
    }

    /// It still runs, as the same process.
    pub(super) fn assert_alive(&mut self) {
        let end = self.child.try_wait().unwrap();
        assert!(end.is_none(), "the guardian has ended: {end:?}");
        assert_eq!(self.present_holder(), self.holder, "the holder was replaced");
    }

    pub(super) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// The number that its next descriptor would have: as a limit it leaves none.
    pub(super) fn next_file(&self) -> usize {
        let path = |number: &usize| format!("/proc/{}/fd/{number}", self.pid());
        (0..).find(|number| std::fs::symlink_metadata(path(number)).is_err()).unwrap()
    }

    /// KiB of its own: the rings are shared memory and not among them.
    pub(super) fn private_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Clock ticks (of 10 ms) that it has used.
    pub(super) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = |n| fields.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
        ticks(11) + ticks(12)
    }

    /// Sets a limit by prlimit(1): `--nofile=16:4096`.
    pub(super) fn limit(&self, limit: &str) {
        let mut prlimit = Command::new("prlimit");
        // Its own user may; another one, and were it root, needs a capability for that.
        let status = std::fs::metadata(format!("/proc/{}", self.pid())).unwrap();
        prlimit.uid(status.uid()).gid(status.gid());
        prlimit.args(["--pid", &self.pid().to_string(), limit]);
        assert!(prlimit.status().unwrap().success());
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Ends every session as well.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

pub(super) fn spec(command: &[&str]) -> SpawnSpec {
    SpawnSpec {
        login: false,
        command: command.iter().map(ToString::to_string).collect(),
        cwd: "/".to_owned(),
        env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap())],
        cols: 80,
        rows: 24,
        checkpoints: false,
        resumed: None,
        confinement: Default::default(),
    }
}
