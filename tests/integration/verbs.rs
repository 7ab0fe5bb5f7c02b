//! What the verbs tell about sessions and settings, to people and to programs.

use crate::cli::{OnTerminal, code_and_text, stayd, verb};
use crate::events::Events;
use crate::support::Server;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// What a verb prints, as JSON, and its exit code.
fn printed(server: &Server, args: &[&str]) -> (Option<i32>, Value) {
    let output = verb(server, args);
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"));
    (output.status.code(), json)
}

#[actix_web::test]
async fn one_session_is_told_alive_and_ended_by_its_name() {
    let server = Server::start().await;
    let run = ["run", "-d", "--json", "--name", "日本", "--label", "team=a", "-l", "x=y=z"];
    let restart = ["--restart", "on-failure", "--idle-timeout", "never", "--", "sleep", "1000"];
    let (code, session) = printed(&server, &[&run[..], &restart].concat());
    assert_eq!(code, Some(0));
    assert_eq!(session["labels"], json!({ "team": "a", "x": "y=z" }));
    assert_eq!(session["idle_timeout_s"], Value::Null);
    let id = session["id"].as_str().expect("id");

    let (code, text) = code_and_text(&verb(&server, &["info", "日本"]));
    assert_eq!(code, Some(0));
    let line = |word: &str| {
        let line = text.lines().find(|line| line.starts_with(word)).expect(word);
        line[word.len()..].trim().to_owned()
    };
    assert_eq!((line("id"), line("status")), (id.to_owned(), "RUNNING".to_owned()));
    assert_eq!((line("command"), line("idle timeout")), ("sleep 1000".into(), "never".into()));
    assert_eq!(line("labels"), "team=a x=y=z");
    assert!(text.contains("size           80×24\n"), "{text}");

    let (code, killed) = printed(&server, &["kill", "--json", "日本", "nobody"]);
    assert_eq!(code, Some(3), "nobody could not be killed");
    assert_eq!(killed["sessions"][0]["end_reason"], "killed");
    assert_eq!(killed["sessions"].as_array().map(Vec::len), Some(1));

    // What has ended is found by its name and the beginning of its id.
    for word in ["日本", &id[..35]] {
        let (code, ended) = printed(&server, &["info", "--json", word]);
        assert_eq!((code, &ended["id"]), (Some(0), &json!(id)));
    }
    let (_, history) = printed(&server, &["history", "--json", "日本"]);
    let last = history["transitions"].as_array().and_then(|rows| rows.last()).expect("rows");
    assert_eq!(last["reason"], "killed");
    let (code, table) = code_and_text(&verb(&server, &["history", "日本"]));
    assert_eq!(code, Some(0));
    assert!(table.starts_with("AT ") && table.contains("RUNNING") && table.contains("killed"));
    assert_eq!(verb(&server, &["info", "nobody"]).status.code(), Some(3));
    assert_eq!(verb(&server, &["history", "nobody"]).status.code(), Some(3));
}

#[actix_web::test]
async fn lists_are_chosen_by_label_and_cut_to_words() {
    let server = Server::start().await;
    for (name, team) in [("one", "a"), ("two", "b")] {
        let label = format!("team={team}");
        let run = ["run", "-d", "-n", name, "-l", &label, "--", "sleep", "1000"];
        assert_eq!(verb(&server, &run).status.code(), Some(0));
    }
    let (code, id) = code_and_text(&verb(&server, &["run", "-d", "--", "sleep", "1000"]));
    assert_eq!(code, Some(0));
    assert_eq!(code_and_text(&verb(&server, &["ls", "-q"])).1, format!("{id}two\none\n"));
    assert_eq!(code_and_text(&verb(&server, &["ls", "-q", "-l", "team=b"])).1, "two\n");
    let (_, listed) = printed(&server, &["ls", "--json", "--label", "team=a"]);
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["sessions"][0]["name"], "one");
    assert_eq!(verb(&server, &["ls", "-l", "team"]).status.code(), Some(2));
    let (code, text) = code_and_text(&verb(&server, &["ls", "-q", "-l", "taem=b"]));
    assert_eq!((code, &*text), (Some(0), "stayd: no live session has a label \"taem\"\n"));
    assert_eq!(
        code_and_text(&verb(&server, &["ls", "-q", "-l", "team=c"])).1,
        "",
        "the key is there"
    );

    // Whoever wants the one that is there gets it, and a new one where there is none.
    let (_, one) = printed(&server, &["run", "-d", "-A", "-n", "one", "--json"]);
    assert_eq!(one["id"], listed["sessions"][0]["id"]);
    let (_, three) = printed(&server, &["run", "-dA", "-n", "three", "--json"]);
    assert_eq!(three["name"], "three");
    assert_eq!(verb(&server, &["run", "-d", "-n", "one"]).status.code(), Some(1));
    assert_eq!(verb(&server, &["run", "-d", "-A"]).status.code(), Some(2), "which name?");
}

