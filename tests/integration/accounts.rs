//! Sessions of a profile with `user`: whose they are, what they may not do, and that they end like
//! all others. Only root can start them.

use crate::support::{Api, Server, Terminal, lives, soon};
use actix_http::Method;
use nix::unistd::Uid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;
use tempfile::TempDir;

const STAYD: &str = env!("CARGO_BIN_EXE_stayd");
const UID: u32 = 51_234;
const GID: u32 = 51_235;
const BAND: u32 = 51_236;

pub(crate) fn is_root() -> bool {
    if !Uid::effective().is_root() {
        eprintln!("skipped: only root can start sessions as another user");
    }
    Uid::effective().is_root()
}

/// An account `anna` with a home and two groups, which only the processes of one mount namespace
/// know.
struct Anna {
    dir: TempDir,
}

impl Anna {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        chown(&home, Some(UID), Some(GID)).unwrap();
        let anna = Anna { dir };
        let own = [
            format!("anna:x:{UID}:{GID}::{}:/bin/bash\n", home.display()),
            format!("anna:x:{GID}:\nband:x:{BAND}:anna\nother:x:51237:bert\n"),
        ];
        for (file, own) in ["passwd", "group"].iter().zip(own) {
            let all = std::fs::read_to_string(format!("/etc/{file}")).unwrap() + &own;
            std::fs::write(anna.file(file), all).unwrap();
        }
        anna
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn home(&self) -> String {
        self.file("home").to_str().unwrap().to_owned()
    }

    /// Executes its arguments where there is an anna.
    fn script(&self) -> String {
        let bind = |file: &str| format!("mount --bind {} /etc/{file}", self.file(file).display());
        let (passwd, group) = (bind("passwd"), bind("group"));
        format!(
            "exec unshare --mount sh -c '{passwd} && {group} && exec \"$0\" \"$@\"' \"$0\" \"$@\""
        )
    }

    async fn server(&self, settings: &str) -> Server {
        Server::start_by(Server::dir(), settings, &self.script()).await
    }
}

/// Waits for a line of the output that begins with this word; all lines `WORD …` until then.
pub(crate) async fn told(api: &Api, id: &str, last: &str) -> BTreeMap<String, String> {
    soon(last, async {
        loop {
            let output = api.get(&format!("/api/v1/sessions/{id}/output")).await.bytes;
            let output = String::from_utf8_lossy(&output).into_owned();
            let lines = output.lines().filter_map(|line| line.trim_end().split_once(' '));
            let lines: BTreeMap<_, _> =
                lines.map(|(word, rest)| (word.to_owned(), rest.trim().to_owned())).collect();
            if lines.contains_key(last) {
                return lines;
            }
            actix_web::rt::task::yield_now().await;
        }
    })
    .await
}

/// Everything that a process can say of itself, and a child that leaves the terminal.
const SELF: &str = r#"
    for field in Uid Gid Groups CapInh CapPrm CapEff CapAmb; do
        echo "$field $(grep "^$field:" /proc/self/status | cut -f2- | tr '\t' ' ')"
    done
    echo "home $HOME"; echo "user $USER $LOGNAME"; echo "shell $SHELL"; echo "cwd $PWD"
    echo "secret <$SECRET>"
    echo "tty $(stat -c '%u %g %a' "$(tty)")"
    echo "written to the terminal by its name" >"$(tty)"
    echo "nofile $(ulimit -Sn) $(ulimit -Hn)"; echo "core $(ulimit -Hc)"
    echo "nproc $(ulimit -Hu)"; echo "as $(ulimit -Hv)"
    echo "oom $(cat /proc/self/oom_score_adj)"
    echo "shadow $(cat /etc/shadow 2>&1 | tail -c 18)"
    setsid sh -c 'trap "" HUP TERM; echo "stray $$"; exec sleep 1000' &
    wait
"#;

#[actix_web::test]
async fn files_are_refused_for_another_account_also_while_it_runs_a_program_as_root() {
    if !is_root() {
        return;
    }
    let anna = Anna::new();
    let settings = "[profile.anna]\ncommand = [\"bash\", \"--norc\"]\nuser = \"anna\"\n";
    let server = anna.server(settings).await;
    let api = server.api();
    // su asks for a password: it runs as root, and for anna.
    for (command, said) in [("echo ready; exec sleep 1000", "ready"), ("exec su", "assword")] {
        let command = json!({ "profile": "anna", "command": ["bash", "-c", command] });
        let session = api.create(command).await;
        let id = session["id"].as_str().unwrap();
        let (mut terminal, _) = Terminal::attach(&server, id, "").await;
        terminal.wait_for(said).await;
        let files = format!("/api/v1/sessions/{id}/files");
        let read = api.get(&format!("{files}?path=/etc/shadow")).await;
        assert_eq!((read.status.as_u16(), &read.json()["code"]), (409, &json!("file_refused")));
        let written = api.send(Method::PUT, &format!("{files}?name=a&upload=k&total=1"), "x").await;
        assert_eq!(written.status.as_u16(), 409, "{said}");
    }
}

