//! The command line: one file a verb.
//!
//! | room | what is in it |
//! |---|---|
//! | `serve` `run` `attach` `ls` `info` `history` `profiles` `kill` `rm` `restart` `rename` `send` `screen` `wait` `logs` `recording` `put` `get` `report` `url` `stop` `upgrade` `nodes` `token` `logins` `backup` `config` `doctor` `integrate` `mcp` `completions` `man` | the verbs |
//! | `retry` | for a server that is being started again |
//! | `background` | the server that `run` starts where none runs |
//! | `inside` | the session that a command itself runs in |
//! | `local` | the server of a state directory, and who listens at its address |
//! | `endpoint`, `transport`, `client`, `body_stream` | the server's address, the connection to it, and its HTTP API |
//! | `resolve`, `key`, `table`, `grid` | from words to sessions and their machines, and from sessions to a table |
//! | `fleet` | what the server tells of the other machines |
//! | `failure` | failures and their exit codes |
//! | `out`, `progress` | standard output; a line on standard error while something takes long |
//! | `sys` | system calls that nix lacks |
//!
//! Exit codes: 0 success, 1 an error, 2 a wrong command line, 3 no such session or machine, 124 a wait that
//! timed out, 130 a `put` that was interrupted. `run`, `attach` and `wait --exit` exit with the session's own code, 128 + n for a
//! signal.

mod args;
mod attach;
mod audit;
mod background;
mod backup;
mod client;
mod completions;
mod config;
mod doctor;
mod download;
mod ended;
mod endpoint;
mod failure;
mod files;
mod fleet;
mod grid;
mod history;
mod info;
mod inside;
mod integrate;
mod keep;
mod key;
mod kill;
mod local;
mod logins;
mod logs;
mod ls;
mod man;
mod mcp;
mod nodes;
mod out;
mod profiles;
mod progress;
mod recording;
mod rename;
mod report;
mod resolve;
mod restart;
mod retry;
mod rm;
mod run;
#[cfg(test)]
pub(crate) mod samples;
mod screen;
mod send;
mod serve;
mod share;
mod staying;
mod stop;
mod sys;
mod table;
mod token;
mod transport;
mod upgrade;
mod url;
mod wait;

use args::{Cli, Verb};
use clap::CommandFactory;
use failure::Failure;
use std::process::ExitCode;

/// Runs the verb that the process's arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(e) => e.exit(),
    };
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            out::message(&format!("stayd: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs a verb and returns the process's exit code.
fn dispatch(cli: Cli) -> Result<u8, Failure> {
    let paths = &cli.paths;
    match cli.verb {
        None => serve::serve(paths, &cli.serve),
        Some(Verb::Serve(flags)) => serve::serve(paths, &flags),
        Some(Verb::Run(flags)) => run::run(paths, flags),
        Some(Verb::Attach(flags)) => attach::attach(paths, flags),
        Some(Verb::Ls(flags)) => ls::ls(paths, flags),
        Some(Verb::Info(flags)) => info::info(paths, &flags),
        Some(Verb::History(flags)) => history::history(paths, &flags),
        Some(Verb::Profiles(flags)) => profiles::profiles(paths, &flags),
        Some(Verb::Kill(flags)) => kill::kill(paths, flags),
        Some(Verb::Rm(flags)) => rm::rm(paths, flags),
        Some(Verb::Restart(flags)) => restart::restart(paths, &flags),
        Some(Verb::Keep(flags)) => keep::keep(paths, &flags),
        Some(Verb::Unkeep(flags)) => keep::unkeep(paths, &flags),
        Some(Verb::Rename(flags)) => rename::rename(paths, &flags),
        Some(Verb::Send(flags)) => send::send(paths, &flags),
        Some(Verb::Screen(flags)) => screen::screen(paths, &flags),
        Some(Verb::Wait(flags)) => wait::wait(paths, &flags),
        Some(Verb::Logs(flags)) => logs::logs(paths, &flags),
        Some(Verb::Recording(flags)) => recording::recording(paths, &flags),
        Some(Verb::Nodes(flags)) => nodes::nodes(paths, &flags),
        Some(Verb::Url(flags)) => url::url(paths, &flags),
        Some(Verb::Stop(flags)) => stop::stop(paths, &flags),
        Some(Verb::Upgrade(flags)) => upgrade::upgrade(paths, &flags),
        Some(Verb::Share(flags)) => share::share(paths, &flags),
        Some(Verb::Token(flags)) => token::token(paths, flags),
        Some(Verb::Logins(flags)) => logins::logins(paths, &flags),
        Some(Verb::Audit(flags)) => audit::audit(paths, &flags),
        Some(Verb::Backup(flags)) => backup::backup(paths, flags),
        Some(Verb::Config(flags)) => config::config(paths, &flags),
        Some(Verb::Doctor(flags)) => doctor::doctor(paths, &flags),
        Some(Verb::Put(flags)) => files::put(paths, &flags),
        Some(Verb::Get(flags)) => files::get(paths, &flags),
        Some(Verb::Report(flags)) => report::report(paths, &flags),
        Some(Verb::Integrate(flags)) => integrate::integrate(&flags),
        Some(Verb::Mcp(flags)) => mcp::mcp(paths, &flags),
        Some(Verb::Completions(flags)) => completions::completions(&flags, Cli::command()),
        Some(Verb::Man(flags)) => man::man(&flags, Cli::command()),
    }
}
