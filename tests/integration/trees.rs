//! Kill ends the whole tree, however a program tries to leave it, and nothing else; and
//! `TERMINATED` is said once nothing of it is left.

use crate::support::{Api, Server, soon};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs as `bash -c`; `$0` is a word that no other process on the machine has among its
/// arguments, so that /proc tells who is of the tree without any mark of ours.
fn stray(prefix: &str, then: &str) -> String {
    format!("{prefix} bash -c '{then} exec -a \"$0\" sleep 1000' \"$0\"")
}

/// Looks at a tree that is said to have ended.
const LOOKS: usize = 50;

/// A process of the tree, as /proc has it.
#[derive(Debug)]
struct Seen {
    pid: i32,
    parent: i32,
    session: i32,
    state: String,
    environment: Vec<u8>,
}

/// Everybody living who has the word among the arguments.
fn of_tree(word: &str) -> Vec<Seen> {
    let seen = |path: &Path| {
        let arguments = std::fs::read(path.join("cmdline")).ok()?;
        arguments.split(|&byte| byte == 0).find(|&part| part == word.as_bytes())?;
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        Some(Seen {
            pid: path.file_name()?.to_str()?.parse().ok()?,
            state: fields[0].to_owned(),
            parent: fields[1].parse().ok()?,
            session: fields[3].parse().ok()?,
            environment: std::fs::read(path.join("environ")).unwrap_or_default(),
        })
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| seen(&entry.path())).filter(|seen| seen.state != "Z").collect()
}

/// Waits until the tree is as it should be.
async fn tree_until(word: &str, what: &str, fits: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
    soon(what, async {
        loop {
            let seen = of_tree(word);
            if fits(&seen) {
                return seen;
            }
            actix_web::rt::task::yield_now().await;
        }
    })
    .await
}

fn unique() -> String {
    stayd::id::SessionId::generate().to_string()
}

async fn start(api: &Api, script: &str) -> (String, String) {
    let word = unique();
    let command = json!({ "command": ["bash", "-c", script, word] });
    let id = api.create(command).await["id"].as_str().unwrap().to_owned();
    (id, word)
}

/// Kills, and looks all the while: whenever it is said to have ended, nobody is there.
async fn kill_watched(api: &Api, id: &str, word: &str) -> Value {
    let kill = actix_web::rt::spawn({
        let (api, path) = (api.clone(), format!("/api/v1/sessions/{id}"));
        async move { api.delete(&path).await }
    });
    let ended = soon("the end", async {
        loop {
            let session = api.session(id).await;
            if session["status"] == "TERMINATED" {
                // Many looks: what forks and exits all the time is hard to see.
                for _ in 0..LOOKS {
                    let left = of_tree(word);
                    assert!(left.is_empty(), "said to have ended: {left:?}");
                }
                return session;
            }
        }
    })
    .await;
    assert_eq!(ended["end_reason"], "killed");
    kill.await.unwrap();
    ended
}

/// A session that somebody else has, with a daemon that left it; to be untouched.
struct Others {
    id: String,
    word: String,
    bystander: std::process::Child,
}

impl Others {
    async fn start(api: &Api) -> Others {
        let script =
            format!("({} </dev/null &); exec -a \"$0\" sleep 1000", stray("env -i setsid", ""));
        let (id, word) = start(api, &script).await;
        tree_until(&word, "the others", |seen| seen.len() == 2).await;
        let mut sleep = Command::new("sleep");
        sleep.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Others { id, word, bystander: sleep.spawn().unwrap() }
    }

    async fn are_unharmed(mut self, api: &Api) {
        assert!(self.bystander.try_wait().unwrap().is_none());
        assert_eq!(of_tree(&self.word).len(), 2);
        assert_eq!(api.session(&self.id).await["status"], "RUNNING");
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        let _ = self.bystander.kill();
        let _ = self.bystander.wait();
    }
}

/// Starts the script, waits for its tree, kills it and looks at everybody.
async fn ends(script: &str, what: &str, fits: impl Fn(&[Seen], i32) -> bool) {
    let server = Server::start().await;
    let api = server.api();
    let others = Others::start(&api).await;
    let (id, word) = start(&api, script).await;
    let holder = server.holder_pid();
    tree_until(&word, what, |seen| fits(seen, holder)).await;
    kill_watched(&api, &id, &word).await;
    others.are_unharmed(&api).await;
}

fn is_daemon(seen: &Seen, holder: i32) -> bool {
    seen.parent == holder && seen.session == seen.pid
}

fn is_unmarked(seen: &Seen) -> bool {
    !seen.environment.windows(13).any(|part| part == b"STAYD_SESSION")
}

#[actix_web::test]
async fn children_that_lead_sessions_of_their_own() {
    let script = format!("{} & wait", stray("setsid", ""));
    ends(&script, "setsid", |seen, _| {
        seen.iter().any(|one| one.session == one.pid && seen.len() == 2 && one.parent != 1)
    })
    .await;
}

