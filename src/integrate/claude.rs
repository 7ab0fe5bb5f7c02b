//! Hooks by which agents report what they do: those of Claude Code, which are also merged into its
//! settings, and those of others, which are printed.
//!
//! The settings are a person's file: what is not ours stays as it is written, byte for byte, in its
//! order.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt;

/// Our hooks are known by this part of their command.
const MARK: &str = " report --hook --state ";

/// When a hook runs, and what it reports.
struct Hook {
    event: &'static str,
    /// Of what kind the event is; empty: any.
    matcher: &'static str,
    report: &'static str,
    /// The agent does not wait for it.
    waits: bool,
}

const fn hook(event: &'static str, matcher: &'static str, report: &'static str) -> Hook {
    Hook { event, matcher, report, waits: false }
}

/// Claude Code's. A session also starts anew when it is compacted, in the middle of work. What is asked
/// is told by PermissionRequest, and the notification, which comes later and knows less, is for versions
/// that lack it. `idle_prompt` is the only sign of an interruption.
const CLAUDE: [Hook; 9] = [
    hook("SessionStart", "startup|resume|clear", "idle"),
    hook("UserPromptSubmit", "", "working"),
    hook("PreToolUse", "", "working"),
    hook("PostToolUse", "", "working"),
    hook(
        "PermissionRequest",
        "",
        "blocked --message-from tool_name --message-from tool_input.command \
         --message-from tool_input.file_path",
    ),
    hook("Notification", "permission_prompt", "blocked"),
    hook("Notification", "elicitation_dialog", "blocked --message-from message"),
    hook("Notification", "idle_prompt", "idle"),
    hook("Stop", "", "done --message-from last_assistant_message"),
];
/// It ends its hooks when it ends, unless it waits for them.
const CLAUDE_END: Hook = Hook { waits: true, ..hook("SessionEnd", "", "unknown") };

/// Gemini CLI's, which always waits.
const GEMINI: [Hook; 6] = [
    hook("SessionStart", "", "idle"),
    hook("BeforeAgent", "", "working"),
    hook("AfterTool", "", "working"),
    hook("Notification", "ToolPermission", "blocked --message-from message"),
    hook("AfterAgent", "", "done --message-from prompt_response"),
    hook("SessionEnd", "", "unknown"),
];

impl Hook {
    /// As the settings have it. `stayd`: the program, as a shell reads it. Where it is gone, the agent goes
    /// on. The shell becomes the program, whose number in the order of hooks is that of the shell then.
    fn group(&self, stayd: &str, may_be_async: bool) -> Value {
        let report = self.report;
        let command = format!(
            "command -v {stayd} >/dev/null || exit 0; exec {stayd}{MARK}{report} 2>/dev/null"
        );
        let mut command = json!({ "type": "command", "command": command });
        if may_be_async && self.waits {
            command["timeout"] = json!(2);
        } else if may_be_async {
            command["async"] = json!(true);
        }
        let mut group = json!({ "hooks": [command] });
        if !self.matcher.is_empty() {
            group["matcher"] = json!(self.matcher);
        }
        group
    }
}

fn claude() -> impl Iterator<Item = Hook> {
    CLAUDE.into_iter().chain([CLAUDE_END])
}

/// The hooks for Claude Code's settings.
#[must_use]
pub fn for_claude(stayd: &str) -> String {
    snippet(claude(), stayd, true)
}

/// Those for Gemini CLI's.
#[must_use]
pub fn for_gemini(stayd: &str) -> String {
    snippet(GEMINI.into_iter(), stayd, false)
}

/// The line for Codex's config.toml. Codex passes its JSON as the last argument.
#[must_use]
pub fn for_codex(stayd: &str) -> String {
    let report = "done --message-from last-assistant-message 2>/dev/null || :";
    let script = json!(format!("printf %s \"$1\" | {stayd}{MARK}{report}"));
    format!("notify = [\"sh\", \"-c\", {script}, \"stayd\"]\n")
}

