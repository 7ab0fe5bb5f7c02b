//! The query parameters of a screen.

use super::wait::Condition;
use crate::http::problem::Problem;
use crate::protocol::attention_states;
use chrono::{DateTime, Utc};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use std::time::Duration;

/// The default and the longest duration of a wait, in milliseconds.
const TIMEOUT_MS: u64 = 30_000;
const TIMEOUT_MAX_MS: u64 = 600_000;
/// The longest text or expression, in bytes.
const PATTERN_MAX: usize = 1024;
/// The largest compiled expression, in bytes: `(\w{100}){100}` is short to write.
const COMPILED_MAX: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ScreenQuery {
    #[serde(default)]
    format: Format,
    /// Lines of scrollback wanted.
    #[serde(default)]
    scrollback: usize,
    wait: Option<String>,
    timeout_ms: Option<u64>,
    /// The condition counts only output from this offset on.
    after: Option<u64>,
    /// The condition counts only a state that was entered after this time.
    since: Option<DateTime<Utc>>,
}

/// What a wait counts; by default also what is there already.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct Counts {
    /// Only output from this offset on.
    pub(in crate::http) after: Option<u64>,
    /// Only a state that was entered after this time.
    pub(in crate::http) since: Option<DateTime<Utc>>,
}

impl ScreenQuery {
    /// The query of a wait that comes by another way than a URL.
    pub(in crate::http) fn waiting(wait: String, timeout_ms: u64, counts: Counts) -> Self {
        let (format, wait, timeout_ms) = (Format::Text, Some(wait), Some(timeout_ms));
        let Counts { after, since } = counts;
        ScreenQuery { format, scrollback: 0, wait, timeout_ms, after, since }
    }
}

/// The format of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    #[default]
    Text,
    Ansi,
    Json,
}

/// The parsed query.
#[derive(Debug)]
pub(in crate::http) struct Wanted {
    pub(super) format: Format,
    pub(super) scrollback: usize,
    /// The condition to wait for, and the limit.
    pub(in crate::http) wait: Option<(Condition, Duration)>,
}

impl TryFrom<ScreenQuery> for Wanted {
    type Error = Problem;

    fn try_from(query: ScreenQuery) -> Result<Self, Problem> {
        let ScreenQuery { format, scrollback, wait, timeout_ms, after, since } = query;
        let Some(wait) = wait else {
            return match (timeout_ms, after, since) {
                (None, None, None) => Ok(Wanted { format, scrollback, wait: None }),
                (Some(_), ..) => Err(Problem::invalid("timeout_ms needs wait")),
                (None, Some(_), _) => Err(Problem::invalid("after needs wait")),
                (None, None, Some(_)) => Err(Problem::invalid("since needs wait=state:…")),
            };
        };
        let timeout_ms = timeout_ms.unwrap_or(TIMEOUT_MS);
        if timeout_ms > TIMEOUT_MAX_MS {
            return Err(Problem::invalid(format!("timeout_ms must be 0 to {TIMEOUT_MAX_MS}")));
        }
        let condition = condition(&wait, timeout_ms).map_err(Problem::invalid)?;
        let condition = match (condition, after, since) {
            (Condition::Shows(regex), Some(after), None) => Condition::Prints(regex, after),
            (Condition::State(states, _), None, since) => Condition::State(states, since),
            (_, Some(_), _) => {
                return Err(Problem::invalid("after needs wait=text:… or wait=regex:…"));
            }
            (_, None, Some(_)) => return Err(Problem::invalid("since needs wait=state:…")),
            (condition, None, None) => condition,
        };
        let wait = Some((condition, Duration::from_millis(timeout_ms)));
        Ok(Wanted { format, scrollback, wait })
    }
}

fn condition(wait: &str, timeout_ms: u64) -> Result<Condition, String> {
    let (kind, what) = wait.split_once(':').unwrap_or((wait, ""));
    match kind {
        // A text may well have lines.
        "text" => pattern("text", what, &regex::escape(what)).map(Condition::Shows),
        "regex" => pattern("regex", what, what).map(Condition::Shows),
        "quiet" => match what.parse() {
            Ok(ms) if (1..=timeout_ms).contains(&ms) => {
                Ok(Condition::Quiet(Duration::from_millis(ms)))
            }
            Ok(_) => Err(format!("quiet must be 1 to timeout_ms ({timeout_ms}), not {what}")),
            Err(_) => Err(format!("quiet must be a number of milliseconds, not {what:?}")),
        },
        "state" => attention_states(what).map(|states| Condition::State(states, None)),
        _ => Err(format!("wait must be text:…, regex:…, quiet:… or state:…, not {wait:?}")),
    }
}

fn pattern(kind: &str, written: &str, regex: &str) -> Result<Regex, String> {
    if written.is_empty() || written.len() > PATTERN_MAX {
        return Err(format!("wait={kind}: must have 1 to {PATTERN_MAX} bytes"));
    }
    RegexBuilder::new(regex)
        .multi_line(true)
        .size_limit(COMPILED_MAX)
        .dfa_size_limit(COMPILED_MAX)
        .build()
        .map_err(|error| format!("wait={kind}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_no_expression_and_may_hold_colons() {
        let Ok(Condition::Shows(regex)) = condition("text:a: [b].*", 0) else { panic!() };
        assert!(regex.is_match("xa: [b].*y") && !regex.is_match("a: b"));
        let Ok(Condition::Shows(regex)) = condition("regex:^a: [b].*$", 0) else { panic!() };
        assert!(regex.is_match("x\na: bcd\ny"), "line by line");
    }

    #[test]
    fn what_cannot_be_waited_for_is_refused_with_the_reason() {
        let long = format!("text:{}", "x".repeat(PATTERN_MAX + 1));
        for (wait, word) in [
            ("", "text:"),
            ("exit", "text:"),
            ("text:", "1 to"),
            ("regex:", "1 to"),
            (&*long, "1 to"),
            ("regex:(", "unclosed group"),
            (r"regex:((\w{100}){100}){100}", "size limit"),
            ("state:", "unknown, working"),
            ("state:blocked|busy", "busy"),
            ("quiet:", "milliseconds"),
            ("quiet:-1", "milliseconds"),
            ("quiet:0", "1 to timeout_ms (500)"),
            ("quiet:501", "1 to timeout_ms (500)"),
        ] {
            let refused = condition(wait, 500).unwrap_err();
            assert!(refused.contains(word), "{wait}: {refused}");
        }
        assert!(matches!(condition("quiet:500", 500), Ok(Condition::Quiet(_))));
    }
}
