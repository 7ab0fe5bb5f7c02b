//! `stayd completions`: the script that clap generates from the definitions, and the names of
//! the current sessions, which clap cannot know.

use super::failure::Failure;
use super::out;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// The shell whose script is printed
    ///
    /// bash: source <(stayd completions bash); zsh: as _stayd in a directory of $fpath;
    /// fish: stayd completions fish | source. For bash, zsh and fish it asks the server for
    /// the names of sessions, profiles and machines.
    shell: Shell,
}

/// The verbs whose arguments are sessions.
pub(super) const VERBS: &str = "attach a info show history kill restart keep unkeep rename send screen wait logs recording put get report share";

/// The verbs whose arguments are ended sessions.
pub(super) const ENDED_VERBS: &str = "rm";
/// What prints the names that are completed: of sessions, ended sessions, profiles and machines.
const SESSIONS: &str = "stayd ls --quiet --everywhere 2>/dev/null";
const ENDED: &str = "stayd ls --ended --quiet --everywhere 2>/dev/null";
const NODES: &str = "stayd nodes --quiet 2>/dev/null";
const PROFILES: &str = "stayd profiles --quiet 2>/dev/null";

/// `command` is the definition of the whole command line.
pub(super) fn completions(flags: &Flags, command: Command) -> Result<u8, Failure> {
    out::print(&script(flags.shell, command))?;
    Ok(0)
}

pub(super) fn script(shell: Shell, mut command: Command) -> String {
    let mut script = Vec::new();
    generate(shell, &mut command, "stayd", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script + &bash(),
        Shell::Zsh => zsh(&script),
        Shell::Fish => script + &fish(),
        _ => script,
    }
}

fn bash() -> String {
    let verbs = VERBS.replace(' ', "|");
    format!(
        r#"
# Names of sessions, profiles and machines, where the generated part knows flags alone.
_stayd_sessions() {{
    _stayd "$@"
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb names=
    [[ $word == -* ]] && return
    for verb in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $verb in
            {verbs}) names=$({SESSIONS}) ;;
            {ENDED_VERBS}) names=$({ENDED}) ;;
            run|ls|list|profiles) case $before in
                    --profile|-p) [[ $verb == run ]] || return; names=$({PROFILES}) ;;
                    --node) names=$({NODES}) ;;
                    *) return ;;
                esac ;;
            *) continue ;;
        esac
        [[ $before == -* && $before != --node && $verb != run ]] && return
        local IFS=$'\n'
        COMPREPLY=($(compgen -W "$names" -- "$word"))
        return
    done
}}
complete -F _stayd_sessions -o bashdefault -o default stayd
"#
    )
}

/// The generated script describes each argument. Arguments that are sessions, and the flag for a
/// profile, get a function.
fn zsh(script: &str) -> String {
    let named = script
        .replace(
            "beginning of an id, or name:_default",
            "beginning of an id, or name:_stayd_sessions",
        )
        .replace("beginning of an id, or name \\[default\\: the session that this command runs in\\]:_default", "beginning of an id, or name:_stayd_sessions")
        .replace("; ended sessions too:_default", "; ended sessions too:_stayd_sessions")
        .replace(
            "beginnings of ids, or names:_default",
            "beginnings of ids, or names:_stayd_sessions",
        )
        .replace("names of ended sessions:_default", "names of ended sessions:_stayd_ended")
        .replace(":PROFILE:_default", ":PROFILE:_stayd_profiles")
        .replace(":NODE:_default", ":NODE:_stayd_nodes");
    let function = |name: &str, names: &str| {
        format!(
            "\n{name}() {{\n    local -a names=(${{(f)\"$({names})\"}})\n    compadd -a names\n}}\n"
        )
    };
    let functions = [
        function("_stayd_sessions", SESSIONS),
        function("_stayd_ended", ENDED),
        function("_stayd_profiles", PROFILES),
        function("_stayd_nodes", NODES),
    ];
    // The first line has to stay `#compdef`, by which zsh recognizes the file.
    named.replacen('\n', &functions.concat(), 1)
}

fn fish() -> String {
    format!(
        "complete -c stayd -n \"__fish_seen_subcommand_from {VERBS}\" -f -a \"({SESSIONS})\"\n\
         complete -c stayd -n \"__fish_seen_subcommand_from {ENDED_VERBS}\" -f -a \"({ENDED})\"\n\
         complete -c stayd -n \"__fish_seen_subcommand_from run\" -l profile -s p -x \
         -a \"({PROFILES})\"\n\
         complete -c stayd -n \"__fish_seen_subcommand_from run ls list profiles\" -l node -x \
         -a \"({NODES})\"\n"
    )
}
