//! Plans the restart of an ended session: its command, environment, screen and offset.

use super::create::Defaults;
use super::environment::{environment, server_environment};
use super::launch::Start;
use crate::config::Resume;
use crate::holder::{Confinement, Resumed, SpawnSpec};
use crate::lifecycle::EndReason;
use crate::protocol::{Cause, Session, rfc3339};
use crate::screens::{LastScreen, Screens};
use crate::session::{Record, Revival, now};
use crate::store::StoreHandle;
use slog::{Logger, warn};
use std::collections::BTreeMap;

/// The next offset is the next multiple of this if the end of the output is unknown: more than a
/// program can print before the row says so, even while the database is unavailable for hours. A
/// client that has seen more than the row knows is not misled.
const UNSEEN: u64 = 1 << 40;

/// Resets the modes that the last program has left in its terminal, since the next one may not want
/// them: modes and attributes (DECSTR), the mouse, focus reports, bracketed paste.
const CLEAN: &str = "\x1b[!p\x1b[?1000;1002;1003;1004;1006;2004l\x1b[?25h\x1b[0m";
/// Leaves the alternate screen, for where the cursor was before.
const LEAVE: &str = "\x1b[?1049l";

/// The row, the process and the life of what is started again.
pub(super) async fn plan_again(
    revival: Revival,
    defaults: &Defaults,
    screens: &Screens,
    cause: Option<Cause>,
    store: &StoreHandle,
    log: &Logger,
) -> Start {
    let row = &revival.row;
    let id = row.session.id;
    let screen = store.last_screen(id).await.unwrap_or_else(|error| {
        warn!(log, "a session is started again without its screen"; "session" => %id,
            "error" => %error);
        None
    });
    let screen = screen.filter(|screen| screen.offset == row.session.offset);
    let base = match &screen {
        Some(screen) => screen.offset,
        None if row.session.offset == 0
            && row.session.end_reason == Some(EndReason::SpawnFailed) =>
        {
            0
        }
        None => (row.session.offset / UNSEEN + 1) * UNSEEN,
    };
    let profile = row.session.profile.as_ref().and_then(|name| defaults.profiles.get(name));
    let mut command = row.session.command.clone();
    let left = match &screen {
        Some(screen) => Left::on(screen.clone(), screens).await,
        None => Left::default(),
    };
    if let Some(resume) = profile.and_then(|profile| profile.resume.as_ref()) {
        command.extend(arguments(resume, &left.text).unwrap_or_default());
    }
    let nothing = BTreeMap::new();
    let env = profile.map_or(&nothing, |profile| &profile.env);
    let at = now();
    let leave = if left.alternate { LEAVE } else { "" };
    let preface =
        format!("{leave}{CLEAN}\r\n\x1b[2m{}\x1b[0m\r\n", note(&row.session, &rfc3339(at.wall)));
    let session = &row.session;
    let spec = SpawnSpec {
        command,
        login: profile.is_some_and(|profile| profile.login),
        cwd: session.cwd.clone(),
        env: environment(id, server_environment(), &[&defaults.env, env, &row.env]),
        cols: session.cols,
        rows: session.rows,
        checkpoints: true,
        resumed: Some(Resumed { base, preface }),
        // See `confine`.
        confinement: Confinement::default(),
    };
    let (record, begun) = Record::start_again(revival, base, cause, at);
    Start { record, begun, spec, screen }
}

/// The line between the output of the last program and that of the next.
fn note(session: &Session, at: &str) -> String {
    let ended = match (session.exit_code, session.exit_signal) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    format!("[{ended}; started again {at}]")
}

/// The state in which a program has left its terminal.
#[derive(Default)]
struct Left {
    alternate: bool,
    text: String,
}

impl Left {
    async fn on(screen: LastScreen, screens: &Screens) -> Self {
        let look = screens.inspect_last(screen, |screen| {
            let text = screen.view(usize::MAX).written(true);
            Left { alternate: screen.is_alternate(), text }
        });
        // A screen that breaks the emulator says nothing.
        look.await.unwrap_or_default()
    }
}

/// The arguments with which a program resumes what it has printed the id of.
fn arguments(resume: &Resume, text: &str) -> Option<Vec<String>> {
    let id = resume.find(text)?;
    Some(resume.args.iter().map(|arg| arg.replace("{id}", id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_id_that_a_program_has_told_is_taken() {
        let resume = Resume {
            pattern: "resume ([0-9a-f-]+)".to_owned(),
            args: vec!["--resume".to_owned(), "{id}".to_owned()],
        };
        let text = "resume 1-2\nwork\nresume ab-3 \n";
        assert_eq!(arguments(&resume, text).unwrap(), ["--resume", "ab-3"]);
        assert_eq!(arguments(&resume, "nothing"), None);
    }
}
