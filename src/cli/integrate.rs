//! `stayd integrate`: the script by which a shell tells of its commands and its directory.

use super::failure::Failure;
use super::out;
use crate::config::account;
use crate::integrate::Shell;
use clap::Args;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// The shell whose script is printed
    shell: Shell,
    /// Add a line to the shell's own settings that loads the script in every session
    ///
    /// To ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish (or where ZDOTDIR and XDG_CONFIG_HOME say), unless the line is there already. A profile
    /// of the server can do without it: shell_integration = true.
    #[arg(long)]
    install: bool,
}

pub(super) fn integrate(flags: &Flags) -> Result<u8, Failure> {
    if !flags.install {
        out::print(flags.shell.script())?;
        return Ok(0);
    }
    let (path, line) = flags.shell.settings(Path::new(&account().home));
    let doing = || Failure::doing(path.display().to_string());
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.map_err(doing())?,
    };
    if text.lines().any(|there| there == line) {
        out::print(&format!("{} has the line already\n", path.display()))?;
        return Ok(0);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(doing())?;
    }
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(doing())?;
    file.write_all(format!("{start}{line}\n").as_bytes()).map_err(doing())?;
    out::print(&format!(
        "added to {}: {line}\nShells that start in a session from now on load it.\n",
        path.display()
    ))?;
    Ok(0)
}
