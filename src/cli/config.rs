//! `stayd config`: prints a complete `stayd.toml`, or checks the user's file.

use super::failure::Failure;
use super::out;
use crate::config::{self, PathFlags, ServeFlags, Settings};
use clap::Args;

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["reference", "check"])))]
pub(super) struct Flags {
    /// Print a complete stayd.toml: every setting, commented out, with its default
    #[arg(long)]
    reference: bool,
    /// Check the settings file; print the line and key of an error, and exit with 2
    #[arg(long)]
    check: bool,
}

pub(super) fn config(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    if flags.reference {
        out::print(&config::reference())?;
        return Ok(0);
    }
    Settings::load(paths, &ServeFlags::default())?;
    let line = match config::settings_file(paths) {
        Some(file) if file.exists() => format!("{} can be used\n", file.display()),
        Some(file) => format!("{} does not exist; every setting has its default\n", file.display()),
        None => "no settings file; every setting has its default\n".to_owned(),
    };
    out::print(&line)?;
    Ok(0)
}
