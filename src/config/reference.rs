//! A complete `stayd.toml`, made from the definitions of the flags, so that it cannot describe
//! settings that do not exist. Tests compare it with the parser, the defaults and
//! `docs/settings.md`.

use super::flags::{PathFlags, ServeFlags};
use crate::attention::EXAMPLE;
use clap::{Arg, ArgAction, Args, Command};

/// The width at which comments are wrapped, in columns.
const WIDTH: usize = 90;

/// A key of `[profile.NAME]`, as the file spells it.
struct ProfileKey {
    name: &'static str,
    /// An example of a value, in TOML.
    example: &'static str,
    help: &'static str,
}

const PROFILE_KEYS: [ProfileKey; 14] = [
    ProfileKey {
        name: "command",
        example: r#"["top", "-d", "5"]"#,
        help: "Program and arguments. Required, unless the profile is a built-in one.",
    },
    ProfileKey {
        name: "login",
        example: "true",
        help: "Whether the command is started as a login shell, under a name that begins with \
               \"-\": it then reads the user's profile (/etc/profile, ~/.profile …). Default: \
               false.",
    },
    ProfileKey {
        name: "cwd",
        example: r#""/tmp""#,
        help: "Directory to start in; \"~\" is the home directory of the server's user, and relative \
               paths are relative to it. Default: the home directory.",
    },
    ProfileKey {
        name: "env",
        example: r#"{ LANG = "C.UTF-8" }"#,
        help: "Variables added to the environment. Default: none.",
    },
    ProfileKey {
        name: "idle_timeout_s",
        example: r#""never""#,
        help: "Time from the last client's detaching to destruction, such as 1800, \"30m\" or \
               \"8h\", or \"never\". Default: the server's.",
    },
    ProfileKey {
        name: "idle_when",
        example: r#""detached_and_quiet""#,
        help: "When that time runs: \"detached\" (while nobody is attached) or \"detached_and_quiet\" \
               (it begins anew whenever the program prints or its shell runs a command in the \
               foreground). Default: the server's.",
    },
    ProfileKey {
        name: "size_policy",
        example: r#""smallest""#,
        help: "The client whose size the terminal has: \"latest\" (the one that typed or attached \
               last; the default), \"smallest\" (the fewest columns and rows of all clients), or \
               \"fixed\" (none).",
    },
    ProfileKey {
        name: "restart",
        example: r#""on-failure""#,
        help: "When the command is started again after it has ended by itself: \"never\" (the \
               default), \"on-failure\" or \"always\".",
    },
    ProfileKey {
        name: "recording",
        example: r#""output""#,
        help: "What is recorded: \"off\" (the default: nothing), \"output\", or \"all\" (input \
               too, passwords included).",
    },
    ProfileKey {
        name: "control",
        example: r#""viewer""#,
        help: "What programs inside a session may do with this server over its socket: \
               \"viewer\" (look at sessions) or \"controller\" (also start, type into and end \
               them). Default: nothing.",
    },
    ProfileKey {
        name: "resume",
        example: r#"{ pattern = "resume with: tool --resume ([0-9a-f]+)", args = ["--resume", "{id}"] }"#,
        help: "How the command resumes its work when its session is started again. \"pattern\" is a \
               regular expression for the name of that work, which the command has printed: it is \
               matched against each line of the last screen and scrollback, and the first group of \
               the last match is the name. \"args\" are added to the command, with the name in \
               place of {id}. Default: none; for the built-in \"claude\", what Claude Code prints \
               at its end.",
    },
    ProfileKey {
        name: "shell_integration",
        example: "true",
        help: "Whether the command, if it is bash, zsh or fish, loads the shell integration by itself \
               (`stayd integrate`): the server then knows the running command, how it ended, and the \
               directory. Default: false.",
    },
    ProfileKey {
        name: "user",
        example: r#""nobody""#,
        help: "Account that the sessions run under, with its groups, its home directory and no \
               capabilities. Only for a server that runs as root. Default: the server's own.",
    },
    ProfileKey {
        name: "limits",
        example: r#"{ nofile = 1024, nproc = 500, as = "8G", core = 0, memory_max = "2G", pids_max = 500, cpu_max = 1.5 }"#,
        help: "Limits of the sessions. \"nofile\" (open files), \"nproc\" (processes of the user), \
               \"as\" (address space) and \"core\" (core files) hold for each process, as ulimit has \
               them; they may not be above the server's hard limits. \"memory_max\", \"pids_max\" \
               (processes and threads) and \"cpu_max\" (processors, or a percentage of one such as \
               \"50%\") hold for a whole session and need a delegated cgroup (v2). Sizes are in \
               bytes, or have a unit (\"K\", \"M\", \"G\"). Default: none.",
    },
];

