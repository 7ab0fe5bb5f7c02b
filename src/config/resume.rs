//! How a profile's program resumes its work after a restart.

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

/// How a program resumes work whose name it has printed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// A regular expression, matched against each line of the program's last screen and scrollback.
    /// The first group of the last match is the name.
    pub pattern: String,
    /// Arguments added to the command, with that name in place of `{id}`.
    pub args: Vec<String>,
}

impl Resume {
    /// The message that Claude Code prints at its end.
    pub(super) fn claude() -> Self {
        let id = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
        Resume {
            pattern: format!("claude --resume ({id})"),
            args: vec!["--resume".into(), "{id}".into()],
        }
    }

    /// The last name in a text.
    #[must_use]
    pub fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        let found = self.regex().ok()?.captures_iter(text).last()?;
        found.get(1).map(|id| id.as_str())
    }

    fn regex(&self) -> Result<Regex, String> {
        let pattern = RegexBuilder::new(&self.pattern).multi_line(true).size_limit(1 << 20).build();
        pattern.map_err(|error| error.to_string())
    }

    /// Checks the expression and the arguments. An error describes the problem.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.regex()?.captures_len() < 2 {
            return Err("pattern: expected a group, such as \"resume ([0-9]+)\"".into());
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return Err("args: an argument cannot contain NUL".into());
        }
        Ok(())
    }
}
