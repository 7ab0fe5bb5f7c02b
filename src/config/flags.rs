//! Flags and environment variables. Their help documents every setting.
// The comments are the help that is printed, where <> would be read as a placeholder.
#![allow(rustdoc::bare_urls)]

use super::words::{
    BasePath, IdleTimeout, LogFormat, LogLevel, Seconds, idle_when, listen_address,
};
use crate::protocol::IdleWhen;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The paths that every verb takes.
#[derive(Args, Clone, Debug, Default)]
pub struct PathFlags {
    /// Settings file [default: $XDG_CONFIG_HOME/stayd/stayd.toml or
    /// ~/.config/stayd/stayd.toml, if there is one]
    #[arg(long, env = "STAYD_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Directory of the database and the sockets
    /// [default: $XDG_STATE_HOME/stayd or ~/.local/state/stayd] [file: state_dir]
    #[arg(long, env = "STAYD_STATE_DIR", value_name = "DIR", global = true)]
    pub state_dir: Option<PathBuf>,
}

/// The server's settings.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeFlags {
    /// Address to listen on, such as 127.0.0.1:7829, localhost:7829 or a port of this machine alone;
    /// may be repeated, port 0 takes a free one [default: 127.0.0.1:7829] [file: listen]
    #[arg(long, env = "STAYD_LISTEN", value_name = "ADDRESS", value_delimiter = ',')]
    #[arg(value_parser = listen_address)]
    pub listen: Vec<SocketAddr>,

    /// Path below which a proxy shows the server, such as /stayd. The proxy passes it on or takes it
    /// away: the server answers both below it and without it; empty: none [file: base_path]
    #[arg(long, env = "STAYD_BASE_PATH", value_name = "PATH")]
    pub base_path: Option<BasePath>,

    /// Certificate of the server with its chain, a PEM file: the listening addresses then
    /// speak TLS alone. Read again when it changes, and on SIGHUP; empty: no TLS
    /// [file: tls_cert]
    #[arg(long, env = "STAYD_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of that certificate, a PEM file; both or neither [file: tls_key]
    #[arg(long, env = "STAYD_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Whether to listen without TLS where other machines can connect: everybody on the way
    /// can then read and change what terminals show and what is typed, tokens among it
    /// [default: false] [file: allow_plain]
    #[arg(long, env = "STAYD_ALLOW_PLAIN", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_plain: Option<bool>,

    /// Format of the log on standard error [default: text] [file: log_format]
    #[arg(long, env = "STAYD_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// The least severe records that are logged [default: info] [file: log_level]
    #[arg(long, env = "STAYD_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,

    /// Origin of other pages that may connect, besides the server's own, such as
    /// https://example.org; may be repeated [file: allowed_origins]
    #[arg(long = "allowed-origin", env = "STAYD_ALLOWED_ORIGINS", value_name = "ORIGIN")]
    #[arg(value_delimiter = ',', alias = "allowed-origins")]
    pub allowed_origins: Vec<String>,

    /// Host name under which the server may be reached, besides its addresses and localhost, such
    /// as a proxy's; may be repeated [file: allowed_hosts]
    #[arg(long = "allowed-host", env = "STAYD_ALLOWED_HOSTS", value_name = "HOST")]
    #[arg(value_delimiter = ',', alias = "allowed-hosts")]
    pub allowed_hosts: Vec<String>,

    /// Push service for the page's notifications, besides those of Chrome, Firefox, Safari and Edge, as
    /// an origin such as https://push.example.org; over http only on loopback; may be repeated
    /// [file: push_services]
    #[arg(long = "push-service", env = "STAYD_PUSH_SERVICES", value_name = "ORIGIN")]
    #[arg(value_delimiter = ',', alias = "push-services")]
    pub push_services: Vec<String>,

    /// Whom push services may ask about this server, mailto: or https:; Apple's accepts nothing without
    /// one; empty: nobody [file: push_contact]
    #[arg(long, env = "STAYD_PUSH_CONTACT", value_name = "ADDRESS")]
    pub push_contact: Option<String>,

    /// File with a token of the operator's own, which is the owner's: 16 or more letters, digits,
    /// '-', '.', '_', '~'. For scripts that cannot use the unix socket [file: admin_token_file]
    #[arg(long, env = "STAYD_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Time from the last client's detaching to a session's destruction, such as 1800, 30m or 8h, or
    /// "never" [default: 30m] [file: idle_timeout_s]
    #[arg(long, env = "STAYD_IDLE_TIMEOUT_S", value_name = "TIME", alias = "idle-timeout")]
    pub idle_timeout_s: Option<IdleTimeout>,

    /// When that time runs: while nobody is attached (detached), or while nobody is attached and the
    /// program is quiet as well (detached_and_quiet): it then begins anew whenever the program prints or
    /// its shell runs a command in the foreground [default: detached] [file: idle_when]
    #[arg(long, env = "STAYD_IDLE_WHEN", value_name = "WHEN", value_parser = idle_when)]
    pub idle_when: Option<IdleWhen>,

    /// Most live sessions at a time [default: 4000] [file: max_sessions]
    #[arg(long, env = "STAYD_MAX_SESSIONS", value_name = "NUMBER")]
    pub max_sessions: Option<usize>,

    /// Most live sessions that one token may have created; the owner may have all
    /// [default: 500] [file: max_sessions_per_principal]
    #[arg(long, env = "STAYD_MAX_SESSIONS_PER_PRINCIPAL", value_name = "NUMBER")]
    pub max_sessions_per_principal: Option<usize>,

    /// Longest file, in bytes, that may be put into a session's directory (stayd put, or dropped onto
    /// the page); 0: none may [default: 1073741824] [file: max_upload_bytes]
    #[arg(long, env = "STAYD_MAX_UPLOAD_BYTES", value_name = "BYTES")]
    pub max_upload_bytes: Option<u64>,

    /// Bytes of output kept for each session, a power of two from 262144 (256 KiB) to
    /// 1073741824 (1 GiB) [default: 2097152] [file: ring_bytes]
    #[arg(long, env = "STAYD_RING_BYTES", value_name = "BYTES")]
    pub ring_bytes: Option<u64>,

    /// Bytes of its newest output that a session keeps once it has printed nothing for a second:
    /// older output is freed if all clients have it, and those that left in the last five minutes.
    /// `stayd logs` and clients that come back can then be given no more. At most 1073741824
    /// (1 GiB); as much as ring_bytes keeps everything [default: 65536] [file: idle_ring_bytes]
    #[arg(long, env = "STAYD_IDLE_RING_BYTES", value_name = "BYTES")]
    pub idle_ring_bytes: Option<u64>,

    /// Lines of scrollback that each session's screen keeps, at most 100000
    /// [default: 1000] [file: scrollback_lines]
    #[arg(long, env = "STAYD_SCROLLBACK_LINES", value_name = "LINES")]
    pub scrollback_lines: Option<usize>,

    /// Time without output after which a session that had some is reported as quiet, at most a day;
    /// 0: never [default: 5s] [file: quiet_s]
    #[arg(long, env = "STAYD_QUIET_S", value_name = "TIME")]
    pub quiet_s: Option<Seconds>,

    /// Time for which ended sessions are kept, or "never" to remove none of them [default: 7d]
    /// [file: retention_s]
    #[arg(long, env = "STAYD_RETENTION_S", value_name = "TIME", alias = "retention")]
    pub retention_s: Option<IdleTimeout>,

    /// Time for which entries of the audit log are kept, or "never" to remove none, of which there
    /// are a million at most [default: 90d] [file: audit_retention_s]
    #[arg(long, env = "STAYD_AUDIT_RETENTION_S", value_name = "TIME", alias = "audit-retention")]
    pub audit_retention_s: Option<IdleTimeout>,

    /// Bytes after which a recording continues in another file, at least 65536 [default: 67108864,
    /// 64 MiB] [file: recording_file_bytes]
    #[arg(long, env = "STAYD_RECORDING_FILE_BYTES", value_name = "BYTES")]
    pub recording_file_bytes: Option<u64>,

    /// Bytes of a session's recording that are kept, at least those of one file: the oldest files
    /// are removed first [default: 536870912, 512 MiB] [file: recording_total_bytes]
    #[arg(long, env = "STAYD_RECORDING_TOTAL_BYTES", value_name = "BYTES")]
    pub recording_total_bytes: Option<u64>,

    /// Most open connections, WebSockets included [default: 10000] [file: max_connections]
    #[arg(long, env = "STAYD_MAX_CONNECTIONS", value_name = "NUMBER")]
    pub max_connections: Option<usize>,

    /// Most open connections from one address, except this machine's own; IPv6 addresses count by
    /// their /64 [default: 1000] [file: max_connections_per_address]
    #[arg(long, env = "STAYD_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER")]
    pub max_connections_per_address: Option<usize>,

    /// Most open connections over which one token, its logins included, or one share link has sent a
    /// request; the owner too, except over the unix socket. Never more than a quarter of the files
    /// that the server may open; unless set, a quarter of max_connections [default: 2500] [file:
    /// max_connections_per_principal]
    #[arg(long, env = "STAYD_MAX_CONNECTIONS_PER_PRINCIPAL", value_name = "NUMBER")]
    pub max_connections_per_principal: Option<usize>,

    /// Most open connections without a token or login; a newer one replaces an older one. Never
    /// more than a quarter of the files that the server may open [default: 128] [file:
    /// max_connections_without_token]
    #[arg(long, env = "STAYD_MAX_CONNECTIONS_WITHOUT_TOKEN", value_name = "NUMBER")]
    pub max_connections_without_token: Option<usize>,

    /// Time within which the body of a request must arrive, 1s to 1h [default: 30s] [file:
    /// body_timeout_s]
    #[arg(long, env = "STAYD_BODY_TIMEOUT_S", value_name = "TIME")]
    pub body_timeout_s: Option<Seconds>,

    /// Time after which a connection is closed whose peer reads nothing, 1s to 1h [default: 60s]
    /// [file: unread_timeout_s]
    #[arg(long, env = "STAYD_UNREAD_TIMEOUT_S", value_name = "TIME")]
    pub unread_timeout_s: Option<Seconds>,

    /// Whether attaching to an unknown name may start a session under it
    /// [default: true] [file: create_on_attach]
    #[arg(long, env = "STAYD_CREATE_ON_ATTACH", value_name = "BOOL")]
    pub create_on_attach: Option<bool>,

    /// Address of a NATS server of the fleet that this server belongs to, such as
    /// tls://nats.example.org:4222; may be repeated [file: fleet.url]
    #[arg(long = "fleet-url", env = "STAYD_FLEET_URL", value_name = "URL", value_delimiter = ',')]
    pub fleet_url: Vec<String>,

    /// This machine's name in the fleet [default: the host name] [file: fleet.name]
    #[arg(long, env = "STAYD_FLEET_NAME", value_name = "NAME")]
    pub fleet_name: Option<String>,

    /// Whether the server has no sessions of its own, and serves those of the fleet alone
    /// [default: false] [file: fleet.gateway]
    #[arg(long, env = "STAYD_GATEWAY", value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub gateway: Option<bool>,
}
