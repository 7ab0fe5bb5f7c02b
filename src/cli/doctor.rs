//! `stayd doctor`: checks for problems that may keep stayd from working, without changing anything.

use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::fleet::{self, Fleet};
use super::local::{LocalServer, places};
use super::nodes::unconnected;
use super::out;
use super::progress::Progress;
use crate::cgroup::Delegated;
use crate::config::{self, HookTarget, PathFlags, Profile, ServeFlags, Settings};
use crate::connections::{self, Tls};
use crate::fleet::{self as member, Health};
use crate::private;
use crate::protocol::span;
use crate::registry;
use crate::store::{Inspection, inspect};
use chrono::{DateTime, Utc};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Less free space than this is a warning, in bytes.
const ROOM_MIN: u64 = 100 << 20;
/// Fewer free terminals than this in the kernel are a warning.
const TERMINALS_MIN: u64 = 64;
/// Descriptors that a session with one client takes in the server.
const FILES_EACH: u64 = 8;
/// Room for fewer sessions than this is a warning.
const SESSIONS_MIN: u64 = 500;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        }
    }
}

/// A check: its subject, its result, and advice.
struct Finding {
    what: &'static str,
    verdict: Verdict,
    detail: String,
}

/// Exits with 1 if anything has failed; warnings are no failure.
pub(super) fn doctor(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let mut findings = vec![ok("version", format!("stayd {}", env!("CARGO_PKG_VERSION")))];
    let settings = Settings::load(paths, &ServeFlags::default());
    match &settings {
        Ok(settings) => {
            findings.push(ok("settings", "can be used".into()));
            let mut addresses = addresses(settings);
            addresses.detail.extend(elsewhere(settings, paths));
            findings.push(addresses);
            findings.extend(profiles(settings));
            findings.extend(hooks(settings));
            findings.extend(accounts(settings));
            findings.extend(limits(settings));
            findings.extend(cgroups(settings, holder_of(paths)));
            findings.extend(nats(settings, paths));
        }
        Err(error) => findings.push(failed("settings", error.to_string())),
    }
    findings.extend(account());
    match config::state_dir(paths) {
        Ok(dir) => {
            findings.push(directory(&dir));
            if dir.is_dir() {
                findings.push(disk(&dir));
                findings.push(database(&dir.join("stayd.db")));
                findings.push(holder(&dir.join("holder.pid")));
                findings.push(guardian(&dir.join("guardian.pid")));
                findings.extend(names(&dir.join("listen")));
            }
        }
        Err(error) => findings.push(failed("state directory", error.to_string())),
    }
    let (found, fleet) = server(paths, flags);
    findings.extend(found);
    if let (Ok(settings), Some(fleet)) = (&settings, &fleet) {
        findings.extend(other_fleet(settings, fleet));
    }
    findings.extend(terminals());
    findings.push(open_files());
    report(&findings, flags.json)?;
    Ok(u8::from(findings.iter().any(|finding| finding.verdict == Verdict::Failed)))
}

fn report(findings: &[Finding], json: bool) -> Result<(), Failure> {
    if json {
        let checks = findings.iter().map(|Finding { what, verdict, detail }| {
            json!({ "check": what, "status": verdict.word(), "detail": detail })
        });
        return out::json(&json!({ "checks": checks.collect::<Vec<_>>() }));
    }
    let lines = findings.iter().map(|Finding { what, verdict, detail }| {
        format!("{:<8} {what:<16} {detail}\n", verdict.word())
    });
    out::print(&lines.collect::<String>())
}

fn ok(what: &'static str, detail: String) -> Finding {
    Finding { what, verdict: Verdict::Ok, detail }
}

fn warning(what: &'static str, detail: String) -> Finding {
    Finding { what, verdict: Verdict::Warning, detail }
}

fn failed(what: &'static str, detail: String) -> Finding {
    Finding { what, verdict: Verdict::Failed, detail }
}

/// Whether the settings say what others on the network may see.
fn addresses(settings: &Settings) -> Finding {
    let what = "addresses";
    let all: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
    match (&settings.tls, connections::check_plain(&settings.listen)) {
        (Some(files), _) => match Tls::load(files) {
            Ok(_) => ok(what, format!("{}, with TLS", all.join(", "))),
            Err(error) => failed(what, error.to_string()),
        },
        (None, Ok(())) => ok(what, format!("{}, for this machine", all.join(", "))),
        (None, Err(exposed)) if settings.allow_plain => {
            let why = "can be reached over the network without TLS, as allow_plain says";
            warning(what, format!("{} {why}", exposed.0))
        }
        (None, Err(exposed)) => failed(what, exposed.to_string()),
    }
}