#[actix_web::test]
async fn a_session_is_the_accounts_and_has_its_limits_and_ends_whole() {
    if !is_root() {
        return;
    }
    let anna = Anna::new();
    let settings = "[profile.anna]\ncommand = [\"bash\", \"--norc\"]\nuser = \"anna\"\n\
        limits = { nofile = 64, nproc = 50, as = \"1G\", core = 0 }\n\
        [profile.shell]\nuser = \"anna\"\n";
    let server = anna.server(settings).await;
    let api = server.api();
    let shown = api.get("/api/v1/profiles").await.ok(200);
    let shown = shown["profiles"].as_array().unwrap();
    assert_eq!((&shown[0]["user"], &shown[0]["cwd"]), (&json!("anna"), &json!(anna.home())));
    assert_eq!(shown[2]["command"], json!(["/bin/bash"]), "the shell of the account");
    assert_eq!(shown[1].get("user"), None);

    let command = json!(["bash", "-c", SELF]);
    let session = api.create(json!({ "profile": "anna", "command": command })).await;
    assert_eq!(session["cwd"], anna.home());
    let id = session["id"].as_str().unwrap();
    let told = told(&api, id, "stray").await;
    let is = |word: &str, expected: &str| {
        assert_eq!(told.get(word).map(String::as_str), Some(expected), "{word} of {told:#?}");
    };
    is("Uid", &[UID.to_string().as_str(); 4].join(" "));
    is("Gid", &[GID.to_string().as_str(); 4].join(" "));
    let mut groups: Vec<&str> = told["Groups"].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, [GID.to_string(), BAND.to_string()]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        is(set, "0000000000000000");
    }
    is("home", &anna.home());
    is("cwd", &anna.home());
    is("user", "anna anna");
    is("shell", "/bin/bash");
    is("secret", "<>");
    let tty = nix::unistd::Group::from_name("tty").unwrap();
    let (group, mode) = tty.map_or((0, 600), |group| (group.gid.as_raw(), 620));
    is("tty", &format!("{UID} {group} {mode}"));
    is("written", "to the terminal by its name");
    is("nofile", "64 64");
    is("core", "0");
    is("nproc", "50");
    is("as", "1048576");
    is("shadow", "Permission denied");
    assert!(told["oom"].parse::<i32>().unwrap() >= 200, "{told:#?}");

    let stray = &told["stray"];
    assert!(lives(stray));
    api.delete(&format!("/api/v1/sessions/{id}")).await.ok(200);
    let ended = api.ended(id).await;
    assert_eq!((&ended["status"], &ended["end_reason"]), (&json!("TERMINATED"), &json!("killed")));
    assert!(!lives(stray), "what left the terminal is ended, too");

    // Sessions without a profile are root's, as ever.
    let id = api.run("echo \"uid $(id -u)\"; echo \"cwd $PWD\"").await;
    assert_eq!(told_uid(&api, &id).await, "0");
}

async fn told_uid(api: &Api, id: &str) -> String {
    told(api, id, "uid").await["uid"].clone()
}

/// What the server's own start has left in it does not reach the session: securebits that would keep
/// capabilities over a change of the user, and capabilities that programs inherit.
#[actix_web::test]
async fn no_capability_comes_through_whatever_the_server_has() {
    let kept = "+setuid,+setgid,+setpcap,+chown,+fowner,+kill,+dac_override,+sys_ptrace,+net_admin";
    let privileges =
        format!("--inh-caps {kept} --ambient-caps {kept} --securebits +no_setuid_fixup,+noroot");
    let set = Command::new("sh").args(["-c", &format!("setpriv {privileges} true")]).output();
    if !is_root() || !set.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no root that could set securebits");
        return;
    }
    let settings = "[profile.x]\ncommand = [\"bash\"]\nuser = \"nobody\"\n";
    let script = format!("exec setpriv {privileges} \"$0\" \"$@\"");
    let server = Server::start_by(Server::dir(), settings, &script).await;
    let api = server.api();
    let say = "for field in CapInh CapPrm CapEff CapAmb; do \
        echo \"$field $(grep ^$field: /proc/self/status | cut -f2)\"; done; \
        grep -q . /proc/1/environ 2>/dev/null; echo \"code $?\"";
    let command = json!(["bash", "-c", say]);
    let own = api.create(json!({ "command": command })).await;
    let own = told(&api, own["id"].as_str().unwrap(), "code").await;
    assert_ne!(own["CapAmb"], "0000000000000000", "those of the server itself do: {own:?}");
    let session = api.create(json!({ "profile": "x", "command": command })).await;
    let told = told(&api, session["id"].as_str().unwrap(), "code").await;
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(told[set], "0000000000000000", "{set} of {told:?}");
    }
    assert_ne!(told["code"], "0", "it reads nothing of root's");
}

