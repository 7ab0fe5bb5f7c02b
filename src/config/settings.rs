//! The settings, from flags, environment, file and defaults.

use super::file::{self, ConfigError, File};
use super::flags::{PathFlags, ServeFlags};
use super::fleet::{FleetSettings, fleet};
use super::hooks::{Hook, hooks};
use super::paths::{self, Env};
use super::profiles::{Profile, built_in, profile};
use super::push::{PushServices, is_contact};
use super::words::{BasePath, IdleTimeout, LogFormat, LogLevel, Seconds};
use crate::attention::Agents;
use crate::protocol::{IdleWhen, check_name};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// The default address, which only this machine can reach.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7829));
/// Half an hour.
const DEFAULT_IDLE_TIMEOUT_S: u64 = 1800;
/// Just below the kernel's default `kernel.pty.max` (4096), so that the server refuses before the
/// kernel does.
const DEFAULT_MAX_SESSIONS: usize = 4000;
/// As many as a team's scripts need, and a fraction of all.
const DEFAULT_MAX_SESSIONS_PER_PRINCIPAL: usize = 500;
const DEFAULT_MAX_UPLOAD_BYTES: u64 = 1 << 30;
const DEFAULT_RING_BYTES: u64 = 2 << 20;
/// Several screens. Older output is needed rarely, and most of a session's memory.
const DEFAULT_IDLE_RING_BYTES: u64 = 64 << 10;
const DEFAULT_SCROLLBACK_LINES: usize = 1000;
const DEFAULT_QUIET_S: u64 = 5;
/// 90 days.
const DEFAULT_AUDIT_RETENTION_S: u64 = 7_776_000;
/// A week.
const DEFAULT_RETENTION_S: u64 = 604_800;
const DEFAULT_RECORDING_FILE_BYTES: u64 = 64 << 20;
const DEFAULT_RECORDING_TOTAL_BYTES: u64 = 512 << 20;
/// More than the sessions, since each may have several clients.
const DEFAULT_MAX_CONNECTIONS: usize = 10_000;
/// High, because a proxy of many users may be one address.
const DEFAULT_MAX_CONNECTIONS_PER_ADDRESS: usize = 1000;
/// One principal may have this part of all connections, unless the settings say otherwise: far more
/// than one person or script uses, and too few to shut others out.
const CONNECTIONS_OF_A_PRINCIPAL: usize = 4;
/// A browser opens six connections to load the page.
const DEFAULT_MAX_CONNECTIONS_WITHOUT_TOKEN: usize = 128;
const DEFAULT_BODY_TIMEOUT_S: u64 = 30;
const DEFAULT_UNREAD_TIMEOUT_S: u64 = 60;
/// An hour; anything longer would be no deadline.
const STUCK_S: std::ops::RangeInclusive<u64> = 1..=3600;
/// A smaller file would hold little more than a snapshot.
const RECORDING_FILE_BYTES_MIN: u64 = 64 << 10;
/// A day; anything longer is most likely a mistake.
const QUIET_S_MAX: u64 = 86_400;
/// A screen of 100,000 lines takes some hundred MiB while it is open.
const SCROLLBACK_LINES_MAX: usize = 100_000;
/// The holder may write 64 KiB beyond what readers see; a ring of less than four times that would
/// leave clients hardly any output to resume from.
const RING_BYTES: std::ops::RangeInclusive<u64> = 256 << 10..=1 << 30;

