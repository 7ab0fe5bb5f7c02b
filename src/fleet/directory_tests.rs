use super::*;
use crate::cli::samples;
use crate::fleet::limits::LINE_MAX;
use uuid::Uuid;

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn record(name: &str, live_sessions: usize) -> NodeRecord {
    let labels = BTreeMap::from([("gpu".into(), name.into())]);
    NodeRecord { labels, live_sessions, ..NodeRecord::sample(name) }
}

#[test]
fn who_is_silent_goes_offline_and_nobody_does_while_nothing_is_heard() {
    let is_online = |node_s: f64, anybody_s: f64| {
        let ago = |seconds: f64| Heard {
            at: Instant::now() - Duration::from_secs_f64(seconds),
            time: Utc::now(),
        };
        let node = Node { heard: Some(ago(node_s)), ..Node::default() };
        let nodes = BTreeMap::from([(name("attic"), node)]);
        let known = Known { heard: Some(ago(anybody_s)), nodes, ..Known::default() };
        known.is_online(&name("attic"))
    };
    assert!(is_online(8.5, 1.0) && !is_online(9.5, 1.0), "time goes on between two words");
    assert!(is_online(60.0, 56.0), "nothing was heard since");
    assert!(!is_online(60.0, 54.0), "it had been silent before");
}

fn says(directory: &Directory, node: &str, session: &Session) -> bool {
    let line = line::write(session, &name(node));
    directory.session_says(&name(node), session.id, &line, 0).is_ok()
}

fn session() -> Session {
    Session::begun(SessionId::generate(), Utc::now())
}

fn all<'a>(most: usize) -> Wanted<'a> {
    let (node, statuses, name, label, before) = (None, None, None, None, None);
    Wanted { node, statuses, ended: false, name, label, before, most }
}

#[test]
fn an_id_is_the_machines_that_has_it() {
    let directory = Directory::default();
    for node in ["a", "b"] {
        directory.node_says(&name(node), record(node, 0));
    }
    let session = session();
    assert!(says(&directory, "a", &session));
    assert!(!says(&directory, "b", &session), "another machine's");
    assert_eq!(directory.locate(session.id, &name("b")), Some(name("a")));
    assert_eq!(directory.locate(session.id, &name("a")), None, "its own");
    directory.session_goes(&name("b"), session.id);
    assert!(directory.locate(session.id, &name("b")).is_some(), "not for b to remove");
    directory.node_goes(&name("a"));
    assert!(!says(&directory, "b", &session), "nor to take while its machine is away");
    // The machine has another name now.
    let known = directory.lock().nodes[&name("a")].record.as_ref().map(|it| it.instance);
    let renamed = NodeRecord { instance: known.unwrap(), ..record("new", 0) };
    directory.node_says(&name("new"), renamed);
    assert!(says(&directory, "new", &session));
    assert_eq!(directory.locate(session.id, &name("c")), Some(name("new")));
}

#[test]
fn an_id_that_two_machines_claim_does_not_say_where_it_is() {
    let directory = Directory::default();
    for node in ["a", "b"] {
        directory.node_says(&name(node), record(node, 0));
    }
    let (claimed, other) = (session(), session());
    // After a start, the line of the wrong one may be read first.
    assert!(says(&directory, "b", &claimed) && !says(&directory, "a", &claimed));
    assert!(says(&directory, "a", &other));
    assert!(directory.is_disputed(claimed.id) && !directory.is_disputed(other.id));
    directory.session_goes(&name("b"), claimed.id);
    assert!(!directory.is_disputed(claimed.id), "it has given it up");
    assert!(says(&directory, "a", &claimed));
    assert_eq!(directory.locate(claimed.id, &name("c")), Some(name("a")));
}

#[test]
fn nonsense_is_no_session() {
    let directory = Directory::default();
    let (one, other) = (session(), session());
    let line = line::write(&one, &name("a"));
    for (id, line) in [(other.id, &*line), (one.id, b"{}"), (one.id, b"")] {
        assert_eq!(directory.session_says(&name("a"), id, line, 0), Err(Refusal::Ignored));
    }
}

#[test]
fn a_whole_list_takes_away_what_is_not_in_it_and_no_more() {
    let directory = Directory::default();
    let (kept, gone, of_other) = (session(), session(), session());
    for (node, session) in [("a", &kept), ("a", &gone), ("b", &of_other)] {
        directory.node_says(&name(node), record(node, 0));
        assert!(says(&directory, node, session));
    }
    assert!(!directory.is_listed_for(Duration::ZERO));
    directory.only_these(&HashSet::from([kept.id]), &HashSet::from([name("a")]));
    assert!(directory.is_listed_for(Duration::ZERO));
    let here = name("here");
    let located = [&kept, &gone, &of_other].map(|it| directory.locate(it.id, &here).is_some());
    assert_eq!(located, [true, false, true], "b has not told all of its own");
}

