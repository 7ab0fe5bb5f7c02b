//! `stayd config`: prints a complete `stayd.toml`, or checks the user's file.

use super::failure::Failure;
use super::out;
use crate::config::{self, PathFlags, ServeFlags, Settings};
use crate::connections::check_plain;
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
    let settings = Settings::load(paths, &ServeFlags::default())?;
    if settings.tls.is_none() && !settings.allow_plain {
        check_plain(&settings.listen).map_err(|exposed| Failure::Usage(exposed.to_string()))?;
    }
    let line = match config::settings_file(paths) {
        Some(file) if file.exists() => format!(
            "{} is right; `stayd doctor` looks at the files, users and directories that it names\n",
            file.display()
        ),
        Some(file) => format!("{} does not exist; every setting has its default\n", file.display()),
        None => "no settings file; every setting has its default\n".to_owned(),
    };
    out::print(&line)?;
    Ok(0)
}
