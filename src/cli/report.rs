//! `stayd report`: a program in a session says what it is doing.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::out;
use super::resolve::resolve;
use crate::config::PathFlags;
use crate::protocol::{AttentionState, message_line};
use crate::tree::{self, ProcessId};
use actix_web::http::Method;
use clap::Args;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::time::timeout;

/// A hook must not keep the program that runs it waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a hook waits for the rest of its standard input.
const STDIN_PATIENCE: Duration = Duration::from_secs(1);
/// The longest JSON on standard input that is read for its members, in bytes.
const STDIN_MAX: u64 = 1 << 20;
/// Process ids have at most so many bits (`PID_MAX_LIMIT` of Linux).
const PID_BITS: u32 = 22;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name [default: the session that this command runs in]
    session: Option<String>,
    /// What the program is doing: working, blocked (only a person can make it go on), idle, done, or
    /// unknown, which leaves it to the terminal's signs and the rules
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: AttentionState,
    /// What people are told: what it asks, what it has done
    #[arg(long, value_name = "TEXT")]
    message: Option<OsString>,
    /// Take the message from this member of the JSON object on standard input, as hooks of agents get
    /// it; nothing if it has none. "a.b" is the member b of the member a; of several, those that there
    /// are count, with colons between
    #[arg(long, value_name = "NAME", conflicts_with = "message")]
    message_from: Vec<String>,
    /// The report's number; one that is not larger than the last report's is ignored
    #[arg(long, value_name = "NUMBER")]
    seq: Option<u64>,
    /// Exit with 0 whatever happens, and print nothing, as hooks should: outside a session too
    #[arg(long)]
    quiet: bool,
    /// For hooks of agents: as --quiet, and reads its standard input to the end. Hooks may run at the same
    /// time: the one that was started last counts, whichever comes first. Not together with reports that
    /// have numbers of their own
    #[arg(long, conflicts_with_all = ["seq", "json"])]
    hook: bool,
    /// Print the response
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

fn state(text: &str) -> Result<AttentionState, String> {
    AttentionState::named(text)
        .ok_or_else(|| "expected working, blocked, idle, done or unknown".to_owned())
}

pub(super) fn report(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let input = flags.hook.then(read_all);
    let done = match reported(paths, flags, input.as_ref()) {
        Err(_) if flags.quiet || flags.hook => Ok(0),
        done => done,
    };
    if let Some(Input { over, .. }) = input {
        // An agent that writes to a hook which has gone would get an error.
        let _ = over.recv_timeout(STDIN_PATIENCE);
    }
    done
}

/// Standard input, which a thread reads to its end.
struct Input {
    /// The beginning of it, once there is no more.
    text: mpsc::Receiver<String>,
    /// All was read.
    over: mpsc::Receiver<()>,
}

fn read_all() -> Input {
    let ((send, text), (end, over)) = (mpsc::channel(), mpsc::channel());
    thread::spawn(move || {
        let _ = send.send(beginning());
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        let _ = end.send(());
    });
    Input { text, over }
}

