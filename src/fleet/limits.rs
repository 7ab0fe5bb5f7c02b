//! The limits of what a machine says of its sessions and of itself: those that a session here, and this machine's
//! own record, are held to. Without them, one machine could fill the memory of every edge, and every page.

use super::record::NodeRecord;
use crate::config::{FLEET_LABEL_MAX, FLEET_LABELS_MAX};
use crate::protocol::{
    Attention, CLIENT_MAX, COMMAND_MAX, CWD_MAX, LABELS_MAX, MESSAGE_MAX, Notification, Session,
    Shell, Signs, Viewer, check_label, check_labels, check_name, command_bytes,
};
use crate::relay::NodeName;
use crate::rights::PRINCIPAL_MAX;
use crate::screen::{COMMAND_MAX as TYPED_MAX, TEXT_MAX, TITLE_MAX};
use std::collections::BTreeMap;

/// The longest line, in bytes. A longer one is not even parsed.
pub(super) const LINE_MAX: usize = 64 << 10;
/// The most clients that a line tells of: they are no limit of a session, and all are told of each other.
/// `active_connections` has the number of all.
const CLIENTS_MAX: usize = 32;
/// The longest program, directory and the like of a session whose line would be too long, in bytes.
const SHORT: usize = 256;
/// The longest version, time and role of a record, in bytes.
const WORD_MAX: usize = 64;
/// The highest load that is believed.
const LOAD_MAX: f64 = 1e6;
/// In place of what was left out.
const MORE: &str = "…";

/// Holds a session to its limits: what exceeds them is cut. Returns what it was, for people: the first of it.
pub(super) fn hold(session: &mut Session) -> Option<String> {
    let mut held = Held::default();
    // All fields are named, here and below: who adds one that has a length decides on its limit.
    let Session {
        id: _,
        name,
        profile,
        command,
        cwd,
        status: _,
        active_connections: _,
        created_at: _,
        started_at: _,
        updated_at: _,
        last_activity_at: _,
        destroy_at: _,
        ended_at: _,
        end_reason: _,
        exit_code: _,
        exit_signal: _,
        pid: _,
        cols: _,
        rows: _,
        idle_timeout_s: _,
        idle_timeout_before_s: _,
        idle_when: _,
        first_attach_timeout_s: _,
        labels,
        title,
        offset: _,
        signs: Signs { bell_at: _, notification, shell, cwd_now, quiet_since: _ },
        attention: Attention { state: _, message, since: _, source: _ },
        size_policy: _,
        restart: _,
        restarts: _,
        restart_at: _,
        recording: _,
        clients,
        // The directory says which machine has told of it.
        node: _,
        owner,
        owner_token: _,
        ending: _,
    } = session;
    for name in [name, profile] {
        if let Some(Err(why)) = name.as_deref().map(check_name) {
            held.exceeds(why);
            *name = None;
        }
    }
    let length = command_bytes(command);
    if length > COMMAND_MAX {
        held.too_long("command", length, COMMAND_MAX, "bytes");
        shorten(command);
    }
    held.bytes("cwd", cwd, CWD_MAX);
    if let Err(why) = check_labels(labels) {
        held.exceeds(why);
        labels.retain(|key, value| check_label(key, value).is_ok());
        keep_first(labels, LABELS_MAX);
    }
    if let Some(title) = title {
        held.bytes("title", title, TITLE_MAX);
    }
    if let Some(Notification { title, body, at: _ }) = notification {
        held.bytes("notification", body, TEXT_MAX);
        if let Some(title) = title {
            held.bytes("notification", title, TEXT_MAX);
        }
    }
    if let Some(Shell { state: _, command, last_exit: _, started_at: _, ended_at: _ }) = shell
        && let Some(typed) = command
    {
        held.bytes("shell.command", typed, TYPED_MAX);
    }
    if let Some(cwd_now) = cwd_now {
        held.bytes("cwd_now", cwd_now, TEXT_MAX);
    }
    if let Some(message) = message {
        held.characters("attention.message", message, MESSAGE_MAX);
    }
    if clients.len() > CLIENTS_MAX {
        held.too_long("clients", clients.len(), CLIENTS_MAX, "entries");
        clients.truncate(CLIENTS_MAX);
    }
    for Viewer { client, mode: _, cols: _, rows: _, controller: _, looking: _ } in clients {
        held.characters("clients", client, CLIENT_MAX);
    }
    if let Some(owner) = owner {
        held.bytes("owner", owner, PRINCIPAL_MAX);
    }
    held.0
}

