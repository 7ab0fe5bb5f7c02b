//! The values of settings that are words or numbers with a special word, read alike from a flag, a
//! variable and the file.

use crate::protocol::TIMEOUT_MAX_S;
use clap::ValueEnum;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use slog::Level;
use std::fmt;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// Look at sessions.
    Viewer,
    /// Start, type into and end them, too.
    Controller,
}

/// Seconds from the last client's detaching to a session's destruction; `None` means never. Written
/// as a number or as `never`; 0 destroys at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeout(pub Option<u64>);

impl FromStr for IdleTimeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a number of seconds or \"never\", not {text:?}");
        match text {
            "never" => Ok(IdleTimeout(None)),
            _ => match text.parse() {
                Ok(seconds) if seconds <= TIMEOUT_MAX_S => Ok(IdleTimeout(Some(seconds))),
                _ => Err(wrong()),
            },
        }
    }
}

impl<'de> Deserialize<'de> for IdleTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = IdleTimeout;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds or \"never\"")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<IdleTimeout, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<IdleTimeout, E> {
                self.visit_str(&seconds.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<IdleTimeout, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_seconds_or_never() {
        assert_eq!("1800".parse(), Ok(IdleTimeout(Some(1800))));
        assert_eq!("0".parse(), Ok(IdleTimeout(Some(0))));
        assert_eq!("never".parse(), Ok(IdleTimeout(None)));
        for wrong in ["", "-1", "1.5", "30m", "null", "99999999999999999999"] {
            let refused = wrong.parse::<IdleTimeout>().unwrap_err();
            assert!(refused.contains("\"never\""), "{refused}");
        }
    }
}
