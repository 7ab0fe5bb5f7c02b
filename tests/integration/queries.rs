//! Programs ask their terminal, and exactly one answers, whoever looks.

use crate::support::{Server, Terminal, soon};
use awc::ws::Message;
use serde_json::json;

/// Asks what its argument says, ends with a question of its own (a status report) and says
/// in hexadecimal what it has read up to that answer and in a second more.
const ASKER: &str = r#"
$| = 1; my ($in, $all) = ("", "");
sysread(STDIN, $in, 1) if $ARGV[0] eq "wait"; print "x" x 3000000, "\r\n" if $ARGV[1] eq "flood";
print "\e[c\e[6n\e]11;?\e\\\e[5n";
while (1) {
    vec(my $ready = "", 0, 1) = 1;
    last if !select($ready, undef, undef, $all =~ /\e\[0n/ ? 1 : undef);
    sysread(STDIN, $in, 4096) or last; $all .= $in;
}
print "GOT ", unpack("H*", $all), " END\r\n"; sleep 1000;
"#;

async fn asker(server: &Server, when: &str, what: &str) -> String {
    let command = ["sh", "-c", "stty raw -echo && exec perl -e \"$1\" \"$2\" \"$3\"", "sh"];
    let command: Vec<_> = command.into_iter().chain([ASKER, when, what]).collect();
    let session = server.api().create(json!({ "command": command })).await;
    session["id"].as_str().unwrap().to_owned()
}

/// What the program has read.
async fn got(terminal: &mut Terminal) -> String {
    terminal.wait_for(" END").await;
    let text = terminal.text().replace("\r\n", "");
    let hex = text.rsplit_once("GOT ").unwrap().1.split_once(" END").unwrap().0;
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).unwrap()
}

#[track_caller]
fn one_of_each(answers: &str) {
    for part in ["\x1b[?", "R", "\x1b]11;rgb:", "\x1b[0n"] {
        assert_eq!(answers.matches(part).count(), 1, "{part:?} in {answers:?}");
    }
}

#[actix_web::test]
async fn with_nobody_attached_a_program_is_answered() {
    let server = Server::start().await;
    for what in ["", "flood"] {
        let id = asker(&server, "", what).await;
        let api = server.api();
        let (mut terminal, _) = Terminal::attach(&server, &id, "mode=ro").await;
        drop(api);
        one_of_each(&got(&mut terminal).await);
    }
}

#[actix_web::test]
async fn of_three_who_look_and_two_who_answer_one_is_heard() {
    let server = Server::start().await;
    let id = asker(&server, "wait", "").await;
    let mut all = Vec::new();
    for client in ["one", "two", "three"] {
        all.push(Terminal::attach(&server, &id, &format!("client={client}")).await.0);
    }
    all[2].type_in("x").await;
    let answers = "\x1b[?1;2c\x1b[7;7R\x1b]11;rgb:1111/1111/1111\x1b\\\x1b[0n";
    for answering in &mut all[..2] {
        answering.wait_for("\x1b[5n").await;
        answering.type_in(format!("a{answers}b")).await;
        let received = answers.len() + 2;
        while answering.control("input").await["received"] != received {}
    }
    let heard = got(&mut all[2]).await;
    one_of_each(&heard);
    // What was typed around the answers arrives, in order.
    let typed: String = heard.chars().filter(|c| matches!(c, 'a')).collect();
    assert_eq!((typed.len(), heard.matches("7;7").count()), (2, 0), "{heard:?}");
}

#[actix_web::test]
async fn a_crash_answers_nothing_twice() {
    let mut server = Server::start().await;
    for _ in 0..3 {
        let id = asker(&server, "wait", "").await;
        let (mut terminal, _) = Terminal::attach(&server, &id, "client=me").await;
        terminal.type_in("x").await;
        terminal.wait_for("\x1b[5n").await;
        server.kill_and_restart().await;
        let (mut terminal, _) = Terminal::attach(&server, &id, "client=me").await;
        one_of_each(&got(&mut terminal).await);
    }
}

/// Shows in full what it reads, in the notation of `cat -v`.
const SHOWER: [&str; 3] = ["sh", "-c", "stty raw -echo && echo ready && exec cat -v"];

#[actix_web::test]
async fn answers_in_pieces_are_not_typed_and_keys_are() {
    let server = Server::start().await;
    let api = server.api();
    for protocol in ["stayd.v1", "raw.v1", "json.v1"] {
        let session = api.create(json!({ "command": SHOWER })).await;
        let id = session["id"].as_str().unwrap();
        let path = format!("/api/v1/sessions/{id}/attach?client=pieces");
        let mut terminal = Terminal::open(&api, &path, Some(protocol)).await;
        terminal.wait_for("ready").await;
        terminal.screen.clear();
        let pieces = [
            "a",
            "\x1b[?61;4",
            ";22c",
            "\x1b[A",
            "b",
            "\x1bP1$u1;1;1;@;@;@;0;2;@",
            ";BBBB\x1b",
            "\\",
            "\x1bx",
            "\x1b]21;foreground=rgb:ff/ff/ff\x1b\\",
            "\x1b[<0;3;4M",
            "\x1b_Gi=31;OK",
            "\x1b\\",
            "\x1b[200~\x1b[?1;2c\x1b[20",
            "1~",
            "\x1bP1!~B0",
            "A3\x1b\\",
            "\x1b[2;1;1;112;112;1;0x",
            "END",
        ];
        let messages = pieces.map(|piece| match protocol {
            "json.v1" => {
                Message::Text(json!({ "type": "input", "data": piece }).to_string().into())
            }
            _ => Message::Binary(piece.into()),
        });
        // In one write, since what comes late was typed.
        terminal.send_all(messages).await;
        terminal.wait_for("END").await;
        assert_eq!(terminal.text(), "a^[[Ab^[x^[[<0;3;4M^[[200~^[[?1;2c^[[201~END", "{protocol}");
        if protocol == "stayd.v1" {
            let sent: usize = pieces.iter().map(|piece| piece.len()).sum();
            // What stays half is typed after a moment, and counts like all else.
            terminal.type_in("\x1b[?61;4").await;
            terminal.wait_for("^[[?61;4").await;
            drop(terminal);
            let path = format!("client=pieces&session={id}");
            let (_, attached) = Terminal::attach(&server, id, &path).await;
            assert_eq!(attached["input"], sent + 7);
        }
    }
}

/// How long programs that ask at their start take to show themselves, nobody looking.
#[actix_web::test]
async fn programs_that_ask_start_without_delay() {
    let server = Server::start().await;
    let api = server.api();
    let fish = ["fish", "-N", "-C", "function fish_prompt; echo PROMPT-; end"];
    let vim = ["vim", "-u", "NONE", "-n"];
    for (command, shown) in [(vim, "VIM - Vi"), (fish, "PROMPT-")] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|dir| dir.join(command[0]).is_file());
        if !found {
            eprintln!("skipped: no {}", command[0]);
            continue;
        }
        let start = std::time::Instant::now();
        let id = api.create(json!({ "command": command })).await["id"].as_str().unwrap().to_owned();
        soon(command[0], async {
            let path = format!("/api/v1/sessions/{id}/output?offset=0");
            while !String::from_utf8_lossy(&api.get(&path).await.bytes).contains(shown) {}
        })
        .await;
        eprintln!("{} has shown itself after {:?}", command[0], start.elapsed());
    }
}