/// A directory, a program or a variable of the request is looked up and used with the account's
/// rights, not with the server's.
#[actix_web::test]
async fn nothing_of_a_request_is_done_with_the_servers_rights() {
    if !is_root() {
        return;
    }
    let anna = Anna::new();
    let server = anna.server("[profile.anna]\ncommand = [\"bash\"]\nuser = \"anna\"\n").await;
    let api = server.api();
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let refused = |body: Value, step: &'static str| {
        let api = api.clone();
        async move {
            let problem = api.post("/api/v1/sessions", body.to_string()).await;
            let problem = problem.problem(422, "spawn_failed");
            assert_eq!((&problem["step"], &problem["errno"]), (&json!(step), &json!(libc::EACCES)));
        }
    };
    let cwd = closed.path().to_str().unwrap();
    refused(json!({ "profile": "anna", "cwd": cwd }), "chdir").await;
    let program = closed.path().join("program");
    std::fs::write(&program, "#!/bin/sh\nid -u\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    refused(json!({ "profile": "anna", "command": [program] }), "exec").await;
    // What is relative begins at the account's home.
    let session = api.create(json!({ "profile": "anna", "cwd": "." })).await;
    assert_eq!(session["cwd"], format!("{}/.", anna.home()));
}

#[actix_web::test]
async fn an_account_that_has_gone_is_an_error_that_names_it() {
    if !is_root() {
        return;
    }
    let anna = Anna::new();
    let server = anna.server("[profile.anna]\ncommand = [\"bash\"]\nuser = \"anna\"\n").await;
    let api = server.api();
    let session = json!({ "profile": "anna", "command": ["sh", "-c", "exit 3"] });
    let ended = api.create(session.clone()).await["id"].as_str().unwrap().to_owned();
    api.ended(&ended).await;
    // Written in place: the bind mount shows this file.
    std::fs::copy("/etc/passwd", anna.file("passwd")).unwrap();
    let refused = api.post("/api/v1/sessions", session.to_string()).await;
    let refused = refused.problem(400, "invalid_request");
    assert!(refused["detail"].as_str().unwrap().contains("no account \"anna\""), "{refused}");
    let again = api.post(&format!("/api/v1/sessions/{ended}/restart"), "").await;
    assert!(String::from_utf8_lossy(&again.bytes).contains("no account"), "{:?}", again.bytes);
}

/// Without its profile nobody knows under which account a session has run: it never runs as root
/// instead.
#[actix_web::test]
async fn a_session_whose_profile_has_gone_is_not_started_again_as_root() {
    if !is_root() {
        return;
    }
    let settings = "[profile.x]\ncommand = [\"bash\"]\nuser = \"nobody\"\n";
    let run = "exec \"$0\" \"$@\"";
    let mut server = Server::start_by(Server::dir(), settings, run).await;
    let command = json!(["sh", "-c", "echo uid $(id -u)"]);
    let session = server.api().create(json!({ "profile": "x", "command": command })).await;
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!(session["cwd"], "/", "nobody has no home");
    let id = session["id"].as_str().unwrap();
    assert_eq!(told_uid(&server.api(), id).await, nobody.uid.to_string());
    server.api().ended(id).await;
    let again = format!("/api/v1/sessions/{id}/restart");
    server.api().post(&again, "").await.ok(200);
    assert_eq!(told_uid(&server.api(), id).await, nobody.uid.to_string(), "as before");
    server.api().ended(id).await;
    server.kill();
    std::fs::write(server.state().join("../stayd.toml"), "").unwrap();
    server.restart().await;
    let refused = server.api().post(&again, "").await.problem(400, "invalid_request");
    assert!(refused["detail"].as_str().unwrap().contains("no profile \"x\""), "{refused}");
    assert!(server.api().session(id).await["ended_at"].is_string());
}

#[test]
fn settings_that_cannot_hold_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let file = dir.path().join("stayd.toml");
    let check = |settings: &str, uid: Option<u32>| {
        std::fs::write(&file, settings).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        let mut texts = Vec::new();
        for args in [&["config", "--check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let mut command = Command::new(STAYD);
            command.args(args).arg("--config").arg(&file);
            command.arg("--state-dir").arg(dir.path().join("state")).env("HOME", "/");
            if let Some(uid) = uid {
                command.uid(uid).gid(uid).current_dir("/");
            }
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{settings}");
            texts.push(String::from_utf8(output.stderr).unwrap());
        }
        texts
    };
    let profile = |line: &str| format!("[profile.x]\ncommand = [\"sh\"]\n{line}\n");
    let limits = profile("limits = { as = 4096 }");
    let mut refused = vec![(limits.clone(), None, "line 3", "as = 4096")];
    if is_root() {
        let user = |name: &str| profile(&format!("user = \"{name}\""));
        refused.push((user("nobody-at-all"), None, "profile.x.user", "no account"));
        refused.push((user("root"), None, "profile.x.user", "is root"));
        refused.push((user("nobody"), Some(65_534), "line 3", "runs as root"));
    }
    for (settings, uid, place, why) in refused {
        for text in check(&settings, uid) {
            assert!(text.contains(place) && text.contains(why), "{settings}: {text}");
        }
    }
}
