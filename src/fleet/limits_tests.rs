use super::*;
use crate::fleet::line::{Refusal, read, write};
use crate::id::SessionId;
use crate::protocol::{LABEL_MAX, Mode, NAME_MAX};
use chrono::DateTime;
use uuid::Uuid;

fn session() -> Session {
    Session::begun(SessionId::generate(), DateTime::UNIX_EPOCH)
}

fn node() -> NodeName {
    NodeName::new("attic").unwrap()
}

fn word(length: usize) -> String {
    "x".repeat(length)
}

fn labels(count: usize) -> BTreeMap<String, String> {
    (0..count).map(|n| (n.to_string(), word(1))).collect()
}

fn viewers(count: usize, name: usize) -> Vec<Viewer> {
    let viewer = Viewer {
        client: word(name),
        mode: Mode::Rw,
        cols: None,
        rows: None,
        controller: false,
        looking: true,
    };
    vec![viewer; count]
}

fn noted(title: usize, body: usize) -> Option<Notification> {
    Some(Notification { title: Some(word(title)), body: word(body), at: DateTime::UNIX_EPOCH })
}

/// A session as another machine says it, which has not looked at any limit.
fn said(session: &Session) -> Result<Session, Refusal> {
    read(&node(), session.id, &serde_json::to_vec(session).unwrap())
}

#[test]
fn whatever_is_told_of_a_session_is_bounded_and_named() {
    type Change = fn(&mut Session, usize);
    let fields: [(&str, usize, Change); 16] = [
        ("name", NAME_MAX, |it, n| it.name = Some(word(n))),
        ("name", NAME_MAX, |it, n| it.profile = Some(word(n))),
        ("cwd", CWD_MAX, |it, n| it.cwd = word(n)),
        ("label", LABEL_MAX, |it, n| it.labels = [(word(n), word(1))].into()),
        ("label", LABEL_MAX, |it, n| it.labels = [(word(1), word(n))].into()),
        ("labels", LABELS_MAX, |it, n| it.labels = labels(n)),
        ("title", TITLE_MAX, |it, n| it.title = Some(word(n))),
        ("notification", TEXT_MAX, |it, n| it.signs.notification = noted(n, 1)),
        ("notification", TEXT_MAX, |it, n| it.signs.notification = noted(1, n)),
        ("shell.command", TYPED_MAX, |it, n| {
            it.signs.shell = Some(Shell { command: Some(word(n)), ..Shell::default() });
        }),
        ("cwd_now", TEXT_MAX, |it, n| it.signs.cwd_now = Some(word(n))),
        ("attention.message", MESSAGE_MAX, |it, n| it.attention.message = Some(word(n))),
        ("attention.message", MESSAGE_MAX, |it, n| it.attention.message = Some("é".repeat(n))),
        ("clients", CLIENTS_MAX, |it, n| it.clients = viewers(n, 1)),
        ("clients", CLIENT_MAX, |it, n| it.clients = viewers(1, n)),
        ("owner", PRINCIPAL_MAX, |it, n| it.owner = Some(word(n))),
    ];
    for (field, most, change) in fields {
        let mut session = session();
        change(&mut session, most);
        let kept = said(&session).unwrap_or_else(|why| panic!("{field}: {why:?}"));
        assert_eq!(kept, Session { node: Some("attic".into()), ..session.clone() }, "{field}");
        change(&mut session, most + 1);
        match said(&session) {
            Err(Refusal::TooMuch(why)) => assert!(why.contains(field), "{field}: {why}"),
            kept => panic!("{field}: {} is kept: {kept:?}", most + 1),
        }
        // Its own machine leaves out what is too much, so that the others take the line.
        assert!(read(&node(), session.id, &write(&session, &node())).is_ok(), "{field}");
    }
}

#[test]
fn a_command_is_held_to_the_limit_of_requests() {
    let mut session = Session { command: vec![word(COMMAND_MAX - 1)], ..session() };
    assert_eq!(hold(&mut session), None);
    session.command.push(String::new());
    let why = hold(&mut session).unwrap();
    assert_eq!(why, format!("command has {} bytes, of at most {COMMAND_MAX}", COMMAND_MAX + 1));
    assert_eq!(session.command, [word(SHORT), MORE.to_owned()]);
}

