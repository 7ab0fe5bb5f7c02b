//! Programs ask their terminal, and exactly one answers, whoever looks.

use crate::support::{Server, Terminal, soon};
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
