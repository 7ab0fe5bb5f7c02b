//! The hooks of Claude Code: how they get into its settings, and that they keep nobody waiting.

use crate::cli::code_and_text;
use crate::support::Server;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

const STAYD: &str = env!("CARGO_BIN_EXE_stayd");

/// Outside of any session, with this home.
fn integrate(home: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut stayd = Command::new(STAYD);
    stayd.args(["integrate", "claude"]).args(more).current_dir(home);
    stayd.env("HOME", home).env_remove("CLAUDE_CONFIG_DIR").env_remove("STAYD_SESSION");
    code_and_text(&stayd.output().expect("stayd runs"))
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON")
}

#[test]
fn hooks_are_added_to_what_there_is_and_removed_again() {
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join(".claude/settings.json");
    let (code, said) = integrate(home.path(), &["--install"]);
    assert_eq!(code, Some(0), "{said}");
    let (_, printed) = integrate(home.path(), &[]);
    assert_eq!(std::fs::read_to_string(&settings).unwrap(), printed);
    assert_eq!(settings.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let hooks = &read(&settings)["hooks"];
    let stop = hooks["Stop"][0]["hooks"][0]["command"].as_str().unwrap();
    assert!(stop.contains(&format!("exec {STAYD} report --hook --state done")), "{stop}");
    assert_eq!(hooks["PreToolUse"][0]["hooks"][0]["async"], true);
    assert_eq!(hooks["Notification"].as_array().unwrap().len(), 3);

    // Once; beside others; the file that a link leads to; its mode; a copy.
    let own = "{\n  \"model\": \"opus\",\n  \"hooks\": {\"Stop\": [{\"hooks\": []}]}\n}";
    let real = home.path().join("dotfiles.json");
    std::fs::write(&real, own).unwrap();
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::remove_file(&settings).unwrap();
    symlink(&real, &settings).unwrap();
    for (more, wanted) in [
        ("--install", "added the hooks"),
        ("--install", "has the hooks already"),
        ("--uninstall", "removed the hooks"),
        ("--uninstall", "has none of the hooks"),
    ] {
        let (code, said) = integrate(home.path(), &[more]);
        assert!(code == Some(0) && said.contains(wanted), "{more}: {said}");
        assert!(settings.symlink_metadata().unwrap().is_symlink());
        assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        if wanted.starts_with("added") {
            let copy = home.path().join("dotfiles.json.before-stayd");
            assert_eq!(std::fs::read_to_string(copy).unwrap(), own);
            assert_eq!(read(&real)["hooks"]["Stop"][0], json!({ "hooks": [] }));
            assert_eq!(read(&real)["model"], "opus");
        }
    }
    assert_eq!(read(&real), serde_json::from_str::<Value>(own).unwrap());
    let names = std::fs::read_dir(home.path()).unwrap().count();
    assert_eq!(names, 3, "nothing else is left");

    // A project's settings name no path.
    let (code, said) = integrate(home.path(), &["--install", "--project"]);
    assert!(code == Some(0), "{said}");
    let project = read(&home.path().join(".claude/settings.json"));
    let stop = project["hooks"]["Stop"][1]["hooks"][0]["command"].as_str().unwrap();
    assert!(stop.contains("exec stayd report --hook"), "{stop}");
}

#[test]
fn settings_that_cannot_be_read_stay_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join(".claude/settings.json");
    std::fs::create_dir(home.path().join(".claude")).unwrap();
    for broken in ["{", "[1]", "{\"hooks\": 7}", "{ // comments\n}"] {
        std::fs::write(&settings, broken).unwrap();
        for more in ["--install", "--uninstall"] {
            let (code, said) = integrate(home.path(), &[more]);
            assert!(code == Some(1) && said.contains("nothing was changed"), "{broken}: {said}");
            assert_eq!(std::fs::read_to_string(&settings).unwrap(), broken);
        }
    }
    std::fs::remove_file(&settings).unwrap();
    symlink(home.path().join("nowhere.json"), &settings).unwrap();
    let (code, said) = integrate(home.path(), &["--install"]);
    assert!(code == Some(1) && said.contains("settings of Claude Code"), "{said}");
    for program in ["codex", "gemini"] {
        let mut stayd = Command::new(STAYD);
        let (code, said) = code_and_text(&stayd.args(["integrate", program]).output().unwrap());
        assert!(code == Some(0) && said.contains(" report --hook --state done"), "{said}");
        let mut stayd = Command::new(STAYD);
        let refused = stayd.args(["integrate", program, "--install"]).output().unwrap();
        assert_eq!(code_and_text(&refused).0, Some(2));
    }
}

/// Runs a hook with this on its standard input; whether all of it was taken.
fn run(command: &str, input: &[u8], session: Option<(&Server, &str)>) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped());
    shell.stderr(Stdio::piped()).env_remove("STAYD_SESSION").env("HOME", "/nonexistent");
    if let Some((server, id)) = session {
        shell.env("STAYD_SESSION", id).env("STAYD_STATE_DIR", server.state());
    }
    let mut hook = shell.spawn().expect("a shell");
    let taken = hook.stdin.take().expect("a pipe").write_all(input).is_ok();
    let output = hook.wait_with_output().expect("its end");
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    taken
}

#[actix_web::test]
async fn a_hook_takes_all_that_it_is_given_and_never_fails() {
    let home = tempfile::tempdir().unwrap();
    let (_, printed) = integrate(home.path(), &[]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let hook = |event: &str| {
        printed["hooks"][event][0]["hooks"][0]["command"].as_str().unwrap().to_owned()
    };
    let long = "word ".repeat(60_000);
    let input = json!({ "tool_name": "Bash", "tool_input": { "command": long },
                        "last_assistant_message": long });
    let input = input.to_string();
    assert!(run(&hook("Stop"), input.as_bytes(), None), "outside of sessions");
    assert!(run(&hook("PostToolUse"), input.as_bytes(), None));
    assert!(run(&hook("Stop"), &[b'x'; 3 << 20], None));
    assert!(run(&hook("Stop").replace(STAYD, "/nonexistent/stayd"), b"", None));

    let server = Server::start().await;
    let api = server.api();
    let id = api.run("exec sleep 1000").await;
    for (event, state, message) in
        [("PermissionRequest", "blocked", "Bash: word word"), ("Stop", "done", "word word")]
    {
        assert!(run(&hook(event), input.as_bytes(), Some((&server, &id))));
        let attention = api.session(&id).await["attention"].clone();
        assert_eq!(attention["state"], state, "{attention}");
        let said = attention["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{said}");
    }
    // The hook that was started last counts, whichever comes first.
    // It waits for the end of its input, of which it needs the message.
    let script = format!("exec {STAYD} report --hook --state working --message-from message");
    let mut early = Command::new("sh");
    early.args(["-c", &script]).stdin(Stdio::piped());
    early.env("STAYD_SESSION", &id).env("STAYD_STATE_DIR", server.state());
    let mut early = early.spawn().unwrap();
    assert!(run(&hook("Stop"), b"{\"last_assistant_message\":\"all\"}", Some((&server, &id))));
    drop(early.stdin.take());
    assert!(early.wait().unwrap().success());
    let attention = api.session(&id).await["attention"].clone();
    assert_eq!((&attention["state"], &attention["message"]), (&json!("done"), &json!("all")));
}
