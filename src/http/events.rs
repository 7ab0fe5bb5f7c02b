//! `GET /api/v1/events`: what happens to the sessions, as server-sent events.

use super::api::HeadOnly;
use super::caller::{Caller, CallerApi};
use super::problem::Problem;
use super::query::Query;
use crate::events::{Event, Gone, Kind, Listener};
use crate::id::SessionId;
use crate::session::InUse;
use actix_web::rt::time::timeout;
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Deserialize;
use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

/// The interval at which an idle stream sends a comment, so that the client knows it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The most events in one write.
const BATCH: usize = 64;
/// The time after which a browser connects again, in milliseconds.
const RETRY_MS: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Only this session's, by id or name.
    session: Option<String>,
    /// Only these, separated by commas.
    #[serde(rename = "type")]
    pub(super) kinds: Option<String>,
    /// Replaces the header `Last-Event-ID`, which has precedence.
    pub(super) last_event_id: Option<String>,
}

pub(super) async fn events(
    api: CallerApi,
    request: HttpRequest,
    Query(query): Query<EventsQuery>,
) -> Result<HttpResponse, Problem> {
    let session = match &query.session {
        None => None,
        Some(key) => Some(api.session(key).await?.id),
    };
    let kinds = query.kinds.as_deref().map(kinds).transpose()?;
    let header = request.headers().get("Last-Event-ID");
    // A header that is no text is no id of ours either.
    let header = header.map(|id| id.to_str().unwrap_or_default().to_owned());
    let last = header.or_else(|| query.last_event_id.clone()).filter(|id| !id.is_empty());
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        // A proxy that buffers answers would hold the events back.
        .insert_header(("X-Accel-Buffering", "no"));
    if request.extensions().contains::<HeadOnly>() {
        return Ok(response.streaming(stream::empty::<Result<Bytes, Infallible>>()));
    }
    // A client that listens to one session waits for it, which suspends its countdown.
    let in_use = match &query.session {
        Some(key) => api.in_use(key).await,
        None => None,
    };
    let feed = Feed::new(
        &api,
        last.as_deref(),
        Filter { session, kinds, caller: api.caller.clone() },
        in_use,
    );
    let body = stream::unfold(feed, |mut feed| async {
        let piece = feed.next().await?;
        Some((Ok::<_, Infallible>(piece), feed))
    });
    Ok(response.streaming(body))
}

pub(super) fn kinds(text: &str) -> Result<Vec<Kind>, Problem> {
    text.split(',')
        .map(|word| {
            Kind::named(word.trim()).ok_or_else(|| {
                let known = Kind::ALL.map(Kind::as_str).join(", ");
                Problem::invalid(format!("no event {word:?}; there are: {known}"))
            })
        })
        .collect()
}

/// The events that a client wants.
struct Filter {
    session: Option<SessionId>,
    kinds: Option<Vec<Kind>>,
    caller: Caller,
}

impl Filter {
    fn passes(&self, event: &Event) -> bool {
        self.session.is_none_or(|session| session == event.session)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
            && self.caller.hears(event)
    }
}

/// One client's stream, pulled by its connection: a client that does not read uses no memory, and
/// gets a `reset` when it reads on too late.
struct Feed {
    listener: Listener,
    filter: Filter,
    /// Text that is sent before the first event.
    greeting: Option<String>,
    _in_use: Option<InUse>,
}

impl Feed {
    fn new(api: &CallerApi, last: Option<&str>, filter: Filter, in_use: Option<InUse>) -> Self {
        let resumed = match last {
            None => Ok(api.events.listen()),
            Some(id) => id.parse().map_err(|_| Gone).and_then(|id| api.events.listen_after(id)),
        };
        let mut greeting = format!("retry: {RETRY_MS}\n\n");
        let listener = resumed.unwrap_or_else(|Gone| {
            let listener = api.events.listen();
            greeting += &reset(&listener);
            listener
        });
        // Lets a client that has received no event yet resume from here.
        greeting += &position(&listener);
        Feed { listener, filter, greeting: Some(greeting), _in_use: in_use }
    }

    /// The next piece to send; `None`: the server stops.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting.into());
        }
        loop {
            match timeout(HEARTBEAT, self.listener.wait()).await {
                Ok(true) => {}
                Ok(false) => return None,
                // Sends the position too, so that a client also resumes behind events that its
                // filter has left out.
                Err(_) => return Some(format!(": alive\n{}", position(&self.listener)).into()),
            }
            let text = match self.listener.take(BATCH) {
                Ok(events) => events.iter().filter(|event| self.filter.passes(event)).fold(
                    String::new(),
                    |mut text, event| {
                        let Event { id, kind, data, .. } = &**event;
                        // Writing to a string cannot fail.
                        let _ =
                            write!(text, "id: {id}\nevent: {}\ndata: {data}\n\n", kind.as_str());
                        text
                    },
                ),
                Err(Gone) => reset(&self.listener),
            };
            if !text.is_empty() {
                return Some(text.into());
            }
        }
    }
}

/// Sets a client's `Last-Event-ID` without an event.
fn position(listener: &Listener) -> String {
    format!("id: {}\n\n", listener.place())
}

/// Tells a client that it has missed events: it must list the sessions again.
fn reset(listener: &Listener) -> String {
    format!("id: {}\nevent: reset\ndata: {{}}\n\n", listener.place())
}
