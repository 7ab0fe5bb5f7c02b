//! `stayd run`.

use super::attach;
use super::attach::{DetachKeys, How};
use super::background;
use super::client::{Client, listed};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::fleet;
use super::key::{Key, Listed, node, word};
use super::resolve::resolve;
use super::staying::stays;
use super::{out, sys};
use crate::config::{IdleTimeout, PathFlags, idle_when};
use crate::protocol::{CreateSession, IdleWhen, Mode, Recording, RestartPolicy};
use chrono::Utc;
use clap::Args;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Do not attach; print the session's id
    #[arg(long, short)]
    pub(super) detach: bool,
    /// Name of the session, unique among live sessions
    #[arg(long, short)]
    name: Option<String>,
    /// If a live session has this name, attach to that one
    #[arg(long, short = 'A', requires = "name")]
    attach: bool,
    /// Profile from the server's settings
    #[arg(long, short)]
    profile: Option<String>,
    /// Directory to start in [default: the current one]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Variable added to the environment; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) env: Vec<(String, String)>,
    /// Time from the last client's detaching to destruction: 90s, 30m, 8h, 7d, or "never"
    /// [default: the profile's or the server's]
    #[arg(long, value_name = "TIME", alias = "idle-timeout-s")]
    idle_timeout: Option<IdleTimeout>,
    /// When that time runs: "detached" (while nobody is attached) or "detached_and_quiet" (it begins anew
    /// whenever the program prints or its shell runs a command) [default: the profile's or the server's]
    #[arg(long, value_name = "WHEN", value_parser = idle_when)]
    idle_when: Option<IdleWhen>,
    /// Record the session: "output", or "all" for input too, passwords included
    #[arg(long, value_name = "WHAT", num_args = 0..=1, default_missing_value = "output")]
    record: Option<Recording>,
    /// When to start the command again after it has ended by itself: never, on-failure or always
    /// [default: the profile's, or never]
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    restart: Option<RestartPolicy>,
    /// Start it on this machine of the fleet; "any" for the one with the fewest sessions
    #[arg(long, value_name = "NODE", value_parser = node)]
    node: Option<String>,
    /// Start it on a machine with this label; may be repeated, and means --node any
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    node_label: Vec<(String, String)>,
    /// Label for administrators; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Keys that detach: one with Ctrl, and perhaps a second one, such as "C-a d" or C-]; or "none"
    #[arg(long, value_name = "KEYS", env = "STAYD_DETACH_KEYS", default_value = "C-\\ d")]
    detach_keys: DetachKeys,
    /// With --detach: print the session as the API returns it
    #[arg(long, requires = "detach")]
    json: bool,
    /// Program and arguments [default: the profile's command, or a shell]
    #[arg(trailing_var_arg = true)]
    pub(super) command: Vec<String>,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn run(paths: &PathFlags, flags: Flags) -> Result<u8, Failure> {
    if flags.attach && flags.is_placed() && flags.node.as_deref().is_none_or(|it| it == "any") {
        let why = "--attach takes a session that is there, which needs the name of its machine: --node NAME";
        return Err(Failure::Usage(why.into()));
    }
    let wanted = wanted(&flags)?;
    if let Some(hint) = misplaced(&flags.command, std::env::args_os().any(|word| word == "--"))
        && std::io::stderr().is_terminal()
    {
        out::message(&format!("stayd: {hint}"));
    }
    actix::System::new().block_on(async {
        let profile = flags.profile.as_deref();
        let endpoint = background::find_or_start(paths, &flags.server, profile).await?;
        let client = Client::new(endpoint.clone())?;
        let (value, is_new) = match client.create(&placed(&wanted, &flags)?).await {
            Ok(created) => (created.json::<Value>()?, true),
            Err(Failure::Refused { code, .. }) if flags.attach && code == "name_taken" => {
                let name = flags.name.as_deref().unwrap_or_default();
                let found = resolve(&client, &word(flags.node.as_deref(), name)).await?;
                (client.get::<Value>(&found).await?, false)
            }
            Err(failure) => return Err(failure),
        };
        let Listed { session, node } = listed(&value)?;
        let key = Key { node: fleet::elsewhere(&client, node).await, id: session.id };
        if !flags.detach {
            // All output of a new session is wanted, and the screen of one that was there.
            let offset = is_new.then_some(0);
            let how = How { mode: Mode::Rw, detach: flags.detach_keys };
            return attach::session(paths, &flags.server, endpoint, key, offset, how).await;
        }
        if flags.json {
            out::json(&value)?;
        } else {
            out::print(&format!("{key}\n"))?;
            if std::io::stderr().is_terminal() {
                let word = key.word(session.name.as_deref());
                out::message(&format!("[{}]", stays(&word, &session, 0, Utc::now())));
            }
        }
        Ok(0)
    })
}