/// Where a running server listens, if the settings that are read from here say something else: it was
/// started with others.
fn elsewhere(settings: &Settings, paths: &PathFlags) -> Option<String> {
    let dir = config::state_dir(paths).ok()?;
    let server = LocalServer::find(&dir).ok()?;
    let text = fs::read_to_string(server.dir().join("listen")).ok()?;
    let (schemes, addresses): (Vec<_>, Vec<SocketAddr>) = places(&text).unzip();
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    // Port 0 asks for a free one, and both loopback addresses are listened on.
    let is_one = |said: &SocketAddr, found: &SocketAddr| {
        let is_address =
            said.ip() == found.ip() || said.ip().is_loopback() && found.ip().is_loopback();
        is_address && [0, found.port()].contains(&said.port())
    };
    let said = &settings.listen;
    let is_as_said = schemes.iter().all(|found| *found == scheme)
        && said.iter().all(|said| addresses.iter().any(|found| is_one(said, found)))
        && addresses.iter().all(|found| said.iter().any(|said| is_one(said, found)));
    (!is_as_said).then(|| {
        let listens = text.split_whitespace().collect::<Vec<_>>().join(", ");
        format!("; but the running server, started otherwise, listens on {listens}")
    })
}

/// Whether a server that is started from here would find a program.
fn is_there(program: &str, cwd: Option<&str>) -> bool {
    let beside = |dir: std::path::PathBuf| dir.join(program).is_file();
    if program.contains('/') {
        registry::directory(cwd.unwrap_or("~"), registry::home())
            .is_ok_and(|cwd| beside(cwd.into()))
    } else {
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(beside)
    }
}

/// Hooks whose program the server would not find.
fn hooks(settings: &Settings) -> Vec<Finding> {
    let missing = settings.hooks.iter().filter_map(|hook| {
        let HookTarget::Command(command) = &hook.target else { return None };
        let program = command.first().filter(|program| !is_there(program, None))?;
        Some(warning("hook", format!("{}: there is no program {program}", hook.name)))
    });
    missing.collect()
}

/// Profiles whose program the server would not find.
fn profiles(settings: &Settings) -> Vec<Finding> {
    let missing = settings.profiles.iter().filter_map(|(name, profile)| {
        let program = profile.command.first()?;
        if is_there(program, profile.cwd.as_deref()) {
            return None;
        }
        // It is built in, and the user may not want it.
        if *profile == Profile::claude() {
            return Some(ok("profile", format!("{name}, built in: {program} is not installed")));
        }
        Some(warning("profile", format!("{name}: there is no program {program}")))
    });
    missing.collect()
}

/// The accounts of profiles. Those that cannot be used make the settings fail.
fn accounts(settings: &Settings) -> Vec<Finding> {
    let users = settings.profiles.iter().filter_map(|(name, profile)| {
        let user = profile.user.as_ref()?;
        let detail = format!("{name}: runs as {} (uid {})", user.name, user.uid);
        Some(match user.directory() == user.home {
            true => ok("account", detail),
            false => {
                let home = &user.home;
                warning("account", format!("{detail}, whose home {home} is no directory: in /"))
            }
        })
    });
    users.collect()
}

/// Limits of profiles that are above the hard limits of a server that is started from here.
fn limits(settings: &Settings) -> Vec<Finding> {
    let above = settings.profiles.iter().flat_map(|(name, profile)| {
        let limits = [
            ("nofile", Resource::RLIMIT_NOFILE, profile.limits.nofile),
            ("nproc", Resource::RLIMIT_NPROC, profile.limits.nproc),
            ("as", Resource::RLIMIT_AS, profile.limits.address_space),
            ("core", Resource::RLIMIT_CORE, profile.limits.core),
        ];
        limits.into_iter().filter_map(move |(limit, resource, value)| {
            let (value, (_, hard)) = (value?, getrlimit(resource).ok()?);
            let detail = format!("{name}: {limit} = {value} is above the hard limit {hard}");
            (value > hard).then(|| warning("limits", detail))
        })
    });
    above.collect()
}

