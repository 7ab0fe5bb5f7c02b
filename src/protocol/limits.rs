//! The limits of what is kept of a session. Requests are held to them, and other machines in what they say of
//! their sessions.

use std::collections::BTreeMap;

/// The longest command (words and a byte behind each) and directory of a session, in bytes. They are kept with each
/// session, also with ended ones: 1,000 sessions of the longest take 70 MB. Linux itself allows some more for one
/// start, which a script or a file can hold.
pub const COMMAND_MAX: usize = 64 << 10;
/// The longest directory.
pub const CWD_MAX: usize = 4 << 10;
/// The most labels of a session.
pub const LABELS_MAX: usize = 32;
/// The longest of their words, in bytes.
pub const LABEL_MAX: usize = 256;
/// Characters of a label that a refusal shows.
const SHOWN: usize = 64;

/// The length that a command is measured by.
#[must_use]
pub fn command_bytes(command: &[String]) -> usize {
    command.iter().map(|word| word.len() + 1).sum()
}

/// Labels are few and short.
///
/// # Errors
/// A sentence for people that says which of them is wrong.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > LABELS_MAX {
        return Err(format!("at most {LABELS_MAX} labels, not {}", labels.len()));
    }
    labels.iter().try_for_each(|(key, value)| check_label(key, value))
}

/// A label is short, and can be written as `KEY=VALUE`.
///
/// # Errors
/// A sentence for people that says why.
pub fn check_label(key: &str, value: &str) -> Result<(), String> {
    let shown: String = key.chars().take(SHOWN).collect();
    if [key, value].iter().any(|word| word.chars().any(char::is_control)) {
        return Err(format!("label {shown:?}: it must not contain control characters"));
    }
    if key.is_empty() || key.len() > LABEL_MAX || key.contains('=') || value.len() > LABEL_MAX {
        return Err(format!("label {shown:?}: 1 to {LABEL_MAX} bytes, no '=' in its key"));
    }
    Ok(())
}