#[actix_web::test]
async fn programs_get_json_from_what_changes_and_waits() {
    let server = Server::start().await;
    server.api().create(json!({ "name": "web", "profile": "bash" })).await;
    let (code, sent) = printed(&server, &["send", "web", "echo $((6*7))", "--enter", "--json"]);
    assert_eq!((code, &sent["typed"]), (Some(0), &json!(14)));
    let (code, screen) = printed(&server, &["wait", "web", "--regex", "^42$", "--json"]);
    assert_eq!((code, &screen["cols"]), (Some(0), &json!(80)));
    let wait = ["wait", "web", "--text", "never there", "--timeout", "0.1", "--json"];
    let (code, screen) = printed(&server, &wait);
    assert!(code == Some(124) && screen["lines"].is_array(), "{code:?} {screen}");
    // What is on the screen already is not waited for by what follows a `send`.
    let old = ["wait", "web", "--regex", "^42$", "--from-now", "--timeout", "0.1"];
    assert_eq!(verb(&server, &old).status.code(), Some(124));
    let next = ["send", "web", "echo $((6*7))", "-e", "--wait-regex", "^42$", "--timeout", "30"];
    assert_eq!(verb(&server, &next).status.code(), Some(0));
    let (_, sent) = printed(&server, &["send", "web", "echo $((6*7))", "-e", "--json"]);
    let after = sent["offset"].to_string();
    let exact = ["wait", "web", "--regex", "^42$", "--after", &after, "--timeout", "30"];
    assert_eq!(verb(&server, &exact).status.code(), Some(0));
    let never = ["send", "web", "true", "-e", "--wait-text", "never there", "--timeout", "0.1"];
    assert_eq!(verb(&server, &never).status.code(), Some(124));
    assert_eq!(verb(&server, &["send", "web", "x", "--timeout", "1"]).status.code(), Some(2));
    let (_, shown) = printed(&server, &["screen", "web", "--json"]);
    assert!(shown["lines"].to_string().contains("42"), "{shown}");
    let (_, renamed) = printed(&server, &["rename", "web", "other", "--json"]);
    assert_eq!(renamed["name"], "other");
    assert_eq!(verb(&server, &["send", "other", "exit 6", "-e"]).status.code(), Some(0));
    let (code, ended) = printed(&server, &["wait", "other", "--exit", "--json"]);
    assert_eq!((code, &ended["exit_code"]), (Some(6), &json!(6)));
    assert_eq!(verb(&server, &["wait", "other", "--exit"]).status.code(), Some(6), "by its name");
}

#[actix_web::test]
async fn profiles_are_listed() {
    let server = Server::start().await;
    let (code, listed) = printed(&server, &["profiles", "--json"]);
    assert_eq!(code, Some(0));
    let names = listed["profiles"].as_array().expect("profiles").iter();
    let names: Vec<_> = names.filter_map(|profile| profile["name"].as_str()).collect();
    assert_eq!(names, ["bash", "claude", "shell"]);
    let (code, table) = code_and_text(&verb(&server, &["profiles"]));
    assert_eq!(code, Some(0));
    let bash = table.lines().find(|line| line.starts_with("bash ")).expect("a line for it");
    assert!(bash.contains("1800 s") && bash.ends_with("bash --norc --noprofile"), "{table}");
    assert_eq!(code_and_text(&verb(&server, &["profiles", "-q"])).1, "bash\nclaude\nshell\n");
}

