//! `stayd completions`: what clap makes of the definitions, and the names of the sessions
//! that there are, which it cannot know.

use super::args::Cli;
use super::failure::Failure;
use super::out;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// The shell whose script is printed
    ///
    /// bash: source <(stayd completions bash); zsh: as _stayd in a directory of $fpath;
    /// fish: stayd completions fish | source. For bash, zsh and fish it asks the server for
    /// the names of live sessions.
    shell: Shell,
}

/// Verbs whose words are sessions.
const VERBS: &str =
    "attach a info show history kill restart rename send screen wait logs recording";

pub(super) fn completions(flags: &Flags) -> Result<u8, Failure> {
    out::print(&script(flags.shell))?;
    Ok(0)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "stayd", &mut script);
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
# Names of sessions, where the generated part knows flags alone.
_stayd_sessions() {{
    _stayd "$@"
    local word=${{COMP_WORDS[COMP_CWORD]}} verb
    [[ $word == -* || ${{COMP_WORDS[COMP_CWORD-1]}} == -* ]] && return
    for verb in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $verb in
            {verbs})
                local IFS=$'\n'
                COMPREPLY=($(compgen -W "$(stayd ls --quiet 2>/dev/null)" -- "$word"))
                return ;;
        esac
    done
}}
complete -F _stayd_sessions -o bashdefault -o default stayd
"#
    )
}

/// The generated script describes each word; those that are sessions get a function.
fn zsh(script: &str) -> String {
    let named = script
        .replace(
            "beginning of an id, or name:_default",
            "beginning of an id, or name:_stayd_sessions",
        )
        .replace("; ended sessions too:_default", "; ended sessions too:_stayd_sessions")
        .replace(
            "beginnings of ids, or names:_default",
            "beginnings of ids, or names:_stayd_sessions",
        );
    let function = "\n_stayd_sessions() {\n    \
        local -a sessions=(${(f)\"$(stayd ls --quiet 2>/dev/null)\"})\n    \
        compadd -a sessions\n}\n";
    // The first line is #compdef, by which zsh knows the file.
    named.replacen('\n', function, 1)
}

fn fish() -> String {
    format!(
        "complete -c stayd -n \"__fish_seen_subcommand_from {VERBS}\" -f \
         -a \"(stayd ls --quiet 2>/dev/null)\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_that_takes_a_session_completes_sessions() {
        let command = Cli::command();
        for verb in command.get_subcommands() {
            let is_session =
                |arg: &&clap::Arg| ["session", "sessions"].contains(&arg.get_id().as_str());
            let takes_one = verb.get_positionals().any(|arg| is_session(&arg));
            let names = verb.get_name_and_visible_aliases();
            for name in names {
                let known = VERBS.split(' ').any(|word| word == name);
                assert_eq!(known, takes_one, "{name}");
            }
        }
        let zsh = script(Shell::Zsh);
        assert_eq!(zsh.matches(":_stayd_sessions'").count(), VERBS.split(' ').count(), "{zsh}");
        assert!(zsh.starts_with("#compdef stayd\n_stayd_sessions() {"), "{zsh}");
    }
}
