use super::*;
use clap::Parser;
use std::ffi::OsString;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    paths: PathFlags,
    #[command(flatten)]
    flags: ServeFlags,
}

fn no_env(_: &str) -> Option<OsString> {
    None
}

/// Settings from flags and the text of a file.
fn settings(flags: &[&str], text: &str) -> Result<Settings, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stayd.toml");
    std::fs::write(&file, text).unwrap();
    let mut cli = Cli::parse_from([&["stayd"], flags].concat());
    cli.paths.config = Some(file);
    cli.paths.state_dir.get_or_insert("/state".into());
    load(&cli.paths, &cli.flags, &no_env).map_err(|e| e.to_string())
}

#[test]
fn defaults_need_no_file() {
    let home = |name: &str| (name == "HOME").then(|| "/nowhere/at/all".into());
    let settings = load(&PathFlags::default(), &ServeFlags::default(), &home).unwrap();
    assert_eq!(settings.listen, [DEFAULT_LISTEN]);
    assert_eq!(settings.state_dir, Path::new("/nowhere/at/all/.local/state/stayd"));
    assert_eq!(settings.idle_timeout_s, Some(1800));
    assert_eq!((settings.ring_bytes, settings.idle_ring_bytes), (2 << 20, 64 << 10));
    assert!(settings.create_on_attach);
    assert_eq!(settings.recording_file_bytes, 64 << 20);
    assert_eq!(settings.recording_total_bytes, 512 << 20);
    assert_eq!(settings.profiles["claude"].command, ["claude"]);
    assert_eq!(settings.profiles["shell"].command.len(), 1);
    let homeless = load(&PathFlags::default(), &ServeFlags::default(), &no_env);
    assert!(matches!(homeless, Err(ConfigError::NoStateDir)));
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let text = "listen = '127.0.0.1:1'\nmax_sessions = 5\nlog_format = 'json'\n\
                idle_timeout_s = 'never'\nallowed_hosts = ['a']";
    let from_file = settings(&[], text).unwrap();
    assert_eq!(from_file.listen, ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(from_file.max_sessions, 5);
    assert_eq!(from_file.log_format, LogFormat::Json);
    assert_eq!(from_file.idle_timeout_s, None);
    let flags = [
        "--listen=127.0.0.1:2",
        "--listen=[::1]:3",
        "--log-format=text",
        "--idle-timeout-s=7",
        "--allowed-host=b,c",
    ];
    let both = settings(&flags, text).unwrap();
    assert_eq!(both.listen, ["127.0.0.1:2".parse().unwrap(), "[::1]:3".parse().unwrap()]);
    assert_eq!(both.log_format, LogFormat::Text);
    assert_eq!(both.idle_timeout_s, Some(7));
    assert_eq!(both.allowed_hosts, ["b", "c"]);
    assert_eq!(both.max_sessions, 5, "what no flag says stays the file's");
}

#[test]
fn an_address_may_be_a_port_or_localhost() {
    for (text, is) in [
        ("7829", "127.0.0.1:7829"),
        ("0", "127.0.0.1:0"),
        ("localhost:80", "127.0.0.1:80"),
        ("0.0.0.0:1", "0.0.0.0:1"),
        ("[::1]:1", "[::1]:1"),
    ] {
        let flag = settings(&[&format!("--listen={text}")], "").unwrap();
        assert_eq!(flag.listen, [is.parse().unwrap()], "{text}");
        assert_eq!(settings(&[], &format!("listen = '{text}'")).unwrap().listen, flag.listen);
    }
    assert_eq!(settings(&[], "listen = 7829").unwrap().listen, [DEFAULT_LISTEN]);
    for wrong in ["localhost", ":7829", "+7829", "localhost:+1", "example.org:80", "70000", ""] {
        let refused = settings(&[], &format!("listen = '{wrong}'")).unwrap_err();
        assert!(refused.contains("localhost:7829"), "{wrong}: {refused}");
    }
}

#[test]
fn a_base_path_is_written_with_or_without_its_last_slash() {
    for (text, is) in [("/stayd", "/stayd"), ("/a/b-c/", "/a/b-c"), ("/", ""), ("", "")] {
        let text = format!("base_path = '{text}'");
        assert_eq!(settings(&[], &text).unwrap().base_path.as_str(), is, "{text}");
    }
    assert_eq!(settings(&["--base-path=/x"], "base_path = '/y'").unwrap().base_path.as_str(), "/x");
}

#[test]
fn every_flag_has_its_variable_and_its_help() {
    use clap::CommandFactory;
    for argument in Cli::command().get_arguments() {
        let id = argument.get_id().as_str();
        let variable = format!("STAYD_{}", id.to_uppercase());
        assert_eq!(argument.get_env(), Some(variable.as_ref()), "{id}");
        assert!(argument.get_help().is_some(), "{id}");
    }
}

#[test]
fn profiles_are_named_by_the_rule_for_names() {
    for name in ["a/b", "..", "a\u{202e}b", ""] {
        let text =
            format!("[profile.{name:?}]\ncommand = ['true']").replace("\\u{202e}", "\u{202e}");
        let refused = settings(&[], &text).unwrap_err().to_string();
        assert!(refused.contains("name") && !refused.contains('\u{202e}'), "{refused}");
    }
}

#[test]
fn profiles_override_and_extend_the_built_in_ones() {
    let text = "[profile.bench]\ncommand = ['bash', '--norc']\nidle_timeout_s = 'never'\n\
                [profile.shell]\nenv = { A = 'b' }\nidle_timeout_s = 3\n\
                [profile.claude]\ncommand = ['claude', '--verbose']\ncwd = '/work'";
    let profiles = settings(&[], text).unwrap().profiles;
    assert_eq!(profiles["bench"].command, ["bash", "--norc"]);
    assert_eq!(profiles["bench"].idle_timeout_s, Some(None));
    assert_eq!(profiles["shell"].command.len(), 1, "the built-in command stays");
    assert_eq!(profiles["shell"].env["A"], "b");
    assert_eq!(profiles["shell"].idle_timeout_s, Some(Some(3)));
    assert_eq!(profiles["claude"].command, ["claude", "--verbose"]);
    assert_eq!(profiles["claude"].cwd.as_deref(), Some("/work"));
}

#[test]
fn errors_name_the_file_the_key_and_what_was_expected() {
    let cases = [
        ("listn = 1", "listn", "listen"),
        ("listen = 70000", "listen", "127.0.0.1:7829"),
        ("base_path = 'stayd'", "base_path", "/stayd"),
        ("base_path = '/a b'", "base_path", "/stayd"),
        ("base_path = '/a/../b'", "base_path", "/stayd"),
        ("listen = ['localhost']", "listen", "127.0.0.1:7829"),
        ("log_format = 'xml'", "log_format", "json"),
        ("idle_timeout_s = 'soon'", "idle_timeout_s", "\"never\""),
        ("idle_timeout_s = -1", "idle_timeout_s", "\"never\""),
        ("idle_timeout_s = 1.5", "idle_timeout_s", "\"30m\""),
        ("quiet_s = '5x'", "quiet_s", "90s, 30m, 8h or 7d"),
        ("ring_bytes = 3000000", "ring_bytes", "power of two"),
        ("idle_ring_bytes = 1073741825", "idle_ring_bytes", "at most 1073741824"),
        ("ring_bytes = 4096", "ring_bytes", "262144"),
        ("recording_file_bytes = 1", "recording_file_bytes", "at least 65536"),
        (
            "recording_total_bytes = 70000",
            "recording_total_bytes",
            "recording_file_bytes (67108864)",
        ),
        ("max_sessions = 0", "max_sessions", "at least 1"),
        ("allowed_origins = ['example.org']", "allowed_origins", "https://"),
        ("allowed_hosts = ['http://a']", "allowed_hosts", "example.org"),
        ("push_services = ['http://a.example']", "push_services", "https:"),
        ("push_contact = 'me'", "push_contact", "mailto:"),
        ("[profile.x]\ncwd = '/'", "profile.x.command", "array"),
        ("[profile.x]\ncommand = []", "profile.x.command", "array"),
        ("[profile.x]\ncommand = 'bash'", "command", "sequence"),
        ("[profile.x]\ncommand = ['a']\nshell = true", "shell", "idle_timeout_s"),
        ("[profile.x]\ncommand = ['a']\nenv = { 'A=B' = 'c' }", "profile.x.env", "variable"),
        ("[[hook]]\non = ['busy']\ncommand = ['a']", "on", "`blocked`, `done`, `ended`, `error`"),
        ("[[hook]]\non = []\ncommand = ['a']", "hook.1.on", "\"blocked\""),
        ("[[hook]]\non = ['done']", "hook.1.command", "or a url"),
        ("[[hook]]\non = ['done']\ncommand = []", "hook.1.command", "array"),
        ("[[hook]]\non = ['done']\ncommand = ['a']\nurl = 'https://a'", "hook.1.url", "one of"),
        ("[[hook]]\non = ['done']\nurl = 'http://a.b'", "hook.1.url", "allow_plain"),
        ("[[hook]]\non = ['done']\nurl = 'a.b'", "hook.1.url", "https://"),
        (
            "[[hook]]\non = ['done']\nurl = 'https://a'\nsecret_file = '/nowhere'",
            "secret_file",
            "No such",
        ),
        ("[[hook]]\non = ['done']\ncommand = ['a']\ntimeout_s = 0", "hook.1.timeout_s", "1 to 600"),
        ("[[hook]]\non = ['done']\ncommand = ['a']\nurls = 1", "urls", "secret_file"),
    ];
    for (text, key, expected) in cases {
        let error = settings(&[], text).unwrap_err();
        assert!(error.contains("stayd.toml"), "{text}: {error}");
        assert!(error.contains(key), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn the_line_of_a_hook_is_that_of_its_table() {
    let text = "allow_plain = true\n[[hook]]\non = ['done']\nurl = 'http://a.b'\n\n[[hook]]\n\
                on = ['done', 'error']\nname = 'x'\ncommand = ['']";
    let error = settings(&[], text).unwrap_err();
    assert!(error.contains("line 9: hook.2.command"), "{error}");
    let twice = "[[hook]]\non = ['done']\ncommand = ['a']\n".repeat(2);
    let error = settings(&[], &twice).unwrap_err();
    assert!(error.contains("line 4: hook.2.name"), "{error}");
}

#[test]
fn a_flag_that_makes_no_sense_does_not_blame_the_file() {
    let error = settings(&["--ring-bytes=3"], "").unwrap_err();
    assert!(error.starts_with("flags or environment: ring_bytes: expected a power"), "{error}");
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let paths = PathFlags { config: Some("/nowhere/stayd.toml".into()), state_dir: None };
    let error = load(&paths, &ServeFlags::default(), &no_env).unwrap_err().to_string();
    assert!(error.contains("/nowhere/stayd.toml"), "{error}");
}

#[test]
fn a_state_directory_in_the_file_is_relative_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stayd.toml");
    std::fs::write(&file, "state_dir = 'state'").unwrap();
    let mut paths = PathFlags { config: Some(file), state_dir: None };
    assert_eq!(state_dir(&paths).unwrap(), dir.path().join("state"));
    paths.state_dir = Some("here".into());
    let here = std::env::current_dir().unwrap().join("here");
    assert_eq!(state_dir(&paths).unwrap(), here, "a flag's is relative to where one is");
}
