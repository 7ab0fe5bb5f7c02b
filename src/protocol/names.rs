//! The one rule for names, both of sessions and of profiles.

use regex::Regex;
use std::sync::LazyLock;

/// The longest name, in characters.
pub const NAME_MAX: usize = 64;

/// Characters that are invisible, or change the direction of those around them: controls, formats
/// (among them all that join, separate or turn), line and paragraph separators, characters that
/// fonts ignore, and a blank that is no space.
static UNSEEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\x{2800}]")
        .expect("the expression is a constant")
});
/// All spaces except U+0020.
static OTHER_SPACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\p{Zs}&&[^ ]]").expect("the expression is a constant"));

/// Whether a character is invisible, or changes the direction of those around it.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    UNSEEN.is_match(c.encode_utf8(&mut [0; 4]))
}

/// Checks a name. Names appear in URLs, on command lines and in lists, where two that look alike
/// would be confused.
///
/// # Errors
/// The problem of the name.
pub fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if length == 0 || length > NAME_MAX {
        return Err(format!("a name must have 1 to {NAME_MAX} characters, not {length}"));
    }
    let why = if name == "." || name == ".." {
        "stands for a directory in a URL; choose another"
    } else if name.contains('/') {
        "must not contain slashes"
    } else if UNSEEN.is_match(name) {
        "must not contain control characters, or others that cannot be seen"
    } else if OTHER_SPACE.is_match(name) || name.trim_matches(' ') != name {
        "must not begin or end with a space, nor contain unusual ones"
    } else {
        return Ok(());
    };
    let shown: String = name
        .chars()
        .map(|c| if is_unseen(c) { c.escape_unicode().to_string() } else { c.to_string() })
        .collect();
    Err(format!("the name \"{shown}\" {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_call_things_is_a_name() {
        for name in
            ["a", "build 2", "...", "日本", "naïve", "e\u{301}", "🦀", "-x", "a\\b", "%2e", "#?&"]
        {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_name(&"ä".repeat(NAME_MAX)), Ok(()));
    }

    #[test]
    fn what_cannot_be_told_apart_or_written_in_a_url_is_none() {
        for (name, why) in [
            ("", "1 to 64"),
            (&*"x".repeat(65), "not 65"),
            (".", "directory"),
            ("..", "directory"),
            ("a/b", "slashes"),
            ("a\nb", "seen"),
            ("\u{1b}[31m", "seen"),
            ("a\u{9b}b", "seen"),
            ("a\u{7f}", "seen"),
            ("a\u{202e}b", "seen"),
            ("a\u{2066}b", "seen"),
            ("a\u{200b}", "seen"),
            ("a\u{200d}b", "seen"),
            ("\u{feff}a", "seen"),
            ("a\u{ad}b", "seen"),
            ("a\u{fe0f}", "seen"),
            ("a\u{2028}b", "seen"),
            ("\u{3164}", "seen"),
            ("\u{2800}", "seen"),
            ("\u{e0041}", "seen"),
            (" a", "space"),
            ("a ", "space"),
            ("a\u{a0}b", "space"),
            ("a\u{3000}b", "space"),
        ] {
            let refused = check_name(name).expect_err(name);
            assert!(refused.contains(why), "{refused}");
            assert!(!refused.chars().any(is_unseen), "the refusal itself can be seen: {refused}");
        }
    }
}
