//! `stayd logs`.

use super::attach::{Incoming, Link, Trouble};
use super::client::Client;
use super::endpoint::{Endpoint, ServerFlags};
use super::failure::Failure;
use super::inside;
use super::instead::instead;
use super::out;
use super::resolve::resolve_any;
use super::retry::Patience;
use crate::config::Place;
use crate::protocol::{ClientMessage, CloseCode, ServerMessage};
use actix_http::ws::Message;
use clap::Args;
use std::io::{self, ErrorKind, Write};
use tokio::time::sleep;
use uuid::Uuid;

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Id, unique beginning of an id, or name; ended sessions too
    session: String,
    /// Go on until the session ends
    ///
    /// This is a client that types nothing: while it is there the session is ACTIVE, and the
    /// program runs no faster than its fastest client reads.
    #[arg(long, short)]
    follow: bool,
    /// Begin at this byte of the output [default: the first that is still kept]
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn logs(place: &Place, flags: &Flags) -> Result<u8, Failure> {
    actix::System::new().block_on(async {
        let endpoint = Endpoint::find(place, &flags.server)?;
        let client = Client::new(endpoint.clone())?;
        let id = resolve_any(&client, &flags.session).await?;
        if flags.follow {
            inside::refuse_circle(id)?;
        }
        let id = id.to_string();
        let kept = match client.output(&id, flags.offset).await {
            Err(Failure::Refused { code, .. }) if code == "ended" => {
                return Err(Failure::Other(instead(&client, &client.get(&id).await?).await));
            }
            kept => kept?,
        };
        let beginning = kept.offset.or(flags.offset).unwrap_or(0);
        let mut reader = Reader { id, offset: beginning, snapshot: false, again: 0 };
        if reader.print(&kept.body)? && flags.follow {
            let name = format!("logs-{}", Uuid::now_v7().simple());
            let find = || Endpoint::find(place, &flags.server);
            reader.follow(&name, endpoint, find).await?;
        }
        Ok(0)
    })
}

/// One session's output, as far as it was printed.
struct Reader {
    id: String,
    offset: u64,
    /// The next binary message is a picture of the screen, and no output.
    snapshot: bool,
    /// Bytes that come now and were printed before.
    again: u64,
}

/// Whether to go on.
enum Turn {
    /// The connection stands.
    On,
    /// It does not, but may be had again.
    Again,
    /// There is no more.
    Over,
}

impl Reader {
    async fn follow(
        &mut self,
        name: &str,
        mut endpoint: Endpoint,
        find: impl Fn() -> Result<Endpoint, Failure>,
    ) -> Result<(), Failure> {
        let mut patience = Patience::default();
        loop {
            let (id, offset) = (&self.id, self.offset);
            // One that may only look (mode=ro) holds nobody back, and would miss output.
            let mut query = format!("client={name}&session={id}&offset={offset}");
            if let Some(from) = inside::shown_in() {
                query += &format!("&from={from}");
            }
            let target = format!("/api/v1/sessions/{id}/attach?{query}");
            let failure = match Link::open(&endpoint, &target).await {
                Ok(mut link) => {
                    patience.renew();
                    if let Turn::Over = self.read(&mut link).await? {
                        link.close().await;
                        return Ok(());
                    }
                    Failure::Unreachable("the server is gone".into())
                }
                Err(Trouble::Lasting(failure)) => return Err(failure),
                Err(Trouble::Passing(failure)) => failure,
            };
            sleep(patience.pause().ok_or(failure)?).await;
            // It may have another address now.
            if let Ok(found) = find() {
                endpoint = found;
            }
        }
    }

    /// Reads one connection to its end.
    async fn read(&mut self, link: &mut Link) -> Result<Turn, Failure> {
        (self.snapshot, self.again) = (false, 0);
        loop {
            let incoming = link.next().await;
            let turn = match incoming {
                Incoming::Binary(_) if std::mem::take(&mut self.snapshot) => Turn::On,
                Incoming::Binary(bytes) => {
                    let new = self.unprinted(&bytes);
                    self.output(link, new)?
                }
                Incoming::Text(text) => self.control(&text),
                Incoming::Closed(code, reason) => self.closed(code, reason)?,
            };
            if !matches!(turn, Turn::On) {
                return Ok(turn);
            }
        }
    }

    /// What of some output was not printed yet: a snapshot may stand before it.
    fn unprinted<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let known = usize::try_from(self.again).unwrap_or(usize::MAX).min(bytes.len());
        self.again -= known as u64;
        &bytes[known..]
    }

    fn output(&mut self, link: &Link, bytes: &[u8]) -> Result<Turn, Failure> {
        if !self.print(bytes)? {
            return Ok(Turn::Over);
        }
        // Strings and numbers: nothing in it can fail to be written.
        let ack = serde_json::to_string(&ClientMessage::Ack { offset: self.offset });
        link.send(Message::Text(ack.unwrap_or_default().into()));
        Ok(Turn::On)
    }

    /// False: whoever read it has had enough (`stayd logs -f | head`).
    fn print(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => {
                self.offset += bytes.len() as u64;
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(e) => Err(Failure::doing("standard output")(e)),
        }
    }

    fn control(&mut self, text: &str) -> Turn {
        match serde_json::from_str(text) {
            Ok(ServerMessage::Attached { offset, .. }) => self.goes_on_at(offset),
            Ok(ServerMessage::Snapshot { offset, .. }) => {
                self.snapshot = true;
                self.goes_on_at(offset);
            }
            Ok(ServerMessage::Exit { .. }) => return Turn::Over,
            // Of no concern here, or from a newer server.
            Ok(_) | Err(_) => {}
        }
        Turn::On
    }

    fn goes_on_at(&mut self, offset: u64) {
        self.again = self.offset.saturating_sub(offset);
        if let Some(lost @ 1..) = offset.checked_sub(self.offset) {
            out::message(&format!("stayd: {lost} bytes of output are not kept any more"));
            self.offset = offset;
        }
    }

    fn closed(&self, code: Option<u16>, reason: String) -> Result<Turn, Failure> {
        let is = |known: CloseCode| code == Some(known.code());
        if is(CloseCode::Ended) || is(CloseCode::Gone) {
            Ok(Turn::Over)
        } else if is(CloseCode::NoSuchSession) {
            Err(Failure::NoSuchSession(self.id.clone()))
        } else if is(CloseCode::NotAllowed) || is(CloseCode::TakenOver) {
            Err(Failure::Other(reason))
        } else {
            Ok(Turn::Again)
        }
    }
}