fn snippet(hooks: impl Iterator<Item = Hook>, stayd: &str, may_be_async: bool) -> String {
    let mut all = Object::<Vec<Value>>(Vec::new());
    for hook in hooks {
        all.entry(hook.event).push(hook.group(stayd, may_be_async));
    }
    pretty(&Object(vec![("hooks".to_owned(), all)]))
}

/// The settings with our hooks, each once; `None`: they are there already.
///
/// # Errors
/// What is wrong with the settings.
pub fn with_hooks(settings: &str, stayd: &str) -> Result<Option<String>, String> {
    changed(settings, |hooks| {
        for hook in claude() {
            let group = hook.group(stayd, true);
            hooks.entry(hook.event).push(Written::New(group));
        }
    })
}

/// The settings without our hooks; `None`: there are none.
///
/// # Errors
/// What is wrong with the settings.
pub fn without_hooks(settings: &str) -> Result<Option<String>, String> {
    changed(settings, |_| {})
}

/// The groups of each event.
type Hooks = Object<Vec<Written>>;

/// A member of the settings.
#[derive(Serialize)]
#[serde(untagged)]
enum Member {
    AsItIs(Box<RawValue>),
    Hooks(Hooks),
}

/// A group of hooks.
#[derive(Serialize)]
#[serde(untagged)]
enum Written {
    AsItIs(Box<RawValue>),
    New(Value),
}

/// Removes our hooks, adds others, and returns the settings if that is a change.
fn changed(settings: &str, add: impl FnOnce(&mut Hooks)) -> Result<Option<String>, String> {
    let text = settings.strip_prefix('\u{feff}').unwrap_or(settings);
    let text = if text.trim().is_empty() { "{}" } else { text };
    let wrong = |error: serde_json::Error| error.to_string();
    let members: Object<Box<RawValue>> = serde_json::from_str(text).map_err(wrong)?;
    let mut all = Object(Vec::new());
    let mut hooks = None;
    for (name, value) in members.0 {
        if name == "hooks" {
            let groups = serde_json::from_str(value.get());
            let groups = groups.map_err(|error| format!("its member hooks: {error}"))?;
            hooks = Some((all.0.len(), without_ours(groups)));
        } else {
            all.0.push((name, Member::AsItIs(value)));
        }
    }
    let (place, mut hooks) = hooks.unwrap_or_else(|| (all.0.len(), Object(Vec::new())));
    add(&mut hooks);
    if !hooks.0.is_empty() {
        all.0.insert(place, ("hooks".to_owned(), Member::Hooks(hooks)));
    }
    let after = pretty(&all);
    let value = |text: &str| serde_json::from_str::<Value>(text).map_err(wrong);
    Ok((value(text)? != value(&after)?).then_some(after))
}

/// An event of which nothing is left goes with our hooks; one that was empty before stays.
fn without_ours(events: Object<Vec<Box<RawValue>>>) -> Hooks {
    let rest = |(event, groups): (String, Vec<Box<RawValue>>)| {
        let was_empty = groups.is_empty();
        let left: Vec<Written> = groups.into_iter().filter_map(without_our_hooks).collect();
        (was_empty || !left.is_empty()).then_some((event, left))
    };
    Object(events.0.into_iter().filter_map(rest).collect())
}

/// A group without our hooks; `None`: there were no others.
fn without_our_hooks(written: Box<RawValue>) -> Option<Written> {
    let is_ours =
        |hook: &Value| hook["command"].as_str().is_some_and(|command| command.contains(MARK));
    let mut group: Value = serde_json::from_str(written.get()).unwrap_or_default();
    let Some(hooks) = group.get_mut("hooks").and_then(Value::as_array_mut) else {
        return Some(Written::AsItIs(written));
    };
    if !hooks.iter().any(is_ours) {
        return Some(Written::AsItIs(written));
    }
    hooks.retain(|hook| !is_ours(hook));
    (!hooks.is_empty()).then_some(Written::New(group))
}

