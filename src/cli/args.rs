//! The definition of the command line.

use super::{
    attach, audit, backup, completions, config, doctor, files, info, integrate, keep, kill, logins,
    logs, ls, man, mcp, nodes, profiles, recording, rename, report, restart, rm, run, screen, send,
    share, stop, token, upgrade, url, wait,
};
use crate::config::{PathFlags, ServeFlags};
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;

/// Terminal sessions that outlive browser tabs, networks and the server itself.
#[derive(Debug, Parser)]
#[command(name = "stayd", version, about, subcommand_help_heading = "Verbs")]
#[command(after_help = "Without a verb, stayd serves. Settings: flags go before the environment \
                        (STAYD_*), that before stayd.toml, that before defaults.")]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) paths: PathFlags,
    /// The flags of `stayd` without a verb.
    #[command(flatten)]
    pub(super) serve: ServeFlags,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Serve sessions to browsers and terminals (what stayd does without a verb)
    Serve(Box<ServeFlags>),
    /// Start a session and attach to it
    ///
    /// Exits with the session's exit code, 128 + n if signal n ended it, 0 after detaching (Ctrl-\,
    /// then d).
    Run(run::Flags),
    /// Attach this terminal to a session
    ///
    /// Ctrl-\, then d detaches; Ctrl-\ twice sends one to the program. Exits with the session's
    /// exit code, 128 + n if signal n ended it, 0 after detaching. Without a terminal it works as a
    /// pipe: the end of standard input ends nothing, and output is written until the session ends.
    #[command(visible_alias = "a")]
    Attach(attach::Flags),
    /// List sessions
    #[command(visible_alias = "list")]
    Ls(ls::Flags),
    /// Print all details of one session
    #[command(visible_alias = "show")]
    Info(info::Flags),
    /// List every change of a session's status
    History(info::Flags),
    /// List the commands that may be started by name
    Profiles(profiles::Flags),
    /// End sessions, with everything that runs in them
    Kill(kill::Flags),
    /// Remove what is kept of ended sessions: row, history, last screen, recording
    ///
    /// Without it they are kept for a week, unless the server's settings say otherwise.
    Rm(rm::Flags),
    /// Run sessions' commands again, under the same ids
    ///
    /// A session that still runs is ended first. The text on its screen stays above the new output.
    Restart(restart::Flags),
    /// Keep a session when nobody is attached, however long
    Keep(keep::Keep),
    /// End a session some time after the last client has left, as is usual
    Unkeep(keep::Unkeep),
    /// Give a session another name, or none
    Rename(rename::Flags),
    /// Type into a session: a text, keys, or standard input
    ///
    /// Every byte is typed once, even if the server is restarted meanwhile.
    Send(send::Flags),
    /// Print the screen of a session
    Screen(screen::Flags),
    /// Wait until a session's screen shows something, is quiet, or the session ends
    ///
    /// Exits with 0 once the condition holds, 124 after the timeout, 1 if the session has ended
    /// before; with --exit, with the session's own exit code.
    Wait(wait::Flags),
    /// Say what the program in a session is doing, and whether it needs somebody
    ///
    /// For programs inside a session, and hooks of agents: a session's program may say this of its own
    /// session, whatever else it may do. `stayd ls`, the page and hooks of the server then tell who waits.
    Report(report::Flags),
    /// Print the retained output of a session, unchanged
    Logs(logs::Flags),
    /// Print a session's recording, for asciinema and other players
    ///
    /// The session has to be started with `run --record`, or by a profile with `recording`. The
    /// recording of a session that still runs is printed up to now.
    Recording(recording::Flags),
    /// List the machines of the fleet, and whether they are there
    ///
    /// A session of another machine is named NODE/NAME or NODE/ID, wherever a verb takes a session.
    Nodes(nodes::Flags),
    /// Print a link to the web page, which logs in once, within ten minutes
    Url(url::Flags),
    /// Print a link that opens one session and nothing else
    ///
    /// Whoever has the link sees the session, without its command, directory, labels and the names of
    /// others. A link that has ended ends everything that was opened with it within two seconds.
    Share(share::Flags),
    /// Stop the server; sessions run on, unless --all
    Stop(stop::Flags),
    /// Replace the processes that hold the sessions by this program; sessions run on
    ///
    /// The server is not replaced: restart it as well. A program that cannot take the sessions over
    /// is refused, and everything stays as it was.
    Upgrade(upgrade::Flags),
    /// Manage tokens, one for each person or program
    ///
    /// A token has a name, which the history of a session shows, a role (--role), and sessions that
    /// exist for it: all, or those of --session, --label or --own. It may end by itself (--expires).
    /// A change takes effect at once.
    #[command(subcommand)]
    Token(token::What),
    /// List the browsers that are logged in, or log one out
    Logins(logins::Flags),
    /// Print what was done on the server, by whom, and what was refused
    Audit(audit::Flags),
    /// Copy the database of a running server into a file
    ///
    /// The copy is complete and consistent, while sessions and writes go on. It has the records of
    /// the sessions, not their output.
    Backup(backup::Flags),
    /// Print every setting with its default, or check the settings file
    Config(config::Flags),
    /// Check for problems that may keep stayd from working, without changing anything
    ///
    /// Checks the settings, state directory, database, holder, server and the system's limits.
    /// Exits with 1 if a check has failed.
    Doctor(doctor::Flags),
    /// Copy files into a session's directory
    Put(files::PutFlags),
    /// Copy a file from a session's directory
    Get(files::GetFlags),
    /// Print the script by which a shell in a session tells of its commands, or install it
    ///
    /// With it, lists show the running command, its exit code and the directory, and the page jumps
    /// between commands. bash: eval "$(stayd integrate bash)" in ~/.bashrc, or --install.
    Integrate(integrate::Flags),
    /// Offer sessions as tools to an agent, on standard input and output
    ///
    /// Speaks the Model Context Protocol, for agents that start their tools themselves. It passes
    /// everything on to the server, waits for one that is being restarted, and types nothing twice.
    /// Agents that ask by HTTP need it not: their address is that of the server with /mcp.
    Mcp(mcp::Flags),
    /// Print a completion script for a shell
    Completions(completions::Flags),
    /// Write the manual pages into a directory
    ///
    /// Packages carry them already.
    #[command(hide = true)]
    Man(man::Flags),
}