#[actix_web::test]
async fn limits_and_rights_of_a_profile_are_told_with_it_and_with_its_sessions() {
    let settings = "[profile.small]\ncommand = [\"cat\"]\ncontrol = \"viewer\"\n\
        limits = { nofile = 100, core = \"2M\" }\n";
    let server = Server::start_by(Server::dir(), settings, "exec \"$0\" \"$@\"").await;
    let (_, listed) = printed(&server, &["profiles", "--json"]);
    let mut profiles = listed["profiles"].as_array().expect("profiles").iter();
    let small = profiles.find(|profile| profile["name"] == "small").expect("it");
    assert_eq!((&small["control"], &small["limits"]["core"]), (&json!("viewer"), &json!(2 << 20)));
    let (_, table) = code_and_text(&verb(&server, &["profiles"]));
    let line = table.lines().find(|line| line.starts_with("small ")).expect("a line for it");
    assert!(line.contains("viewer") && line.contains("core=2M nofile=100"), "{table}");
    assert_eq!(verb(&server, &["run", "-d", "-n", "s", "-p", "small"]).status.code(), Some(0));
    let (_, text) = code_and_text(&verb(&server, &["info", "s"]));
    let line = |word: &str| text.lines().find(|line| line.starts_with(word)).expect(word);
    assert!(line("control").ends_with(" viewer"), "{text}");
    assert!(line("limits").ends_with(" core=2M nofile=100"), "{text}");
}

#[actix_web::test]
async fn an_exit_code_is_no_error_to_people() {
    let server = Server::start().await;
    assert_eq!(
        verb(&server, &["run", "-d", "-n", "e", "sh", "-c", "exit 7"]).status.code(),
        Some(0)
    );
    assert_eq!(verb(&server, &["wait", "e", "--exit"]).status.code(), Some(7));
    for args in [&["ls", "--all"][..], &["ls", "--ended"], &["info", "e"], &["history", "e"]] {
        let (code, text) = code_and_text(&verb(&server, args));
        assert_eq!(code, Some(0));
        assert!(!text.contains("ERROR") && text.contains("exited"), "{args:?}: {text}");
    }
    assert!(code_and_text(&verb(&server, &["info", "e"])).1.contains("exited 7\n"));
}

#[actix_web::test]
async fn all_sessions_are_ended_once_that_is_confirmed() {
    let server = Server::start().await;
    for name in ["one", "two"] {
        server.api().create(json!({ "name": name, "profile": "bash" })).await;
    }
    let (code, text) = code_and_text(&verb(&server, &["kill", "--all"]));
    assert!(code == Some(2) && text.contains("add --yes"), "{text}");
    let mut no = OnTerminal::start(&server, &["kill", "--all"]);
    no.wait_for(b"End 2 sessions, with everything that runs in them? [y/N] ");
    no.type_in(b"n\r");
    assert_eq!(no.status(), Some(1));
    assert_eq!(code_and_text(&verb(&server, &["ls", "-q"])).1, "two\none\n");
    let mut yes = OnTerminal::start(&server, &["kill", "--all"]);
    yes.wait_for(b"[y/N] ");
    yes.type_in(b"y\r");
    yes.wait_for(b"stayd: ended 2 sessions");
    assert_eq!(yes.status(), Some(0));
    let (code, text) = code_and_text(&verb(&server, &["kill", "--all", "--yes"]));
    assert_eq!((code, &*text), (Some(0), "stayd: ended 0 sessions\n"));
    assert_eq!(verb(&server, &["kill", "--all", "one"]).status.code(), Some(2));
}