/// The settings of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// The path below which a proxy shows the server.
    pub base_path: BasePath,
    /// Where the certificate and its key are; `None`: no TLS.
    pub tls: Option<TlsFiles>,
    /// Whether addresses beyond loopback may do without TLS.
    pub allow_plain: bool,
    /// The state directory, an absolute path.
    pub state_dir: PathBuf,
    /// The format of the log.
    pub log_format: LogFormat,
    /// The least severe records that are logged.
    pub log_level: LogLevel,
    /// Origins allowed besides the server's own, such as `https://example.org`.
    pub allowed_origins: Vec<String>,
    /// Hosts (with or without a port) allowed besides the addresses and localhost.
    pub allowed_hosts: Vec<String>,
    /// The services to which notifications of the page are sent.
    pub push_services: PushServices,
    /// Whom they may ask about this server.
    pub push_contact: Option<String>,
    /// Seconds from the last client's detaching to destruction; `None` means never.
    pub idle_timeout_s: Option<u64>,
    /// What counts as idle.
    pub idle_when: IdleWhen,
    /// The most live sessions at a time.
    pub max_sessions: usize,
    /// Live sessions that one principal, the owner excepted, may have created.
    pub max_sessions_per_principal: usize,
    /// The longest file that may be put into a session's directory, in bytes; 0: none may.
    pub max_upload_bytes: u64,
    /// Bytes of a session's ring, a power of two.
    pub ring_bytes: u64,
    /// Bytes of its newest output that the ring of an idle session keeps.
    pub idle_ring_bytes: u64,
    /// Lines of scrollback that a session's screen keeps.
    pub scrollback_lines: usize,
    /// Seconds without output after which a session that had some is quiet; 0: never.
    pub quiet_s: u64,
    /// Seconds for which ended sessions are kept; `None` means for ever.
    pub retention_s: Option<u64>,
    /// Bytes after which a recording continues in another file.
    pub recording_file_bytes: u64,
    /// Bytes of a session's recording that are kept; at least those of one file.
    pub recording_total_bytes: u64,
    /// The most open connections.
    pub max_connections: usize,
    /// The most open connections from one address, loopback excepted.
    pub max_connections_per_address: usize,
    /// The most open connections that count for one principal, the owner on the unix socket excepted.
    pub max_connections_per_principal: usize,
    /// The most open connections without a token or login.
    pub max_connections_without_token: usize,
    /// Seconds within which a request's body must arrive.
    pub body_timeout_s: u64,
    /// Seconds after which a connection is closed whose peer reads nothing.
    pub unread_timeout_s: u64,
    /// Seconds for which entries of the audit log are kept; `None`: for ever.
    pub audit_retention_s: Option<u64>,
    /// File with a token of the operator's own.
    pub admin_token_file: Option<PathBuf>,
    /// Whether attaching to an unknown name may start a session.
    pub create_on_attach: bool,
    /// Commands that clients may start by name; `shell` and `claude` are always among them.
    pub profiles: BTreeMap<String, Profile>,
    /// Programs whose screens are understood.
    pub agents: Agents,
    /// What is run or called when a session needs somebody, or ends.
    pub hooks: Vec<Hook>,
    /// The fleet that the server belongs to; `None`: none.
    pub fleet: Option<FleetSettings>,
}

/// The PEM files of a server that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those of its issuers up to one that clients trust.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Settings {
    /// Builds the settings of a server.
    ///
    /// # Errors
    /// The file cannot be read or used, or a value is not allowed.
    pub fn load(paths: &PathFlags, flags: &ServeFlags) -> Result<Settings, ConfigError> {
        load(paths, flags, &|name| std::env::var_os(name))
    }
}

/// The path of the settings file, whether or not it exists; `None` without a home directory.
#[must_use]
pub fn settings_file(paths: &PathFlags) -> Option<PathBuf> {
    paths.config.clone().or_else(|| paths::config_file(&|name| std::env::var_os(name)))
}

/// The state directory alone, for verbs that talk to a server.
///
/// # Errors
/// As [`Settings::load`].
pub fn state_dir(paths: &PathFlags) -> Result<PathBuf, ConfigError> {
    let env: Env<'_> = &|name| std::env::var_os(name);
    if paths.state_dir.is_some() {
        // A broken settings file does not matter if the state directory was given.
        return resolve_state_dir(paths, None, &None, env);
    }
    let (path, file) = read_file(paths, env)?;
    resolve_state_dir(paths, file.state_dir, &path, env)
}