/// Parses a command line. A server flag before another verb is an error, because it would be
/// ignored.
pub(super) fn parse<I, T>(args: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    // With a verb, read environment variables for that verb only: a broken STAYD_LISTEN must not
    // break `ls`, or `serve --listen`.
    let without_variables =
        |arg: Arg| if arg.is_global_set() { arg } else { arg.env(Resettable::Reset) };
    let mut command = Cli::command().mut_args(without_variables);
    let mut matches = command.try_get_matches_from_mut(&args).map_err(|error| {
        // A usage line would demand the flags of the variables that are set.
        let told = without_environment(Cli::command()).try_get_matches_from(&args);
        told.err().filter(|_| error.use_stderr()).unwrap_or(error)
    })?;
    match matches.subcommand_name() {
        Some(verb) => {
            let typed = |arg: &&Arg| {
                matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
            };
            // Global flags may stand before the verb.
            let local = command.get_arguments().filter(|arg| !arg.is_global_set()).find(typed);
            if let Some(flag) = local.and_then(Arg::get_long).map(str::to_owned) {
                let message = format!("--{flag} is no flag of `{verb}`; it belongs after `serve`");
                return Err(command.error(ErrorKind::ArgumentConflict, message));
            }
        }
        None => matches = Cli::command().try_get_matches_from(&args)?,
    }
    Cli::from_arg_matches(&matches)
}

/// The command, and those below it, without the variables of its flags.
fn without_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| arg.env(Resettable::Reset));
    command.mut_subcommands(without_environment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap_complete::Shell;
    use std::path::Path;

    fn cli(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split_whitespace())
    }

    #[test]
    fn definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_verb_serves_and_takes_the_flags_of_serve() {
        let bare = cli("stayd --listen 127.0.0.1:1 --state-dir /x").unwrap();
        assert!(bare.verb.is_none());
        assert_eq!(bare.serve.listen, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(bare.paths.state_dir.as_deref(), Some(Path::new("/x")));
        let spelled = cli("stayd serve --listen 127.0.0.1:1 --state-dir /x").unwrap();
        let Some(Verb::Serve(flags)) = spelled.verb else { panic!("{spelled:?}") };
        assert_eq!(flags.listen, bare.serve.listen);
        assert_eq!(spelled.paths.state_dir, bare.paths.state_dir);
    }

    #[test]
    fn where_things_are_may_be_said_before_or_after_the_verb() {
        for line in ["stayd --state-dir /x ls", "stayd ls --state-dir /x"] {
            assert_eq!(cli(line).unwrap().paths.state_dir.as_deref(), Some(Path::new("/x")));
        }
    }

    #[test]
    fn a_misplaced_flag_is_refused() {
        let refused = cli("stayd --listen 127.0.0.1:1 ls").unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("--listen"), "{refused}");
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let line = "stayd run -d --name n -e A=b=c --idle-timeout never -- ls -l --all";
        let Some(Verb::Run(flags)) = cli(line).unwrap().verb else { panic!() };
        assert_eq!(flags.command, ["ls", "-l", "--all"]);
        assert_eq!(flags.env, [("A".to_owned(), "b=c".to_owned())]);
        assert!(flags.detach);
        assert_eq!(cli("stayd run -e A -- ls").unwrap_err().exit_code(), 2);
        assert_eq!(cli("stayd kill").unwrap_err().exit_code(), 2);
    }

    #[test]
    fn every_verb_that_takes_a_session_completes_sessions() {
        let command = Cli::command();
        for verb in command.get_subcommands() {
            let is_session =
                |arg: &&clap::Arg| ["session", "sessions"].contains(&arg.get_id().as_str());
            let takes_one = verb.get_positionals().any(|arg| is_session(&arg));
            let names = verb.get_name_and_visible_aliases();
            for name in names {
                let verbs = [completions::VERBS, completions::ENDED_VERBS].join(" ");
                let known = verbs.split(' ').any(|word| word == name);
                assert_eq!(known, takes_one, "{name}");
            }
        }
        let zsh = completions::script(Shell::Zsh, Cli::command());
        assert_eq!(
            zsh.matches(":_stayd_sessions'").count(),
            completions::VERBS.split(' ').count(),
            "{zsh}"
        );
        for function in ["_stayd_ended'", "_stayd_profiles'", "_stayd_nodes'"] {
            assert!(zsh.contains(&format!(":{function}")), "{function}: {zsh}");
        }
        assert!(zsh.starts_with("#compdef stayd\n_stayd_sessions() {"), "{zsh}");
    }
}
