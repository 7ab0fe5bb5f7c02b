//! What an attachment leaves behind in the terminal of whoever attached: nothing.

mod beyond;

use crate::cli::{OnTerminal, stayd, verb};
use crate::fidelity::xterm::{self, Cut, Played};
use crate::support::{DEADLINE, Server};
use beyond::Beyond;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use stayd::screen::{Options, Screen};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What a program may do to its terminal, and go away without undoing it.
const CASES: &[(&str, &str)] = &[
    ("a link", "\x1b]8;;http://example.org/\x1b\\text"),
    ("a link with an id", "\x1b]8;id=a;http://example.org/\x07text"),
    ("reverse video", "\x1b[?5h"),
    ("colours of the palette", "\x1b]4;1;#123456;2;rgb:11/22/33\x1b\\\x1b]4;250;#fff\x07"),
    ("a question for a colour", "\x1b]4;3;?\x1b\\\x1b]11;?\x1b\\"),
    ("foreground", "\x1b]10;#123456\x1b\\"),
    ("background", "\x1b]11;#123456\x07"),
    ("the cursor's colour", "\x1b]12;#123456\x1b\\"),
    ("colours in a row", "\x1b]10;#111111;#222222;#333333\x1b\\"),
    ("colours of the selection", "\x1b]17;#123456\x1b\\\x1b]19;#654321\x1b\\"),
    ("colours on the stack", "\x1b[#P\x1b]11;#123456\x1b\\\x1b[#P\x1b]4;7;#123456\x1b\\"),
    ("colours off the stack", "\x1b]11;#123456\x1b\\\x1b[#Q"),
    ("a title", "\x1b]2;theirs\x1b\\"),
    ("title and icon", "\x1b]0;theirs\x07"),
    ("titles on the stack", "\x1b[22;0t\x1b]2;one\x1b\\\x1b[22;2t\x1b]2;two\x1b\\"),
    ("titles off the stack", "\x1b[23;0t"),
    ("flags of keys", "\x1b[>1u"),
    ("many flags of keys", "\x1b[>1u\x1b[>3u\x1b[>5u\x1b[<u"),
    ("flags of keys set", "\x1b[=5;1u"),
    ("flags of keys popped", "\x1b[<u"),
    ("flags of keys there", "\x1b[?1049h\x1b[>1u\x1b[=9u"),
    ("flags of keys left there", "\x1b[?1049h\x1b[>1u\x1b[?1049l\x1b[>3u"),
    ("flags of keys here", "\x1b[>1u\x1b[?1049h"),
    ("other keys", "\x1b[>4;2m"),
    ("other keys there", "\x1b[?1049h\x1b[>4;1m"),
    ("other keys left there", "\x1b[?1049h\x1b[>4;1m\x1b[?1049l"),
    ("cursor keys with modifiers", "\x1b[>1;3m\x1b[>2;3m"),
    ("other keys' format", "\x1b[>4;1f"),
    ("keys without modifiers", "\x1b[>4n"),
    ("old mouse", "\x1b[?9h"),
    ("mouse", "\x1b[?1000h\x1b[?1006h"),
    ("mouse dragged", "\x1b[?1002;1005h"),
    ("mouse moved", "\x1b[?1003;1015h"),
    ("mouse in pixels", "\x1b[?1003;1016h"),
    ("highlighting mouse", "\x1b[?1001h"),
    ("focus", "\x1b[?1004h"),
    ("paste", "\x1b[?2004h"),
    ("synchronized", "\x1b[?2026h"),
    ("reports of colour schemes", "\x1b[?2031h"),
    ("reports of sizes", "\x1b[?2048h"),
    ("win32 input", "\x1b[?9001h"),
    ("cursor's shape", "\x1b[5 q"),
    ("steady cursor", "\x1b[2 q"),
    ("blinking cursor", "\x1b[?12h"),
    ("hidden cursor", "\x1b[?25l"),
    ("margins", "\x1b[5;10r"),
    ("origin", "\x1b[5;10r\x1b[?6h"),
    ("origin saved", "\x1b[5;10r\x1b[?6h\x1b7\x1b[?6l"),
    ("origin saved there", "\x1b[?6h\x1b[?1049h\x1b[?6l"),
    ("left and right margins", "\x1b[?69h\x1b[3;20s"),
    ("insert", "\x1b[4h"),
    ("line feed", "\x1b[20h"),
    ("locked keyboard", "\x1b[2h"),
    ("local echo", "\x1b[12l"),
    ("lines", "\x1b(0"),
    ("lines in G1", "\x1b)0\x0e"),
    ("G2 and G3", "\x1b*A\x1b+0\x1bn"),
    ("G3", "\x1b+0\x1bo"),
    ("Latin-1", "\x1b%@"),
    ("8-bit answers", "\x1b G"),
    ("keypad", "\x1b="),
    ("keypad by mode", "\x1b[?66h"),
    ("cursor keys", "\x1b[?1h"),
    ("no wrapping", "\x1b[?7l"),
    ("no repetition", "\x1b[?8l"),
    ("wrapping back", "\x1b[?45h"),
    ("Backspace", "\x1b[?67h"),
    ("slow scrolling", "\x1b[?4h"),
    ("no alternate screen", "\x1b[?1046l"),
    ("no tabs", "\x1b[3g"),
    ("a tab", "\x1b[5G\x1bH\x1b[17G\x1b[0g"),
    ("pen", "\x1b[1;3;4:3;31;48;2;1;2;3;58;5;9mtext"),
    ("protected", "\x1b[1\"q"),
    ("alternate screen", "\x1b[?1049htext"),
    ("alternate screen 1047", "\x1b[?1047htext"),
    ("alternate screen 47", "\x1b[?47htext"),
    ("directory", "\x1b]7;file://host/tmp\x1b\\"),
    ("progress", "\x1b]9;4;1;50\x1b\\"),
    ("pointer", "\x1b]22;wait\x1b\\"),
    ("lamps", "\x1b[1q"),
];

