//! The state that a session's program reports to its terminal besides its output.

use super::time::millis_or_null;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A part of a session's JSON that is kept in the server's memory alone. After a restart of the
/// server each member is null until the program reports it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signs {
    /// When the program last rang the bell (BEL).
    #[serde(serialize_with = "millis_or_null")]
    pub bell_at: Option<DateTime<Utc>>,
    /// The last notification (OSC 9, 99, 777).
    pub notification: Option<Notification>,
    /// The state of its shell, if the shell marks its prompts and commands (OSC 133).
    pub shell: Option<Shell>,
    /// The directory that its shell reports (OSC 7).
    pub cwd_now: Option<String>,
    /// The time since which there has been no output. Null while there is output, and until the
    /// pause is as long as the settings say.
    #[serde(serialize_with = "millis_or_null")]
    pub quiet_since: Option<DateTime<Utc>>,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The title, if the program gave one.
    pub title: Option<String>,
    /// The message.
    pub body: String,
    /// When it was received.
    #[serde(serialize_with = "super::time::millis")]
    pub at: DateTime<Utc>,
}

/// The state of a shell, as its marks report it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// The shell's present activity.
    pub state: ShellState,
    /// The last command as it was typed, if the shell reported it: its first 256 bytes.
    pub command: Option<String>,
    /// Exit code of the last command, if the shell reported it.
    pub last_exit: Option<i32>,
    /// When the last command began.
    #[serde(serialize_with = "millis_or_null")]
    pub started_at: Option<DateTime<Utc>>,
    /// When the last command ended; null while one runs.
    #[serde(serialize_with = "millis_or_null")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// A shell's activity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellState {
    /// The shell waits for a command.
    #[default]
    Prompt,
    /// A command is running.
    Running,
}