/// The first part of standard input, which is read for its members.
fn beginning() -> String {
    let mut bytes = Vec::new();
    let _ = io::stdin().take(STDIN_MAX).read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Grows from process to process in the order in which they were started, until the machine does.
fn order_of_start() -> Option<u64> {
    let ProcessId { pid, start_time, .. } = ProcessId::of(std::process::id() as i32).ok()?;
    Some(start_time << PID_BITS | u64::from(pid.unsigned_abs()))
}

fn reported(paths: &PathFlags, flags: &Flags, input: Option<&Input>) -> Result<u8, Failure> {
    let own = || std::env::var(tree::MARK).ok();
    let Some(session) = flags.session.clone().or_else(own) else {
        let why = "this command runs in no session: say which, as the last argument";
        return Err(Failure::Usage(why.to_owned()));
    };
    let message = if flags.message_from.is_empty() {
        flags.message.as_ref().map(|message| message.to_string_lossy().into_owned())
    } else {
        let text = match input {
            Some(input) => input.text.recv_timeout(STDIN_PATIENCE).unwrap_or_default(),
            None => beginning(),
        };
        members(&text, &flags.message_from)
    };
    // What an agent says may be longer than a request.
    let message = message.as_deref().and_then(message_line);
    let seq = if flags.hook { order_of_start() } else { flags.seq };
    let client = Client::find(paths, &flags.server)?;
    let report = json!({ "state": flags.state, "message": message, "seq": seq });
    let answer: Value = actix::System::new().block_on(async {
        let told = async {
            // Whoever may only report cannot look the name up.
            let path = match flags.session {
                None => format!("/api/v1/sessions/{session}"),
                Some(_) => resolve(&client, &session).await?.path(),
            };
            let path = format!("{path}/attention");
            client.call_at(Method::POST, &path, Some(report)).await
        };
        let late = || Failure::Unreachable("the server does not answer".to_owned());
        timeout(PATIENCE, told).await.map_err(|_| late())?
    })?;
    if flags.json {
        out::json(&answer)?;
    } else if answer["accepted"] == false && !flags.quiet {
        let last = &answer["last_seq"];
        out::message(&format!("stayd: ignored: the last report has the number {last}"));
    }
    Ok(0)
}

/// The members of a JSON object that have these names and are texts, with colons between.
fn members(text: &str, names: &[String]) -> Option<String> {
    let object: Value =
        serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_halves(text))).ok()?;
    let member =
        |name: &String| name.split('.').try_fold(&object, |value, name| value.get(name))?.as_str();
    let found: Vec<&str> = names.iter().filter_map(member).collect();
    (!found.is_empty()).then(|| found.join(": "))
}

/// JSON with a replacement character for each half of a character: programs that cut texts may write
/// one, and JSON has no other half for it.
fn without_halves(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let unit = |text: &str| {
            let hex = text.strip_prefix("\\u")?.get(..4)?;
            u16::from_str_radix(hex, 16).ok()
        };
        let (kept, length) = match unit(escape) {
            Some(0xd800..=0xdbff) => match escape.get(6..).and_then(unit) {
                Some(0xdc00..=0xdfff) => (true, 12),
                _ => (false, 6),
            },
            Some(0xdc00..=0xdfff) => (false, 6),
            Some(_) => (true, 6),
            // The backslash, and what it escapes.
            None => (true, 1 + escape[1..].chars().next().map_or(0, char::len_utf8)),
        };
        let (escape, after) = escape.split_at(length);
        whole.push_str(if kept { escape } else { "\\ufffd" });
        rest = after;
    }
    whole + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_made_of_the_members_that_there_are() {
        let text = r#"{"tool_name":"Bash","tool_input":{"command":"rm x","timeout":3},"list":[]}"#;
        let made = |names: &[&str]| {
            members(text, &names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(made(&["tool_name"]).as_deref(), Some("Bash"));
        let both = made(&["tool_name", "tool_input.file_path", "tool_input.command"]);
        assert_eq!(both.as_deref(), Some("Bash: rm x"));
        for none in ["x", "tool_input", "tool_input.timeout", "tool_name.x", "list.0", ""] {
            assert_eq!(made(&[none]), None, "{none}");
        }
        assert_eq!(members("no JSON", &["tool_name".to_owned()]), None);
        let message = |text: &str| members(text, &["m".to_owned()]);
        let cut = r#"{"m":"cut \ud83d tail \\ \ud83d\ude00 \udc00"}"#;
        assert_eq!(message(cut).as_deref(), Some("cut \u{fffd} tail \\ 😀 \u{fffd}"));
        assert_eq!(message(r#"{"m":"\ud83"}"#), None);
    }

    #[test]
    fn a_later_process_has_a_larger_number() {
        let own = order_of_start().expect("this process has one");
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("a process");
        let later = ProcessId::of(child.id() as i32).expect("it runs");
        assert!(later.start_time << PID_BITS | u64::from(child.id()) > own);
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
}
