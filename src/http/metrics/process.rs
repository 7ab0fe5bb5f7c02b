//! The resources that a process uses, from `/proc`.

use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::fs;

/// A process's resources at one moment.
pub(super) struct Process {
    cpu_s: f64,
    resident: i64,
    threads: i64,
    open_files: i64,
}

impl Process {
    /// The server's own process.
    pub(super) fn current() -> Option<Self> {
        Process::of(i32::try_from(std::process::id()).ok()?)
    }

    /// `None` if it is gone, or may not be read.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The index counts from the state, the third field of proc(5).
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse().ok());
        let (user, system): (i64, i64) = (field(14)?, field(15)?);
        let known = |variable| sysconf(variable).ok().flatten();
        Some(Process {
            cpu_s: (user + system) as f64 / known(SysconfVar::CLK_TCK)? as f64,
            resident: field(24)? * known(SysconfVar::PAGE_SIZE)?,
            threads: field(20)?,
            open_files: open_files(&format!("/proc/{pid}/fd"))?,
        })
    }

    pub(super) fn register(self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("process");
        let cpu = ConstCounter::new(self.cpu_s);
        registry.register_with_unit("cpu", "User and system time", Unit::Seconds, cpu);
        let resident = ConstGauge::new(self.resident);
        registry.register_with_unit("resident_memory", "Memory", Unit::Bytes, resident);
        registry.register("threads", "Threads", ConstGauge::new(self.threads));
        registry.register("open_fds", "Open descriptors", ConstGauge::new(self.open_files));
    }
}

fn open_files(directory: &str) -> Option<i64> {
    // Since Linux 6.2 the directory's size is the number of descriptors; before, it is 0.
    let count = match fs::metadata(directory).ok()?.len() {
        0 => fs::read_dir(directory).ok()?.count() as u64,
        count => count,
    };
    i64::try_from(count).ok()
}