/// Whether sessions can have the limits that need a cgroup; `None`: no profile has any.
fn cgroups(settings: &Settings, holder: Option<i32>) -> Option<Finding> {
    let what = "cgroup";
    let wanted = settings.profiles.values().flat_map(|profile| profile.limits.controllers());
    let wanted: BTreeSet<&str> = wanted.collect();
    if wanted.is_empty() {
        return None;
    }
    let wanted: Vec<&str> = wanted.into_iter().collect();
    // Without a holder: that of a server that is started from here.
    let holder = holder.unwrap_or_else(|| std::process::id() as i32);
    Some(match Delegated::find(holder, &wanted) {
        Ok(_) => ok(what, format!("delegated, with {}", wanted.join(", "))),
        Err(why) => {
            let refused = "sessions of profiles with memory_max, pids_max or cpu_max are refused";
            warning(what, format!("{refused}: {why}"))
        }
    })
}

/// The holder's process id, if one runs.
fn holder_of(paths: &PathFlags) -> Option<i32> {
    let dir = config::state_dir(paths).ok()?;
    let pid = fs::read_to_string(dir.join("holder.pid")).ok()?.trim().parse().ok()?;
    Path::new(&format!("/proc/{pid}")).exists().then_some(pid)
}

/// The shell and home directory of sessions without settings of their own, for a server that is
/// started from here.
fn account() -> Vec<Finding> {
    let what = "shell and home";
    let account = config::account();
    match &account.warnings[..] {
        [] => vec![ok(what, format!("{}, {}", account.shell, account.home))],
        warnings => warnings.iter().map(|why| warning(what, why.clone())).collect(),
    }
}

fn directory(dir: &Path) -> Finding {
    let what = "state directory";
    match fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            warning(what, format!("{} is created when a server starts", dir.display()))
        }
        Err(error) => failed(what, format!("{}: {error}", dir.display())),
        Ok(found) if !found.is_dir() => failed(what, format!("{} is none", dir.display())),
        Ok(found) if found.permissions().mode() & 0o077 != 0 && private::check(dir).is_ok() => {
            warning(what, format!("{} is open to others: chmod 700", dir.display()))
        }
        Ok(_) => match private::check(dir) {
            Ok(()) => ok(what, dir.display().to_string()),
            Err(error) => failed(what, error.to_string()),
        },
    }
}

fn disk(dir: &Path) -> Finding {
    let what = "disk";
    match statvfs(dir) {
        Ok(disk) => {
            let room = disk.blocks_available() * disk.fragment_size();
            let detail = format!("{} MiB free", room >> 20);
            if room < ROOM_MIN { warning(what, detail) } else { ok(what, detail) }
        }
        Err(errno) => failed(what, format!("{}: {}", dir.display(), errno.desc())),
    }
}

fn database(path: &Path) -> Finding {
    let what = "database";
    if !path.exists() {
        return ok(what, "none yet".into());
    }
    let _progress = Progress::on("reading the whole database");
    match inspect(path) {
        Ok(Inspection { damage: None, live, ended }) => {
            let kib = fs::metadata(path).map_or(0, |file| file.len() >> 10);
            ok(what, format!("whole; {kib} KiB, {live} live and {ended} ended sessions"))
        }
        Ok(Inspection { damage: Some(damage), .. }) => {
            failed(what, format!("{}: {damage}", path.display()))
        }
        Err(error) => failed(what, format!("{}: {error}", path.display())),
    }
}

fn holder(pid_file: &Path) -> Finding {
    let what = "holder";
    let text = match fs::read_to_string(pid_file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return ok(what, "none yet; a server starts it".into());
        }
        Err(error) => return failed(what, format!("{}: {error}", pid_file.display())),
    };
    let pid = text.trim();
    let path = format!("/proc/{pid}/cmdline");
    match fs::read_to_string(&path) {
        Ok(line) if line.split('\0').any(|word| word == "hold") => {
            ok(what, format!("process {pid}"))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => {
            failed(what, format!("{path}: {error}"))
        }
        _ => warning(what, format!("process {pid} is gone; sessions that it held have ended")),
    }
}