/// Holds what a machine says of itself to what the settings of a machine may say. Returns what exceeded it.
pub(super) fn hold_record(record: &mut NodeRecord, name: &NodeName) -> Option<String> {
    let mut held = Held::default();
    let NodeRecord {
        name: own,
        instance: _,
        run: _,
        version,
        labels,
        live_sessions: _,
        max_sessions: _,
        load,
        cores: _,
        since,
        gateway: _,
        rights,
    } = record;
    *load = load.filter(|load| (0.0..LOAD_MAX).contains(load));
    // The directory has a machine by the name of its line.
    name.as_str().clone_into(own);
    for (what, word) in [("version", version), ("since", since), ("rights", rights)] {
        held.bytes(what, word, WORD_MAX);
    }
    if labels.len() > FLEET_LABELS_MAX {
        held.too_long("labels", labels.len(), FLEET_LABELS_MAX, "entries");
    }
    let is_long =
        |key: &str, value: &str| key.len() > FLEET_LABEL_MAX || value.len() > FLEET_LABEL_MAX;
    if labels.iter().any(|(key, value)| is_long(key, value)) {
        held.exceeds(format!("labels: a key or value has more than {FLEET_LABEL_MAX} bytes"));
    }
    labels.retain(|key, value| !is_long(key, value));
    keep_first(labels, FLEET_LABELS_MAX);
    held.0
}

/// Takes out of a session of this machine what makes its line too long, step by step: first the command, which
/// has most room. `false`: there is no further step.
pub(super) fn make_shorter(session: &mut Session, step: usize) -> bool {
    match step {
        0 => shorten(&mut session.command),
        1 => {
            (session.signs.notification, session.signs.cwd_now) = (None, None);
            if let Some(shell) = &mut session.signs.shell {
                shell.command = None;
            }
        }
        2 => {
            session.title = None;
            session.clients.clear();
            cut(&mut session.cwd, SHORT);
        }
        _ => return false,
    }
    true
}

/// The program alone, and a sign that there is more: nobody is to take half a command for the whole.
fn shorten(command: &mut Vec<String>) {
    command.truncate(1);
    if let Some(program) = command.first_mut() {
        cut(program, SHORT);
        command.push(MORE.to_owned());
    }
}

fn keep_first(labels: &mut BTreeMap<String, String>, most: usize) {
    if let Some(first) = labels.keys().nth(most).cloned() {
        labels.split_off(&first);
    }
}

fn cut(text: &mut String, most: usize) {
    text.truncate(text.floor_char_boundary(most));
}

/// What exceeded a limit first, if anything has.
#[derive(Default)]
struct Held(Option<String>);

impl Held {
    fn exceeds(&mut self, why: String) {
        self.0.get_or_insert(why);
    }

    fn too_long(&mut self, what: &str, length: usize, most: usize, of: &str) {
        self.exceeds(format!("{what} has {length} {of}, of at most {most}"));
    }

    fn bytes(&mut self, what: &str, text: &mut String, most: usize) {
        if text.len() > most {
            self.too_long(what, text.len(), most, "bytes");
            cut(text, most);
        }
    }

    fn characters(&mut self, what: &str, text: &mut String, most: usize) {
        if let Some((end, _)) = text.char_indices().nth(most) {
            self.too_long(what, text.chars().count(), most, "characters");
            text.truncate(end);
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
