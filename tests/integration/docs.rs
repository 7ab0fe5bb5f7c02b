//! What the documentation says that a machine can look at: links lead somewhere, settings can be
//! used, command lines are those that there are.

use crate::cli::code_and_text;
use crate::support::Server;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, by its path below the root.
fn pages() -> BTreeMap<PathBuf, String> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs").flatten();
    let docs = docs.map(|entry| Path::new("docs").join(entry.file_name()));
    let more = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/skill/SKILL.md"];
    let names = docs.chain(more.map(PathBuf::from));
    let is_page = |name: &PathBuf| name.extension().is_some_and(|extension| extension == "md");
    let read = |name: PathBuf| {
        let text = std::fs::read_to_string(root().join(&name)).expect("a page");
        (name, text)
    };
    names.filter(is_page).map(read).collect()
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let block = |rest: &'a str| rest.split("```").next().unwrap_or_default();
    text.split(fence.as_str()).skip(1).map(block).collect()
}

/// As GitHub makes an anchor of a heading.
fn anchor(heading: &str) -> String {
    let letters = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = letters.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let (pages, mut seen) = (pages(), 0);
    for (name, text) in &pages {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => name.clone(),
                file => name.parent().expect("a directory").join(file),
            };
            let whole = root().join(&path).canonicalize();
            let whole = whole.unwrap_or_else(|_| panic!("{}: {target}", name.display()));
            if !fragment.is_empty() {
                let text = std::fs::read_to_string(whole).expect("a page");
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                let found = headings.any(|heading| heading == fragment);
                assert!(found, "{}: no heading for {target}", name.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} links");
}

#[test]
fn settings_in_it_can_be_used() {
    let (dir, mut seen) = (tempfile::tempdir().expect("directory"), 0);
    let file = dir.path().join("stayd.toml");
    let secret = dir.path().join("hook.secret");
    std::fs::write(&secret, "secret").expect("written");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("chmod");
    for (name, text) in pages() {
        for block in blocks(&text, "toml") {
            // The accounts of examples are on no machine.
            let lines = block.lines().filter(|line| !line.starts_with("user = "));
            std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).expect("written");
            let mut check = Command::new(env!("CARGO_BIN_EXE_stayd"));
            check.arg("--config").arg(&file).args(["config", "--check"]).env("HOME", dir.path());
            let (code, said) = code_and_text(&check.output().expect("stayd runs"));
            assert_eq!(code, Some(0), "{}: {said}\n{block}", name.display());
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} blocks");
}

#[test]
fn verbs_and_flags_in_it_are_there() {
    let mut helps: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut help = move |verb: &str| {
        let ask = || {
            let args: &[&str] = if verb.is_empty() { &["--help"] } else { &[verb, "--help"] };
            let mut stayd = Command::new(env!("CARGO_BIN_EXE_stayd"));
            let (code, text) = code_and_text(&stayd.args(args).output().expect("stayd runs"));
            (code == Some(0)).then_some(text)
        };
        helps.entry(verb.to_owned()).or_insert_with(ask).clone()
    };
    let mut seen = 0;
    for (name, text) in pages() {
        let lines = blocks(&text, "sh").into_iter().flat_map(str::lines);
        let in_text = text.split('`').skip(1).step_by(2).filter(|code| !code.contains('\n'));
        let calls = lines.chain(in_text).filter_map(|line| line.trim().strip_prefix("stayd "));
        for call in calls {
            // Up to a comment, another command, or what stayd starts.
            let end = [" #", " |", " >", ";", " -- ", " &", "\\|"];
            let call = end.iter().fold(call, |call, end| call.split(end).next().unwrap_or(call));
            let words: Vec<&str> = call.split_whitespace().collect();
            let verb = words.first().filter(|word| !word.starts_with('-')).copied();
            let verb = verb.unwrap_or_default();
            // The holder's own verb has no help.
            if verb == "hold" || verb.chars().any(|c| !c.is_ascii_lowercase()) {
                continue;
            }
            let Some(help) = help(verb) else {
                panic!("{}: stayd {call}: there is no {verb}", name.display())
            };
            let long = words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
            for flag in long.map(|word| word.split('=').next().unwrap_or(word)) {
                let flag = flag.trim_end_matches([',', ')', ']']);
                assert!(help.contains(flag), "{}: stayd {call}: no {flag}", name.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} command lines");
}

#[actix_web::test]
async fn the_page_of_ones_own_and_the_policy_are_as_shown() {
    let page = std::fs::read_to_string(root().join("docs/embedding.md")).expect("a page");
    let example = std::fs::read_to_string(root().join("examples/embed.html")).expect("the example");
    assert_eq!(blocks(&page, "html"), [example]);
    let server = Server::start().await;
    let answer = server.api().get("/").await;
    // A build without the page has none.
    if let Some(policy) = answer.headers.get("content-security-policy") {
        let shown = blocks(&page, "text")[0].split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown, policy.to_str().expect("text"));
    }
}

/// The script for containers in profiles.md, with a stand-in for docker that waits for input.
#[actix_web::test]
async fn a_kill_runs_the_clean_up_of_the_container_script() {
    use std::os::unix::fs::PermissionsExt;
    let page = std::fs::read_to_string(root().join("docs/profiles.md")).expect("a page");
    let scripts = blocks(&page, "sh");
    let script = scripts.iter().find(|script| script.starts_with("#!")).expect("a script");
    let dir = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("chmod");
        path.display().to_string()
    };
    let stand_in = "#!/bin/sh\nif [ \"$1 $2\" = 'rm -f' ]; then echo \"$3\" > \"$KILLED\"; exit; fi\n\
                    printf 'name? '; read -r x; echo \"hello $x\"; exec sleep 1000\n";
    write("docker", stand_in);
    let script = write("in-container", script);
    let killed = dir.path().join("killed");
    let server = Server::start().await;
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
    let session = serde_json::json!({
        "name": "box",
        "command": [script, "debian:stable", "bash"],
        "env": { "PATH": path, "KILLED": killed },
    });
    let id = server.api().create(session).await["id"].as_str().expect("id").to_owned();
    let verb = |args: &[&str]| {
        let mut stayd = crate::cli::stayd(&server, args);
        stayd.stdin(Stdio::null()).status().expect("stayd runs").code()
    };
    assert_eq!(verb(&["wait", "box", "--text", "name?", "--timeout", "20"]), Some(0));
    assert_eq!(verb(&["send", "box", "bob", "--enter"]), Some(0));
    assert_eq!(verb(&["wait", "box", "--text", "hello bob", "--timeout", "20"]), Some(0));
    assert_eq!(verb(&["kill", "box"]), Some(0));
    let name = std::fs::read_to_string(killed).expect("it was cleaned up");
    assert_eq!(name.trim(), format!("stayd-{id}"));
}

/// Runs a block of shell commands with this program in its PATH; what they printed.
fn run_block(server: &Server, path: &str, block: &str) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-ec", block]).stdin(Stdio::null());
    let shell = shell.env("PATH", path).env("STAYD_STATE_DIR", server.state());
    let (code, said) = code_and_text(&shell.output().expect("bash runs"));
    assert_eq!(code, Some(0), "{block}{said}");
    said
}

/// This program's directory, before those of the environment.
fn path_with_stayd() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_stayd")).parent().expect("a directory");
    format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default())
}

