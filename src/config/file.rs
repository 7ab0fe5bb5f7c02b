//! Reads `stayd.toml`.

use super::fleet::FleetTable;
use super::hooks::HookTable;
use super::profiles::ProfileTable;
use super::words::{BasePath, IdleTimeout, LogFormat, LogLevel, Seconds, listen_address};
use crate::attention::AgentTable;
use crate::protocol::IdleWhen;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file exists or was named, but cannot be read.
    #[error("settings file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not TOML, has an unknown key, or has a value of the wrong type. The message
    /// shows the line.
    #[error("settings file {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line and column, and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A value has the right type but is not allowed.
    #[error("{origin}: {key}: {problem}")]
    Value {
        /// The file and the line, or "flags or environment".
        origin: String,
        /// The key, as the file spells it.
        key: String,
        /// What was expected, and what was found.
        problem: String,
    },
    /// There is neither `--state-dir` nor a home directory.
    #[error(
        "no state directory: neither XDG_STATE_HOME nor HOME is set; say which with --state-dir"
    )]
    NoStateDir,
}

/// The file's content. Every key may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default, deserialize_with = "addresses")]
    pub(super) listen: Vec<SocketAddr>,
    #[serde(default, deserialize_with = "base_path")]
    pub(super) base_path: Option<BasePath>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) allow_plain: Option<bool>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log_level: Option<LogLevel>,
    #[serde(default)]
    pub(super) allowed_origins: Vec<String>,
    #[serde(default)]
    pub(super) allowed_hosts: Vec<String>,
    #[serde(default)]
    pub(super) push_services: Vec<String>,
    pub(super) push_contact: Option<String>,
    pub(super) idle_timeout_s: Option<IdleTimeout>,
    pub(super) idle_when: Option<IdleWhen>,
    pub(super) max_sessions: Option<usize>,
    pub(super) max_sessions_per_principal: Option<usize>,
    pub(super) max_upload_bytes: Option<u64>,
    pub(super) ring_bytes: Option<u64>,
    pub(super) idle_ring_bytes: Option<u64>,
    pub(super) scrollback_lines: Option<usize>,
    pub(super) quiet_s: Option<Seconds>,
    pub(super) retention_s: Option<IdleTimeout>,
    pub(super) recording_file_bytes: Option<u64>,
    pub(super) recording_total_bytes: Option<u64>,
    pub(super) max_connections: Option<usize>,
    pub(super) max_connections_per_address: Option<usize>,
    pub(super) max_connections_per_principal: Option<usize>,
    pub(super) max_connections_without_token: Option<usize>,
    pub(super) body_timeout_s: Option<Seconds>,
    pub(super) unread_timeout_s: Option<Seconds>,
    pub(super) audit_retention_s: Option<IdleTimeout>,
    pub(super) admin_token_file: Option<PathBuf>,
    pub(super) create_on_attach: Option<bool>,
    #[serde(default)]
    pub(super) profile: BTreeMap<String, ProfileTable>,
    #[serde(default)]
    pub(super) agent: BTreeMap<String, AgentTable>,
    #[serde(default)]
    pub(super) hook: Vec<HookTable>,
    #[serde(default)]
    pub(super) fleet: FleetTable,
}

impl File {
    /// Reads a file. With `required` false, because nobody named the file, it may be missing.
    pub(super) fn read(path: &Path, required: bool) -> Result<File, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => File::parse(&text).map_err(|source| ConfigError::Parse {
                path: path.to_owned(),
                source: Box::new(source),
            }),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                    && !required =>
            {
                Ok(File::default())
            }
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    pub(super) fn parse(text: &str) -> Result<File, toml::de::Error> {
        toml::from_str(text)
    }
}

/// Names a file and the line of a key (`profile.x.cwd`; `hook.2.url` in the second `[[hook]]`) in it, or as much of that as is known.
pub(super) fn place_of(path: &Path, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    match line_of(&text, key) {
        Some(line) => format!("settings file {}, line {line}", path.display()),
        None => format!("settings file {}", path.display()),
    }
}

fn line_of(text: &str, key: &str) -> Option<usize> {
    let whole = DeTable::parse(text).ok()?;
    let (mut table, mut start) = (whole.get_ref(), None);
    let mut parts = key.split('.');
    while let Some((name, value)) = parts.next().and_then(|part| table.get_key_value(part)) {
        start = Some(name.span().start);
        let mut below = value.get_ref();
        if let DeValue::Array(items) = below {
            let index = parts.next().and_then(|number| number.parse::<usize>().ok());
            let Some(item) = index.and_then(|number| items.get(number.checked_sub(1)?)) else {
                break;
            };
            start = Some(item.span().start);
            below = item.get_ref();
        }
        match below {
            DeValue::Table(below) => table = below,
            _ => break,
        }
    }
    Some(text[..start?].matches('\n').count() + 1)
}

/// Reads one address, or several in an array.
fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    struct Addresses;

    impl<'de> Visitor<'de> for Addresses {
        type Value = Vec<SocketAddr>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address such as \"127.0.0.1:7829\", or an array of them")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            listen_address(text).map(|address| vec![address]).map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, port: i64) -> Result<Self::Value, E> {
            self.visit_str(&port.to_string())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(text) = seq.next_element::<String>()? {
                all.extend(Addresses.visit_str::<A::Error>(&text)?);
            }
            Ok(all)
        }
    }

    deserializer.deserialize_any(Addresses)
}

fn base_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BasePath>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}
