//! `stayd completions`.

use super::args::Cli;
use super::failure::Failure;
use super::out;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// The shell whose script is printed
    shell: Shell,
}

pub(super) fn completions(flags: &Flags) -> Result<u8, Failure> {
    let mut script = Vec::new();
    generate(flags.shell, &mut Cli::command(), "stayd", &mut script);
    out::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