#[actix_web::test]
async fn what_has_ended_is_removed_and_what_runs_is_not() {
    let server = Server::start().await;
    let api = server.api();
    for name in ["runs", "a", "b", "c"] {
        api.create(json!({ "name": name, "profile": "bash" })).await;
    }
    assert_eq!(verb(&server, &["kill", "a", "b", "c"]).status.code(), Some(0));
    let mut events = Events::listen(&api, "type=removed", None).await;
    let (code, removed) = printed(&server, &["rm", "a", "runs", "nobody", "--json"]);
    assert_eq!((code, &removed["sessions"][0]["name"]), (Some(1), &json!("a")));
    let removed = &removed["sessions"][0]["id"];
    let (_, text) = code_and_text(&verb(&server, &["rm", "runs"]));
    assert_eq!(text, "stayd: runs: it still runs; `stayd kill runs` ends it\n");
    let told = events.next().await;
    assert_eq!((told.kind.as_str(), &told.data["session"]), ("session.removed", removed));
    let (_, log) = printed(&server, &["audit", "--json", "--limit", "1"]);
    let detail = format!("remove session {}", removed.as_str().expect("an id"));
    assert_eq!(log["detail"], detail);
    assert_eq!(code_and_text(&verb(&server, &["ls", "--ended", "-q"])).1, "c\nb\n");
    let (code, text) = code_and_text(&verb(&server, &["rm", "--ended"]));
    assert_eq!((code, &*text), (Some(0), "stayd: removed 2 sessions\n"));
    assert_eq!(code_and_text(&verb(&server, &["ls", "--all", "-q"])).1, "runs\n");

    // Somebody else's token of a lesser role may not.
    let (_, token) = code_and_text(&verb(&server, &["token", "add", "t"]));
    api.create(json!({ "name": "d", "profile": "bash" })).await;
    assert_eq!(verb(&server, &["kill", "d"]).status.code(), Some(0));
    let output = stayd(&server, &["rm", "d"]).env("STAYD_TOKEN", token.trim()).output();
    let (code, text) = code_and_text(&output.expect("runs"));
    assert!(code == Some(1) && text.contains("needs admin"), "{text}");
}

#[actix_web::test]
async fn sessions_are_run_again() {
    let server = Server::start().await;
    for name in ["one", "two"] {
        let run = ["run", "-d", "-n", name, "--", "bash", "-c", "echo up; sleep 1000"];
        assert_eq!(verb(&server, &run).status.code(), Some(0));
    }
    let (_, two) = printed(&server, &["kill", "two", "--json"]);
    let (code, again) = printed(&server, &["restart", "one", "two", "nobody", "--json"]);
    assert_eq!(code, Some(3), "nobody could not be");
    let sessions = again["sessions"].as_array().expect("sessions");
    assert_eq!(sessions.len(), 2);
    assert!(sessions.iter().all(|session| session["restarts"] == 1), "{again}");
    assert_eq!(sessions[1]["id"], two["sessions"][0]["id"]);
    let wait = ["wait", "one", "--regex", "(?s)up.*up", "--scrollback", "100", "--timeout", "20"];
    assert_eq!(verb(&server, &wait).status.code(), Some(0));
    let (_, text) = code_and_text(&verb(&server, &["info", "two"]));
    assert!(text.contains("restarts       1\n"), "{text}");
}

#[actix_web::test]
async fn a_wrong_token_is_told_as_such() {
    let server = Server::start().await;
    let output = stayd(&server, &["ls"]).env("STAYD_TOKEN", "x".repeat(20)).output().expect("runs");
    let (code, text) = code_and_text(&output);
    assert!(code == Some(1) && text.contains("STAYD_TOKEN"), "{code:?} {text}");
    assert!(!text.contains("xxxxxxxx"), "{text}");
}

#[test]
fn settings_are_printed_and_looked_at() {
    let dir = tempfile::tempdir().expect("directory");
    let file = dir.path().join("stayd.toml");
    let stayd = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stayd"));
        command.arg("--config").arg(&file).args(args).env("HOME", dir.path()).stdin(Stdio::null());
        code_and_text(&command.output().expect("stayd runs"))
    };
    let (code, reference) = stayd(&["config", "--reference"]);
    assert!(code == Some(0) && reference.contains("\n#ring_bytes = 2097152\n"), "{reference}");
    std::fs::write(&file, reference).expect("written");
    let (code, text) = stayd(&["config", "--check"]);
    assert!(code == Some(0) && text.contains("is right; `stayd doctor`"), "{text}");
    for (settings, wanted) in [
        ("\n\nring_bytes = 5", "line 3: ring_bytes: expected a power of two"),
        ("\n[profile.x]\ncwd = '/'", "line 2: profile.x.command: missing"),
        ("\n[profile.x]\ncwd = '/'\ncommand = ['']", "line 4: profile.x.command: expected"),
        ("\nlistn = 5", "at line 2"),
        ("listen = '0.0.0.0:7829'", "0.0.0.0:7829"),
    ] {
        std::fs::write(&file, settings).expect("written");
        let (code, text) = stayd(&["config", "--check"]);
        assert!(code == Some(2) && text.contains(wanted), "{wanted}: {text}");
    }
    assert_eq!(stayd(&["config"]).0, Some(2));
}

