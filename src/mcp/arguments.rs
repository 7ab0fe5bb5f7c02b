//! What a client gives to a tool, checked before anything is done.

use crate::keys;
use crate::protocol::{CreateSession, attention_states};
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// How long a wait lasts unless the client says so, and the longest, in milliseconds. A call takes no
/// longer than the longest in all, so that such a wait ends some seconds earlier.
pub const TIMEOUT_MS: u64 = 30_000;
/// See [`TIMEOUT_MS`].
pub const TIMEOUT_MAX_MS: u64 = 120_000;
/// The most keys of one call.
const KEYS_MAX: usize = 1000;
/// The longest `idempotency_key`, in bytes, as that of `Idempotency-Key`.
const KEY_MAX: usize = 255;

/// The arguments of `session_create`: those of `POST /api/v1/sessions`.
#[derive(Debug)]
pub struct SessionCreate {
    /// The session.
    pub session: CreateSession,
    /// Makes it once, however often it is asked for.
    pub idempotency_key: Option<String>,
}

impl SessionCreate {
    /// Reads them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(mut arguments: JsonObject) -> Result<Self, String> {
        let idempotency_key = match arguments.remove("idempotency_key") {
            None | Some(Value::Null) => None,
            Some(Value::String(key)) => Some(key),
            Some(_) => return Err("idempotency_key must be a text".into()),
        };
        check_key(idempotency_key.as_deref())?;
        Ok(SessionCreate { session: read(arguments)?, idempotency_key })
    }
}

/// The arguments of `session_list`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionList {
    /// Ended ones as well.
    #[serde(default)]
    pub all: bool,
    /// Only those in one of these, separated by commas.
    pub status: Option<String>,
    /// Only the one of this name.
    pub name: Option<String>,
    /// Only those with this label, `key=value`.
    pub label: Option<String>,
    /// The most of them.
    pub limit: Option<u32>,
    /// The `next` of the answer before.
    pub cursor: Option<String>,
}

/// The arguments of `session_send`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSend {
    /// Id or name.
    pub session: String,
    /// Typed as it is.
    pub text: Option<String>,
    /// Pressed after it.
    pub keys: Option<Vec<String>>,
    /// What to wait for then.
    pub wait: Option<Wait>,
    /// The offset from which output counts; missing: where it is before anything is typed.
    pub after: Option<u64>,
    /// How long to wait.
    pub timeout_ms: Option<u64>,
    /// Types it once, however often it is asked for.
    pub idempotency_key: Option<String>,
}

impl SessionSend {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let keys = self.keys.as_deref().unwrap_or_default();
        if self.text.as_deref().unwrap_or_default().is_empty() && keys.is_empty() {
            return Err("there is nothing to type: give text, keys or both".into());
        }
        if keys.len() > KEYS_MAX {
            return Err(format!("keys: at most {KEYS_MAX} at once"));
        }
        if let Some(unknown) = keys.iter().find(|key| keys::encode(key, false).is_none()) {
            return Err(format!("keys: there is no key {unknown:?}; {}", keys::UNDERSTOOD));
        }
        check_key(self.idempotency_key.as_deref())
    }

    /// Whether the bytes depend on the mode of the program's cursor keys.
    #[must_use]
    pub fn depends_on_mode(&self) -> bool {
        self.keys.iter().flatten().any(|key| keys::depends_on_mode(key))
    }

    /// The bytes to type.
    #[must_use]
    pub fn bytes(&self, application_cursor: bool) -> Vec<u8> {
        let mut bytes = self.text.clone().unwrap_or_default().into_bytes();
        let keys = self.keys.iter().flatten();
        bytes.extend(keys.filter_map(|key| keys::encode(key, application_cursor)).flatten());
        bytes
    }

    /// What makes a repeated call the same: the key, and what is typed. Not its bytes: the mode of cursor
    /// keys may have changed meanwhile.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        let SessionSend { text, keys, idempotency_key, .. } = self;
        // The key first, by its length: no text can look like another key.
        let key = idempotency_key.as_deref()?;
        let keys = keys.as_deref().unwrap_or_default();
        let text = text.as_deref().unwrap_or_default();
        Some(format!("mcp {}:{key}{}:{text}{keys:?}", key.len(), text.len()))
    }
}

/// The arguments of `session_screen`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionScreen {
    /// Id or name.
    pub session: String,
    /// Lines of scrollback above it.
    #[serde(default)]
    pub scrollback: u16,
}

/// The arguments of `session_wait`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionWait {
    /// Id or name.
    pub session: String,
    /// What to wait for.
    pub wait: Wait,
    /// The offset from which output counts; missing: the screen as it is counts.
    pub after: Option<u64>,
    /// How long to wait.
    pub timeout_ms: Option<u64>,
}

/// The arguments of `session_end`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionEnd {
    /// Id or name.
    pub session: String,
}

/// The arguments of `command_run`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRun {
    /// A line for bash, or program and arguments.
    pub command: Command,
    /// Where to run it.
    pub cwd: Option<String>,
    /// Variables added to the environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Labels of its session, which a token may need.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How long it may take.
    pub timeout_ms: Option<u64>,
    /// Runs it once, however often it is asked for.
    pub idempotency_key: Option<String>,
}

/// A command.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// A line for bash.
    Line(String),
    /// Program and arguments.
    Argv(Vec<String>),
}

impl CommandRun {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let empty = match &self.command {
            Command::Line(line) => line.trim().is_empty(),
            Command::Argv(argv) => argv.is_empty(),
        };
        if empty {
            return Err("command: there is nothing to run".into());
        }
        check_key(self.idempotency_key.as_deref())
    }

    /// Program and arguments.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match &self.command {
            Command::Line(line) => vec!["bash".into(), "-c".into(), line.clone()],
            Command::Argv(argv) => argv.clone(),
        }
    }
}

