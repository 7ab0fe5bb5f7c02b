//! Shell integration: what a shell tells of its commands and its directory.

use crate::support::{Server, Terminal, soon};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Starts the server as it is.
const PLAIN: &str = "exec \"$0\" \"$@\"";
const STAYD: &str = env!("CARGO_BIN_EXE_stayd");

fn is_here(shell: &str) -> bool {
    Command::new(shell).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The session once its shell has told this.
async fn told(server: &Server, id: &str, what: &str, done: impl Fn(&Value) -> bool) -> Value {
    soon(what, async {
        loop {
            let session = server.api().session(id).await;
            if done(&session) {
                return session;
            }
            actix_web::rt::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

/// What a shell tells that has loaded the integration, in whatever way.
async fn tells(server: &Server, id: &str) {
    let (mut terminal, _) = Terminal::attach(server, id, "cols=80&rows=24").await;
    let prompt = |session: &Value| session["shell"]["state"] == "prompt";
    told(server, id, "a prompt", |session| prompt(session) && session["cwd_now"].is_string()).await;
    terminal.type_in("cd /usr/share\r").await;
    told(server, id, "the directory", |session| session["cwd_now"] == "/usr/share").await;
    terminal.type_in("cat 'no such;file é'\r").await;
    let failed = told(server, id, "the failure", |session| {
        prompt(session) && session["shell"]["command"] == "cat 'no such;file é'"
    })
    .await;
    assert_eq!(failed["shell"]["last_exit"], 1, "{failed}");
    terminal.type_in("cat\r").await;
    let running =
        told(server, id, "a command", |session| session["shell"]["state"] == "running").await;
    assert_eq!(running["shell"]["command"], "cat");
    assert_eq!(running["shell"]["ended_at"], Value::Null);
    terminal.type_in("\x04").await;
    let over = told(server, id, "its end", prompt).await;
    assert_eq!(over["shell"]["last_exit"], 0);
    // A command that begins with a blank is private.
    terminal.type_in(" true secret\r").await;
    let private = told(server, id, "a private command", |session| {
        prompt(session) && session["shell"]["started_at"] != over["shell"]["started_at"]
    })
    .await;
    assert_eq!(private["shell"]["command"], Value::Null);
}

#[actix_web::test]
#[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
async fn a_profile_loads_it_beside_what_the_user_has_set() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(".bashrc", "PROMPT_COMMAND=\"${PROMPT_COMMAND:+$PROMPT_COMMAND; }own=1\"; mine=read\n");
    write(".zshenv", "mine=read\n");
    write(".config/fish/config.fish", "set -g mine read\n");
    let mut settings = String::new();
    for shell in ["bash", "zsh", "fish"] {
        settings += &format!(
            "[profile.{shell}]\ncommand = [\"{shell}\"]\nshell_integration = true\n\
             env = {{ HOME = {:?}, XDG_CONFIG_HOME = {:?} }}\n",
            home.path(),
            home.path().join(".config"),
        );
    }
    let server = Server::start_by(Server::dir(), &settings, PLAIN).await;
    for shell in ["bash", "zsh", "fish"] {
        if !is_here(shell) {
            eprintln!("skipped: {shell} is not installed");
            continue;
        }
        let session = server.api().create(json!({ "profile": shell })).await;
        let id = session["id"].as_str().unwrap();
        tells(&server, id).await;
        let (mut terminal, _) = Terminal::attach(&server, id, "cols=80&rows=24").await;
        terminal.type_in("echo \"<$mine>$PROMPT_COMMAND$ZDOTDIR|\"\r").await;
        terminal.wait_for("<read>").await;
        terminal.wait_for("|").await;
        let shown = terminal.text();
        assert!(
            !shown.contains("STAYD_INTEGRATE\"|") && !shown.contains("integrate/zsh|"),
            "{shown}"
        );
    }
}

#[actix_web::test]
#[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
async fn a_line_in_the_shells_own_settings_loads_it() {
    let server = Server::start().await;
    let path = Path::new(STAYD).parent().unwrap().display();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap());
    for (shell, settings) in
        [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish/config.fish")]
    {
        if !is_here(shell) {
            eprintln!("skipped: {shell} is not installed");
            continue;
        }
        let home = tempfile::tempdir().unwrap();
        let install = || {
            let mut install = Command::new(STAYD);
            install.args(["integrate", shell, "--install"]).env("HOME", home.path());
            install.env_remove("ZDOTDIR").env_remove("XDG_CONFIG_HOME");
            let done = install.output().unwrap();
            assert!(done.status.success(), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        std::fs::create_dir_all(home.path().join(settings).parent().unwrap()).unwrap();
        std::fs::write(home.path().join(settings), "# mine").unwrap();
        assert!(install().starts_with("added to "));
        assert!(install().ends_with(" has the line already\n"));
        let text = std::fs::read_to_string(home.path().join(settings)).unwrap();
        assert_eq!((text.lines().count(), text.lines().next()), (2, Some("# mine")));
        let env = json!({
            "HOME": home.path(), "PATH": path, "XDG_CONFIG_HOME": home.path().join(".config"),
        });
        let session = server.api().create(json!({ "command": [shell], "env": env })).await;
        tells(&server, session["id"].as_str().unwrap()).await;
    }
}
