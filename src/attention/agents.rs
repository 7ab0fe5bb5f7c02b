//! The programs whose screens are understood: which they are, and what their screens say.

use crate::protocol::{AttentionState, message_line};
use crate::screen::Screen;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The rules that come with this program.
const SHIPPED: &str = concat!(include_str!("agents.toml"), "\n", include_str!("aider.toml"));
/// Those for one program, as an example of all that can be set.
pub const EXAMPLE: &str = include_str!("aider.toml");
/// The most lines of a screen that are looked at, and the default.
const LINES_MAX: usize = 200;
const LINES: usize = 24;
/// The most rules of a program, expressions of a rule, and bytes of an expression, as it is written and
/// as it is compiled.
const RULES_MAX: usize = 32;
const PATTERNS_MAX: usize = 16;
const PATTERN_MAX: usize = 1024;
const COMPILED_MAX: usize = 1 << 20;

/// An `[agent.NAME]` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentTable {
    /// The names of its programs.
    programs: Vec<String>,
    /// How many of the screen's last lines count, from the last that is not empty.
    lines: Option<usize>,
    /// What is above the last line that matches this was printed before the program was started.
    start: Option<String>,
    #[serde(default)]
    rule: Vec<RuleTable>,
    #[serde(default)]
    notification: Vec<RuleTable>,
}

/// One rule: the first that matches counts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    state: AttentionState,
    /// All of these match …
    when: Vec<String>,
    /// … and none of these.
    #[serde(default)]
    unless: Vec<String>,
    /// The group `message` of this is what people are told.
    message: Option<String>,
}

#[derive(Deserialize)]
struct Shipped {
    agent: BTreeMap<String, AgentTable>,
}

/// What the rules say of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// The state.
    pub state: AttentionState,
    /// What it asks.
    pub message: Option<String>,
}

/// The rules for one program.
#[derive(Debug)]
pub struct Agent {
    name: String,
    table: AgentTable,
    lines: usize,
    start: Option<Regex>,
    rules: Vec<Rule>,
    notifications: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    state: AttentionState,
    when: Vec<Regex>,
    unless: Vec<Regex>,
    message: Option<Regex>,
}

/// The rules for all programs: those that are shipped, and those of the settings, which replace shipped
/// ones of their name.
#[derive(Clone, Debug)]
pub struct Agents(Arc<BTreeMap<String, Arc<Agent>>>);

impl PartialEq for Agents {
    fn eq(&self, other: &Agents) -> bool {
        let tables = |agents: &Agents| -> Vec<(String, AgentTable)> {
            agents.0.iter().map(|(name, agent)| (name.clone(), agent.table.clone())).collect()
        };
        tables(self) == tables(other)
    }
}

impl Default for Agents {
    fn default() -> Self {
        static SHIPPED_AGENTS: LazyLock<Agents> =
            LazyLock::new(|| Agents(Arc::new(shipped().unwrap_or_default())));
        SHIPPED_AGENTS.clone()
    }
}

fn shipped() -> Result<BTreeMap<String, Arc<Agent>>, String> {
    let shipped: Shipped = toml::from_str(SHIPPED).map_err(|error| error.to_string())?;
    let compile = |(name, table): (String, AgentTable)| {
        let agent = Agent::new(&name, table).map_err(|(key, why)| format!("{name}.{key}: {why}"));
        Ok((name, Arc::new(agent?)))
    };
    shipped.agent.into_iter().map(compile).collect()
}

impl Agents {
    /// The shipped rules and these.
    ///
    /// # Errors
    /// The key of a rule that cannot be used, and what is wrong with it.
    pub fn new(tables: BTreeMap<String, AgentTable>) -> Result<Self, (String, String)> {
        let mut agents = (*Agents::default().0).clone();
        for (name, table) in tables {
            let agent = Agent::new(&name, table);
            let agent = agent.map_err(|(key, why)| (format!("agent.{name}.{key}"), why))?;
            agents.insert(name, Arc::new(agent));
        }
        Ok(Agents(Arc::new(agents)))
    }

    /// The rules for a program that runs under one of these names.
    #[must_use]
    pub fn of(&self, names: &[String]) -> Option<Arc<Agent>> {
        let is_one = |agent: &&Arc<Agent>| {
            agent.table.programs.iter().any(|program| names.contains(program))
        };
        self.0.values().find(is_one).cloned()
    }
}