#[test]
fn what_its_machine_tells_no_more_does_not_live() {
    let directory = Directory::default();
    let (stale, again) = (session(), session());
    let ended = Session { status: Status::Terminated, ended_at: Some(Utc::now()), ..session() };
    let says = |session: &Session, at| {
        let line = line::write(session, &name("a"));
        directory.session_says(&name("a"), session.id, &line, at)
    };
    for session in [&stale, &again, &ended] {
        assert_eq!(says(session, 1000), Ok(()));
    }
    directory.node_said(&name("a"), record("a", 1), 1000 + STALE_AFTER);
    let ids = HashSet::from([stale.id, again.id, ended.id]);
    let there = || {
        directory.only_these(&ids, &HashSet::from([name("a")]));
        [&stale, &again, &ended].map(|it| directory.locate(it.id, &name("here")).is_some())
    };
    assert_eq!(there(), [true; 3], "it may be about to be told");
    assert_eq!(says(&again, 1000 + STALE_AFTER), Ok(()));
    directory.node_said(&name("a"), record("a", 1), 1001 + STALE_AFTER);
    assert_eq!(there(), [false, true, true]);
    assert_eq!(says(&stale, 1000), Err(Refusal::Ignored), "the same line, read once more");
    assert_eq!(says(&stale, 1001 + STALE_AFTER), Ok(()), "it has it after all");
}

#[test]
fn a_machine_of_which_nothing_is_read_for_a_day_is_forgotten() {
    let directory = Directory::default();
    let kept = session();
    directory.node_says(&name("here"), record("here", 0));
    // This machine was offline when the server started: its record stands beside its sessions alone.
    directory.node_said(&name("a"), record("a", 1), 0);
    assert!(says(&directory, "a", &kept));
    let nodes = |hours: u64, whole: &[&str]| {
        let at = Instant::now() + Duration::from_secs(hours * 3600);
        directory.lock().heard = Some(Heard { at, time: Utc::now() });
        let whole = whole.iter().map(|it| name(it)).collect();
        directory.only_these(&HashSet::from([kept.id]), &whole);
        directory.nodes(&name("here")).into_iter().map(|node| node.name).collect::<Vec<_>>()
    };
    assert_eq!(nodes(23, &["here"]), ["a", "here"]);
    assert_eq!(nodes(25, &["here", "a"]), ["a", "here"], "its record still stands");
    assert_eq!(nodes(25, &["here"]), ["here"]);
    assert_eq!(directory.locate(kept.id, &name("here")), None);
}

#[test]
fn sessions_are_listed_newest_first_for_whom_they_exist() {
    let directory = Directory::default();
    let mine =
        Session { owner: Some("anna".into()), owner_token: Some(Uuid::now_v7()), ..session() };
    let other = session();
    for session in [&mine, &other] {
        assert!(says(&directory, "a", session));
    }
    let here = name("here");
    let ids = |wanted: &Wanted<'_>, who: &Principal| -> Vec<SessionId> {
        directory.sessions(wanted, who, &here).sessions.into_iter().map(|(id, _)| id).collect()
    };
    let owner = Principal::owner();
    assert_eq!(ids(&all(10), &owner), [other.id, mine.id]);
    assert_eq!(ids(&all(1), &owner), [other.id]);
    assert_eq!(ids(&Wanted { before: Some(other.id), ..all(10) }, &owner), [mine.id]);
    assert_eq!(ids(&Wanted { node: Some(&name("b")), ..all(10) }, &owner), []);
    let scope = crate::rights::Scope::Own;
    let anna = Principal { scope, name: "anna".into(), token: mine.owner_token, ..owner };
    assert_eq!(ids(&all(10), &anna), [mine.id]);
    let shown = directory.sessions(&all(10), &anna, &here).sessions;
    let shown: serde_json::Value = serde_json::from_str(&shown[0].1).unwrap();
    assert_eq!((&shown["node"], shown.get("owner_token")), (&"a".into(), None));
    assert!(
        directory.sessions(&all(10), &anna, &name("a")).sessions.is_empty(),
        "its own are its own"
    );
}

