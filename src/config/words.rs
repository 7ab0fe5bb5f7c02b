//! The values of settings that are words or numbers with a special word, read alike from a flag, a
//! variable and the file.

use crate::protocol::{IdleWhen, TIMEOUT_MAX_S};
use clap::ValueEnum;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use slog::Level;
use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least severe records that are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// The server cannot continue.
    Critical,
    /// Something failed.
    Error,
    /// Something is wrong, and the server could deal with it.
    Warning,
    /// A session was started, changed or ended.
    #[default]
    Info,
    /// Details of the server's work.
    Debug,
    /// Everything (in debug builds only).
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Level {
        match level {
            LogLevel::Critical => Level::Critical,
            LogLevel::Error => Level::Error,
            LogLevel::Warning => Level::Warning,
            LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
            LogLevel::Trace => Level::Trace,
        }
    }
}

/// What programs inside a session may do with the server, over its unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// Look at sessions.
    Viewer,
    /// Start, type into and end them, too.
    Controller,
}

/// An address to listen on: `127.0.0.1:7829`, `[::1]:7829`, or on this machine alone `localhost:7829` or
/// just the port.
///
/// # Errors
/// Says what was expected.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").unwrap_or(text);
    if let Ok(port) = local.parse::<u16>()
        && local.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse().map_err(|_| {
        format!(
            "expected an address and a port such as 127.0.0.1:7829, [::1]:7829 or localhost:7829, a port \
             alone for this machine, or 0.0.0.0:7829 for all addresses, not {text:?}"
        )
    })
}

/// What counts as idle, from a flag or a variable.
///
/// # Errors
/// Says what was expected.
pub fn idle_when(text: &str) -> Result<IdleWhen, String> {
    text.parse().map_err(|_| format!("expected detached or detached_and_quiet, not {text:?}"))
}

/// The path below which a proxy shows the server: `/stayd`; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// Without a slash at its end; empty for none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the server's own paths begin with.
const OWN: [&str; 7] = ["api", "assets", "healthz", "metrics", "openapi.json", "readyz", "ws"];

impl FromStr for BasePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let is_part = |part: &str| {
            !part.is_empty() && part.chars().all(is_plain) && ![".", ".."].contains(&part)
        };
        match path.strip_prefix('/') {
            None if path.is_empty() => Ok(BasePath::default()),
            Some(parts) if OWN.contains(&parts.split('/').next().unwrap_or_default()) => {
                Err(format!("{text:?} is a path of the server's own; expected one such as /stayd"))
            }
            Some(parts) if parts.split('/').all(is_part) => Ok(BasePath(path.to_owned())),
            _ => Err(format!(
                "expected a path such as /stayd, of letters, digits and -._~, not {text:?}"
            )),
        }
    }
}

/// A time: a number of seconds, or a number with a unit, as in `90s`, `30m`, `8h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub u64);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a time such as 90s, 30m, 8h or 7d, not {text:?}");
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = text[..text.len() - unit.len()].parse().map_err(|_| expected())?;
        let factor = match unit {
            "" | "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return Err(expected()),
        };
        number.checked_mul(factor).map(Seconds).ok_or_else(expected)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText(PhantomData))
    }
}

/// The time from the last client's detaching to a session's destruction, or another time that need
/// not end; `None` means never. Written as [`Seconds`] or as `never`; 0 destroys at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeout(pub Option<u64>);

impl FromStr for IdleTimeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("never", _) => Ok(IdleTimeout(None)),
            (_, Ok(Seconds(seconds))) if seconds <= TIMEOUT_MAX_S => Ok(IdleTimeout(Some(seconds))),
            _ => Err(format!(
                "expected a time such as 90s, 30m, 8h or 7d, or \"never\", not {text:?}"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for IdleTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText(PhantomData))
    }
}

/// Reads a value that the file has as a number or as a text.
struct NumberOrText<T>(PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for NumberOrText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, or a text such as \"30m\"")
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<T, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<T, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in
            [("0", 0), ("1800", 1800), ("90s", 90), ("30m", 1800), ("8h", 28_800), ("7d", 604_800)]
        {
            assert_eq!(text.parse(), Ok(Seconds(seconds)));
            assert_eq!(text.parse(), Ok(IdleTimeout(Some(seconds))));
        }
        assert_eq!("never".parse(), Ok(IdleTimeout(None)));
        for wrong in ["", "m", "-1", "1.5", "30 m", "3w", "null", "99999999999999999999"] {
            let refused = wrong.parse::<IdleTimeout>().unwrap_err();
            assert!(refused.contains("\"never\""), "{refused}");
        }
    }
}