fn pretty(value: &impl Serialize) -> String {
    // Maps whose keys are texts can always be written.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// An object with its members in their order.
struct Object<T>(Vec<(String, T)>);

impl<T: Default> Object<T> {
    /// The member of this name, which there is then.
    fn entry(&mut self, name: &str) -> &mut T {
        let place = self.0.iter().position(|(key, _)| key == name);
        let place = place.unwrap_or_else(|| {
            self.0.push((name.to_owned(), T::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"{
  "zeta": 1.50,
  "hooks": {
    "Stop": [
      { "hooks": [ { "type": "command", "command": "say done" } ], "unknown": [1,  2] }
    ],
    "PreCompact": []
  },
  "alpha": { "b": 1, "a": 12345678901234567890123 }
}
"#;

    #[test]
    fn what_is_not_ours_stays_as_it_is_written() {
        let with = with_hooks(OWN, "/usr/bin/stayd").unwrap().unwrap();
        for kept in [
            "\"zeta\": 1.50,\n  \"hooks\"",
            r#"{ "hooks": [ { "type": "command", "command": "say done" } ], "unknown": [1,  2] }"#,
            r#""alpha": { "b": 1, "a": 12345678901234567890123 }"#,
            r#""PreCompact": []"#,
        ] {
            assert!(with.contains(kept), "{kept}: {with}");
        }
        let stop =
            "/usr/bin/stayd report --hook --state done --message-from last_assistant_message";
        assert_eq!(with.matches(stop).count(), 1);
        assert_eq!(with_hooks(&with, "/usr/bin/stayd"), Ok(None), "once");
        // Another program takes the place of the one before.
        let moved = with_hooks(&with, "/opt/stayd").unwrap().unwrap();
        assert!(!moved.contains("/usr/bin/stayd"), "{moved}");
        let without = without_hooks(&moved).unwrap().unwrap();
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&without), value(OWN));
        assert_eq!(without_hooks(&without), Ok(None));
        assert_eq!(without_hooks("{}"), Ok(None));
    }

    #[test]
    fn new_settings_are_as_printed_and_a_shared_group_keeps_the_others() {
        assert_eq!(with_hooks("", "stayd").unwrap().unwrap(), for_claude("stayd"));
        assert_eq!(with_hooks("\u{feff} {}", "stayd").unwrap().unwrap(), for_claude("stayd"));
        assert_eq!(without_hooks(&for_claude("stayd")).unwrap().unwrap(), "{}\n");
        let shared = r#"{"hooks":{"Stop":[{"hooks":[{"command":"x"},
            {"command":"stayd report --hook --state done"}]}]}}"#;
        let without = without_hooks(shared).unwrap().unwrap();
        let hooks = &serde_json::from_str::<Value>(&without).unwrap()["hooks"];
        assert_eq!(*hooks, json!({ "Stop": [{ "hooks": [{ "command": "x" }] }] }));
    }

    #[test]
    fn broken_settings_are_refused_with_the_reason() {
        for (broken, why) in [
            ("{", "line 1"),
            ("[]", "an object"),
            ("{\n // a comment\n}", "line 2"),
            ("{\"hooks\": []}", "hooks"),
            ("{\"hooks\": {\"Stop\": {}}}", "hooks"),
        ] {
            let problem = with_hooks(broken, "stayd").unwrap_err();
            assert!(problem.contains(why), "{broken}: {problem}");
            assert!(without_hooks(broken).is_err());
        }
    }

    #[test]
    fn what_is_printed_for_codex_is_toml() {
        let parsed: toml::Table = toml::from_str(&for_codex("'/a b/stayd'")).unwrap();
        let words = parsed["notify"].as_array().unwrap();
        assert!(words[2].as_str().unwrap().contains("| '/a b/stayd' report --hook --state done"));
    }
}
