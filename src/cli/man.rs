//! `stayd man`: the manual pages that clap generates from the definitions, and what clap cannot know
//! of them.

use super::failure::Failure;
use clap::{Args, Command};
use clap_mangen::Man;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Directory that the pages are written to; it is made if it is not there
    directory: PathBuf,
}

/// What the page of the whole program says besides its flags and verbs, as roff.
const MORE: &str = r".SH FILES
.TP
\fI~/.config/stayd/stayd.toml\fR
The settings; \fBstayd config \-\-reference\fR prints a complete file.
.TP
\fI~/.local/state/stayd\fR
The state directory: the database, the sockets and the recordings.
";

/// What every page ends with, as roff. The exit codes are those of `Failure::exit_code`.
const END: &str = r".SH EXIT STATUS
.TP
\fB0\fR
Done. For \fBrun\fR and \fBattach\fR: detached.
.TP
\fB1\fR
An error, such as no server, a name that is taken, a command that does not start.
.TP
\fB2\fR
A command line or settings that make no sense.
.TP
\fB3\fR
No such session, or no such machine of the fleet.
.TP
\fB124\fR
\fBwait\fR: the timeout was over before the condition held.
.TP
\fB130\fR
\fBput\fR was interrupted.
.PP
\fBrun\fR, \fBattach\fR and \fBwait \-\-exit\fR exit with the session's own code once the session has
ended; 128 + n for signal n.
";

/// `command` is the definition of the whole command line.
pub(super) fn man(flags: &Flags, command: Command) -> Result<u8, Failure> {
    let directory = &flags.directory;
    let failed = |path: &Path| Failure::doing::<io::Error>(path.display().to_string());
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for (name, page) in pages(command) {
        let path = directory.join(name);
        fs::write(&path, page).map_err(failed(&path))?;
    }
    Ok(0)
}

/// A page for the program and one for each verb, by its file's name.
pub(super) fn pages(command: Command) -> Vec<(String, Vec<u8>)> {
    // The verb `help` is explained by what it prints.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    collect(&command, &mut pages);
    pages
}

fn collect(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let verbs = || command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let is_whole = command.get_bin_name() == Some("stayd");
    let man = Man::new(command.clone())
        .manual("stayd")
        .source(concat!("stayd ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = man.render(&mut page);
    if is_whole {
        page.extend(MORE.as_bytes());
    }
    page.extend(END.as_bytes());
    page.extend(see_also(command, is_whole).as_bytes());
    pages.push((man.get_filename(), page));
    verbs().for_each(|verb| collect(verb, pages));
}

fn see_also(command: &Command, is_whole: bool) -> String {
    let names = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let names = names.filter_map(|verb| verb.get_display_name().map(str::to_owned));
    let above = (!is_whole).then(|| "stayd".to_owned());
    let pages: Vec<String> = above.into_iter().chain(names).collect();
    let pages = pages.iter().map(|name| format!("\\fB{}\\fR(1)", name.replace('-', "\\-")));
    format!(".SH SEE ALSO\n{}\n", pages.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::CommandFactory;

    #[test]
    fn each_verb_has_a_page_with_its_flags_and_exit_codes() {
        let pages: Vec<(String, String)> = pages(Cli::command())
            .into_iter()
            .map(|(name, page)| (name, String::from_utf8(page).unwrap()))
            .collect();
        let page = |wanted: &str| {
            let found = pages.iter().find(|(name, _)| name == wanted);
            &found.unwrap_or_else(|| panic!("no {wanted}")).1
        };
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let page = page(&format!("stayd-{}.1", verb.get_name()));
            let about = verb.get_about().unwrap().to_string();
            let about = about.replace('-', "\\-").replace('\'', "\\*(Aq");
            assert!(page.contains(&about), "{page}");
            assert!(page.contains(".SH EXIT STATUS"), "{page}");
        }
        assert!(page("stayd.1").contains("\\fBstayd\\-token\\fR(1)"));
        assert!(page("stayd.1").contains("STAYD_LISTEN"));
        assert!(page("stayd-token-add.1").contains("\\-\\-expires"));
        assert!(!pages.iter().any(|(name, _)| name.contains("-man") || name.contains("-help")));
    }
}
