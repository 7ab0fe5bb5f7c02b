//! Several clients of one terminal: who may do what, and whose size it has.

use crate::support::{Api, Event, Server, Terminal, soon};
use awc::http::Method;
use awc::ws::Message;
use serde_json::{Value, json};

/// Says every size that the terminal gets, every interrupt, and every line it is sent.
const WATCH: &str = r#"
$| = 1; my ($shown, $in) = ("", "");
$SIG{WINCH} = sub {}; $SIG{INT} = sub { print "INT\n" };
while (1) {
    my $size = "\0" x 8; ioctl(STDIN, 0x5413, $size); # TIOCGWINSZ
    my $now = join(" ", unpack("S2", $size));
    print "[$now]\n" if $now ne $shown; $shown = $now;
    # WINCH ends the wait; the time is for one that comes just before it.
    vec(my $ready = "", 0, 1) = 1;
    next if select($ready, undef, undef, 0.05) <= 0;
    sysread(STDIN, $in, 4096, length $in) or exit;
    print "<$1>\n" while $in =~ s/^(.*)\n//;
}
"#;

async fn watched(api: &Api, more: Value) -> String {
    let mut body =
        json!({ "command": ["sh", "-c", "stty -echo; exec perl -e \"$1\"", "sh", WATCH] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.create(body).await["id"].as_str().unwrap().to_owned()
}

async fn resize(terminal: &mut Terminal, cols: u16, rows: u16) {
    terminal.say(json!({ "type": "resize", "cols": cols, "rows": rows })).await;
}

/// What a viewer sends in each dialect does nothing; where the dialect has a word for it,
/// it is told.
#[actix_web::test]
async fn a_viewer_changes_nothing_in_any_dialect() {
    let server = Server::start().await;
    let api = server.api();
    let id = watched(&api, json!({})).await;
    let (mut typist, _) = Terminal::attach(&server, &id, "client=typist").await;
    typist.wait_for("[24 80]").await;
    let json_text = |value: Value| Message::Text(value.to_string().into());
    let binary = |bytes: &'static [u8]| Message::Binary(bytes.into());
    let text = |text: &'static str| Message::Text(text.into());
    let resize = json!({ "type": "resize", "cols": 10, "rows": 10 });
    let json_resize = json!({ "type": "resize", "data": { "cols": 10, "rows": 10 } });
    let stayd = vec![
        binary(b"viewer\n"),
        binary(b"\x03"),
        json_text(resize),
        text("no json"),
        text(r#"{"type":"signal","signal":"INT"}"#),
        text(r#"{"type":"ack","offset":99999999999}"#),
    ];
    let raw = || vec![binary(b"viewer\n"), text("viewer\n"), binary(b"\x03"), binary(b"\x1b[1;1R")];
    let json = vec![
        json_text(json!({ "type": "input", "data": "viewer\n\u{3}" })),
        json_text(json_resize),
        binary(b"viewer\n"),
        text("no json"),
    ];
    for (protocol, messages, told) in [
        (Some("stayd.v1"), stayd, 6),
        (Some("raw.v1"), raw(), 0),
        (None, raw(), 0),
        (Some("json.v1"), json, 4),
    ] {
        let path = format!("/api/v1/sessions/{id}/attach?mode=ro&cols=20&rows=5");
        let mut viewer = Terminal::open(&api, &path, protocol).await;
        for message in messages {
            viewer.send(message).await;
        }
        // Everything sent has been looked at once this is answered.
        viewer.send(Message::Ping("over".into())).await;
        typist.type_in(format!("{protocol:?}\n")).await;
        let answer = format!("<{protocol:?}>");
        typist.wait_for(&answer).await;
        let mut errors = 0;
        while errors < told {
            if let Event::Control(control) = viewer.next().await {
                errors += usize::from(control["type"] == "error");
            }
        }
        // In the text of JSON messages quotes would be escaped; there are none but these.
        viewer.wait_for("stayd.v1").await;
    }
    assert!(!typist.text().contains("viewer"), "{}", typist.text());
    assert!(!typist.text().contains("INT"), "{}", typist.text());
    let session = api.session(&id).await;
    assert_eq!((&session["cols"], &session["rows"]), (&json!(80), &json!(24)));
}

#[actix_web::test]
async fn whoever_leaves_gives_the_size_back_at_once() {
    let server = Server::start().await;
    let api = server.api();
    let id = watched(&api, json!({})).await;
    let (mut desk, _) = Terminal::attach(&server, &id, "client=desk&cols=120&rows=40").await;
    desk.wait_for("[40 120]").await;
    let (tablet, _) = Terminal::attach(&server, &id, "client=tablet&cols=90&rows=30").await;
    desk.wait_for("[30 90]").await;
    let (viewer, _) = Terminal::attach(&server, &id, "mode=ro&cols=5&rows=5").await;
    let (sizeless, _) = Terminal::attach(&server, &id, "client=sizeless").await;
    // Each that leaves had control; it goes to the one before it, with its size.
    let (phone, _) = Terminal::attach(&server, &id, "client=phone&cols=50&rows=20").await;
    desk.wait_for("[20 50]").await;
    phone.leave().await;
    desk.resized_to(90, 30).await;
    viewer.leave().await;
    sizeless.leave().await;
    tablet.leave().await;
    desk.resized_to(120, 40).await;
    let clients = api.session(&id).await["clients"].clone();
    assert_eq!((&clients[0]["client"], &clients[0]["controller"]), (&json!("desk"), &json!(true)));
}

#[actix_web::test]
async fn the_smallest_of_those_who_may_type_is_everybodys_size() {
    let server = Server::start().await;
    let api = server.api();
    let id = watched(&api, json!({ "size_policy": "smallest" })).await;
    let (mut wide, attached) = Terminal::attach(&server, &id, "client=wide&cols=200&rows=20").await;
    assert_eq!(attached["session"]["size_policy"], "smallest");
    wide.wait_for("[20 200]").await;
    let (tall, _) = Terminal::attach(&server, &id, "client=tall&cols=90&rows=60").await;
    wide.wait_for("[20 90]").await;
    let (viewer, _) = Terminal::attach(&server, &id, "mode=ro&cols=5&rows=5").await;
    let (sizeless, _) = Terminal::attach(&server, &id, "client=sizeless").await;
    resize(&mut wide, 100, 25).await;
    wide.wait_for("[25 90]").await;
    tall.leave().await;
    wide.wait_for("[25 100]").await;
    viewer.leave().await;
    sizeless.leave().await;
    // Not those who type: everybody counts the same.
    let (mut other, _) = Terminal::attach(&server, &id, "client=other&cols=110&rows=30").await;
    other.type_in("typed\n").await;
    wide.wait_for("<typed>").await;
    assert!(!wide.text().contains("[30 ") && !wide.text().contains(" 110]"), "{}", wide.text());
}

#[actix_web::test]
async fn a_fixed_size_is_changed_by_administrators_alone() {
    let server = Server::start().await;
    let api = server.api();
    let id = watched(&api, json!({ "size_policy": "fixed", "cols": 132, "rows": 43 })).await;
    let (mut one, _) = Terminal::attach(&server, &id, "cols=100&rows=30").await;
    one.wait_for("[43 132]").await;
    resize(&mut one, 90, 20).await;
    one.type_in("typed\n").await;
    one.wait_for("<typed>").await;
    api.post(&format!("/api/v1/sessions/{id}/resize"), r#"{"cols":70,"rows":20}"#).await.ok(200);
    one.wait_for("[20 70]").await;
    assert!(!one.text().contains("[30 100]") && !one.text().contains("[20 90]"), "{}", one.text());
    // Another policy counts at once, and is kept.
    let path = format!("/api/v1/sessions/{id}");
    let wrong = api.send(Method::PATCH, &path, r#"{"size_policy":"largest"}"#).await;
    wrong.problem(400, "invalid_request");
    let patched = api.send(Method::PATCH, &path, r#"{"size_policy":"smallest"}"#).await.ok(200);
    assert_eq!(patched["size_policy"], "smallest");
    one.wait_for("[20 90]").await;
}

#[actix_web::test]
async fn a_size_policy_survives_the_server() {
    let mut server = Server::start().await;
    let api = server.api();
    let id = watched(&api, json!({ "size_policy": "fixed" })).await;
    server.kill_and_restart().await;
    assert_eq!(api.session(&id).await["size_policy"], "fixed");
    let path = format!("/api/v1/sessions/{id}");
    api.send(Method::PATCH, &path, r#"{"size_policy":"smallest"}"#).await.ok(200);
    server.kill_and_restart().await;
    assert_eq!(api.session(&id).await["size_policy"], "smallest");
    // Nobody has said anything of the size meanwhile.
    assert_eq!(api.session(&id).await["cols"], 80);
}

/// A window that is dragged: the first size at once, then the last, and few between.
#[actix_web::test]
async fn a_dragged_window_is_few_changes() {
    let server = Server::start().await;
    let api = server.api();
    let id = watched(&api, json!({})).await;
    let (mut one, _) = Terminal::attach(&server, &id, "").await;
    one.wait_for("[24 80]").await;
    for cols in 81..=180 {
        resize(&mut one, cols, 24).await;
    }
    one.wait_for("[24 180]").await;
    let text = one.text();
    assert!(text.contains("[24 81]"), "the first at once: {text}");
    let changes = text.matches("[24 ").count() - 1;
    assert!(changes <= 20, "100 sizes were {changes} changes");
    eprintln!("100 sizes of a dragged window were {changes} changes of the terminal");
}

#[actix_web::test]
async fn who_is_attached_is_told() {
    let server = Server::start().await;
    let api = server.api();
    let id = watched(&api, json!({})).await;
    let (mut one, attached) = Terminal::attach(&server, &id, "client=one&cols=100&rows=30").await;
    let viewer = |client: &str, mode: &str, size: Option<(u16, u16)>, controller: bool| {
        let (cols, rows) = size.unzip();
        json!({ "client": client, "mode": mode, "cols": cols, "rows": rows, "controller": controller,
            "looking": true })
    };
    let first = viewer("one", "rw", Some((100, 30)), true);
    assert_eq!(attached["session"]["clients"], json!([first]));
    let (mut two, _) = Terminal::attach(&server, &id, "client=two").await;
    let (three, _) = Terminal::attach(&server, &id, "client=three&mode=ro&cols=9&rows=9").await;
    let third = viewer("three", "ro", Some((9, 9)), false);
    let is = async |terminal: &mut Terminal, expected: Value| {
        while terminal.control("state").await["clients"] != expected {}
    };
    let one_of = |controller| viewer("one", "rw", Some((100, 30)), controller);
    let two_of = |controller| viewer("two", "rw", None, controller);
    is(&mut two, json!([one_of(false), two_of(true), third])).await;
    one.type_in("x\n").await;
    is(&mut two, json!([one_of(true), two_of(false), third])).await;
    assert_eq!(api.session(&id).await["clients"], json!([one_of(true), two_of(false), third]));
    three.leave().await;
    resize(&mut one, 90, 20).await;
    is(&mut two, json!([viewer("one", "rw", Some((90, 20)), true), two_of(false)])).await;
    drop((one, two));
    soon("nobody", async {
        while api.session(&id).await["clients"] != json!([]) {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
}