impl Flags {
    /// Whether the session is started on a machine of the fleet, which may be another one.
    fn is_placed(&self) -> bool {
        self.node.is_some() || !self.node_label.is_empty()
    }
}

/// What is asked of the server, and on which machine.
fn placed(wanted: &CreateSession, flags: &Flags) -> Result<Value, Failure> {
    let mut body = serde_json::to_value(wanted).map_err(Failure::doing("request"))?;
    if let Some(node) = &flags.node {
        body["node"] = node.as_str().into();
    }
    if !flags.node_label.is_empty() {
        let labels =
            flags.node_label.iter().map(|(key, value)| (key.clone(), value.clone().into()));
        body["node_labels"] = labels.collect::<Map<_, _>>().into();
    }
    Ok(body)
}

/// Says that a flag which stands behind the command is the command's, if it is one of ours, too. Whoever
/// has written `--` means that.
fn misplaced(command: &[String], has_dashes: bool) -> Option<String> {
    let (program, arguments) = command.split_first().filter(|_| !has_dashes)?;
    let ours = Flags::augment_args(clap::Command::new("run"));
    let is_ours = |word: &&String| {
        let name = word.strip_prefix("--").map(|word| word.split('=').next().unwrap_or(word));
        ours.get_arguments().any(|arg| arg.get_long().is_some_and(|long| Some(long) == name))
    };
    let flag = arguments.iter().find(is_ours)?;
    Some(format!(
        "{flag} stands behind the command and is passed to {program}. If it is meant for stayd, it \
         belongs before the command; `stayd run -- {program} …` says that it is not"
    ))
}

fn wanted(flags: &Flags) -> Result<CreateSession, Failure> {
    let (cols, rows) = sys::window(std::io::stdout().as_fd()).unzip();
    Ok(CreateSession {
        name: flags.name.clone(),
        profile: flags.profile.clone(),
        command: Some(flags.command.clone()).filter(|command| !command.is_empty()),
        cwd: directory(flags)?,
        env: flags.env.iter().cloned().collect(),
        cols,
        rows,
        restart: flags.restart,
        labels: flags.label.iter().cloned().collect(),
        idle_timeout_s: flags.idle_timeout.map(|timeout| timeout.0),
        idle_when: flags.idle_when,
        recording: flags.record,
        awaits_client: Some(!flags.detach),
        ..CreateSession::default()
    })
}

/// The directory of the command: the current one, as on any terminal, unless the profile may have
/// one or the server may be on another machine.
fn directory(flags: &Flags) -> Result<Option<String>, Failure> {
    let dir = match &flags.cwd {
        // The shell does not expand the ~ of `--cwd=~/x`; the server does.
        Some(dir) if dir.as_os_str().as_encoded_bytes().starts_with(b"~") => {
            return text(dir.clone().into_os_string()).map(Some);
        }
        Some(dir) => dir,
        None if flags.profile.is_some() || flags.server.url.is_some() || flags.is_placed() => {
            return Ok(None);
        }
        None => Path::new("."),
    };
    // Avoids the `.` or trailing slash that a join would leave.
    let dir = std::path::absolute(dir).map_err(Failure::doing("the current directory"))?;
    text(dir.into_os_string()).map(Some)
}

fn text(dir: OsString) -> Result<String, Failure> {
    dir.into_string().map_err(|dir| Failure::Usage(format!("{}: not UTF-8", dir.display())))
}

fn policy(text: &str) -> Result<RestartPolicy, String> {
    text.parse().map_err(|_| "expected never, on-failure or always".into())
}

/// Parses `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("expected a name, = and a value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_behind_the_command_is_told_unless_dashes_say_that_it_is_meant() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, flag) in [("sh --name work", "--name"), ("make -j2 --label=a=b", "--label=a=b")]
        {
            let hint = misplaced(&words(line), false).unwrap();
            assert!(hint.starts_with(&format!("{flag} stands behind")), "{hint}");
            assert!(hint.contains("`stayd run -- "), "{hint}");
            assert_eq!(misplaced(&words(line), true), None);
        }
        for line in ["sh -c true", "ls --all", "git log --oneline", "--name", "cat"] {
            assert_eq!(misplaced(&words(line), false), None, "{line}");
        }
    }
}
