//! What a session's program is doing, as far as that is known, and whether it needs somebody.

use super::time::millis;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The longest message, in characters. A longer one is cut.
pub const MESSAGE_MAX: usize = 300;

/// What a program is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionState {
    /// Nobody knows.
    #[default]
    Unknown,
    /// It works, and needs nobody.
    Working,
    /// It cannot go on before a person has answered.
    Blocked,
    /// It waits for something to do.
    Idle,
    /// It has finished what it was given, and nobody has typed since.
    Done,
}

impl AttentionState {
    /// Every state.
    pub const ALL: [AttentionState; 5] = [
        AttentionState::Unknown,
        AttentionState::Working,
        AttentionState::Blocked,
        AttentionState::Idle,
        AttentionState::Done,
    ];

    /// The name in JSON and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AttentionState::Unknown => "unknown",
            AttentionState::Working => "working",
            AttentionState::Blocked => "blocked",
            AttentionState::Idle => "idle",
            AttentionState::Done => "done",
        }
    }

    /// Whether only a program that runs can be in this state.
    #[must_use]
    pub fn needs_program(self) -> bool {
        matches!(self, AttentionState::Working | AttentionState::Blocked)
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<AttentionState> {
        AttentionState::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Who says what the program is doing. Where several do, the first of these counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionSource {
    /// A program in the session: `stayd report`.
    Report,
    /// Marks of a shell (OSC 133), or a notification (OSC 9, 99, 777).
    Osc,
    /// What the screen shows, by rules for this program.
    Rules,
}

/// What a session's program is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// The state.
    pub state: AttentionState,
    /// A line for people: what it asks, what it has done.
    pub message: Option<String>,
    /// Since when it has been in this state; where it is blocked, since it has asked this.
    #[serde(serialize_with = "millis")]
    pub since: DateTime<Utc>,
    /// Who says so; null where nobody does.
    pub source: Option<AttentionSource>,
}

impl Attention {
    /// Nothing is known, since this time.
    #[must_use]
    pub fn unknown(since: DateTime<Utc>) -> Self {
        Attention { since, ..Attention::default() }
    }
}

/// A message in one line: without control characters, cut to [`MESSAGE_MAX`]; `None` if nothing is
/// left.
#[must_use]
pub fn message_line(text: &str) -> Option<String> {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let plain: String = plain.collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    let cut: String = line.chars().take(MESSAGE_MAX).collect();
    (!cut.is_empty()).then_some(cut)
}

/// The states in a list such as `blocked|done`.
///
/// # Errors
/// A name that is no state.
pub fn attention_states(list: &str) -> Result<Vec<AttentionState>, String> {
    let state = |name: &str| {
        let expected = "unknown, working, blocked, idle or done; several with |";
        AttentionState::named(name).ok_or_else(|| format!("expected {expected}; not {name:?}"))
    };
    list.split('|').map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        assert_eq!(message_line("a\n\x1b[1m b\t\r\nc").as_deref(), Some("a [1m b c"));
        assert_eq!(message_line(" \n "), None);
        assert_eq!(message_line(&"é".repeat(999)).unwrap().chars().count(), MESSAGE_MAX);
    }

    #[test]
    fn lists_of_states_have_only_states() {
        let both = attention_states("blocked|done").unwrap();
        assert_eq!(both, [AttentionState::Blocked, AttentionState::Done]);
        for bad in ["", "blocked|", "Blocked", "busy"] {
            assert!(attention_states(bad).is_err(), "{bad}");
        }
    }
}