/// What cannot be followed by anything.
const UNFINISHED: &[(&str, &str)] = &[
    ("half a sequence", "\x1b[?5h\x1b[3"),
    ("half a title", "\x1b[1m\x1b]2;hal"),
    ("half a string", "\x1b[1m\x1bPha"),
    ("half a comment", "\x1b[1m\x1b_ha"),
    ("an escape", "\x1b[1m\x1b"),
];

/// For a terminal that saves nothing it is not known what people have chosen; one that
/// does keeps it.
const CHOSEN: &[(&str, &str)] = &[
    ("scrolling there", "\x1b[?1007l"),
    ("scrolling on output", "\x1b[?1010h\x1b[?1011h"),
    ("Meta", "\x1b[?1034h\x1b[?1036l\x1b[?1039h"),
    ("bells", "\x1b[?1042h"),
    ("graphemes", "\x1b[?2027h"),
    ("video as it was not", "\x1b[?5l"),
];

/// What a reset takes along cannot be brought back, but for what nobody need have chosen.
const RESETS: &[(&str, &str)] = &[
    ("a reset", "\x1b[?1049h\x1b[>1u\x1b[?5h\x1bc\x1b[?1000h\x1b[>1u\x1b[1m"),
    ("a soft reset", "\x1b[?6h\x1b[1m\x1b[!p\x1b[4h\x1b]11;#123456\x1b\\"),
];

/// How a person's terminal is before: with a title, and nothing else that a program could
/// find out.
const PLAIN: &str = "\x1b]2;mine\x1b\\\x1b[?12l";
/// And one where everything is chosen that can be.
const CHOOSY: &str = "\x1b]2;mine\x1b\\\x1b[>1u\x1b]4;3;#aabbcc\x1b\\\x1b]11;#101010\x1b\\\
                      \x1b[?5h\x1b[?1007h\x1b[?1036h";
/// Takes away what may differ: the text, and where the cursor is and was.
const NORMAL: &[u8] = b"\x1b[2J\x1b[3J\x1b[H\x1b7\x1b[?47h\x1b[H\x1b7\x1b[?47l\x1b[H";

/// What one attachment sent to its terminal.
struct Sent {
    name: String,
    bytes: Vec<u8>,
    /// Whether only a terminal that can save things could be as before.
    needs_saving: bool,
    /// Whether what was chosen is lost.
    loses: bool,
}

/// Runs a command that prints this and waits, attached; then leaves it.
fn attach_and_leave(server: &Server, output: &str) -> Vec<u8> {
    let mut terminal = OnTerminal::start(server, &["run", "--", "bash", "-c", &script(output)]);
    terminal.wait_for(output.as_bytes());
    terminal.type_in(b"\x1cd");
    let (code, bytes) = terminal.end_with_bytes();
    assert_eq!(code, Some(0), "{}", output.escape_debug());
    bytes
}

fn script(output: &str) -> String {
    let octal: String = output.bytes().map(|byte| format!("\\0{byte:03o}")).collect();
    // Without echo, which could come in between.
    format!("stty -echo; printf '%b' '{octal}'; read -r x")
}

