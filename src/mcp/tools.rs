//! The tools: names, the right that each needs, and what clients are told of them.

use super::answer::SCREEN_MAX;
use super::arguments::{TIMEOUT_MAX_MS, TIMEOUT_MS};
use crate::rights::Action;
use rmcp::model::{self, JsonObject, ListToolsResult, ToolAnnotations};
use serde_json::{Value, json};
use std::sync::Arc;

/// A tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Starts a session.
    SessionCreate,
    /// Lists sessions.
    SessionList,
    /// Types into a session and waits for an answer.
    SessionSend,
    /// Shows a session's screen.
    SessionScreen,
    /// Waits for something on a session's screen.
    SessionWait,
    /// Ends a session.
    SessionEnd,
    /// Runs one command to its end.
    CommandRun,
}

impl Tool {
    /// All tools, in the order in which they are listed.
    pub const ALL: [Tool; 7] = [
        Tool::SessionCreate,
        Tool::SessionList,
        Tool::SessionSend,
        Tool::SessionScreen,
        Tool::SessionWait,
        Tool::SessionEnd,
        Tool::CommandRun,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tool::SessionCreate => "session_create",
            Tool::SessionList => "session_list",
            Tool::SessionSend => "session_send",
            Tool::SessionScreen => "session_screen",
            Tool::SessionWait => "session_wait",
            Tool::SessionEnd => "session_end",
            Tool::CommandRun => "command_run",
        }
    }

    /// The tool of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.as_str() == name)
    }

    /// What it does, in the terms of rights: the same as the route of the HTTP API that does it.
    #[must_use]
    pub fn action(self) -> Action {
        match self {
            Tool::SessionCreate | Tool::CommandRun => Action::Create,
            Tool::SessionList => Action::List,
            Tool::SessionSend => Action::Input,
            Tool::SessionScreen | Tool::SessionWait => Action::Screen,
            Tool::SessionEnd => Action::End,
        }
    }

    /// Whether a client that has heard no answer may call it again only with an `idempotency_key`.
    #[must_use]
    pub fn takes_key(self) -> bool {
        matches!(self, Tool::SessionCreate | Tool::SessionSend | Tool::CommandRun)
    }

    fn title(self) -> &'static str {
        match self {
            Tool::SessionCreate => "Start a terminal session",
            Tool::SessionList => "List terminal sessions",
            Tool::SessionSend => "Type into a session",
            Tool::SessionScreen => "Show a session's screen",
            Tool::SessionWait => "Wait for a session",
            Tool::SessionEnd => "End a session",
            Tool::CommandRun => "Run a command",
        }
    }

    fn description(self) -> String {
        match self {
            Tool::SessionCreate => "Starts a program on a terminal of its own, which runs on when nobody \
                looks and when this server restarts. Without profile and command it is the shell. \
                Returns the session; its id or name is the argument `session` of the other tools. End \
                it with session_end. With idempotency_key a repeated call returns the same session."
                .into(),
            Tool::SessionList => "Lists sessions, newest first: the live ones, or with `all` the ended \
                ones as well. Returns {sessions, next}; give `next` as `cursor` for more."
                .into(),
            Tool::SessionSend => format!(
                "Types text, then presses keys, then waits if `wait` is given. Text is typed as it is: \
                 press Enter with keys. Returns {{screen, offset, waited}}: the screen as text, the bytes \
                 of output up to it, and \"held\", \"timeout\" or \"ended\" (null without wait). The wait \
                 counts only what is printed after the typing, which includes its echo; or, with \
                 `after`, what is printed from that offset on. With idempotency_key a repeated call \
                 (same key, text and keys) types nothing twice, also over a restart of the server, \
                 while the key is among the last 50 inputs of the session; its wait counts from the \
                 repetition unless `after` is given. An error says how many bytes were typed. Calls \
                 of one client on one session are served in order. A wait lasts {TIMEOUT_MS} ms \
                 unless timeout_ms says otherwise; no call takes longer than {TIMEOUT_MAX_MS} ms."
            ),
            Tool::SessionScreen => "Shows what is on the terminal now, as text, with `scrollback` lines \
                above it. Of a session that has ended: what it showed last."
                .into(),
            Tool::SessionWait => "Waits until the screen shows a text or matches an expression, or until \
                the program is quiet. What is on the screen already counts, unless `after` is given: \
                then only what is printed from that offset on. Returns {screen, offset, waited} as \
                session_send does."
                .into(),
            Tool::SessionEnd => "Ends a session with everything that runs in it. Returns its record. One \
                that has ended stays as it is, so that the call may be repeated."
                .into(),
            Tool::CommandRun => format!(
                "Runs a command in a session of its own, waits for its end and returns {{exit_code, output, \
                 truncated}}. A text is run by bash -c, a list is program and arguments. output is \
                 plain text of both streams, the last {SCREEN_MAX} bytes; truncated says whether more \
                 was printed. After timeout_ms (default {TIMEOUT_MS}) the command is ended with all \
                 that it started: timed_out is true and exit_code null. Nobody can answer its \
                 questions; use session_create for programs that ask. With idempotency_key a \
                 repeated call with the same arguments runs it once and returns the same result, \
                 for five minutes after its end."
            ),
        }
    }

    fn schema(self) -> Value {
        let session = json!({ "type": "string", "description": "Id or name of the session" });
        let key = json!({
            "type": "string", "minLength": 1, "maxLength": 255,
            "description": "Any unique text of visible ASCII characters: a call that is repeated with \
                            it is done once",
        });
        let timeout = json!({
            "type": "integer", "minimum": 1, "maximum": TIMEOUT_MAX_MS,
            "description": "Milliseconds; the answer comes some seconds earlier where the whole call \
                            would take longer than 120 s",
        });
        let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
        let after = json!({
            "type": "integer", "minimum": 0,
            "description": "Count only output from this offset on, such as the offset of an earlier \
                            answer",
        });
        let wait = json!({
            "type": "object",
            "description": "What to wait for: exactly one of these",
            "properties": {
                "text": { "type": "string", "minLength": 1, "maxLength": 1024 },
                "regex": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "description": "Of Rust's regex crate; ^ and $ are the ends of a line",
                },
                "quiet_ms": {
                    "type": "integer", "minimum": 1,
                    "description": "No output for so long",
                },
                "state": {
                    "type": "string", "pattern": "^[a-z|]+$", "maxLength": 64,
                    "description": "What its program does: working, blocked (it needs a person), idle, \
                                    done; several with |. session_send counts only a state that is \
                                    entered after the typing",
                },
            },
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
        });
        let (properties, required): (Value, &[&str]) = match self {
            Tool::SessionCreate => (
                json!({
                    "name": { "type": "string", "description": "Unique among live sessions" },
                    "profile": { "type": "string", "description": "A command of the settings" },
                    "command": {
                        "type": "array", "items": { "type": "string" }, "minItems": 1,
                        "description": "Program and arguments",
                    },
                    "cwd": { "type": "string", "description": "Directory to start in" },
                    "env": texts,
                    "cols": { "type": "integer", "minimum": 1, "maximum": 1000 },
                    "rows": { "type": "integer", "minimum": 1, "maximum": 1000 },
                    "idle_timeout_s": {
                        "type": ["integer", "null"], "minimum": 0,
                        "description": "Seconds from the last client's leaving to the session's end; \
                                        null: never",
                    },
                    "labels": texts,
                    "idempotency_key": key,
                }),
                &[],
            ),
            Tool::SessionList => (
                json!({
                    "all": { "type": "boolean", "description": "Ended ones as well" },
                    "status": { "type": "string", "description": "Such as ACTIVE,IDLE" },
                    "name": { "type": "string" },
                    "label": { "type": "string", "description": "key=value" },
                    "limit": { "type": "integer", "minimum": 1, "maximum": 100, "default": 50 },
                    "cursor": { "type": "string", "description": "next of the answer before" },
                }),
                &[],
            ),
            Tool::SessionSend => (
                json!({
                    "session": session,
                    "text": { "type": "string" },
                    "keys": {
                        "type": "array", "items": { "type": "string" }, "maxItems": 1000,
                        "description": crate::keys::UNDERSTOOD,
                    },
                    "wait": wait,
                    "after": after,
                    "timeout_ms": timeout,
                    "idempotency_key": key,
                }),
                &["session"],
            ),
            Tool::SessionScreen => (
                json!({
                    "session": session,
                    "scrollback": { "type": "integer", "minimum": 0, "maximum": 10000 },
                }),
                &["session"],
            ),
            Tool::SessionWait => (
                json!({
                    "session": session,
                    "wait": wait,
                    "after": after,
                    "timeout_ms": timeout,
                }),
                &["session", "wait"],
            ),
            Tool::SessionEnd => (json!({ "session": session }), &["session"]),
            Tool::CommandRun => (
                json!({
                    "command": {
                        "anyOf": [
                            { "type": "string", "minLength": 1 },
                            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                        ],
                    },
                    "cwd": { "type": "string" },
                    "env": texts,
                    "labels": texts,
                    "timeout_ms": timeout,
                    "idempotency_key": key,
                }),
                &["command"],
            ),
        };
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    fn described(self) -> model::Tool {
        let schema: JsonObject = self.schema().as_object().cloned().unwrap_or_default();
        let reads = matches!(self, Tool::SessionList | Tool::SessionScreen | Tool::SessionWait);
        // What a terminal runs may reach anything.
        let annotations = ToolAnnotations::new()
            .read_only(reads)
            .destructive(matches!(self, Tool::SessionEnd | Tool::SessionSend | Tool::CommandRun))
            .idempotent(reads || self == Tool::SessionEnd)
            .open_world(!reads);
        model::Tool::new_with_raw(self.as_str(), Some(self.description().into()), Arc::new(schema))
            .with_title(self.title())
            .with_annotations(annotations)
    }
}

/// The answer to `tools/list`.
#[must_use]
pub fn listed() -> ListToolsResult {
    ListToolsResult::with_all_items(Tool::ALL.into_iter().map(Tool::described).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_name_a_schema_and_a_right() {
        for tool in Tool::ALL {
            assert_eq!(Tool::named(tool.as_str()), Some(tool));
            let schema = tool.schema();
            let properties = schema["properties"].as_object().unwrap();
            for required in schema["required"].as_array().unwrap() {
                assert!(properties.contains_key(required.as_str().unwrap()), "{tool:?}");
            }
            assert_eq!(properties.contains_key("idempotency_key"), tool.takes_key(), "{tool:?}");
            assert!(!tool.description().contains("  "), "{tool:?}");
            assert!(jsonschema::validator_for(&schema).is_ok(), "{tool:?}");
        }
        assert_eq!(Tool::named("session_restart"), None);
    }
}
