//! Results of tools, in bounds.

use crate::protocol::{Session, rfc3339};
use rmcp::model::CallToolResult;
use serde_json::{Map, Value, json};

/// The longest screen, or output of a command, of one answer, in bytes. A model reads it whole.
pub const SCREEN_MAX: usize = 64 << 10;
/// The longest text of a session in a list, in characters.
const TEXT_MAX: usize = 200;
/// The most labels of a session in a list.
const LABELS_MAX: usize = 20;

/// Why a tool has not done what it was asked.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// One of the stable codes of the HTTP API.
    pub code: &'static str,
    /// For people and models.
    pub detail: String,
    /// Further members: `needs`, `typed` …
    pub more: Map<String, Value>,
}

impl Refusal {
    /// A refusal because of the arguments.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Refusal { code: "invalid_request", detail: detail.into(), more: Map::new() }
    }

    /// With a further member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }
}

/// The result of a tool that has done it.
#[must_use]
pub fn succeeded(result: Value) -> CallToolResult {
    CallToolResult::structured(result)
}

/// The result of a tool that has not: for the model to read, not an error of the protocol.
#[must_use]
pub fn failed(refusal: &Refusal) -> CallToolResult {
    let mut result = refusal.more.clone();
    result.insert("code".into(), refusal.code.into());
    result.insert("detail".into(), refusal.detail.clone().into());
    CallToolResult::structured_error(Value::Object(result))
}

/// The last `most` bytes of a text, from a whole character on, and whether something is left out.
#[must_use]
pub fn last_bytes(text: &str, most: usize) -> (&str, bool) {
    let from = text.len().saturating_sub(most);
    let from = (from..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    (&text[from..], from > 0)
}

/// A session in a list: what tells it from others, each text cut.
#[must_use]
pub fn shortened(session: &Session) -> Value {
    let cut = |text: &str| -> String { text.chars().take(TEXT_MAX).collect() };
    let labels: Map<String, Value> = (session.labels.iter().take(LABELS_MAX))
        .map(|(key, value)| (cut(key), cut(value).into()))
        .collect();
    let mut command = String::new();
    for word in &session.command {
        if command.len() > TEXT_MAX {
            break;
        }
        if !command.is_empty() {
            command.push(' ');
        }
        command.push_str(&cut(word));
    }
    json!({
        "id": session.id,
        "name": session.name,
        "profile": session.profile,
        "command": cut(&command),
        "cwd": cut(&session.cwd),
        "status": session.status,
        "title": session.title.as_deref().map(cut),
        "labels": labels,
        "created_at": rfc3339(session.created_at),
        "ended_at": session.ended_at.map(rfc3339),
        "end_reason": session.end_reason,
        "exit_code": session.exit_code,
        "exit_signal": session.exit_signal,
        "offset": session.offset,
        "active_connections": session.active_connections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::session;

    #[test]
    fn the_end_of_a_text_begins_with_a_whole_character() {
        assert_eq!(last_bytes("abc", 3), ("abc", false));
        assert_eq!(last_bytes("abc", 2), ("bc", true));
        assert_eq!(last_bytes("a€", 2), ("", true));
        assert_eq!(last_bytes("a€", 3), ("€", true));
        assert_eq!(last_bytes("", 0), ("", false));
    }

    #[test]
    fn a_session_of_long_texts_is_short_in_a_list() {
        let mut long = session("0190d3c0-a1b2-7000-8000-000000000001", Some("work"));
        long.command = vec!["é".repeat(100_000); 50];
        long.cwd = "x".repeat(100_000);
        long.labels =
            (0..100).map(|n| (format!("{n}{}", "k".repeat(1000)), "v".repeat(1000))).collect();
        let told = shortened(&long).to_string();
        assert!(told.len() < 12_000, "{}", told.len());
        assert!(told.contains("\"work\""));
    }
}
