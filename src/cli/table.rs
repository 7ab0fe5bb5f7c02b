//! The table that `ls` prints.

use super::ended;
use super::grid::{self, printable};
use super::key::Listed;
use crate::lifecycle::Status;
use crate::protocol::{Attention, AttentionState, IdleWhen, Session, Shell, ShellState, span};
use chrono::{DateTime, Utc};

/// Ids are cut to this many characters, or to as many as distinguish them: the first eight of a
/// UUID v7 are the same for everything created within a minute.
const ID_LEAST: usize = 8;
/// The width to which longer commands are cut, in columns.
const COMMAND_MAX: usize = 40;
/// The width to which what programs ask is cut, in columns.
const MESSAGE_MAX: usize = 40;
/// The column of what programs do.
const ATTENTION_AT: usize = 4;
/// The column of the machine.
const NODE_AT: usize = 1;
/// The least width of commands on a narrow terminal.
const COMMAND_LEAST: usize = 10;

/// One line a session, below a heading, with the machine of each where the list tells any. `columns` is
/// the width of the terminal.
pub(super) fn render(sessions: &[Listed], now: DateTime<Utc>, columns: Option<usize>) -> String {
    let known = |it: &Listed| it.session.attention.state != AttentionState::Unknown;
    let with_attention = sessions.iter().any(known);
    let with_node = sessions.iter().any(|it| it.node.is_some());
    let mut heading = vec!["ID", "NAME", "STATUS", "CLIENTS", "COMMAND", "ACTIVITY", "DESTROY"];
    if with_attention {
        heading.insert(ATTENTION_AT, "ATTENTION");
    }
    if with_node {
        heading.insert(NODE_AT, "NODE");
    }
    let length = id_length(sessions);
    let lines = |most: usize, message: usize| {
        let rows = sessions.iter().map(|Listed { node, session }| {
            let mut row = row(session, length, most, now).to_vec();
            if with_attention {
                row.insert(ATTENTION_AT, attention(session, message, now));
            }
            if with_node {
                row.insert(NODE_AT, printable(node.as_deref().unwrap_or("-")));
            }
            row
        });
        grid::render(&heading, rows)
    };
    let table = lines(COMMAND_MAX, MESSAGE_MAX);
    let widest = table.lines().map(grid::columns_of).max().unwrap_or_default();
    match columns.and_then(|columns| widest.checked_sub(columns)) {
        None | Some(0) => table,
        // If the table is too wide, cut the commands, and then leave out what programs ask.
        Some(excess) => {
            let command = |it: &Listed| grid::columns_of(&command(&it.session, COMMAND_MAX));
            let now = sessions.iter().map(command).max().unwrap_or_default();
            let most = now.saturating_sub(excess).max(COMMAND_LEAST);
            let table = lines(most, MESSAGE_MAX);
            let widest = table.lines().map(grid::columns_of).max();
            if widest <= columns { table } else { lines(most, 0) }
        }
    }
}

fn row(session: &Session, id_length: usize, most: usize, now: DateTime<Utc>) -> [String; 7] {
    let destroy = match (session.destroy_at, session.ended_at) {
        (Some(at), _) if session.idle_when == IdleWhen::DetachedAndQuiet => {
            format!("in {} if quiet", span(at - now))
        }
        (Some(at), _) => format!("in {}", span(at - now)),
        (None, None) if session.status == Status::Idle => "never".into(),
        (None, _) => "-".into(),
    };
    [
        session.id.to_string()[..id_length].into(),
        printable(session.name.as_deref().unwrap_or("-")),
        ended::how(session).unwrap_or_else(|| session.status.as_str().into()),
        session.active_connections.to_string(),
        command(session, most),
        format!("{} ago", span(now - session.last_activity_at)),
        destroy,
    ]
}

/// The shortest length from [`ID_LEAST`] at which all ids differ.
fn id_length(sessions: &[Listed]) -> usize {
    let ids: Vec<String> = sessions.iter().map(|it| it.session.id.to_string()).collect();
    let mut sorted: Vec<&str> = ids.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let common =
        |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    let needed = sorted.windows(2).map(|pair| common(pair) + 1).max().unwrap_or_default();
    // At least as long as every id needs, at most as long as the shortest (36).
    needed.clamp(ID_LEAST, 36)
}

/// The command; where the session's shell tells it, what runs in it now, or that the last one failed.
fn command(session: &Session, most: usize) -> String {
    let own = session.command.join(" ");
    let text = match &session.signs.shell {
        Some(Shell { state: ShellState::Running, command: Some(running), .. }) => running.clone(),
        Some(Shell { state: ShellState::Prompt, last_exit: Some(code @ 1..), .. }) => {
            format!("{own} (exited {code})")
        }
        _ => own,
    };
    grid::cut(&printable(&text), most)
}