/// Compares with our own emulator, with xterm.js, and with what neither of them knows.
fn compare(sent: &[Sent]) {
    let mut wrong = Vec::new();
    for Sent { name, bytes, needs_saving, loses } in sent {
        let screen = |bytes: &[u8]| {
            let mut screen = Screen::new(100, 30, Options { scrollback: 100 });
            screen.feed(PLAIN.as_bytes(), &mut Vec::new());
            screen.feed(bytes, &mut Vec::new());
            let alternate = screen.is_alternate();
            screen.feed(NORMAL, &mut Vec::new());
            let drawn = screen.snapshot(0, 1 << 20).bytes;
            (alternate, String::from_utf8_lossy(&drawn).into_owned())
        };
        let (before, after) = (screen(b""), screen(bytes));
        if before != after {
            wrong.push(format!("{name}: screen: {before:?} | {after:?}"));
        }
        for (saves, before) in [(false, PLAIN), (true, CHOOSY)] {
            if (*needs_saving && !saves) || (*loses && saves) {
                continue;
            }
            let beyond = |bytes: &[u8]| {
                let mut beyond = Beyond::new(saves);
                beyond.feed(before.as_bytes());
                beyond.feed(bytes);
                beyond
            };
            let (before, after) = (beyond(b""), beyond(bytes));
            if before != after {
                wrong.push(format!("{name}, saves {saves}: {before:?} | {after:?}"));
            }
        }
    }
    if xterm::is_installed() {
        let played: Vec<_> = sent.iter().map(|sent| played(&sent.name, &sent.bytes)).collect();
        for (name, answers) in xterm::compare(&played) {
            wrong.extend(answers.iter().map(|answer| format!("{name}: xterm.js: {answer:?}")));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn played(name: &str, bytes: &[u8]) -> Played {
    let stream = [PLAIN.as_bytes(), bytes, NORMAL].concat();
    let snapshot = [PLAIN.as_bytes(), NORMAL].concat();
    let cut = Cut { at: stream.len(), resized: 0, cols: 100, rows: 30, snapshot, by: "late" };
    let (name, resizes) = (name.to_owned(), Vec::new());
    Played { name, cols: 100, rows: 30, scrollback: 100, stream, resizes, cuts: vec![cut] }
}

#[actix_web::test]
async fn nothing_is_left_behind() {
    let server = Server::start().await;
    let kinds = [
        (CASES, false, false),
        (UNFINISHED, false, false),
        (CHOSEN, true, false),
        (RESETS, false, true),
    ];
    let mut sent = Vec::new();
    for (cases, needs_saving, loses) in kinds {
        for (name, output) in cases {
            let bytes = attach_and_leave(&server, output);
            sent.push(Sent { name: (*name).to_owned(), bytes, needs_saving, loses });
        }
    }
    compare(&sent);
}

/// Everything at once, on the alternate screen.
fn everything() -> String {
    let is_of_main_screen =
        |output: &str| !output.contains("\x1b[?1049") && !output.contains("\x1b[?47h");
    let all = CASES.iter().map(|(_, output)| *output).filter(|output| is_of_main_screen(output));
    format!("{}\x1b[?1049h\x1b[>1u\x1b[>4;2m", all.collect::<String>())
}

#[actix_web::test]
async fn nothing_is_left_behind_however_it_ends() {
    let mut server = Server::start().await;
    let (mut sent, output) = (Vec::new(), everything());
    let run = ["run", "-n", "web", "--", "bash", "-c", &script(&output)];
    type End = fn(&OnTerminal, &Server);
    let signal = |signal: Signal| (signal.as_str(), Some(128 + signal as i32));
    let ends: [(&str, Option<i32>, End); 8] = [
        ("its end", Some(0), |terminal, _| terminal.type_in(b"\r")),
        ("a kill", Some(128 + 1), |_, server| {
            assert_eq!(verb(server, &["kill", "web"]).status.code(), Some(0));
        }),
        (signal(Signal::SIGTERM).0, signal(Signal::SIGTERM).1, |t, _| {
            kill(t.pid(), Signal::SIGTERM).expect("it")
        }),
        (signal(Signal::SIGHUP).0, signal(Signal::SIGHUP).1, |t, _| {
            kill(t.pid(), Signal::SIGHUP).expect("it")
        }),
        (signal(Signal::SIGINT).0, signal(Signal::SIGINT).1, |t, _| {
            kill(t.pid(), Signal::SIGINT).expect("it")
        }),
        (signal(Signal::SIGQUIT).0, signal(Signal::SIGQUIT).1, |t, _| {
            kill(t.pid(), Signal::SIGQUIT).expect("it")
        }),
        (signal(Signal::SIGUSR1).0, signal(Signal::SIGUSR1).1, |t, _| {
            kill(t.pid(), Signal::SIGUSR1).expect("it")
        }),
        (signal(Signal::SIGALRM).0, signal(Signal::SIGALRM).1, |t, _| {
            kill(t.pid(), Signal::SIGALRM).expect("it")
        }),
    ];
    for (name, code, end) in ends {
        let mut terminal = OnTerminal::start(&server, &run);
        terminal.wait_for(output.as_bytes());
        end(&terminal, &server);
        let (found, bytes) = terminal.end_with_bytes();
        assert!(name == "a kill" || found == code, "{name}: {found:?}");
        sent.push(Sent { name: name.to_owned(), bytes, needs_saving: false, loses: false });
        let _ = verb(&server, &["kill", "web"]);
    }
    // From a picture of its screen, and from a server that has gone for good.
    let command = json!(["bash", "-c", script(&output)]);
    server.api().create(json!({ "name": "web", "command": command })).await;
    let mut terminal = OnTerminal::start(&server, &["attach", "web"]);
    terminal.wait_for(b"\x1b[?25l");
    server.kill();
    terminal.wait_for(b"connection lost");
    terminal.type_in(b"\x1cd");
    let (code, bytes) = terminal.end_with_bytes();
    assert_eq!(code, Some(0));
    sent.push(Sent { name: "a dead server".into(), bytes, needs_saving: true, loses: false });
    server.restart().await;
    compare(&sent);
}

/// The state of a process (proc_pid_stat(5)).
fn state(pid: nix::unistd::Pid) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("a state")
}

fn poll(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[actix_web::test]
async fn who_is_stopped_gives_the_terminal_back_and_takes_it_again() {
    let server = Server::start().await;
    let output = everything();
    let script = format!("{}; echo went-on; exec cat", script(&output));
    let mut terminal =
        OnTerminal::start(&server, &["run", "-n", "web", "--", "bash", "-c", &script]);
    let mut sent = Vec::new();
    terminal.wait_for(output.as_bytes());
    for round in 0..2 {
        kill(terminal.pid(), Signal::SIGTSTP).expect("it runs");
        poll("it stops", || state(terminal.pid()) == 'T');
        assert!(terminal.is_as_before(), "the line's settings");
        let name = format!("stopped {round}");
        sent.push(Sent { name, bytes: terminal.bytes(), needs_saving: round > 0, loses: false });
        kill(terminal.pid(), Signal::SIGCONT).expect("it is there");
        poll("it takes the terminal", || !terminal.is_as_before());
        // What it shows is drawn anew.
        terminal.wait_for(b"\x1b[?2031l");
        terminal.wait_for(b"text");
    }
    // SIGSTOP cannot be seen; whoever continues us may have changed the line meanwhile.
    kill(terminal.pid(), Signal::SIGSTOP).expect("it runs");
    poll("it stops", || state(terminal.pid()) == 'T');
    let sane = std::process::Command::new("stty").arg("sane").stdin(terminal.line()).status();
    assert!(sane.expect("stty").success());
    kill(terminal.pid(), Signal::SIGCONT).expect("it is there");
    terminal.wait_for(b"\x1b[?2031l");
    terminal.type_in(b"\r");
    terminal.wait_for(b"went-on");
    terminal.type_in(b"\x1cd");
    let (code, bytes) = terminal.end_with_bytes();
    assert_eq!(code, Some(0));
    sent.push(Sent { name: "continued".into(), bytes, needs_saving: true, loses: false });
    compare(&sent);
}

/// A pipe gets everything, whether its reader's writer was stopped or not.
#[actix_web::test]
async fn a_pipe_loses_nothing_to_a_stop() {
    let server = Server::start().await;
    let script = "read -r x; seq 1 20000; read -r x; seq 20001 40000";
    server.api().create(json!({ "name": "web", "command": ["bash", "-c", script] })).await;
    let mut command = stayd(&server, &["attach", "web"]);
    command.stdout(std::process::Stdio::piped());
    let child = command.spawn().expect("stayd runs");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    crate::support::soon("it is there", async {
        while server.api().session("web").await["active_connections"] != 1 {}
    })
    .await;
    let reader = std::thread::spawn(move || child.wait_with_output());
    for _ in 0..2 {
        kill(pid, Signal::SIGTSTP).expect("it runs");
        poll("it stops", || state(pid) == 'T');
        assert_eq!(verb(&server, &["send", "web", "", "--enter"]).status.code(), Some(0));
        kill(pid, Signal::SIGCONT).expect("it is there");
    }
    let output = reader.join().expect("the thread").expect("its end");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = text.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    assert!(numbers.eq(1..=40_000), "every line once, in order");
}

fn is_readable(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, PollTimeout::ZERO).expect("poll") > 0
}

/// A script types the next line as soon as it has left.
#[actix_web::test]
async fn input_after_leaving_is_for_whoever_reads_the_terminal_next() {
    let server = Server::start().await;
    let script = "stayd run -- sh -c 'echo up; exec cat'; read -r line; echo \"<$line>\"";
    for _ in 0..10 {
        let mut terminal = OnTerminal::start_script(&server, script);
        terminal.wait_for(b"up");
        terminal.type_in(b"\x1cd");
        while is_readable(&terminal.line()) {}
        terminal.type_in(b"next\n");
        let (code, bytes) = terminal.end_with_bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(code == Some(0) && text.contains("<next>"), "{code:?}: {text}");
    }
}