/// What to wait for: exactly one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// The program prints this text.
    text: Option<String>,
    /// It prints what matches.
    regex: Option<String>,
    /// It prints nothing for so long.
    quiet_ms: Option<u64>,
    /// It is in one of these states, separated by `|`.
    state: Option<String>,
}

impl Wait {
    /// The condition in the words of `GET …/screen?wait=`, which knows what each means.
    ///
    /// `state` is refused as long as that does not know `state:`.
    ///
    /// # Errors
    /// None is given, or more than one.
    pub fn words(&self) -> Result<String, String> {
        let Wait { text, regex, quiet_ms, state } = self;
        match (text, regex, quiet_ms, state) {
            (Some(text), None, None, None) => Ok(format!("text:{text}")),
            (None, Some(regex), None, None) => Ok(format!("regex:{regex}")),
            (None, None, Some(quiet_ms), None) => Ok(format!("quiet:{quiet_ms}")),
            (None, None, None, Some(state)) => state_words(state),
            _ => Err("wait needs exactly one of text, regex, quiet_ms and state".into()),
        }
    }

    /// Whether it may count only a state that is entered after a time.
    #[must_use]
    pub fn is_for_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whether it may count only what is printed from an offset on.
    #[must_use]
    pub fn counts_output(&self) -> bool {
        self.text.is_some() || self.regex.is_some()
    }
}

/// The words for a wait for states of attention.
fn state_words(states: &str) -> Result<String, String> {
    attention_states(states).map_err(|why| format!("wait.state: {why}"))?;
    Ok(format!("state:{states}"))
}

/// Reads arguments.
///
/// # Errors
/// What is wrong with them.
pub fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| error.to_string())
}

fn check_key(key: Option<&str>) -> Result<(), String> {
    let good = |key: &str| {
        (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key {
        Some(key) if !good(key) => {
            Err(format!("idempotency_key must be 1 to {KEY_MAX} visible ASCII characters"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
        let Value::Object(arguments) = arguments else { panic!("{arguments}") };
        read(arguments)
    }

    fn send(arguments: Value) -> SessionSend {
        of(arguments).unwrap()
    }

    #[test]
    fn text_comes_before_keys_and_cursor_keys_follow_the_program() {
        let both = send(json!({ "session": "a", "text": "ls", "keys": ["Enter", "Up"] }));
        assert_eq!(both.check(), Ok(()));
        assert!(both.depends_on_mode());
        assert_eq!(both.bytes(false), b"ls\r\x1b[A");
        assert_eq!(both.bytes(true), b"ls\r\x1bOA");
    }

    #[test]
    fn what_cannot_be_typed_is_refused_with_the_reason() {
        for (arguments, word) in [
            (json!({ "session": "a" }), "nothing to type"),
            (json!({ "session": "a", "text": "", "keys": [] }), "nothing to type"),
            (json!({ "session": "a", "keys": ["Entr"] }), "no key \"Entr\""),
            (json!({ "session": "a", "keys": vec!["a"; 1001] }), "at most 1000"),
            (json!({ "session": "a", "text": "x", "idempotency_key": "" }), "1 to 255"),
            (json!({ "session": "a", "text": "x", "idempotency_key": "a b" }), "1 to 255"),
        ] {
            let refused = send(arguments.clone()).check().unwrap_err();
            assert!(refused.contains(word), "{arguments}: {refused}");
        }
        for wrong in [
            json!({ "session": "a", "txt": "x" }),
            json!({ "text": "x" }),
            json!({ "session": 1, "text": "x" }),
            json!({ "session": "a", "text": "x", "wait": { "for": "x" } }),
        ] {
            assert!(of::<SessionSend>(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_call_is_the_same_by_its_key_and_by_what_it_types() {
        let identity = |key: &str, text: &str| {
            let keyed = json!({ "session": "a", "text": text, "idempotency_key": key });
            send(keyed).identity().unwrap()
        };
        assert_eq!(identity("k", "x"), identity("k", "x"));
        assert_ne!(identity("k", "x"), identity("k", "y"));
        assert_ne!(identity("k", "x"), identity("l", "x"));
        assert_ne!(identity("k1", "x"), identity("k", "1x"));
        assert_eq!(send(json!({ "session": "a", "text": "x" })).identity(), None);
        assert!(identity("k", "x").len() > 1, "no client's name is meant");
    }

    #[test]
    fn a_wait_is_for_one_thing() {
        let words = |wait: Value| of::<Wait>(wait).and_then(|wait| wait.words());
        assert_eq!(words(json!({ "text": "a:b" })).as_deref(), Ok("text:a:b"));
        assert_eq!(words(json!({ "regex": "^a$" })).as_deref(), Ok("regex:^a$"));
        assert_eq!(words(json!({ "quiet_ms": 5 })).as_deref(), Ok("quiet:5"));
        assert_eq!(words(json!({ "state": "blocked|done" })).as_deref(), Ok("state:blocked|done"));
        for wrong in [
            json!({}),
            json!({ "text": "a", "regex": "a" }),
            json!({ "state": "busy" }),
            json!({ "text": "a", "state": "blocked" }),
        ] {
            assert!(words(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_command_is_a_line_or_a_program() {
        let argv = |command: Value| {
            let run: CommandRun = of(json!({ "command": command })).unwrap();
            run.check().map(|()| run.argv())
        };
        assert_eq!(argv(json!("a | b")).unwrap(), ["bash", "-c", "a | b"]);
        assert_eq!(argv(json!(["a", "b c"])).unwrap(), ["a", "b c"]);
        assert!(argv(json!(" ")).is_err() && argv(json!([])).is_err());
    }
}
