//! `stayd send`.

use super::client::Client;
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::key::Key;
use super::out;
use super::resolve::resolve;
use super::retry::Retries;
use super::wait::{self, Goal};
use crate::config::PathFlags;
use crate::keys;
use crate::protocol::Session;
use clap::Args;
use serde_json::json;
use std::io::{self, Read};
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// Bytes of one request, which is as much as the holder's queue holds.
const PIECE: usize = 64 << 10;

#[derive(Args, Debug)]
#[command(
    group(clap::ArgGroup::new("what").required(true).multiple(true)
        .args(["text", "stdin", "key", "enter"])),
    group(clap::ArgGroup::new("wait").args(["wait_text", "wait_regex"])),
    override_usage = "stayd send [OPTIONS] <SESSION> <TEXT|--stdin|--key <NAME>|--enter>",
)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name
    session: String,
    /// Text to type, unchanged
    #[arg(conflicts_with = "stdin")]
    text: Option<String>,
    /// Type the bytes of standard input
    #[arg(long)]
    stdin: bool,
    /// Then press this key: Enter, Tab, Escape, Up, PageDown, F5, C-c, M-x, C-Left, S-Tab …; may be
    /// repeated
    #[arg(long, short, value_name = "NAME", value_parser = known_key)]
    key: Vec<String>,
    /// Then press Enter
    #[arg(long, short)]
    enter: bool,
    /// Then wait until the program prints this text; what was printed before does not count, the echo
    /// of what is typed does
    #[arg(long, value_name = "STR")]
    wait_text: Option<String>,
    /// Then wait until what the program prints matches this expression (^ and $: a line's ends)
    #[arg(long, value_name = "RE", value_parser = wait::regex)]
    wait_regex: Option<String>,
    /// Give up waiting after this time, with exit code 124 [default: never]
    #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = wait::seconds)]
    timeout: Option<Duration>,
    /// Print the number of typed bytes and the offset of the output before them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

fn known_key(name: &str) -> Result<String, String> {
    match keys::encode(name, false) {
        Some(_) => Ok(name.to_owned()),
        None => Err(keys::UNDERSTOOD.to_owned()),
    }
}

pub(super) fn send(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    actix::System::new().block_on(async {
        let key = resolve(&client, &flags.session).await?;
        // The name is unique to this process.
        let name = format!("send-{}", Uuid::now_v7().simple());
        let text = flags.wait_text.as_ref().map(|text| format!("text:{text}"));
        let regex = flags.wait_regex.as_ref().map(|regex| format!("regex:{regex}"));
        let condition = text.or(regex);
        let before = match condition.is_some() || flags.json {
            true => Some(client.get::<Session>(&key).await?.offset),
            false => None,
        };
        let mut typist = Typist { client: &client, key: &key, name, offset: 0 };
        if let Some(text) = &flags.text {
            typist.type_in(text.as_bytes()).await?;
        }
        if flags.stdin {
            typist.type_all(io::stdin().lock()).await?;
        }
        typist.type_in(&typist.keys(&flags.key, flags.enter).await?).await?;
        if flags.json {
            out::json(&json!({ "session": key.id, "typed": typist.offset, "offset": before }))?;
        }
        match condition.zip(before) {
            Some((condition, offset)) => {
                let goal = Goal::printed(condition, offset, flags.timeout);
                wait::wait_for(paths, &flags.server, key, goal).await
            }
            None => Ok(0),
        }
    })
}

/// Types into one session, each byte once.
struct Typist<'a> {
    client: &'a Client,
    key: &'a Key,
    name: String,
    /// Bytes that were accepted so far.
    offset: u64,
}

impl Typist<'_> {
    async fn type_in(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.chunks(PIECE) {
            let mut rest = piece;
            while !rest.is_empty() {
                let received = self.received(rest).await.map_err(|failure| self.partly(failure))?;
                let taken = usize::try_from(received.saturating_sub(self.offset))
                    .unwrap_or(usize::MAX)
                    .min(rest.len());
                if taken == 0 {
                    let detail = "the program does not read its input";
                    return Err(self.partly(Failure::Other(detail.into())));
                }
                rest = &rest[taken..];
                self.offset = received;
            }
        }
        Ok(())
    }

    /// Adds to a failure how many bytes were typed before it, because they must not be typed again.
    fn partly(&self, failure: Failure) -> Failure {
        if self.offset == 0 {
            return failure;
        }
        Failure::Other(format!("{failure}; only the first {} bytes were typed", self.offset))
    }

    /// Sends the next input and returns the accepted offset. A request that fails because the
    /// server is away is sent again; the offset keeps bytes from being typed twice.
    async fn received(&self, bytes: &[u8]) -> Result<u64, Failure> {
        let (mut retries, mut asked) = (Retries::default(), false);
        loop {
            match self.client.input(self.key, &self.name, self.offset, bytes).await {
                // Do not wait for a server that was never there.
                Err(failure) if failure.is_nobody() && self.offset == 0 && !asked => {
                    return Err(failure);
                }
                Err(failure)
                    if failure.is_passing()
                        || (asked || self.offset > 0) && retries.may_pass(&failure) =>
                {
                    asked = true;
                    sleep(retries.wait_after(&failure).ok_or(failure)?).await;
                }
                answer => return answer,
            }
        }
    }

    /// Types standard input as it arrives. Reading may block, because the process does nothing else
    /// meanwhile.
    async fn type_all(&mut self, mut source: impl Read) -> Result<(), Failure> {
        let mut buffer = vec![0; PIECE];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => self.type_in(&buffer[..length]).await?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Failure::doing("standard input")(e)),
            }
        }
    }

    async fn keys(&self, names: &[String], enter: bool) -> Result<Vec<u8>, Failure> {
        let application = names.iter().any(|name| keys::depends_on_mode(name))
            && self.client.application_cursor(self.key).await?;
        let enter = enter.then_some("Enter");
        let names = names.iter().map(String::as_str).chain(enter);
        // Each key was checked when the command line was parsed.
        Ok(names.filter_map(|name| keys::encode(name, application)).flatten().collect())
    }
}