/// Every block of commands in the skill, one after the other.
#[actix_web::test]
async fn the_skill_for_agents_does_what_it_says() {
    let text = std::fs::read_to_string(root().join("docs/skill/SKILL.md")).expect("the skill");
    let (_, head) = text.split_once("---\nname: stayd\ndescription: ").expect("its head");
    assert!(head.split("\n---\n").next().is_some_and(|description| description.len() < 1024));
    let server = Server::start().await;
    let path = path_with_stayd();
    let mut seen = 0;
    for block in blocks(&text, "sh") {
        let list = server.api().get("/api/v1/sessions").await.ok(200);
        let id = list["sessions"][0]["id"].as_str().unwrap_or_default().to_owned();
        if block.contains("--state 'done|blocked'") {
            let done = serde_json::json!({ "state": "done", "message": "all" }).to_string();
            server.api().post(&format!("/api/v1/sessions/{id}/attention"), done).await.ok(200);
        }
        // What a program says of itself it says inside.
        let own = if block.contains("stayd report") {
            format!("export STAYD_SESSION={id}\n{block}")
        } else {
            block.to_owned()
        };
        let said = run_block(&server, &path, &own);
        for (call, wanted) in [
            ("stayd screen", "built 42"),
            ("stayd logs", "next-2"),
            ("stayd wait demo --state", "done"),
        ] {
            assert!(!block.contains(call) || said.contains(wanted), "{block}{said}");
        }
        seen += 1;
    }
    assert!(seen >= 9, "{seen} blocks");
    let list = server.api().get("/api/v1/sessions").await.ok(200);
    assert_eq!(list["sessions"], serde_json::json!([]), "it was ended");
}

/// The rules that agents.md has as an example, with a program for which they are.
#[actix_web::test]
async fn the_rules_of_ones_own_know_their_program() {
    let page = std::fs::read_to_string(root().join("docs/agents.md")).expect("a page");
    let rules = blocks(&page, "toml");
    let rules = rules.iter().find(|block| block.contains("[agent.deployer]")).expect("rules");
    let server = Server::start_by(Server::dir(), rules, "exec \"$0\" \"$@\"").await;
    let dir = tempfile::tempdir().expect("directory");
    let program = dir.path().join("deployer");
    let script = "stty -echo; printf 'deployer> '; read -r _; printf '\\ndeploying web\\n'; read -r _
        printf 'Deploy web to production? [y/N] '; read -r _; printf '\\ndeploying web\\n'; read -r _
        printf 'done\\ndeployer> '; read -r _";
    std::fs::write(&program, script).expect("written");
    let body = serde_json::json!({ "name": "d", "command": ["bash", program] });
    let id = server.api().create(body).await["id"].as_str().expect("id").to_owned();
    for state in ["idle", "working", "blocked", "working", "done"] {
        let attention = crate::attention::becomes(&server.api(), &id, state).await;
        if state == "blocked" {
            assert_eq!(attention["message"], "Deploy web to production?");
            // The loop that names who needs somebody.
            let jq = Command::new("jq").arg("--version").output().is_ok();
            let commands = blocks(&page, "sh");
            let who = commands.iter().find(|block| block.contains("jq")).expect("it");
            if jq {
                let said = run_block(&server, &path_with_stayd(), who);
                assert_eq!(said, "d: Deploy web to production?\n");
            }
        }
        server.api().post(&format!("/api/v1/sessions/{id}/input"), "\n").await;
    }
}

