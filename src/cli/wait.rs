//! `stayd wait`.

use super::attach::exit_code;
use super::client::{Client, read};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::key::Key;
use super::out;
use super::progress::Progress;
use super::resolve::resolve_any;
use super::retry::Retries;
use crate::config::PathFlags;
use crate::protocol::{Session, attention_states, rfc3339};
use clap::Args;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The longest time of one request: well below the timeouts of proxies.
const SLICE: Duration = Duration::from_secs(30);
/// The same while waiting for quiet, which is the longest that the server allows, because each
/// request starts counting anew.
const SLICE_MAX: Duration = Duration::from_secs(600);
/// The timeout of an attempt to connect. It is short so that a missing server is noticed soon.
const THERE: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
#[command(
    group(clap::ArgGroup::new("what").required(true).args(["text", "regex", "quiet", "state", "exit"])),
    override_usage = "stayd wait [OPTIONS] <SESSION> <--text <STR>|--regex <RE>|--quiet <MS>|--state <STATES>|--exit>",
)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    session: String,
    /// Wait until the screen shows this text, which may be what was just typed
    #[arg(long, value_name = "STR")]
    text: Option<String>,
    /// Wait until the screen matches this expression (^ and $: a line's ends)
    #[arg(long, value_name = "RE", value_parser = regex)]
    regex: Option<String>,
    /// Wait until there was no output for this many milliseconds
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    quiet: Option<u64>,
    /// Wait until the program is in one of these states, such as blocked|done; see `stayd report`
    #[arg(long, value_name = "STATES", value_parser = states)]
    state: Option<String>,
    /// Wait until the session ends; exit with its exit code, 128 + n if signal n ended it
    #[arg(long)]
    exit: bool,
    /// With --text and --regex: count only what is printed from now on; with --state: only a state
    /// that is entered from now on
    #[arg(long, conflicts_with_all = ["quiet", "exit", "after"])]
    from_now: bool,
    /// With --text and --regex: count only output after so many bytes, as `send --json` prints them
    #[arg(long, value_name = "OFFSET", conflicts_with_all = ["quiet", "exit", "state"])]
    after: Option<u64>,
    /// Number of scrollback lines that --text and --regex search too
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    scrollback: usize,
    /// Give up after this time, with exit code 124 [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Print the final screen (with --exit: the session) as the API returns it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// Checks the expression here, too, because the server's message would use the names of its own