#[actix_web::test]
async fn daemons() {
    let script = format!("({} </dev/null &); read _", stray("setsid", ""));
    ends(&script, "a daemon", |seen, holder| {
        seen.iter().any(|one| is_daemon(one, holder) && !is_unmarked(one))
    })
    .await;
}

#[actix_web::test]
async fn who_ignores_hangups_and_termination() {
    let script = format!("{} & trap \"\" HUP TERM; wait", stray("", "trap \"\" HUP TERM;"));
    ends(&script, "two", |seen, _| seen.len() == 2).await;
}

#[actix_web::test]
async fn who_stops_itself() {
    let script = format!("{} & kill -STOP $!; kill -STOP $$", stray("setsid", ""));
    ends(&script, "stopped", |seen, _| seen.iter().filter(|one| one.state == "T").count() == 2)
        .await;
}

#[actix_web::test]
async fn who_keeps_the_terminal_open_after_the_leader() {
    // The leader goes at the first signal, its child holds the terminal until it is killed.
    let script = format!("{} & wait", stray("env -i", "trap \"\" HUP TERM;"));
    ends(&script, "two", |seen, _| seen.len() == 2 && seen.iter().any(is_unmarked)).await;
}

#[actix_web::test]
async fn daemons_without_environment_that_ignore_signals() {
    // Neither parent nor terminal session nor environment says whose it is.
    let hidden = stray("env -i setsid", "trap \"\" HUP TERM INT;");
    let script = format!("({hidden} </dev/null >/dev/null 2>&1 &); read _");
    ends(&script, "a hidden daemon", |seen, holder| {
        seen.iter().any(|one| is_daemon(one, holder) && is_unmarked(one))
    })
    .await;
}

#[actix_web::test]
async fn who_keeps_starting_daemons_meanwhile() {
    // At most some fifty at once, and for 15 s at most, should it not be ended.
    let bomb = "use POSIX; $SIG{HUP} = $SIG{TERM} = q(IGNORE); my $end = time + 15;
                while (time < $end) {
                    for (1 .. 15) {
                        next if fork;
                        exit if fork;
                        POSIX::setsid(); select(undef, undef, undef, 0.2); exit;
                    }
                    1 while waitpid(-1, WNOHANG) > 0;
                    select(undef, undef, undef, 0.1);
                }";
    let script = format!("(env -i perl -e '{bomb}' \"$0\" </dev/null &); read _");
    ends(&script, "several", |seen, holder| {
        seen.iter().filter(|one| is_daemon(one, holder)).count() > 5
    })
    .await;
}

#[actix_web::test]
async fn who_is_another_process_every_millisecond() {
    // Each forks the next, leaves its terminal session and ends, for 15 s at most.
    let relay = "use POSIX; $SIG{HUP} = $SIG{TERM} = q(IGNORE); my $end = time + 15;
                 while (time < $end) {
                     my $next = fork; exit if $next;
                     POSIX::setsid(); select(undef, undef, undef, 0.001);
                 }";
    let script = format!("(env -i perl -e '{relay}' \"$0\" </dev/null &); read _");
    ends(&script, "the relay", |seen, holder| seen.iter().any(|one| is_daemon(one, holder))).await;
}

/// A stayd inside a session marks its own sessions, and its holder is in no session: the
/// end of the outer one takes the inner server along and nothing that is held.
#[actix_web::test]
async fn a_stayd_inside_a_session() {
    let server = Server::start().await;
    let api = server.api();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let stayd = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
        command.arg("--state-dir").arg(&state).args(arguments).env("HOME", dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    let script = format!(
        "export HOME={}; exec -a \"$0\" {} serve --listen 127.0.0.1:0 --state-dir {}",
        dir.path().display(),
        env!("CARGO_BIN_EXE_stayd"),
        state.display()
    );
    let (outer, outer_word) = start(&api, &script).await;
    soon("the inner server", async {
        while !stayd(&["ls"]) {
            actix_web::rt::task::yield_now().await;
        }
    })
    .await;
    let words = [unique(), unique()];
    for word in &words {
        let script = format!(
            "(env -i setsid bash -c 'exec -a {word} sleep 1000' &); \
                              exec -a {word} sleep 1000"
        );
        assert!(stayd(&["run", "--detach", "--name", word, "--", "bash", "-c", &script]));
        tree_until(word, "the inner session", |seen| seen.len() == 2).await;
    }
    assert!(stayd(&["kill", &words[0]]));
    assert_eq!(of_tree(&words[0]).len(), 0);
    assert_eq!((of_tree(&words[1]).len(), of_tree(&outer_word).len()), (2, 1));

    kill_watched(&api, &outer, &outer_word).await;
    assert_eq!(of_tree(&words[1]).len(), 2, "what is held lives on");
    let holder = std::fs::read_to_string(state.join("holder.pid")).unwrap();
    let holder = nix::unistd::Pid::from_raw(holder.trim().parse().unwrap());
    nix::sys::signal::kill(holder, nix::sys::signal::Signal::SIGTERM).unwrap();
    tree_until(&words[1], "the inner holder ends its sessions", <[Seen]>::is_empty).await;
}
