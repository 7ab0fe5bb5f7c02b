//! `stayd integrate`: the script by which a shell tells of its commands and its directory, and the hooks
//! by which agents report what they do.

use super::failure::Failure;
use super::out;
use crate::config::account;
use crate::integrate::{self, Shell};
use clap::Args;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What settings of agents may be read by, if they are new: their owner.
const NEW_MODE: u32 = 0o600;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// The shell whose script is printed, or the agent whose hooks are
    #[arg(value_name = "PROGRAM")]
    program: Program,
    /// Add a line to the shell's own settings that loads the script in every session, or the hooks to
    /// Claude Code's
    ///
    /// To ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish (or where ZDOTDIR and XDG_CONFIG_HOME say), unless the line is there already. A profile
    /// of the server can do without it: shell_integration = true. Claude Code's settings are
    /// ~/.claude/settings.json (or where CLAUDE_CONFIG_DIR says); what else is in them stays, and a
    /// copy of them as they were is kept beside them.
    #[arg(long)]
    install: bool,
    /// Remove what --install has added to Claude Code's settings
    #[arg(long, conflicts_with = "install")]
    uninstall: bool,
    /// Claude Code's settings of the project in this directory, .claude/settings.json, which then name
    /// no path of this program
    #[arg(long)]
    project: bool,
}

/// What can be integrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Program {
    /// bash 4.4 and newer.
    Bash,
    /// zsh.
    Zsh,
    /// fish 3.1 and newer.
    Fish,
    /// Claude Code: hooks for its settings.json.
    Claude,
    /// Codex: a line for its config.toml.
    Codex,
    /// Gemini CLI: hooks for its settings.json.
    Gemini,
}

pub(super) fn integrate(flags: &Flags) -> Result<u8, Failure> {
    let shell = match flags.program {
        Program::Bash => Some(Shell::Bash),
        Program::Zsh => Some(Shell::Zsh),
        Program::Fish => Some(Shell::Fish),
        Program::Claude | Program::Codex | Program::Gemini => None,
    };
    let changes = flags.install || flags.uninstall;
    let usage = |why: &str| Err(Failure::Usage(why.to_owned()));
    match (flags.program, shell) {
        (Program::Claude, _) if changes => change_claude(flags),
        _ if flags.uninstall || flags.project => {
            usage("--uninstall and --project are for Claude Code's settings")
        }
        (_, Some(shell)) if flags.install => install(shell),
        (_, None) if changes => usage("--install is for shells and claude: add what is printed"),
        (Program::Claude, _) => print(&integrate::for_claude(&stayd(flags))),
        (Program::Codex, _) => print(&integrate::for_codex(&stayd(flags))),
        (Program::Gemini, _) => print(&integrate::for_gemini(&stayd(flags))),
        (_, Some(shell)) => print(shell.script()),
        (_, None) => Ok(0),
    }
}

fn print(text: &str) -> Result<u8, Failure> {
    out::print(text)?;
    Ok(0)
}

/// This program, as hooks start it.
fn stayd(flags: &Flags) -> String {
    let path = std::env::current_exe().ok().filter(|_| !flags.project);
    let path = path.as_deref().and_then(Path::to_str).unwrap_or("stayd");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// The file of Claude Code's settings; where that is a link, the file that it leads to.
fn claude_settings(flags: &Flags) -> io::Result<PathBuf> {
    let own = std::env::var_os("CLAUDE_CONFIG_DIR").filter(|dir| !dir.is_empty());
    let folder = match own {
        _ if flags.project => PathBuf::from(".claude"),
        Some(own) => own.into(),
        None => home()?.join(".claude"),
    };
    let file = folder.join("settings.json");
    let named = |error: io::Error| io::Error::other(format!("{}: {error}", file.display()));
    if file.symlink_metadata().is_ok() { file.canonicalize().map_err(named) } else { Ok(file) }
}

/// The home directory. One that the environment names wrongly must not lead to another's settings.
fn home() -> io::Result<PathBuf> {
    match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) if !Path::new(&home).is_dir() => {
            let home = Path::new(&home).display();
            Err(io::Error::other(format!("HOME is {home}, which is no directory")))
        }
        Some(home) => Ok(home.into()),
        None => Ok(account().home.clone().into()),
    }
}

fn change_claude(flags: &Flags) -> Result<u8, Failure> {
    let path = claude_settings(flags).map_err(Failure::doing("the settings of Claude Code"))?;
    let shown = path.display().to_string();
    let doing = || Failure::doing(shown.clone());
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        text => Some(text.map_err(doing())?),
    };
    let text = before.as_deref().unwrap_or_default();
    let after = match flags.install {
        true => integrate::with_hooks(text, &stayd(flags)),
        false => integrate::without_hooks(text),
    };
    let after = after.map_err(|why| {
        Failure::Other(format!(
            "{shown}: {why}; nothing was changed. Mend it, or add what `stayd integrate claude` prints \
             by hand"
        ))
    })?;
    let Some(after) = after else {
        let has = if flags.install { "has the hooks already" } else { "has none of the hooks" };
        return print(&format!("{shown} {has}\n"));
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(doing())?;
    let mode = path.metadata().map_or(NEW_MODE, |metadata| metadata.permissions().mode() & 0o777);
    let mut copy = String::new();
    // A copy of settings with our hooks in them would replace that of the settings before.
    let is_without = |text: &&String| matches!(integrate::without_hooks(text), Ok(None));
    if let Some(before) = before.as_ref().filter(is_without) {
        let kept = path.with_extension("json.before-stayd");
        replace(&kept, before, mode).map_err(doing())?;
        copy = format!("\nWhat it was before is in {}.", kept.display());
    }
    replace(&path, &after, mode).map_err(doing())?;
    let done = if flags.install { "added the hooks to" } else { "removed the hooks from" };
    print(&format!("{done} {shown}{copy}\nClaude Code reads them when it starts.\n"))
}

/// Writes a file of which others see what it was or what it is, and nothing between.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        // Without what the umask has taken away.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().inspect_err(|_| drop(fs::remove_file(&beside)))
}

/// Adds a line to a shell's settings.
fn install(shell: Shell) -> Result<u8, Failure> {
    let (path, line) = shell.settings(&home().map_err(Failure::doing("the home directory"))?);
    let doing = || Failure::doing(path.display().to_string());
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.map_err(doing())?,
    };
    if text.lines().any(|there| there == line) {
        return print(&format!("{} has the line already\n", path.display()));
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(doing())?;
    }
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut file = OpenOptions::new().create(true).append(true).open(&path).map_err(doing())?;
    file.write_all(format!("{start}{line}\n").as_bytes()).map_err(doing())?;
    print(&format!(
        "added to {}: {line}\nShells that start in a session from now on load it.\n",
        path.display()
    ))
}