/// interface.
pub(super) fn regex(text: &str) -> Result<String, String> {
    regex::Regex::new(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

fn states(text: &str) -> Result<String, String> {
    attention_states(text).map(|_| text.to_owned())
}

fn milliseconds(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a whole number of milliseconds".into())
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    seconds.filter(|s| *s <= YEAR).ok_or_else(|| "expected a number of seconds".into())
}

/// The longest limit: an `Instant` cannot be advanced much further, and nobody waits longer.
const YEAR: Duration = Duration::from_secs(366 * 86400);

/// What is waited for.
pub(super) struct Goal {
    /// The condition on the screen, as the API has it. `None`: the end of the session.
    pub(super) condition: Option<String>,
    /// Count only what comes after this: a parameter of the API, and its value.
    pub(super) after: Option<(&'static str, String)>,
    /// How long the session must be quiet, if that is the condition.
    quiet: Option<Duration>,
    scrollback: usize,
    deadline: Instant,
    json: bool,
}

impl Goal {
    /// A condition on what is printed after an offset.
    pub(super) fn printed(condition: String, after: u64, limit: Option<Duration>) -> Goal {
        let deadline = Instant::now() + limit.unwrap_or(YEAR);
        let (condition, after) = (Some(condition), Some(("after", after.to_string())));
        Goal { condition, after, quiet: None, scrollback: 0, deadline, json: false }
    }

    fn of(flags: &Flags, after: Option<(&'static str, String)>, deadline: Instant) -> Goal {
        let text = flags.text.as_ref().map(|text| format!("text:{text}"));
        let regex = flags.regex.as_ref().map(|regex| format!("regex:{regex}"));
        let state = flags.state.as_ref().map(|states| format!("state:{states}"));
        let quiet = flags.quiet.map(|ms| format!("quiet:{ms}"));
        let condition = text.or(regex).or(quiet).or(state);
        let quiet = flags.quiet.map(Duration::from_millis);
        let Flags { scrollback, json, .. } = *flags;
        Goal { condition, after, quiet, scrollback, deadline, json }
    }
}

pub(super) fn wait(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let limit = flags.timeout.unwrap_or(YEAR);
    if flags.quiet.is_some_and(|ms| Duration::from_millis(ms) >= limit) {
        return Err(Failure::Usage("--quiet must be shorter than --timeout".into()));
    }
    let deadline = Instant::now() + limit;
    actix::System::new().block_on(async {
        let client = Client::find(paths, &flags.server)?;
        let key = resolve_any(&client, &flags.session).await?;
        let after = if flags.from_now {
            let session: Session = client.get(&key).await?;
            Some(match flags.state {
                None => ("after", session.offset.to_string()),
                Some(_) => ("since", rfc3339(session.attention.since)),
            })
        } else {
            flags.after.map(|offset| ("after", offset.to_string()))
        };
        wait_for(paths, &flags.server, key, Goal::of(flags, after, deadline)).await
    })
}

/// Waits, also while the server is restarted.
pub(super) async fn wait_for(
    paths: &PathFlags,
    flags: &ServerFlags,
    key: Key,
    goal: Goal,
) -> Result<u8, Failure> {
    let find = || Client::find(paths, flags);
    let client = find()?;
    let deadline = goal.deadline;
    let progress = Some(Progress::on("waiting; Ctrl-C gives up"));
    let mut waiter = Waiter { client, key, goal, progress };
    let mut retries = Retries::default();
    let mut first = true;
    loop {
        let asked = Instant::now();
        let turn = match waiter.goal.condition.clone() {
            Some(condition) => waiter.screen(&condition).await,
            None => waiter.exit().await,
        };
        let failure = match turn {
            Ok(code) => return Ok(code),
            Err(failure) if failure.is_passing() || !first && retries.may_pass(&failure) => failure,
            Err(failure) => return Err(failure),
        };
        // The server may take long to find that a machine does not answer.
        let was_there = asked.elapsed() > THERE && failure.node_away().is_none();
        // Do not wait for a server that was never there.
        let nobody = failure.is_nobody() && !was_there;
        if std::mem::take(&mut first) && nobody {
            return Err(failure);
        }
        if was_there {
            retries.reset();
        }
        let pause = retries.wait_after(&failure).ok_or(failure)?;
        if Instant::now() + pause >= deadline {
            return Err(Failure::TimedOut);
        }
        sleep(pause).await;
        // A restarted server may have another address.
        if let Ok(client) = find() {
            waiter.client = client;
        }
    }
}

struct Waiter {
    client: Client,
    key: Key,
    goal: Goal,
    progress: Option<Progress>,
}

impl Waiter {
    async fn screen(&mut self, condition: &str) -> Result<u8, Failure> {
        loop {
            let left = self.goal.deadline.saturating_duration_since(Instant::now());
            // Not enough time is left for a quiet period of this length.
            if self.goal.quiet.is_some_and(|quiet| quiet > left) {
                return Err(Failure::TimedOut);
            }
            let limit = left.min(if self.goal.quiet.is_some() { SLICE_MAX } else { SLICE });
            let Goal { after, scrollback, .. } = &self.goal;
            let waited = self.client.wait(&self.key, (condition, after), *scrollback, limit);
            let (held, screen) = waited.await?;
            if held || limit == left {
                self.print(&screen.json()?)?;
                return if held { Ok(0) } else { Err(Failure::TimedOut) };
            }
        }
    }

    /// Prints the final screen or session, if it was requested.
    fn print(&mut self, answer: &Value) -> Result<(), Failure> {
        self.progress = None;
        if self.goal.json { out::json(answer) } else { Ok(()) }
    }

    /// Waits for the session's end: requests the session whenever the stream of events sends
    /// anything, including keep-alives and notices of missed events.
    async fn exit(&mut self) -> Result<u8, Failure> {
        // Subscribe before the first request, so that no event is missed between them.
        let mut events = self.client.events(&self.key).await?;
        loop {
            let answer: Value = self.client.get(&self.key).await?;
            let session: Session = read(&answer)?;
            if !session.status.is_live() {
                self.print(&answer)?;
                return Ok(exit_code(session.exit_code, session.exit_signal));
            }
            match timeout_at(self.goal.deadline, events.next()).await {
                Ok(told) => told?.map(drop).ok_or_else(|| {
                    Failure::Unreachable("the server no longer sends events".into())
                })?,
                Err(_) => return Err(Failure::TimedOut),
            }
        }
    }
}