/// What the program does, for how long, and what it asks.
pub(super) fn attention(session: &Session, most: usize, now: DateTime<Utc>) -> String {
    let Attention { state, message, since, .. } = &session.attention;
    if *state == AttentionState::Unknown {
        return "-".into();
    }
    let age = span(now - *since);
    let message = message.as_deref().map(printable).unwrap_or_default();
    let message = grid::cut(&message, most);
    let told = if message.is_empty() || most == 0 { String::new() } else { format!(": {message}") };
    format!("{} {age}{told}", state.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::session;
    use crate::lifecycle::EndReason;
    use chrono::TimeDelta;

    fn render(sessions: &[Session], now: DateTime<Utc>, columns: Option<usize>) -> String {
        let listed = |session: &Session| Listed { node: None, session: session.clone() };
        super::render(&sessions.iter().map(listed).collect::<Vec<_>>(), now, columns)
    }

    #[test]
    fn sessions_of_several_machines_have_a_column_for_it() {
        let id = "0190d3c0-a1b2-7000-8000-000000000001";
        let listed = |node: Option<&str>, name| Listed {
            node: node.map(str::to_owned),
            session: session(id, Some(name)),
        };
        let mut asks = listed(Some("desk"), "web");
        asks.session.attention.state = AttentionState::Blocked;
        let table = super::render(&[asks, listed(None, "db")], Utc::now(), None);
        let words = |line: usize| {
            let line = table.lines().nth(line).unwrap().split_whitespace();
            line.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words(0)[..6], ["ID", "NODE", "NAME", "STATUS", "CLIENTS", "ATTENTION"]);
        assert_eq!(words(1)[1..3], ["desk", "web"]);
        assert_eq!(words(2)[1..3], ["-", "db"]);
    }

    #[test]
    fn columns_line_up() {
        let now = Utc::now();
        let mut first = session("0190d3c0-a1b2-7000-8000-000000000001", Some("web"));
        first.status = Status::Idle;
        first.last_activity_at = now - TimeDelta::seconds(90);
        first.destroy_at = Some(now + TimeDelta::seconds(1709));
        let mut third = session("0192d3c0-a1b2-7000-8000-000000000003", None);
        third.status = Status::Error;
        (third.end_reason, third.exit_code) = (Some(EndReason::Exited), Some(7));
        third.last_activity_at = now - TimeDelta::seconds(7200);
        let mut second = session("0191d3c0-a1b2-7000-8000-000000000002", None);
        second.status = Status::Active;
        second.active_connections = 12;
        second.command = vec!["python3".into(), "-m".into(), "http.server".into()];
        second.last_activity_at = now;
        assert_eq!(
            render(&[first, second, third], now, None),
            "ID        NAME  STATUS    CLIENTS  COMMAND                 ACTIVITY  DESTROY\n\
             0190d3c0  web   IDLE      0        bash                    1m ago    in 28m\n\
             0191d3c0  -     ACTIVE    12       python3 -m http.server  0s ago    -\n\
             0192d3c0  -     exited 7  0        bash                    2h ago    -\n"
        );
    }

    #[test]
    fn what_a_shell_runs_is_shown_and_that_it_failed() {
        let now = Utc::now();
        let mut session = session("0190d3c0-a1b2-7000-8000-000000000001", None);
        let command = Some("vim\n a".to_owned());
        let running = Shell { state: ShellState::Running, command, ..Shell::default() };
        session.signs.shell = Some(running.clone());
        assert!(render(&[session.clone()], now, None).contains("vim? a "));
        let failed = Shell { state: ShellState::Prompt, last_exit: Some(2), ..running };
        session.signs.shell = Some(failed);
        assert!(render(&[session], now, None).contains(" bash (exited 2) "));
    }

    #[test]
    fn what_a_program_asks_has_a_column_where_something_is_known() {
        let now = Utc::now();
        let mut asks = session("0190d3c0-a1b2-7000-8000-000000000001", Some("web"));
        asks.attention.state = AttentionState::Blocked;
        asks.attention.since = now - TimeDelta::seconds(200);
        asks.attention.message = Some("May I run rm\x1b?".into());
        let other = session("0191d3c0-a1b2-7000-8000-000000000002", None);
        let table = render(&[asks.clone(), other.clone()], now, None);
        assert!(table.contains("  blocked 3m: May I run rm??  bash "), "{table}");
        assert!(table.lines().nth(2).unwrap().contains("  0        -    "), "{table}");
        let narrow = render(&[asks, other.clone()], now, Some(70));
        assert!(narrow.contains("  blocked 3m  bash"), "{narrow}");
        assert!(!render(&[other], now, None).contains("ATTENTION"));
    }

    #[test]
    fn an_end_that_work_puts_off_is_told_as_such() {
        let now = Utc::now();
        let mut session = session("0190d3c0-a1b2-7000-8000-000000000001", Some("web"));
        session.destroy_at = Some(now + TimeDelta::seconds(1709));
        session.idle_when = IdleWhen::DetachedAndQuiet;
        assert!(render(&[session], now, None).ends_with("in 28m if quiet\n"));
    }

    #[test]
    fn ids_are_cut_where_they_still_differ() {
        let same_minute = [
            session("0190d3c0-a1b2-7000-8000-000000000001", None),
            session("0190d3c0-a1b3-7000-8000-000000000002", None),
        ];
        let table = render(&same_minute, Utc::now(), None);
        assert!(table.contains("\n0190d3c0-a1b2  "), "{table}");
        assert!(table.contains("\n0190d3c0-a1b3  "), "{table}");
    }

    #[test]
    fn what_others_chose_cannot_reach_the_terminal() {
        let mut session = session("0190d3c0-a1b2-7000-8000-000000000001", None);
        session.command = vec!["sh".into(), "-c".into(), format!("\x1b]0;x\x07{}", "é".repeat(99))];
        let table = render(&[session], Utc::now(), None);
        assert!(!table.contains('\x1b') && !table.contains('\x07'), "{table}");
        assert!(table.contains("sh -c ?]0;x?éé") && table.contains('…'), "{table}");
    }

    #[test]
    fn commands_make_room_on_a_narrow_terminal() {
        let mut session = session("0190d3c0-a1b2-7000-8000-000000000001", Some("日本"));
        session.command = vec!["x".repeat(60)];
        for columns in [70, 80, 200] {
            let table = render(&[session.clone()], Utc::now(), Some(columns));
            let widest = table.lines().map(grid::columns_of).max().unwrap();
            assert!(widest <= columns && table.contains('…'), "{table}");
        }
        let wide = render(&[session.clone()], Utc::now(), Some(200));
        assert_eq!(wide, render(&[session], Utc::now(), None));
    }
}