pub(super) fn load(
    paths: &PathFlags,
    flags: &ServeFlags,
    env: Env<'_>,
) -> Result<Settings, ConfigError> {
    let (path, file) = read_file(paths, env)?;
    let origin = Origin(path.as_deref());
    let ring_bytes = origin.number(
        "ring_bytes",
        (flags.ring_bytes, file.ring_bytes, DEFAULT_RING_BYTES),
        |bytes| bytes.is_power_of_two() && RING_BYTES.contains(&bytes),
        format_args!("a power of two from {} to {}", RING_BYTES.start(), RING_BYTES.end()),
    )?;
    let idle_ring_bytes = origin.number(
        "idle_ring_bytes",
        (flags.idle_ring_bytes, file.idle_ring_bytes, DEFAULT_IDLE_RING_BYTES),
        |bytes| bytes <= *RING_BYTES.end(),
        format_args!("at most {}", RING_BYTES.end()),
    )?;
    let scrollback_lines = origin.number(
        "scrollback_lines",
        (flags.scrollback_lines, file.scrollback_lines, DEFAULT_SCROLLBACK_LINES),
        |lines| lines <= SCROLLBACK_LINES_MAX,
        format_args!("at most {SCROLLBACK_LINES_MAX}"),
    )?;
    let seconds = |time: Option<Seconds>| time.map(|Seconds(seconds)| seconds);
    let quiet_s = origin.number(
        "quiet_s",
        (seconds(flags.quiet_s), seconds(file.quiet_s), DEFAULT_QUIET_S),
        |seconds| seconds <= QUIET_S_MAX,
        format_args!("at most {QUIET_S_MAX}"),
    )?;
    let recording_file_bytes = origin.number(
        "recording_file_bytes",
        (flags.recording_file_bytes, file.recording_file_bytes, DEFAULT_RECORDING_FILE_BYTES),
        |bytes| bytes >= RECORDING_FILE_BYTES_MIN,
        format_args!("at least {RECORDING_FILE_BYTES_MIN}"),
    )?;
    let total_bytes = DEFAULT_RECORDING_TOTAL_BYTES.max(recording_file_bytes);
    let recording_total_bytes = origin.number(
        "recording_total_bytes",
        (flags.recording_total_bytes, file.recording_total_bytes, total_bytes),
        |bytes| bytes >= recording_file_bytes,
        format_args!("at least recording_file_bytes ({recording_file_bytes})"),
    )?;
    let max_sessions = origin.number(
        "max_sessions",
        (flags.max_sessions, file.max_sessions, DEFAULT_MAX_SESSIONS),
        |sessions| sessions > 0,
        "at least 1",
    )?;
    let some = |key: &str, values: (Option<usize>, Option<usize>, usize)| {
        origin.number(key, values, |number| number > 0, "at least 1")
    };
    let max_sessions_per_principal = some(
        "max_sessions_per_principal",
        (
            flags.max_sessions_per_principal,
            file.max_sessions_per_principal,
            DEFAULT_MAX_SESSIONS_PER_PRINCIPAL,
        ),
    )?;
    let max_connections = some(
        "max_connections",
        (flags.max_connections, file.max_connections, DEFAULT_MAX_CONNECTIONS),
    )?;
    let max_connections_per_address = some(
        "max_connections_per_address",
        (
            flags.max_connections_per_address,
            file.max_connections_per_address,
            DEFAULT_MAX_CONNECTIONS_PER_ADDRESS,
        ),
    )?;
    let max_connections_per_principal = some(
        "max_connections_per_principal",
        (
            flags.max_connections_per_principal,
            file.max_connections_per_principal,
            (max_connections / CONNECTIONS_OF_A_PRINCIPAL).max(1),
        ),
    )?;
    let max_connections_without_token = some(
        "max_connections_without_token",
        (
            flags.max_connections_without_token,
            file.max_connections_without_token,
            DEFAULT_MAX_CONNECTIONS_WITHOUT_TOKEN,
        ),
    )?;
    let deadline = |key: &str, (flag, file, default): (Option<Seconds>, Option<Seconds>, u64)| {
        let expected = format_args!("{} to {}", STUCK_S.start(), STUCK_S.end());
        let values = (seconds(flag), seconds(file), default);
        origin.number(key, values, |seconds| STUCK_S.contains(&seconds), expected)
    };
    let body_timeout_s = deadline(
        "body_timeout_s",
        (flags.body_timeout_s, file.body_timeout_s, DEFAULT_BODY_TIMEOUT_S),
    )?;
    let unread_timeout_s = deadline(
        "unread_timeout_s",
        (flags.unread_timeout_s, file.unread_timeout_s, DEFAULT_UNREAD_TIMEOUT_S),
    )?;
    let allowed_origins = either(&flags.allowed_origins, file.allowed_origins);
    if let Some(wrong) = allowed_origins.iter().find(|origin| !is_origin(origin)) {
        let expected = "expected an origin such as \"https://example.org:8443\", without a path";
        let by_flag = !flags.allowed_origins.is_empty();
        return origin.refuse(by_flag, "allowed_origins", format!("{expected}, not {wrong:?}"));
    }
    let allowed_hosts = either(&flags.allowed_hosts, file.allowed_hosts);
    if let Some(wrong) = allowed_hosts.iter().find(|host| host.is_empty() || host.contains('/')) {
        let expected = "expected a host such as \"example.org\" or \"example.org:8443\"";
        let by_flag = !flags.allowed_hosts.is_empty();
        return origin.refuse(by_flag, "allowed_hosts", format!("{expected}, not {wrong:?}"));
    }
    let push_services = PushServices::new(either(&flags.push_services, file.push_services));
    let push_services = match push_services {
        Ok(services) => services,
        Err(wrong) => {
            let expected = "expected an origin such as \"https://push.example.org\", without a path, \
                            over https: except on loopback";
            let by_flag = !flags.push_services.is_empty();
            return origin.refuse(by_flag, "push_services", format!("{expected}, not {wrong:?}"));
        }
    };
    let push_contact = flags.push_contact.clone().or(file.push_contact);
    let push_contact = push_contact.filter(|contact| !contact.is_empty());
    if let Some(wrong) = push_contact.as_ref().filter(|contact| !is_contact(contact)) {
        let expected = "expected an address such as \"mailto:me@example.org\"";
        let by_flag = flags.push_contact.is_some();
        return origin.refuse(by_flag, "push_contact", format!("{expected}, not {wrong:?}"));
    }
    let beside = |at: PathBuf| beside(&path, at);
    let tls_cert = flags.tls_cert.clone().or_else(|| file.tls_cert.map(beside));
    let tls_key = flags.tls_key.clone().or_else(|| file.tls_key.map(beside));
    let admin_token_file = flags.admin_token_file.clone();
    let admin_token_file = admin_token_file.or_else(|| file.admin_token_file.map(beside));
    let given = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
    let admin_token_file = given(admin_token_file);
    let tls = match (given(tls_cert), given(tls_key)) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (cert, _) => {
            let (missing, other, by_flag) = match cert {
                Some(_) => ("tls_key", "tls_cert", flags.tls_cert.is_some()),
                None => ("tls_cert", "tls_key", flags.tls_key.is_some()),
            };
            let problem = format!("missing, and there is {other}: TLS needs both");
            return origin.refuse(by_flag, missing, problem);
        }
    };
    let mut profiles = built_in();
    for (name, table) in file.profile {
        if let Err(problem) = check_name(&name) {
            return origin.refuse(false, "profile", problem);
        }
        let base = profiles.remove(&name);
        match profile(&name, base, table) {
            Ok(profile) => profiles.insert(name, profile),
            Err((key, problem)) => {
                return origin.refuse(false, &format!("profile.{name}.{key}"), problem);
            }
        };
    }
    let agents = match Agents::new(file.agent) {
        Ok(agents) => agents,
        Err((key, problem)) => return origin.refuse(false, &key, problem),
    };
    let allow_plain = flags.allow_plain.or(file.allow_plain).unwrap_or(false);
    let fleet = match fleet(flags, file.fleet, beside) {
        Ok(fleet) => fleet,
        Err((key, by_flag, problem)) => return origin.refuse(by_flag, key, problem),
    };
    let hooks = match hooks(file.hook, allow_plain, beside) {
        Ok(hooks) => hooks,
        Err((key, problem)) => return origin.refuse(false, &key, problem),
    };
    let mut listen = either(&flags.listen, file.listen);
    if listen.is_empty() {
        listen.push(DEFAULT_LISTEN);
    }
    let retention = flags.retention_s.or(file.retention_s);
    let audit_retention = flags.audit_retention_s.or(file.audit_retention_s);
    let idle_timeout = flags.idle_timeout_s.or(file.idle_timeout_s);
    Ok(Settings {
        listen,
        base_path: flags.base_path.clone().or(file.base_path).unwrap_or_default(),
        tls,
        allow_plain,
        state_dir: resolve_state_dir(paths, file.state_dir, &path, env)?,
        log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        log_level: flags.log_level.or(file.log_level).unwrap_or_default(),
        allowed_origins,
        allowed_hosts,
        push_services,
        push_contact,
        idle_timeout_s: idle_timeout.unwrap_or(IdleTimeout(Some(DEFAULT_IDLE_TIMEOUT_S))).0,
        idle_when: flags.idle_when.or(file.idle_when).unwrap_or_default(),
        max_sessions,
        max_sessions_per_principal,
        max_upload_bytes: flags
            .max_upload_bytes
            .or(file.max_upload_bytes)
            .unwrap_or(DEFAULT_MAX_UPLOAD_BYTES),
        ring_bytes,
        idle_ring_bytes,
        scrollback_lines,
        quiet_s,
        retention_s: retention.unwrap_or(IdleTimeout(Some(DEFAULT_RETENTION_S))).0,
        recording_file_bytes,
        recording_total_bytes,
        max_connections,
        max_connections_per_address,
        max_connections_per_principal,
        max_connections_without_token,
        body_timeout_s,
        unread_timeout_s,
        audit_retention_s: audit_retention
            .unwrap_or(IdleTimeout(Some(DEFAULT_AUDIT_RETENTION_S)))
            .0,
        admin_token_file,
        create_on_attach: flags.create_on_attach.or(file.create_on_attach).unwrap_or(true),
        profiles,
        agents,
        hooks,
        fleet,
    })
}