#[test]
fn a_session_of_ones_own_is_always_told_whatever_it_has() {
    // Each of these characters is written as six.
    let long = |length: usize| "\u{1}".repeat(length);
    let quotes = |length: usize| "\"".repeat(length);
    let mut most = Session {
        name: Some(quotes(NAME_MAX)),
        profile: Some(quotes(NAME_MAX)),
        command: vec![long(COMMAND_MAX - 1)],
        cwd: long(CWD_MAX),
        labels: (0..LABELS_MAX)
            .map(|n| (format!("{n:02}{}", quotes(LABEL_MAX - 2)), quotes(LABEL_MAX)))
            .collect(),
        title: Some(long(TITLE_MAX)),
        clients: viewers(1000, CLIENT_MAX),
        owner: Some(quotes(PRINCIPAL_MAX)),
        owner_token: Some(Uuid::now_v7()),
        ..session()
    };
    most.signs.notification = noted(TEXT_MAX, TEXT_MAX);
    most.signs.cwd_now = Some(long(TEXT_MAX));
    most.signs.shell = Some(Shell { command: Some(long(TYPED_MAX)), ..Shell::default() });
    most.attention.message = Some(quotes(MESSAGE_MAX));
    most.clients.iter_mut().for_each(|viewer| viewer.client = long(CLIENT_MAX));
    let line = write(&most, &node());
    assert!(line.len() <= LINE_MAX, "{}", line.len());
    let told = read(&node(), most.id, &line).unwrap();
    assert_eq!((&told.name, &told.labels), (&most.name, &most.labels));
    assert_eq!((told.owner, told.owner_token), (most.owner, most.owner_token));
    // A session that fits is told unchanged.
    let command: Vec<String> = vec!["sh".into(), "-c".into(), word(60_000)];
    let much = Session { command: command.clone(), ..session() };
    assert_eq!(read(&node(), much.id, &write(&much, &node())).unwrap().command, command);
}

#[test]
fn a_line_that_is_too_long_is_not_even_parsed() {
    let why = read(&node(), session().id, &vec![b'['; LINE_MAX + 1]);
    assert_eq!(why, Err(Refusal::TooMuch("its line has 65537 bytes, of at most 65536".into())));
    assert_eq!(read(&node(), session().id, &vec![b'['; LINE_MAX]), Err(Refusal::Ignored));
}

#[test]
fn what_a_later_version_adds_is_left_out() {
    let session = session();
    let mut line = serde_json::to_value(&session).unwrap();
    line["later"] = serde_json::json!({ "much": [word(9000)] });
    let kept = read(&node(), session.id, line.to_string().as_bytes()).unwrap();
    assert!(!serde_json::to_string(&kept).unwrap().contains("later"));
}

#[test]
fn a_record_is_cut_to_what_settings_may_say() {
    let record = |labels: BTreeMap<String, String>, version: usize| NodeRecord {
        version: word(version),
        labels,
        ..NodeRecord::sample(&word(9000))
    };
    let label = |key: usize, value: usize| BTreeMap::from([(word(key), word(value))]);
    for (labels, version, exceeds, kept) in [
        (labels(FLEET_LABELS_MAX), WORD_MAX, None, FLEET_LABELS_MAX),
        (labels(FLEET_LABELS_MAX + 1), 1, Some("labels has 33"), FLEET_LABELS_MAX),
        (label(FLEET_LABEL_MAX, FLEET_LABEL_MAX), 1, None, 1),
        (label(FLEET_LABEL_MAX + 1, 1), 1, Some("labels: a key"), 0),
        (label(1, FLEET_LABEL_MAX + 1), 1, Some("labels: a key"), 0),
        (BTreeMap::new(), WORD_MAX + 1, Some("version has 65 bytes"), 0),
    ] {
        let mut record = record(labels, version);
        let why = hold_record(&mut record, &node());
        match exceeds {
            None => assert_eq!(why, None),
            Some(exceeds) => {
                assert!(why.as_ref().is_some_and(|it| it.contains(exceeds)), "{why:?}")
            }
        }
        assert_eq!((record.labels.len(), record.name.as_str()), (kept, "attic"));
        assert!(record.version.len() <= WORD_MAX);
    }
}