/// bash asks the program for the names that it completes.
#[actix_web::test]
async fn bash_completes_the_names_of_sessions() {
    let server = Server::start().await;
    for name in ["build", "bench", "other"] {
        server.api().create(json!({ "name": name, "profile": "bash" })).await;
    }
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_stayd")).parent().expect("a directory");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let complete = |line: &str| {
        let script = format!(
            "source <(stayd completions bash); COMP_WORDS=({line}); COMP_CWORD=$(({}-1)); \
             _stayd_sessions stayd \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.split(' ').count()
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .env("PATH", &path)
            .env("STAYD_STATE_DIR", server.state())
            .output();
        code_and_text(&output.expect("bash runs")).1
    };
    let mut names: Vec<_> = complete("stayd attach b").lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["bench", "build"]);
    assert_eq!(complete("stayd kill other bu"), "build\n");
    assert_eq!(complete("stayd run --profile ba"), "bash\n");
    assert_eq!(complete("stayd rm be"), "\n", "it has not ended");
    assert_eq!(verb(&server, &["kill", "bench"]).status.code(), Some(0));
    assert_eq!(complete("stayd rm b"), "bench\n");
    assert!(complete("stayd kill --js").contains("--json"));
    assert!(complete("stayd kil").contains("kill"));
}

#[actix_web::test]
async fn what_has_ended_is_said_to_have_ended_by_every_verb_that_needs_it_alive() {
    let server = Server::start().await;
    let started = verb(&server, &["run", "-d", "--name", "e", "sh", "-c", "exit 5"]);
    assert_eq!(started.status.code(), Some(0), "{started:?}");
    assert_eq!(verb(&server, &["wait", "e", "--exit"]).status.code(), Some(5));
    for args in [&["attach", "e"][..], &["send", "e", "x"], &["kill", "e"], &["rename", "e", "f"]] {
        let (code, text) = code_and_text(&verb(&server, args));
        assert_eq!(code, Some(3), "{args:?}: {text}");
        assert!(text.starts_with("stayd: e has ended (exited 5, "), "{args:?}: {text}");
    }
    let (code, text) = code_and_text(&verb(&server, &["kill", "nobody"]));
    assert_eq!((code, text.as_str()), (Some(3), "stayd: no such session: nobody\n"));
}

#[actix_web::test]
async fn a_directory_in_the_home_directory_is_the_servers() {
    let server = Server::start().await;
    let args = ["run", "-d", "--json", "--cwd=~", "cat"];
    let (code, session) = printed(&server, &args);
    let state = server.state();
    let home = state.parent().expect("the home directory, above it");
    assert_eq!((code, &session["cwd"]), (Some(0), &json!(home)));
    let (code, text) = code_and_text(&verb(&server, &["run", "-d", "--cwd=~nobody/x", "cat"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("~NAME is not understood"), "{text}");
}

#[actix_web::test]
async fn logins_are_listed_and_ended() {
    let server = Server::start().await;
    let api = server.api();
    let login = json!({ "token": server.token() }).to_string();
    assert_eq!(api.post("/api/v1/login", login).await.status.as_u16(), 204);
    let (code, listed) = printed(&server, &["logins", "--json"]);
    let id = listed["logins"][0]["id"].as_str().expect("an id");
    assert_eq!((code, &listed["logins"][0]["principal"]), (Some(0), &json!("owner")));
    let (code, table) = code_and_text(&verb(&server, &["logins"]));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 2), "{table}");
    assert!(lines[0].starts_with("ID ") && lines[1].starts_with(id), "{table}");
    assert_eq!(verb(&server, &["logins", "rm", id]).status.code(), Some(0));
    assert_eq!(verb(&server, &["logins"]).stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
    let (code, text) = code_and_text(&verb(&server, &["logins", "rm", id]));
    assert!(code != Some(0) && text.contains(id), "{text}");
}