/// Whether the holder may die: another process has to be there, and the kernel has to count.
fn guardian(pid_file: &Path) -> Finding {
    let what = "guardian";
    let counts = fs::read_to_string("/proc/thread-self/io").unwrap_or_default();
    if !counts.contains("rchar:") {
        let why = "the kernel does not tell what a process has read (/proc, \
                   CONFIG_TASK_IO_ACCOUNTING): a session may lose output when the holder is killed";
        return warning(what, why.into());
    }
    let Ok(text) = fs::read_to_string(pid_file) else {
        return ok(what, "none yet; it starts with the holder".into());
    };
    let pid = text.trim();
    if Path::new(&format!("/proc/{pid}")).exists() {
        ok(what, format!("process {pid}"))
    } else {
        warning(what, format!("process {pid} is gone: nobody replaces the holder if it dies"))
    }
}

/// A warning if `localhost` may not lead to the server, because another process listens on the
/// other loopback address of the port.
fn names(listen: &Path) -> Option<Finding> {
    let text = fs::read_to_string(listen).ok()?;
    let (schemes, addresses): (Vec<_>, Vec<SocketAddr>) = places(&text).unzip();
    let (first, scheme) = (addresses.first()?, schemes.first()?);
    let other: IpAddr = match first.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Ipv4Addr::LOCALHOST.into(),
        _ => return None,
    };
    let other = SocketAddr::new(other, first.port());
    let is_taken = !addresses.contains(&other)
        && TcpStream::connect_timeout(&other, Duration::from_secs(1)).is_ok();
    is_taken.then(|| {
        let advice = format!("localhost is not accepted, use {scheme}://{first}");
        warning("names", format!("somebody else listens on {other}: {advice}"))
    })
}

/// Whether the server is ready, and what it says of its fleet, if it is in one.
fn server(paths: &PathFlags, flags: &Flags) -> (Vec<Finding>, Option<Fleet>) {
    let what = "server";
    let endpoint = match Endpoint::find(paths, &flags.server) {
        Ok(endpoint) => endpoint,
        Err(failure) if failure.is_passing() => {
            return (vec![warning(what, failure.to_string())], None);
        }
        Err(failure) => return (vec![failed(what, failure.to_string())], None),
    };
    let at = endpoint.at();
    let (ready, fleet) = actix::System::new().block_on(async {
        match Client::new(endpoint) {
            Ok(client) => (client.ready().await, fleet::of(&client).await.ok().flatten()),
            Err(failure) => (Err(failure), None),
        }
    });
    let finding = match ready {
        Ok(()) => ok(what, format!("ready at {at}")),
        Err(failure @ Failure::NoServer { .. }) => warning(what, failure.to_string()),
        Err(failure) => failed(what, failure.to_string()),
    };
    let told = fleet.as_ref().map(|fleet| of_fleet(fleet, Utc::now()));
    (std::iter::once(finding).chain(told).collect(), fleet)
}

/// What was not looked at, where the server is in a fleet of which the settings that are read from here do not
/// tell: it was started with others, or with flags.
fn other_fleet(settings: &Settings, fleet: &Fleet) -> Option<Finding> {
    let own = fleet.own.as_deref()?;
    let name = settings.fleet.as_ref().map(|fleet| fleet.name.as_str());
    let why = match name {
        Some(name) if name == own => return None,
        Some(name) => {
            format!("the checks of NATS were made as {name}, and the server is in a fleet as {own}")
        }
        None => format!(
            "not checked: the server is in a fleet as {own}, and the settings that are read from here name none"
        ),
    };
    let advice = "name the file of the server's settings with --config; a fleet that comes from flags \
                  (--fleet-url) has to be in such a file to be checked";
    Some(warning("fleet NATS", format!("{why}: {advice}")))
}

/// The checks of the fleet's NATS, if the settings name a fleet.
fn nats(settings: &Settings, paths: &PathFlags) -> Vec<Finding> {
    let Some(fleet) = &settings.fleet else { return Vec::new() };
    let Ok(dir) = config::state_dir(paths) else { return Vec::new() };
    let _progress = Progress::on("asking the fleet's NATS");
    let file = config::settings_file(paths);
    let check = member::check(fleet, &dir, file.as_deref());
    let checked = actix::System::new().block_on(check).into_iter();
    checked
        .map(|it| match it.health {
            Health::Good => ok(it.what, it.detail),
            Health::Doubtful => warning(it.what, it.detail),
            Health::Bad => failed(it.what, it.detail),
        })
        .collect()
}

