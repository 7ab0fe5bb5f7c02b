//! The environment of a session's process.

use crate::config::{Login, account};
use crate::id::SessionId;
use std::collections::BTreeMap;

/// Variables that speak of the server's own surroundings and would mislead a session.
const NOT_INHERITED: [&str; 14] = [
    "COLORTERM",
    "COLUMNS",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LINES",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "STY",
    "TERM",
    "TMUX",
    "TMUX_PANE",
    "WINDOWID",
];

/// Variables of the server that a session under another account inherits, too: nothing that may be
/// secret, or that speaks of the server's user.
const FOR_ALL: [&str; 4] = ["PATH", "LANG", "LANGUAGE", "TZ"];

/// The server's environment without what is its own (`STAYD_*` holds tokens and settings),
/// then the terminal's, then each layer over the one before.
pub(super) fn environment(
    id: SessionId,
    server: impl Iterator<Item = (String, String)>,
    layers: &[&BTreeMap<String, String>],
) -> Vec<(String, String)> {
    let mut all: BTreeMap<String, String> = server.filter(|(key, _)| is_inherited(key)).collect();
    all.insert("TERM".into(), "xterm-256color".into());
    all.insert("COLORTERM".into(), "truecolor".into());
    for layer in layers {
        all.extend(layer.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    all.insert("STAYD_SESSION".into(), id.to_string());
    all.into_iter().collect()
}

/// What a program of the settings gets that is no session: the server's environment without what is the
/// server's own.
pub(crate) fn plain_environment() -> impl Iterator<Item = (String, String)> {
    server_environment().filter(|(key, _)| is_inherited(key))
}

fn is_inherited(key: &str) -> bool {
    !key.starts_with("STAYD_") && !NOT_INHERITED.contains(&key)
}

/// This process's own, with a shell and a home directory that can be used.
pub(super) fn server_environment() -> impl Iterator<Item = (String, String)> {
    let account = account();
    // Variables that are not UTF-8 cannot be written in JSON; they are rare and not inherited.
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        // Later ones go over earlier ones.
        .chain(
            [("SHELL", &account.shell), ("HOME", &account.home)]
                .map(|(key, value)| (key.to_owned(), value.clone())),
        )
}

/// The environment of a session under another account, as login(1) has it.
pub(super) fn account_environment(
    server: impl Iterator<Item = (String, String)>,
    login: &Login,
) -> impl Iterator<Item = (String, String)> {
    let for_all = |key: &str| FOR_ALL.contains(&key) || key.starts_with("LC_");
    server.filter(move |(key, _)| for_all(key)).chain(
        [
            ("HOME", &login.home),
            ("USER", &login.name),
            ("LOGNAME", &login.name),
            ("SHELL", &login.shell),
        ]
        .map(|(key, value)| (key.to_owned(), value.clone())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_surroundings_stay_out_and_requests_win() {
        let server = [("STAYD_TOKEN", "x"), ("TMUX", "y"), ("HOME", "/h"), ("TERM", "dumb")];
        let server = server.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let request = BTreeMap::from([
            ("TERM".to_owned(), "vt100".to_owned()),
            ("STAYD_SESSION".to_owned(), "forged".to_owned()),
        ]);
        let id = SessionId::generate();
        let all: BTreeMap<_, _> = environment(id, server, &[&request]).into_iter().collect();
        assert_eq!(all["HOME"], "/h");
        assert_eq!(all["TERM"], "vt100");
        assert_eq!(all["STAYD_SESSION"], id.to_string());
        assert!(!all.contains_key("STAYD_TOKEN") && !all.contains_key("TMUX"));
    }

    #[test]
    fn another_account_gets_nothing_of_the_servers_user() {
        let server = [("PATH", "/bin"), ("LC_ALL", "C"), ("HOME", "/root"), ("AWS_KEY", "secret")];
        let server = server.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let login = Login {
            name: "anna".into(),
            uid: 1000,
            gid: 1000,
            home: "/home/anna".into(),
            shell: "/bin/zsh".into(),
            tty: None,
        };
        let all: BTreeMap<_, _> = account_environment(server, &login).collect();
        let all: Vec<_> = all.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let expected = [
            ("HOME", "/home/anna"),
            ("LC_ALL", "C"),
            ("LOGNAME", "anna"),
            ("PATH", "/bin"),
            ("SHELL", "/bin/zsh"),
            ("USER", "anna"),
        ];
        assert_eq!(all, expected);
    }
}