impl Agent {
    fn new(name: &str, table: AgentTable) -> Result<Self, (String, String)> {
        let named = |key: &str, why: String| (key.to_owned(), why);
        if table.programs.is_empty() || table.programs.iter().any(String::is_empty) {
            let expected = "expected the names of its programs, such as [\"aider\"]";
            return Err(named("programs", expected.to_owned()));
        }
        let lines = table.lines.unwrap_or(LINES);
        if !(1..=LINES_MAX).contains(&lines) {
            return Err(named("lines", format!("expected 1 to {LINES_MAX}, not {lines}")));
        }
        let start = table.start.as_deref().map(pattern).transpose();
        let start = start.map_err(|why| named("start", why))?;
        let rules = rules(&table.rule).map_err(|why| named("rule", why))?;
        let notifications = self::rules(&table.notification);
        let notifications = notifications.map_err(|why| named("notification", why))?;
        Ok(Agent { name: name.to_owned(), lines, start, rules, notifications, table })
    }

    /// The name of the rules.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What they say of a screen; `None`: nothing, also while the program is still drawing
    /// (synchronized output).
    #[must_use]
    pub fn look(&self, screen: &Screen) -> Option<Says> {
        if screen.modes().synchronized {
            return None;
        }
        self.read(&screen.view(0).written(true))
    }

    /// The same for a screen's text.
    fn read(&self, text: &str) -> Option<Says> {
        let text = text.trim_end();
        let first = text.rmatch_indices('\n').nth(self.lines - 1).map_or(0, |(at, _)| at + 1);
        let text = &text[first..];
        let start = self.start.as_ref().and_then(|start| start.find_iter(text).last());
        first_match(&self.rules, &text[start.map_or(0, |start| start.start())..])
    }

    /// The state that a notification with this text says.
    #[must_use]
    pub fn notification(&self, text: &str) -> Option<AttentionState> {
        first_match(&self.notifications, text).map(|says| says.state)
    }
}

fn first_match(rules: &[Rule], text: &str) -> Option<Says> {
    let matches = |rule: &&Rule| {
        rule.when.iter().all(|when| when.is_match(text))
            && !rule.unless.iter().any(|unless| unless.is_match(text))
    };
    let rule = rules.iter().find(matches)?;
    let message = rule.message.as_ref().and_then(|message| {
        // The last one on the screen: what is asked now.
        let found = message.captures_iter(text).last()?;
        message_line(found.name("message").or(found.get(0))?.as_str())
    });
    Some(Says { state: rule.state, message })
}

fn rules(tables: &[RuleTable]) -> Result<Vec<Rule>, String> {
    if tables.len() > RULES_MAX {
        return Err(format!("there are {}, more than {RULES_MAX}", tables.len()));
    }
    let rule = |(number, table): (usize, &RuleTable)| {
        let RuleTable { state, when, unless, message } = table;
        let which = |why: String| format!("number {}: {why}", number + 1);
        if when.is_empty() {
            return Err(which("when is empty: it would always match".to_owned()));
        }
        if when.len() + unless.len() > PATTERNS_MAX {
            return Err(which(format!("it has more than {PATTERNS_MAX} expressions")));
        }
        let all = |texts: &[String]| -> Result<Vec<Regex>, String> {
            texts.iter().map(|text| pattern(text)).collect()
        };
        Ok(Rule {
            state: *state,
            when: all(when).map_err(which)?,
            unless: all(unless).map_err(which)?,
            message: message.as_deref().map(message_pattern).transpose().map_err(which)?,
        })
    };
    tables.iter().enumerate().map(rule).collect()
}

fn message_pattern(text: &str) -> Result<Regex, String> {
    let pattern = pattern(text)?;
    match pattern.capture_names().any(|name| name == Some("message")) {
        true => Ok(pattern),
        false => Err("message has no group of this name: (?<message>…)".to_owned()),
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    if text.is_empty() || text.len() > PATTERN_MAX {
        return Err(format!("an expression has 1 to {PATTERN_MAX} bytes"));
    }
    RegexBuilder::new(text)
        .multi_line(true)
        .size_limit(COMPILED_MAX)
        .dfa_size_limit(COMPILED_MAX)
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "agents_tests.rs"]
mod tests;
