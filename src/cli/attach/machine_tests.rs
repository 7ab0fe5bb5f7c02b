use super::*;
use crate::cli::samples;
use crate::protocol::Mode;
use proptest::prelude::*;
use std::sync::LazyLock;

const ID: &str = "0190d3c0-a1b2-7000-8000-000000000001";

fn machine(offset: Option<u64>) -> Machine {
    let mut machine =
        Machine::new(ID.parse::<SessionId>().unwrap(), "me".into(), offset, None, Mode::Rw);
    assert_eq!(machine.resized(80, 24), []);
    machine
}

fn send(machine: &mut Machine, message: &ServerMessage) -> Vec<Action> {
    machine.text(&serde_json::to_string(message).unwrap())
}

fn attached(machine: &mut Machine, offset: u64, input: u64) -> Vec<Action> {
    let session = Box::new(samples::session(ID, None));
    let message = ServerMessage::Attached {
        session,
        client: "me".into(),
        offset,
        input,
        input_window: 10,
        mode: Mode::Rw,
        cols: 80,
        rows: 24,
        scrollback_lines: Some(1000),
    };
    send(machine, &message)
}

fn ack(offset: u64) -> Action {
    Action::Control(ClientMessage::Ack { offset })
}

fn output(n: usize) -> Bytes {
    Bytes::from(vec![b'x'; n])
}

#[test]
fn a_session_that_we_created_is_continued_from_its_first_byte() {
    let mut machine = machine(Some(0));
    let target = format!("/api/v1/sessions/{ID}/attach?client=me&cols=80&rows=24");
    assert_eq!(machine.target(), format!("{target}&session={ID}&offset=0"));
    assert_eq!(attached(&mut machine, 0, 0), [], "nothing is cleared");
    assert_eq!(machine.binary(output(5)), [Action::Write(output(5))]);
    machine.closed(None, "");
    assert_eq!(machine.target(), format!("{target}&session={ID}&offset=5"));
    assert_eq!(attached(&mut machine, 5, 0), []);
}

#[test]
fn what_cannot_be_continued_is_redrawn() {
    let mut machine = machine(None);
    assert!(!machine.target().contains("offset"), "{}", machine.target());
    assert_eq!(attached(&mut machine, 1000, 0), [Action::Clear]);
    machine.binary(output(5));
    machine.closed(Some(1001), "restart");
    assert_eq!(attached(&mut machine, 9000, 0), [Action::Clear]);
    assert_eq!(
        send(&mut machine, &ServerMessage::Snapshot { offset: 9500, length: 3, complete: true }),
        []
    );
    assert_eq!(machine.binary(output(3)), [Action::Clear, Action::Write(output(3))]);
    machine.binary(output(7));
    machine.closed(None, "");
    assert!(machine.target().ends_with("offset=9507"), "a snapshot counts for nothing");
    machine.screen_disturbed();
    assert!(!machine.target().contains("offset"), "a disturbed screen is asked for anew");
}

#[test]
fn a_snapshot_that_the_connection_broke_off_is_not_waited_for() {
    let mut machine = machine(Some(0));
    attached(&mut machine, 0, 0);
    send(&mut machine, &ServerMessage::Snapshot { offset: 50, length: 3, complete: true });
    machine.closed(None, "");
    assert!(!machine.target().contains("offset"), "its screen never came");
    assert_eq!(attached(&mut machine, 0, 0), [Action::Clear]);
    assert_eq!(machine.binary(output(3)), [Action::Write(output(3))]);
    assert!(machine.target().ends_with("offset=3"));
}

#[test]
fn only_what_is_rendered_is_acknowledged() {
    let mut machine = machine(Some(0));
    attached(&mut machine, 0, 0);
    machine.binary(output(200 << 10));
    assert!(!machine.owes_ack());
    assert_eq!(machine.rendered(100 << 10), [], "not enough for an acknowledgement at once");
    assert_eq!(machine.ack(), [ack(100 << 10)], "but when output pauses");
    assert_eq!(machine.ack(), []);
    assert!(!machine.is_rendered());
    machine.binary(output(100 << 10));
    assert_eq!(machine.rendered(128 << 10), [ack(228 << 10)]);
    machine.rendered(72 << 10);
    assert!(machine.is_rendered() && machine.owes_ack());
    machine.closed(None, "");
    assert_eq!(machine.ack(), [], "nobody to tell");
}