/// The path of the file, if there is one, so that errors can name the line in it.
struct Origin<'a>(Option<&'a Path>);

impl Origin<'_> {
    fn refuse<T>(&self, by_flag: bool, key: &str, problem: String) -> Result<T, ConfigError> {
        let file = self.0.filter(|_| !by_flag);
        Err(ConfigError::Value {
            origin: file.map_or("flags or environment".into(), |path| file::place_of(path, key)),
            key: key.into(),
            problem,
        })
    }

    /// The first value among flag, file and default, if it is allowed.
    fn number<T: Copy + Display>(
        &self,
        key: &str,
        (flag, file, default): (Option<T>, Option<T>, T),
        fits: impl Fn(T) -> bool,
        expected: impl Display,
    ) -> Result<T, ConfigError> {
        let value = flag.or(file).unwrap_or(default);
        if fits(value) {
            return Ok(value);
        }
        self.refuse(flag.is_some(), key, format!("expected {expected}, not {value}"))
    }
}

/// The settings and the path of the file, if there is one.
fn read_file(paths: &PathFlags, env: Env<'_>) -> Result<(Option<PathBuf>, File), ConfigError> {
    let path = paths.config.clone().or_else(|| paths::config_file(env));
    let file = match &path {
        Some(path) => File::read(path, paths.config.is_some())?,
        None => File::default(),
    };
    Ok((path, file))
}

/// A path in the file is relative to the file; a path in a flag is relative to the current
/// directory.
fn resolve_state_dir(
    paths: &PathFlags,
    in_file: Option<PathBuf>,
    file: &Option<PathBuf>,
    env: Env<'_>,
) -> Result<PathBuf, ConfigError> {
    let dir = paths.state_dir.clone().or_else(|| in_file.map(|dir| beside(file, dir)));
    let dir = dir.or_else(|| paths::state_dir(env)).ok_or(ConfigError::NoStateDir)?;
    std::path::absolute(&dir).map_err(|e| ConfigError::Value {
        origin: "settings".into(),
        key: "state_dir".into(),
        problem: format!("{}: {e}", dir.display()),
    })
}

/// A path of the file, which is relative to it; an empty one stays empty.
fn beside(file: &Option<PathBuf>, path: PathBuf) -> PathBuf {
    match file.as_deref().and_then(Path::parent) {
        Some(parent) if !path.as_os_str().is_empty() => parent.join(path),
        _ => path,
    }
}

fn either<T: Clone>(flags: &[T], file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags.to_vec() }
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
