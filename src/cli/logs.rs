//! `stayd logs`.

use super::attach::{self, Action, End, Incoming, Link, Machine};
use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::inside;
use super::key::Key;
use super::out;
use super::resolve::resolve_any;
use super::retry::Retries;
use crate::config::PathFlags;
use crate::protocol::Mode;
use actix_http::ws::Message;
use clap::Args;
use tokio::time::sleep;
use uuid::Uuid;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    session: String,
    /// Follow the output until the session ends
    ///
    /// This is a client that types nothing: while it runs the session is ACTIVE, and the program
    /// runs no faster than its fastest client reads.
    #[arg(long, short)]
    follow: bool,
    /// Begin at this byte of the output [default: the first that is retained]
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn logs(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    actix::System::new().block_on(async {
        let endpoint = Endpoint::find(paths, &flags.server)?;
        let client = Client::new(endpoint.clone())?;
        let key = resolve_any(&client, &flags.session).await?;
        if flags.follow {
            inside::refuse_circle(key.id)?;
        }
        let kept = match client.output(&key, flags.offset).await {
            Err(Failure::Refused { code, .. }) if code == "ended" => {
                let session = client.get(&key).await?;
                return Err(Failure::Other(attach::gone(&client, &key, &session).await));
            }
            kept => kept?,
        };
        let start = kept.offset.or(flags.offset).unwrap_or(0);
        if out::bytes(&kept.body)? && flags.follow {
            let client = format!("logs-{}", Uuid::now_v7().simple());
            let printed = start + kept.body.len() as u64;
            // Not as a viewer that only looks (mode=ro): the program does not wait for those,
            // so that output would be missing.
            let from = inside::shown_in();
            let mut machine = Machine::new(key.clone(), client, Some(printed), from, Mode::Rw);
            machine.piped();
            let find = || Endpoint::find(paths, &flags.server);
            follow(machine, &key, endpoint, find).await?;
        }
        Ok(0)
    })
}

/// Prints the output until the session ends, over any number of connections.
async fn follow(
    mut machine: Machine,
    key: &Key,
    mut endpoint: Endpoint,
    find: impl Fn() -> Result<Endpoint, Failure>,
) -> Result<(), Failure> {
    let mut retries = Retries::default();
    loop {
        let failure = match Link::open(&endpoint, &machine.target()).await {
            Ok(mut link) => match read(&mut machine, &mut link, &mut retries).await? {
                Read::Broken => Failure::Unreachable("the server is gone".into()),
                Read::End(End::Failed(failed)) => {
                    return Err(failed.into_failure(key.to_string()));
                }
                Read::End(End::Exit { .. } | End::Ended) | Read::NoReader => {
                    link.close().await;
                    return Ok(());
                }
            },
            Err(failure) if retries.may_pass(&failure) => failure,
            Err(failure) => return Err(failure),
        };
        sleep(retries.wait_after(&failure).ok_or(failure)?).await;
        // The server may have another address now.
        if let Ok(found) = find() {
            endpoint = found;
        }
    }
}

/// How a connection ended.
enum Read {
    /// It broke, and may be opened again.
    Broken,
    /// There is no more output.
    End(End),
    /// Nobody reads our standard output any more (`stayd logs -f | head`).
    NoReader,
}

/// Reads one connection to its end. It counts once it is attached: a server may open one to a machine
/// of the fleet that it does not reach.
async fn read(
    machine: &mut Machine,
    link: &mut Link,
    retries: &mut Retries,
) -> Result<Read, Failure> {
    loop {
        let actions = match link.next().await {
            Incoming::Text(text) => {
                let actions = machine.text(&text);
                if machine.is_open() {
                    retries.reset();
                }
                actions
            }
            Incoming::Binary(bytes) => machine.binary(bytes),
            Incoming::Closed(code, reason) => {
                return Ok(machine.closed(code, &reason).map_or(Read::Broken, Read::End));
            }
        };
        for action in actions {
            match action {
                Action::Write(bytes) if !out::bytes(&bytes)? => return Ok(Read::NoReader),
                Action::Write(bytes) => {
                    let acks = machine.rendered(bytes.len()).into_iter().chain(machine.ack());
                    acks.for_each(|ack| send(link, ack));
                }
                Action::Tell(message) => out::message(&format!("stayd: {message}")),
                Action::Finish(end) => return Ok(Read::End(end)),
                // There is no terminal to clear, and no input to send.
                Action::Clear | Action::Input(_) => {}
                action @ Action::Control(_) => send(link, action),
            }
        }
    }
}

fn send(link: &Link, action: Action) {
    if let Action::Control(message) = action {
        // Strings and numbers cannot fail to be written.
        let text = serde_json::to_string(&message).unwrap_or_default();
        link.send(Message::Text(text.into()));
    }
}
