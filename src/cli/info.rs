//! `stayd info`: all details of one session.

use super::client::{Client, read};
use super::ended::how;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::grid::{self, printable};
use super::resolve::resolve_any;
use super::table::attention;
use super::{out, profiles};
use crate::config::PathFlags;
use crate::protocol::{IdleWhen, Session, Shell, ShellState, span};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

// The flags of `info`, and of `history`. No doc comment: it would be the help.
#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    pub(super) session: String,
    /// Print what the API answers
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) server: ServerFlags,
}

pub(super) fn info(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let (session, known) = actix::System::new().block_on(async {
        let key = resolve_any(&client, &flags.session).await?;
        let session: Value = client.get(&key).await?;
        // A share link shows no profiles, and an older server tells nothing of them.
        let known = if flags.json { None } else { client.profiles(key.node.as_deref()).await.ok() };
        Ok::<_, Failure>((session, known.unwrap_or_default()))
    })?;
    if flags.json {
        out::json(&session)?;
        return Ok(0);
    }
    let mut lines = describe(&read(&session)?, Utc::now());
    lines.extend(session["node"].as_str().map(|node| vec!["machine".into(), printable(node)]));
    lines.extend(confinement(&known, session["profile"].as_str()));
    out::print(&grid::aligned(&lines))?;
    Ok(0)
}

/// The session as lines of a label and a value.
fn describe(session: &Session, now: DateTime<Utc>) -> Vec<Vec<String>> {
    let time = |at: DateTime<Utc>| {
        let local = at.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S");
        if at > now {
            format!("{local} (in {})", span(at - now))
        } else {
            format!("{local} ({} ago)", span(now - at))
        }
    };
    let seconds = |limit: Option<u64>| limit.map_or("never".to_owned(), |s| format!("{s} s"));
    let live = session.status.is_live();
    let clients = session.clients.iter().map(|viewer| {
        let size = viewer.cols.zip(viewer.rows);
        let size = size.map_or(String::new(), |(cols, rows)| format!(" {cols}×{rows}"));
        let mode = if viewer.mode == crate::protocol::Mode::Ro { ", read only" } else { "" };
        format!("{}{size}{mode}", viewer.client)
    });
    let clients = clients.collect::<Vec<_>>().join("; ");
    let labels = session.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let labels = labels.collect::<Vec<_>>().join(" ");
    let some = |text: String| (!text.is_empty()).then_some(text);
    let word = |value: Value| value.as_str().map(str::to_owned);
    let lines = [
        ("id", Some(session.id.to_string())),
        ("name", session.name.clone()),
        ("status", how(session).or_else(|| word(serde_json::json!(session.status)))),
        ("exit code", session.exit_code.map(|code| code.to_string())),
        ("exit signal", session.exit_signal.map(|signal| signal.to_string())),
        ("command", Some(session.command.join(" "))),
        ("profile", session.profile.clone()),
        ("owner", session.owner.clone()),
        ("directory", Some(session.cwd.clone())),
        ("directory now", session.signs.cwd_now.clone()),
        ("last command", session.signs.shell.as_ref().and_then(last_command)),
        ("attention", Some(attention(session, usize::MAX, now)).filter(|what| what != "-")),
        ("process", session.pid.filter(|_| live).map(|pid| pid.to_string())),
        ("title", session.title.clone()),
        ("size", Some(format!("{}×{}", session.cols, session.rows))),
        ("output", Some(format!("{} bytes", session.offset))),
        ("clients", some(clients)),
        ("created", Some(time(session.created_at))),
        ("last activity", Some(time(session.last_activity_at))),
        ("ended", session.ended_at.map(time)),
        ("idle timeout", live.then(|| seconds(session.idle_timeout_s))),
        ("idle when", live.then(|| idle_when(session.idle_when).to_owned())),
        ("destroyed", session.destroy_at.map(time)),
        ("restart", some(session.restart.as_str().to_owned())),
        ("restarts", (session.restarts > 0).then(|| session.restarts.to_string())),
        ("restarted", session.restart_at.map(time)),
        ("recording", some(session.recording.as_str().to_owned())),
        ("labels", some(labels)),
    ];
    let line = |(word, what): (&str, Option<String>)| Some(vec![word.into(), printable(&what?)]);
    lines.into_iter().filter_map(line).collect()
}

fn idle_when(idle_when: IdleWhen) -> &'static str {
    match idle_when {
        IdleWhen::Detached => "nobody is attached",
        IdleWhen::DetachedAndQuiet => "nobody is attached, and its program is quiet",
    }
}

/// What the session's profile says today of its account, its limits and its programs' rights.
fn confinement(profiles: &Value, profile: Option<&str>) -> Vec<Vec<String>> {
    let mut all = profiles["profiles"].as_array().into_iter().flatten();
    let Some(found) = all.find(|one| profile.is_some() && one["name"].as_str() == profile) else {
        return Vec::new();
    };
    let word = |name: &str| Some(vec![name.to_owned(), printable(found[name].as_str()?)]);
    let limits = read(&found["limits"]).map(|limits| profiles::limits(&limits));
    let limits = limits.ok().filter(|limits| limits != "-");
    let limits = limits.map(|limits| vec!["limits".to_owned(), limits]);
    [word("user"), word("control"), limits].into_iter().flatten().collect()
}

/// What its shell tells of its last command.
fn last_command(shell: &Shell) -> Option<String> {
    let command = shell.command.as_deref().unwrap_or("a command");
    match (shell.state, shell.last_exit) {
        (ShellState::Running, _) => Some(format!("{command} (runs)")),
        (ShellState::Prompt, Some(code)) => Some(format!("{command} (exited {code})")),
        (ShellState::Prompt, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::session;

    #[test]
    fn what_is_not_known_is_left_out_and_nothing_reaches_the_terminal() {
        let mut session = session("0190d3c0-a1b2-7000-8000-000000000001", Some("web"));
        session.title = Some("\x1b]0;x".into());
        session.labels.insert("team".into(), "a".into());
        let text = grid::aligned(&describe(&session, Utc::now()));
        assert!(text.contains("name           web\n"), "{text}");
        assert!(text.contains("title          ?]0;x\n"), "{text}");
        assert!(text.contains("labels         team=a\n"), "{text}");
        assert!(!text.contains("ended") && !text.contains("exit code"), "{text}");
    }
}