/// Whether the server hears the other machines.
fn of_fleet(fleet: &Fleet, now: DateTime<Utc>) -> Finding {
    let what = "fleet";
    let offline: Vec<&str> = fleet.offline().map(|node| &*node.name).collect();
    let own = fleet.own.as_deref().unwrap_or_default();
    if !fleet.connected {
        let why = unconnected(fleet, now);
        return warning(what, format!("{why}; sessions of this machine need it not"));
    }
    if fleet.is_plain() {
        let detail =
            format!("{own} offers its sessions, and knows no others (fleet.serve_page is false)");
        return ok(what, detail);
    }
    let heard = fleet.heard_at.map_or("never".into(), |at| format!("{} ago", span(now - at)));
    let mut detail =
        format!("{own} of {} machines, directory last heard {heard}", fleet.nodes.len());
    if offline.is_empty() {
        return ok(what, detail);
    }
    detail += &format!("; offline: {}", offline.join(", "));
    warning(what, detail)
}

/// The terminals in use; `None` if the kernel does not say.
fn terminals() -> Option<Finding> {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/kernel/pty/{name}")).ok()?.trim().parse().ok()
    };
    let (used, most) = (number("nr")?, number("max")?);
    let detail = format!("{used} of {most} in use (kernel.pty.max)");
    let few = most.saturating_sub(used) < TERMINALS_MIN;
    Some(if few { warning("terminals", detail) } else { ok("terminals", detail) })
}

fn open_files() -> Finding {
    let what = "open files";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, most)) => {
            let sessions = most / FILES_EACH;
            let detail = format!("{most} (ulimit -Hn), enough for some {sessions} sessions");
            if sessions < SESSIONS_MIN { warning(what, detail) } else { ok(what, detail) }
        }
        Err(errno) => failed(what, errno.desc().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fleet::Node;

    #[test]
    fn a_program_that_somebody_asked_for_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("stayd.toml");
        let programs = "[profile.gone]\ncommand = [\"no-such-program\", \"-x\"]\n\
                        [profile.there]\ncommand = [\"sh\"]\n\
                        [profile.beside]\ncommand = [\"bin/sh\"]\ncwd = \"/\"\n";
        fs::write(&config, programs).unwrap();
        let paths = PathFlags { config: Some(config), state_dir: Some(dir.path().into()) };
        let settings = Settings::load(&paths, &ServeFlags::default()).unwrap();
        let found = profiles(&settings);
        let warned = found.iter().filter(|finding| finding.verdict == Verdict::Warning);
        let warned: Vec<&str> = warned.map(|finding| finding.detail.as_str()).collect();
        assert_eq!(warned, ["gone: there is no program no-such-program"]);
    }

    #[test]
    fn a_fleet_that_is_not_heard_is_a_warning_and_so_is_a_machine() {
        let now = Utc::now();
        let node = |name: &str, state: &str| Node {
            name: name.to_owned(),
            state: state.to_owned(),
            ..Node::default()
        };
        let mut fleet = Fleet {
            own: Some("desk".into()),
            serves: Some(true),
            connected: true,
            disconnected_because: None,
            heard_at: Some(now),
            nodes: vec![node("desk", "online"), node("gpu-1", "online")],
        };
        let found = of_fleet(&fleet, now);
        assert!(found.verdict == Verdict::Ok, "{}", found.detail);
        assert_eq!(found.detail, "desk of 2 machines, directory last heard 0s ago");
        fleet.nodes.push(node("attic", "offline"));
        let found = of_fleet(&fleet, now);
        assert!(found.verdict == Verdict::Warning && found.detail.ends_with("; offline: attic"));
        fleet.connected = false;
        let found = of_fleet(&fleet, now);
        assert!(found.verdict == Verdict::Warning && found.detail.contains("no connection to the"));
    }

    #[test]
    fn limits_that_no_session_could_have_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("stayd.toml");
        let most = i64::MAX;
        let profiles = format!(
            "[profile.much]\ncommand = [\"sh\"]\nlimits = {{ nofile = {most} }}\n\
             [profile.few]\ncommand = [\"sh\"]\nlimits = {{ nofile = 16 }}\n"
        );
        fs::write(&config, profiles).unwrap();
        let paths = PathFlags { config: Some(config), state_dir: Some(dir.path().into()) };
        let settings = Settings::load(&paths, &ServeFlags::default()).unwrap();
        let found = limits(&settings);
        let [Finding { verdict: Verdict::Warning, detail, .. }] = &found[..] else {
            panic!("{}", found.len())
        };
        assert!(detail.starts_with(&format!("much: nofile = {most} is above")), "{detail}");
        assert!(cgroups(&settings, None).is_none(), "nobody asks for one");
    }
}