/// The walks through the code name files and functions that are there.
#[test]
fn the_walks_through_the_code_lead_somewhere() {
    let text = &pages()[Path::new("docs/architecture.md")];
    let mut steps = 0;
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let &[_, file, function, _, _] = &cells[..] else { continue };
        let code =
            std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let is_there =
            ["(", "<"].iter().any(|after| code.contains(&format!("fn {function}{after}")));
        assert!(is_there, "{file} has no function {function}");
        steps += 1;
    }
    assert!(steps > 30, "{steps} steps");
}

/// The table of threats names tests that are there.
#[test]
fn every_defence_has_a_test() {
    fn code(folder: &Path, all: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                code(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *all += &std::fs::read_to_string(path).expect("code");
            }
        }
    }
    let mut all = String::new();
    for folder in ["src", "crates/hold/src", "tests/integration", "tests/fuzz"] {
        code(&root().join(folder), &mut all);
    }
    let pages = pages();
    let page = &pages[Path::new("docs/security.md")];
    let (_, table) = page.split_once("## Threats, defences, tests").expect("the table");
    let (mut group, mut seen) = ("", 0);
    for line in table.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[threat, defence, tests] = &cells[..] else { panic!("three cells: {line}") };
        if defence.is_empty() {
            group = threat;
            continue;
        }
        let mut names = 0;
        for name in tests.split('`').skip(1).step_by(2) {
            names += 1;
            let last = name.rsplit("::").next().unwrap_or(name);
            let there = [format!("fn {last}("), format!("target!({last},")];
            let found = there.iter().any(|there| all.contains(there));
            assert!(found, "{group} {threat}: there is no test {name}");
        }
        assert!(names > 0, "{group} {threat}: no test");
        seen += names;
    }
    assert!(seen > 50, "{seen} tests");
}

/// The comparison with other programs names, for each thing that stayd has, tests that are there.
#[test]
fn every_yes_of_the_comparison_has_a_test() {
    let page = &pages()[Path::new("docs/coming-from.md")];
    let (_, part) = page.split_once("## Point by point").expect("the comparison");
    let part = part.split("\n## ").next().expect("its section");
    let (mut points, mut seen) = (0, 0);
    for line in part.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[point, ours, tests, _, _, _, _] = &cells[..] else { panic!("seven cells: {line}") };
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert_eq!(ours.starts_with("yes"), !names.is_empty(), "{point}: {ours}");
        for name in names {
            let (file, test) = name.split_once("::").expect("file::test");
            let (path, test) = if file.ends_with(".js") {
                (format!("tests/browser/{file}"), format!("\ntest(\"{test}\","))
            } else {
                (format!("tests/integration/{file}.rs"), format!("\nasync fn {test}("))
            };
            let code = std::fs::read_to_string(root().join(&path));
            let code = code.unwrap_or_else(|e| panic!("{point}: {path}: {e}"));
            let found = code.contains(&test) || code.contains(&test.replace("async fn", "fn"));
            assert!(found, "{point}: there is no test {name}");
            seen += 1;
        }
        points += 1;
    }
    assert!(points > 25 && seen > 40, "{points} points, {seen} tests");
}

/// A new version is a new section of the changelog, and the names of the packages change with it; the
/// image is built by the compiler that the tests are run with.
#[test]
fn versions_in_it_are_the_present_ones() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("a file");
    let version = env!("CARGO_PKG_VERSION");
    let toolchain = read("rust-toolchain.toml");
    let (_, rest) = toolchain.split_once("last run with ").expect("a version");
    let compiler = rest.split(".\n").next().expect("its end");
    for (file, wanted) in [
        ("CHANGELOG.md", format!("\n## [{version}] - ")),
        ("docs/install.md", format!("./stayd_{version}-1_amd64.deb")),
        ("docs/install.md", format!(" stayd-{version}-x86_64-linux.tar.gz")),
        ("CONTRIBUTING.md", format!("/stayd_{version}-1_amd64.deb")),
        ("packaging/Containerfile", format!("/rust:{compiler}-")),
    ] {
        assert!(read(file).contains(&wanted), "{file} lacks {wanted}");
    }
}
