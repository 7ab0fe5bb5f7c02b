//! What a session's program has let its terminal know of itself, besides what it draws.

use super::time::millis_or_null;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Part of a session's JSON. Kept in the server's memory only: after its restart each is
/// null until the program says it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signs {
    /// When it rang last (BEL).
    #[serde(serialize_with = "millis_or_null")]
    pub bell_at: Option<DateTime<Utc>>,
    /// What it wanted people to know last (OSC 9, 99, 777).
    pub notification: Option<Notification>,
    /// What its shell does, if that marks its prompts and commands (OSC 133).
    pub shell: Option<Shell>,
    /// Its shell's directory, as that has told it (OSC 7).
    pub cwd_now: Option<String>,
    /// Since when there was no output; null while there is, and until it was missing for
    /// as long as the settings say.
    #[serde(serialize_with = "millis_or_null")]
    pub quiet_since: Option<DateTime<Utc>>,
}

/// A message for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Where the program gave it one.
    pub title: Option<String>,
    /// The message.
    pub body: String,
    /// When it came.
    #[serde(serialize_with = "super::time::millis")]
    pub at: DateTime<Utc>,
}

/// A shell between its marks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// What it does.
    pub state: ShellState,
    /// Exit code of the last command, if the shell told it.
    pub last_exit: Option<i32>,
    /// When the last command began.
    #[serde(serialize_with = "millis_or_null")]
    pub started_at: Option<DateTime<Utc>>,
    /// When the last command ended; null while one runs.
    #[serde(serialize_with = "millis_or_null")]
    pub ended_at: Option<DateTime<Utc>>,
}

/// What a shell does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShellState {
    /// It waits for a command.
    #[default]
    Prompt,
    /// A command runs.
    Running,
}