#[test]
fn what_is_refused_is_not_kept_and_is_told_once_of_a_machine() {
    let directory = Directory::default();
    let (kept, more) = (session(), Session { title: Some("x".repeat(5000)), ..session() });
    let told = |session: &Session| {
        let line = serde_json::to_vec(session).unwrap();
        directory.session_says(&name("a"), session.id, &line, 0)
    };
    assert_eq!(told(&kept), Ok(()));
    assert!(matches!(told(&more), Err(Refusal::TooMuch(why)) if why.starts_with("title has 5000")));
    assert_eq!(directory.lines(), 1);
    directory.node_says(&name("b"), record("b", 0));
    let firsts = ["a", "a", "b", "a"].map(|node| directory.refuses(&name(node)));
    assert_eq!(firsts, [true, false, true, false]);
    directory.node_says(&name("a"), record("a", 0));
    assert!(!directory.refuses(&name("a")), "its next record makes nothing undone");
    let refused = directory.nodes(&name("here")).into_iter().map(|node| node.refused_lines);
    assert_eq!(refused.collect::<Vec<_>>(), [4, 1]);
}

#[test]
fn pages_are_unpacked_without_the_directory_and_have_every_session_once_as_it_was_told() {
    let directory = Directory::default();
    let mut told: Vec<Session> = (0..25)
        .map(|n| Session {
            name: Some(format!("work-{n}")),
            ..Session::begun(SessionId::generate(), DateTime::UNIX_EPOCH)
        })
        .collect();
    for (n, session) in told.iter_mut().enumerate() {
        let node = ["a", "b"][n % 2];
        assert!(says(&directory, node, session));
        session.node = Some(node.to_owned());
    }
    let (here, owner) = (name("here"), Principal::owner());
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let page = directory.packed(&Wanted { before, ..all(10) }, &owner, &here);
        let Some((last, _)) = page.last() else { break };
        before = Some(*last);
        // Unpacking does not take the lock, which somebody else has here.
        let held = directory.lock();
        pages.extend(page.iter().map(|(_, packed)| packed.session().unwrap()));
        drop(held);
    }
    told.reverse();
    assert_eq!(pages, told);
    let found = directory.find(&name("a"), "work-24").unwrap();
    assert_eq!(found, told[0]);
}

#[test]
fn long_sessions_are_told_in_parts_that_are_not_too_much() {
    let directory = Directory::default();
    let mut told = Vec::new();
    while told.len() * 60_000 < 2 * TOLD_MAX {
        let session = Session { command: vec!["x".repeat(60_000)], ..session() };
        assert!(says(&directory, "a", &session));
        told.insert(0, session.id);
    }
    let (here, owner) = (name("here"), Principal::owner());
    let (mut all_of_them, mut before) = (Vec::new(), None);
    loop {
        let Told { sessions, is_cut } =
            directory.sessions(&Wanted { before, ..all(1001) }, &owner, &here);
        let bytes: usize = sessions.iter().map(|(_, json)| json.len()).sum();
        assert!(bytes < TOLD_MAX + LINE_MAX, "{bytes}");
        before = sessions.last().map(|(id, _)| *id);
        all_of_them.extend(sessions.into_iter().map(|(id, _)| id));
        if !is_cut {
            break;
        }
    }
    assert_eq!(all_of_them, told);
}

#[test]
fn a_place_has_room_and_the_labels() {
    let directory = Directory::default();
    for (node, live) in [("a", 3), ("b", 1), ("c", 10)] {
        directory.node_says(&name(node), record(node, live));
    }
    let gate = NodeRecord { gateway: true, ..record("g", 0) };
    directory.node_says(&name("g"), gate);
    let closed = NodeRecord { rights: "viewer".into(), ..record("v", 0) };
    directory.node_says(&name("v"), closed);
    let places = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned()));
        let places = directory.places(&labels.collect()).into_iter();
        places.map(|(node, _)| node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(places(&[]), ["b", "a"]);
    assert_eq!(places(&[("gpu", "a")]), ["a"]);
    assert_eq!(places(&[("gpu", "x")]), Vec::<String>::new());
    directory.node_goes(&name("b"));
    assert_eq!(places(&[]), ["a"]);
}

#[test]
fn what_was_placed_is_found_before_it_is_told() {
    let directory = Directory::default();
    let session = samples::session("01890a5d-ac96-774b-bcce-b302099a8057", None);
    assert_eq!(directory.locate(session.id, &name("here")), None);
    directory.was_placed(session.id, &name("a"));
    assert_eq!(directory.locate(session.id, &name("here")), Some(name("a")));
}