#[test]
fn input_waits_for_the_server_and_is_sent_again() {
    let mut machine = machine(Some(0));
    assert_eq!(machine.typed(b"early", true), Ok(vec![]));
    let input = |bytes: &'static [u8]| Action::Input(Bytes::from_static(bytes));
    assert_eq!(attached(&mut machine, 0, 0), [input(b"early")]);
    assert_eq!(machine.typed(b"123456789", true), Ok(vec![input(b"12345")]), "the window is 10");
    let accepted = ServerMessage::Input { received: 5 };
    assert_eq!(send(&mut machine, &accepted), [input(b"6789")]);
    machine.closed(None, "");
    assert_eq!(attached(&mut machine, 0, 7), [input(b"3456789")], "7 had been accepted");
}

#[test]
fn without_a_connection_a_terminal_keeps_64_kib_and_a_pipe_waits() {
    let mut machine = machine(Some(0));
    let half = vec![b'k'; 32 << 10];
    assert!(machine.typed(&half, true).is_ok() && machine.typed(&half, true).is_ok());
    assert_eq!(machine.typed(b"k", true), Err(1));
    assert!(machine.wants_input(true), "the keys that detach must still be seen");
    for _ in 0..30 {
        assert!(machine.wants_input(false));
        machine.typed(&half, false).unwrap();
    }
    assert!(!machine.wants_input(false));
}

#[test]
fn sizes_are_told_when_they_change() {
    let mut machine = machine(Some(0));
    attached(&mut machine, 0, 0);
    assert_eq!(machine.resized(80, 24), []);
    assert_eq!(machine.resized(90, 24), [resize(90, 24)]);
    machine.closed(None, "");
    assert_eq!(machine.resized(91, 24), []);
    assert_eq!(attached(&mut machine, 0, 0), [resize(91, 24)], "the answer said 80");
}

#[test]
fn close_codes_are_obeyed() {
    let closed = |code| machine(None).closed(code, "");
    assert_eq!(closed(None), None);
    assert_eq!(closed(Some(1001)), None);
    assert_eq!(closed(Some(1006)), None);
    assert_eq!(closed(Some(1011)), None);
    assert_eq!(closed(Some(4404)), Some(End::Failed(Failed::NoSuchSession)));
    assert_eq!(closed(Some(4409)), Some(End::Failed(Failed::TakenOver)));
    assert_eq!(closed(Some(4410)), Some(End::Ended));
    assert_eq!(closed(Some(1000)), Some(End::Ended));
    assert_eq!(closed(Some(1008)), Some(End::Failed(Failed::Refused("not allowed".into()))));
}

#[test]
fn an_exit_ends_it_and_strange_messages_do_not() {
    let mut machine = machine(Some(0));
    attached(&mut machine, 0, 0);
    for strange in [r#"{"type":"later","x":1}"#, "not json", "{}", "null"] {
        assert_eq!(machine.text(strange), [], "{strange}");
    }
    let exit = r#"{"type":"exit","code":3,"signal":null,"reason":"exited"}"#;
    let end = End::Exit { code: Some(3), signal: None, reason: EndReason::Exited };
    assert_eq!(machine.text(exit), [Action::Finish(end)]);
}