/// The keys of the two examples of `[[hook]]`.
const HOOKS: [&[ProfileKey]; 2] = [
    &[
        ProfileKey {
            name: "on",
            example: r#"["blocked", "done"]"#,
            help: "What it is about: \"blocked\" (a program waits for a person), \"done\" (it has \
                   finished what it was given), \"ended\" (the session has ended), \"error\" (it has \
                   ended with the status ERROR).",
        },
        ProfileKey {
            name: "command",
            example: r#"["/usr/local/bin/tell-me"]"#,
            help: "Program and arguments. It gets the event as JSON on standard input, and is tried \
                   again if it does not exit with 0. Either this or \"url\".",
        },
        ProfileKey {
            name: "name",
            example: r#""bell""#,
            help: "Its name in the log. Default: the program, or the host of the URL.",
        },
        ProfileKey {
            name: "always",
            example: "false",
            help: "Whether it is also done while somebody looks at the session.",
        },
        ProfileKey {
            name: "labels",
            example: r#"{ team = "web" }"#,
            help: "Only for sessions that have these labels. Default: for all.",
        },
        ProfileKey {
            name: "profile",
            example: r#""claude""#,
            help: "Only for sessions of this profile. Default: for all.",
        },
    ],
    &[
        ProfileKey { name: "on", example: r#"["error"]"#, help: "Another hook:" },
        ProfileKey {
            name: "url",
            example: r#""https://example.org/hook""#,
            help: "Where to send the event, as the body of a POST request. Without TLS only to this \
                   machine, unless allow_plain is set.",
        },
        ProfileKey {
            name: "secret_file",
            example: r#""hook.secret""#,
            help: "File with the secret that requests are signed with (X-Stayd-Signature), closed to \
                   all other users; a relative path is relative to this file. Default: none.",
        },
        ProfileKey {
            name: "timeout_s",
            example: r#""30s""#,
            help: "The longest time for an answer, or for a command, 1s to 10m.",
        },
    ],
];

/// The keys of `[fleet]`.
const FLEET_KEYS: [ProfileKey; 8] = [
    ProfileKey {
        name: "url",
        example: "[]",
        help: "Addresses of NATS servers (2.11 or later), such as \"tls://nats.example.org:4222\"; user and \
               password may be in them. Empty: the server belongs to no fleet. --fleet-url, STAYD_FLEET_URL.",
    },
    ProfileKey {
        name: "name",
        example: r#""desk""#,
        help: "This machine's name: lower-case letters, digits and \"-\". Default: the host name. \
               --fleet-name, STAYD_FLEET_NAME.",
    },
    ProfileKey {
        name: "credentials",
        example: r#""""#,
        help: "File with NATS credentials (.creds), or with the seed of an nkey, closed to all other \
               users; a relative path is relative to this file.",
    },
    ProfileKey {
        name: "ca",
        example: r#""""#,
        help: "Certificates to trust in place of those of the system, a PEM file.",
    },
    ProfileKey {
        name: "labels",
        example: "{}",
        help: "What new sessions can be placed by, such as { gpu = \"yes\" }.",
    },
    ProfileKey {
        name: "rights",
        example: r#""controller""#,
        help: "The most that comes in over the fleet may do on this machine: \"viewer\", \"controller\", \
               \"admin\".",
    },
    ProfileKey {
        name: "serve_page",
        example: "true",
        help: "Whether this server answers for the sessions of all machines, too.",
    },
    ProfileKey {
        name: "gateway",
        example: "false",
        help: "Whether it has no sessions of its own. --gateway, STAYD_GATEWAY.",
    },
];

/// A complete `stayd.toml`, every line of it commented out: prose begins with `# `, settings with
/// `#` alone. Uncommenting the settings changes nothing, because they are the defaults, except that
/// it adds the one profile and the two hooks.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    prose(
        &mut out,
        "stayd.toml: every setting with its default. A flag overrides its environment variable, \
         which overrides this file. An unknown key is an error. `stayd config --check` checks a \
         file.",
    );
    let command = ServeFlags::augment_args(PathFlags::augment_args(Command::new("stayd")));
    for arg in command.get_arguments() {
        match Setting::of(arg) {
            // Those have a table of their own.
            Some(setting) if setting.key.starts_with("fleet.") => {}
            Some(setting) => setting.write(&mut out),
            None => {
                out.push('\n');
                let path = taken_apart(arg).default.unwrap_or_default();
                prose(&mut out, &format!("The path of this file: {path}."));
                prose(&mut out, &spelled(arg));
            }
        }
    }
    out.push('\n');
    prose(
        &mut out,
        "Profiles are commands that clients start by name. \"shell\" ($SHELL, or the \
         user's shell if $SHELL is unusable) and \"claude\" are built in; a table with one of these \
         names overrides the keys that it has.",
    );
    out.push_str("#[profile.monitor]\n");
    write_keys(&mut out, &PROFILE_KEYS);
    out.push('\n');
    prose(
        &mut out,
        "Hooks are run or called when a session needs somebody, or ends. None is for what somebody \
         looks at, unless \"always\" is set. What fails is tried again for ten minutes, in order for \
         each session.",
    );
    for keys in HOOKS {
        out.push_str("#[[hook]]\n");
        write_keys(&mut out, keys);
        out.push('\n');
    }
    prose(
        &mut out,
        "A fleet is several machines with one page, which find each other by NATS (docs/fleet.md).",
    );
    out.push_str("#[fleet]\n");
    write_keys(&mut out, &FLEET_KEYS);
    out.push('\n');
    prose(
        &mut out,
        "Agents are programs whose screens tell what they do: working, blocked (only a person can make \
         it go on), idle or done. The last \"lines\" of the screen are looked at (default: 24), without \
         the empty ones at its end, and of these what comes after the last match of \"start\". The \
         first \"rule\" counts whose every \"when\" matches and none of \
         whose \"unless\" does; the group \"message\" of its \"message\" is what people are told. A \
         \"notification\" is a rule for the text of OSC 9, 99 and 777. Expressions are those of Rust's \
         regex crate, and ^ and $ match at lines. Rules for \"claude\", \"codex\", \"gemini\" and \
         \"aider\" are built in; a table with one of these names replaces them. Those of aider:",
    );
    for line in EXAMPLE.lines() {
        out.push_str(if line.is_empty() { "" } else { "#" });
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Writes the keys of a table, each below its help.
fn write_keys(out: &mut String, keys: &[ProfileKey]) {
    for ProfileKey { name, example, help } in keys {
        out.push('\n');
        prose(out, help);
        out.push_str(&format!("#{name} = {example}\n"));
    }
}

/// The help of a flag without its notes in brackets.
struct Help {
    text: String,
    default: Option<String>,
    /// The setting's key in the file.
    key: Option<String>,
}

fn taken_apart(arg: &Arg) -> Help {
    let help = arg.get_long_help().or(arg.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let mut note = |name: &str| {
        let start = text.find(&format!("[{name}: "))?;
        let length = text[start..].find(']')?;
        let note = text[start + name.len() + 3..start + length].to_owned();
        text.replace_range(start..=start + length, "");
        Some(note)
    };
    let (default, key) = (note("default"), note("file"));
    let words: Vec<&str> = text.split_whitespace().collect();
    Help { text: words.join(" "), default, key }
}

/// The names of a flag and its variable: `--listen`, `STAYD_LISTEN`.
fn spelled(arg: &Arg) -> String {
    let flag = arg.get_long().map(|flag| format!("--{flag}"));
    let variable = arg.get_env().and_then(|name| name.to_str()).map(str::to_owned);
    flag.into_iter().chain(variable).collect::<Vec<_>>().join(", ")
}

/// A key at the top of the file.
struct Setting {
    key: String,
    help: String,
    spelled: String,
    /// The default, in TOML.
    value: String,
}

impl Setting {
    /// The setting of a flag; `None` if the file has no key for it.
    fn of(arg: &Arg) -> Option<Setting> {
        let Help { mut text, default, key } = taken_apart(arg);
        let values = arg.get_possible_values();
        let is_word = |name: &str| name.parse::<bool>().is_err();
        if values.iter().any(|value| is_word(value.get_name())) {
            let names: Vec<_> = values.iter().map(|v| format!("{:?}", v.get_name())).collect();
            text += &format!(": {}", names.join(", "));
        }
        let is_list = matches!(arg.get_action(), ArgAction::Append);
        let value = match default {
            // A path depends on the user, so it cannot be written as a default in TOML.
            Some(default) if default.starts_with('$') => {
                text += &format!(
                    ". Default: {default}; a relative path is relative to this file (the one below is an example)"
                );
                "\"/var/lib/stayd\"".to_owned()
            }
            Some(default) => {
                let (value, remark) = default.split_once(", ").unwrap_or((&default, ""));
                if !remark.is_empty() {
                    text += &format!(" (default: {remark})");
                }
                value_of(value)
            }
            None if is_list => String::new(),
            // An empty path is as good as none.
            None => value_of(""),
        };
        let value = if is_list { format!("[{value}]") } else { value };
        Some(Setting { key: key?, help: text + ".", spelled: spelled(arg), value })
    }

    fn write(&self, out: &mut String) {
        out.push('\n');
        prose(out, &self.help);
        prose(out, &self.spelled);
        out.push_str(&format!("#{} = {}\n", self.key, self.value));
    }
}

/// A value in TOML: numbers and booleans as they are, words in quotes.
fn value_of(text: &str) -> String {
    match text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok() {
        true => text.to_owned(),
        false => format!("{text:?}"),
    }
}

/// Writes a comment, wrapped.
fn prose(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::super::settings::Settings;
    use super::*;
    use nix::unistd::Uid;
    use std::path::Path;

    /// The file that results if the `#` is removed from every setting.
    fn uncommented() -> String {
        let line = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        reference().lines().map(line).collect()
    }

    fn load(text: &str) -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("stayd.toml");
        std::fs::write(&config, text).unwrap();
        let state_dir = Some("/var/lib/stayd".into());
        let paths = PathFlags { config: Some(config), state_dir };
        Settings::load(&paths, &ServeFlags::default()).unwrap()
    }

    /// The keys that the parser knows, taken from its error message.
    fn known(text: &str) -> Vec<String> {
        let refused = File::parse(text).unwrap_err().to_string();
        // Two words have an "or" between them, more have "one of" before them.
        let (_, expected) = refused.rsplit_once("expected ").expect(&refused);
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn uncommented_it_says_what_holds_without_it() {
        // Only root may use another account, and there is no such secret.
        let is_root = Uid::effective().is_root();
        let usable = |line: &&str| {
            (is_root || !line.starts_with("user = ")) && !line.starts_with("secret_file = ")
        };
        let text: Vec<String> =
            uncommented().lines().filter(usable).map(|line| format!("{line}\n")).collect();
        let mut settings = load(&text.concat());
        let monitor = settings.profiles.remove("monitor").expect("the profile");
        assert_eq!(monitor.command, ["top", "-d", "5"]);
        assert_eq!(monitor.idle_timeout_s, Some(None));
        assert_eq!(settings.hooks.len(), 2);
        assert!(settings.hooks.iter().all(|hook| !hook.always && hook.timeout.as_secs() == 30));
        settings.hooks.clear();
        assert_eq!(settings, load(""));
        assert_eq!(load(&reference()), load(""));
    }

    #[test]
    fn every_key_is_in_it() {
        let text = uncommented();
        let (top, rest) = text.split_once("[profile.monitor]").unwrap();
        let (profile, hooks) = rest.split_once("[[hook]]").unwrap();
        let (hooks, fleet) = hooks.split_once("[fleet]").unwrap();
        let has = |text: &str, key: &str| text.lines().any(|l| l.starts_with(&format!("{key} = ")));
        let keys = known("nobody_knows_this = 1");
        assert!(keys.len() > 10, "{keys:?}");
        for key in
            keys.iter().filter(|key| !["profile", "agent", "hook", "fleet"].contains(&key.as_str()))
        {
            assert!(has(top, key), "{key} is not in the reference: give its flag a [file: …]");
        }
        for key in known("[profile.x]\nnobody_knows_this = 1") {
            assert!(has(profile, &key), "{key} is not among PROFILE_KEYS");
        }
        for key in known("[[hook]]\nnobody_knows_this = 1") {
            assert!(has(hooks, &key), "{key} is not among HOOKS");
        }
        for key in known("[fleet]\nnobody_knows_this = 1") {
            assert!(has(fleet, &key), "{key} is not among FLEET_KEYS");
        }
        for word in known("[[hook]]\non = [\"nobody\"]") {
            assert!(HOOKS[0][0].help.contains(&format!("\"{word}\"")), "{word}");
        }
    }

    #[test]
    fn every_word_that_a_profile_takes_is_told() {
        for ProfileKey { name, help, .. } in &PROFILE_KEYS[5..9] {
            for word in known(&format!("[profile.x]\n{name} = \"nobody\"")) {
                assert!(help.contains(&format!("\"{word}\"")), "{name}: {word}");
            }
        }
    }

    /// `STAYD_WRITE_DOCS=1 cargo test --lib config::reference` writes the page again.
    #[test]
    fn the_page_of_the_documentation_is_this() {
        const HEAD: &str = "# Settings\n\nThis page is `stayd config --reference`: a complete \
            `stayd.toml`, every setting commented out\nand with its default. Flags override the \
            environment, which overrides the file, which overrides\nthe defaults. `stayd config --check` \
            checks a file without starting anything.\n\nProfiles, with examples for other hosts \
            and containers, are in [profiles.md](profiles.md).\n\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
        let page = format!("{HEAD}```toml\n{}```\n", reference());
        if std::env::var_os("STAYD_WRITE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == page,
            "docs/settings.md is stale: STAYD_WRITE_DOCS=1 cargo test --lib config::reference"
        );
    }
}