proptest! {
    /// Whatever is lost on the way: a server that continues at the requested offset gives the
    /// terminal every byte once, and never receives an acknowledgement for bytes that were not
    /// rendered.
    #[test]
    fn output_is_shown_once(steps in prop::collection::vec((0..4_u8, 0..60_000_usize), 1..60)) {
        static STREAM: LazyLock<Vec<u8>> =
            LazyLock::new(|| (0..1_000_000_u32).map(|i| (i / 3) as u8).collect());
        let stream: &[u8] = &STREAM;
        let mut machine = machine(Some(0));
        let (mut shown, mut rendered) = (Vec::new(), 0);
        let mut at = 0;
        attached(&mut machine, 0, 0);
        for (kind, n) in steps {
            let actions = match kind {
                0 | 1 => {
                    let end = stream.len().min(at + n);
                    let frame = Bytes::copy_from_slice(&stream[at..end]);
                    at = end;
                    machine.binary(frame)
                }
                2 => {
                    let n = n.min(shown.len() - rendered);
                    rendered += n;
                    machine.rendered(n)
                }
                _ => {
                    // Frames in flight are lost; the client says where to continue.
                    prop_assert_eq!(machine.closed(None, ""), None);
                    let target = machine.target();
                    at = target.rsplit_once("offset=").unwrap().1.parse().unwrap();
                    attached(&mut machine, at as u64, 0)
                }
            };
            for action in actions {
                match action {
                    Action::Write(bytes) => shown.extend(bytes),
                    Action::Control(ClientMessage::Ack { offset }) => {
                        prop_assert!(offset <= rendered as u64);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert_eq!(machine.is_rendered(), rendered == shown.len());
        }
        prop_assert!(shown == stream[..shown.len()]);
    }
}

fn pipe(offset: Option<u64>) -> Machine {
    let mut machine = machine(offset);
    machine.piped();
    machine
}

#[test]
fn a_pipe_goes_on_without_a_picture_and_says_what_is_missing() {
    let mut machine = pipe(Some(0));
    attached(&mut machine, 0, 0);
    machine.binary(output(5));
    let snapshot = ServerMessage::Snapshot { offset: 105, length: 3, complete: true };
    send(&mut machine, &snapshot);
    let told = machine.binary(output(3));
    assert!(
        matches!(&told[..], [Action::Tell(text)] if text.starts_with("100 bytes ")),
        "{told:?}"
    );
    assert_eq!(machine.binary(output(2)), [Action::Write(output(2))]);
    assert!(machine.target().ends_with("offset=107"));
    // The same holds after the connection broke.
    machine.closed(None, "");
    let told = attached(&mut machine, 110, 0);
    assert!(
        matches!(&told[..], [Action::Clear, Action::Tell(text)] if text.starts_with("3 bytes "))
    );
    // The same holds if it breaks again before any output.
    machine.closed(None, "");
    assert!(machine.target().ends_with("offset=110"), "{}", machine.target());
}

#[test]
fn a_pipe_skips_what_it_has_already() {
    let mut machine = pipe(Some(7));
    assert_eq!(attached(&mut machine, 7, 0), []);
    machine.binary(output(3));
    let snapshot = ServerMessage::Snapshot { offset: 8, length: 3, complete: true };
    send(&mut machine, &snapshot);
    assert_eq!(machine.binary(output(3)), []);
    assert_eq!(machine.binary(output(1)), [], "the byte at 8");
    machine.closed(None, "");
    assert!(machine.target().ends_with("offset=9"));
    assert_eq!(attached(&mut machine, 9, 0), []);
    assert_eq!(machine.binary(output(3)), [Action::Write(output(2))], "one more again");
    // The beginning may no longer be in the ring.
    let mut machine = pipe(Some(7));
    let told = attached(&mut machine, 17, 0);
    assert!(
        matches!(&told[..], [Action::Clear, Action::Tell(text)] if text.starts_with("10 bytes "))
    );
}

#[test]
fn a_pipe_that_is_attached_anew_begins_with_the_screen() {
    let mut machine = pipe(None);
    attached(&mut machine, 50, 0);
    send(&mut machine, &ServerMessage::Snapshot { offset: 50, length: 3, complete: true });
    assert_eq!(machine.binary(output(3)), [Action::Clear, Action::Write(output(3))]);
}

#[test]
fn a_pipe_that_takes_nothing_acknowledges_a_little() {
    let mut machine = pipe(Some(0));
    attached(&mut machine, 0, 0);
    assert_eq!(machine.hold(), [], "nothing waits");
    machine.binary(output(2));
    assert_eq!((machine.hold(), machine.hold()), (vec![ack(1)], vec![ack(2)]));
    assert_eq!(machine.hold(), [], "not more than has come");
    machine.rendered(2);
    assert_eq!(machine.ack(), [], "the server knows");
}

#[test]
fn input_for_a_command_that_is_gone_is_told() {
    let mut machine = machine(Some(0));
    attached(&mut machine, 0, 0);
    machine.typed(b"12345", true).unwrap();
    machine.closed(None, "");
    let mut session = samples::session(ID, None);
    session.restarts = 1;
    let message = ServerMessage::Attached {
        session: Box::new(session),
        client: "me".into(),
        offset: 0,
        input: 0,
        input_window: 10,
        mode: Mode::Rw,
        cols: 80,
        rows: 24,
        scrollback_lines: None,
    };
    let told = send(&mut machine, &message);
    assert!(matches!(&told[..], [Action::Tell(text)] if text.contains("5 bytes")), "{told:?}");
}
