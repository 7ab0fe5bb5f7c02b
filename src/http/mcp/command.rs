//! `command_run`: one command in a session of its own, to its end.

use super::serving::{Failed, Serving, WAIT_MAX, timeout};
use crate::events::Listener;
use crate::http::api::{Lookup, by_itself};
use crate::http::caller::CallerApi;
use crate::http::problem::{Problem, code};
use crate::http::{once, sessions};
use crate::id::SessionId;
use crate::lifecycle::EndReason;
use crate::mcp::{CommandRun, SCREEN_MAX, last_bytes, plain, read};
use crate::protocol::{Cause, CreateSession, RestartPolicy, Session};
use crate::registry::SessionRef;
use crate::ring::Reader;
use crate::session::{Kill, Session as Actor};
use crate::store::Once;
use actix::Addr;
use actix_web::rt::task::yield_now;
use actix_web::web::BytesMut;
use chrono::Utc;
use rmcp::model::JsonObject;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The width of its terminal: tables and messages are cut at it.
const COLS: u16 = 200;
/// How long after its time a command is ended by itself whose call was lost with the server.
const LOST_S: u64 = 30;
/// The bytes of output that are looked at for the last [`SCREEN_MAX`] of text.
const RAW_MAX: u64 = 4 * SCREEN_MAX as u64;
/// How long its processes may take to end.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// Events that are passed over at once.
const BATCH: usize = 64;

pub(super) async fn run(call: &Serving, arguments: JsonObject) -> Result<Value, Failed> {
    let arguments: CommandRun = read(arguments).map_err(Failed::invalid)?;
    arguments.check().map_err(Failed::invalid)?;
    let timeout_ms = timeout(arguments.timeout_ms)?;
    let request = session(&arguments, timeout_ms);
    let by = sessions::by(&call.cause);
    let once = arguments.idempotency_key.map(|key| once::keyed(&key, by, &request));
    let may_be_repeated = once.is_some();
    // Before it is started: its end may be told at once.
    let mut news = call.api.events.listen();
    // Not in this call alone: a client that hangs up while the session is being started is to end it, too.
    let start = start(call.api.clone(), call.cause.clone(), request, once, may_be_repeated);
    let Started { mut session, live, _abandoned } = by_itself(start).await??;
    let id = session.id;
    // A repeated call gives it no more time.
    let ran = (Utc::now() - session.created_at).to_std().unwrap_or_default();
    let limit = call.limit(timeout_ms).min(Duration::from_millis(timeout_ms).saturating_sub(ran));
    let mut timed_out = false;
    if session.status.is_live() {
        match (ended(call, id, &mut news, Instant::now() + limit).await?, &live) {
            (Some(ended), _) => session = ended,
            (None, Some(live)) => (session, timed_out) = (end(call, live).await?, true),
            (None, None) => timed_out = true,
        }
    }
    let timed_out = timed_out || ran_out(&session, timeout_ms);
    let source = match live {
        Some(live) => Some(live),
        None => call.api.ended(id).await?,
    };
    Ok(result(source.as_ref(), &session, timed_out).await)
}

/// Whether a command that an earlier call has run was ended because its time was over.
fn ran_out(session: &Session, timeout_ms: u64) -> bool {
    let on_purpose =
        matches!(session.end_reason, Some(EndReason::Killed | EndReason::FirstAttachTimeout));
    let ran = session.ended_at.map(|ended_at| ended_at - session.created_at);
    let ran = ran.and_then(|ran| ran.to_std().ok()).unwrap_or_default();
    on_purpose && ran >= Duration::from_millis(timeout_ms).min(WAIT_MAX)
}

/// The session of a command. It lives no longer than the call should, also where this server dies: then
/// the next one ends it, since nobody attaches.
fn session(arguments: &CommandRun, timeout_ms: u64) -> CreateSession {
    let mut env = arguments.env.clone();
    // What asks how much a terminal can do, or waits for a person to turn pages.
    for (name, value) in [("TERM", "dumb"), ("PAGER", "cat"), ("GIT_PAGER", "cat")] {
        env.entry(name.into()).or_insert_with(|| value.into());
    }
    CreateSession {
        command: Some(arguments.argv()),
        cwd: arguments.cwd.clone(),
        env,
        cols: Some(COLS),
        first_attach_timeout_s: Some(timeout_ms.div_ceil(1000) + LOST_S),
        labels: arguments.labels.clone(),
        restart: Some(RestartPolicy::default()),
        ..CreateSession::default()
    }
}

/// A command that runs, or has run.
struct Started {
    session: Session,
    live: Option<SessionRef>,
    /// Ends it with the call. A client without a key that hangs up cannot ask for it again.
    _abandoned: Option<EndWithCall>,
}

async fn start(
    api: CallerApi,
    cause: Cause,
    request: CreateSession,
    once: Option<Once>,
    may_be_repeated: bool,
) -> Result<Started, Failed> {
    let made = sessions::create_for(&api, cause.clone(), request, once).await?;
    let session = *made.result.map_err(Problem::from)?;
    let live = match api.find_any(&session.id.to_string()).await? {
        Lookup::Live(session) => Some(session),
        Lookup::Ended(_) | Lookup::Unknown => api.ended(session.id).await?,
    };
    let ends = live.as_ref().filter(|_| !may_be_repeated);
    let _abandoned = ends.map(|live| EndWithCall(live.addr.clone(), cause));
    Ok(Started { session, live, _abandoned })
}

/// Waits for a session's end, no longer than until `deadline`. Returns its record, if it has ended.
async fn ended(
    call: &Serving,
    id: SessionId,
    news: &mut Listener,
    deadline: Instant,
) -> Result<Option<Session>, Failed> {
    loop {
        match call.api.find_any(&id.to_string()).await? {
            Lookup::Ended(session) => return Ok(Some(*session)),
            Lookup::Live(session) if !session.handle.view().status.is_live() => {
                return Ok(Some(session.handle.view()));
            }
            Lookup::Live(_) => {}
            Lookup::Unknown => {
                let detail = "the command's session was removed meanwhile";
                return Err(Problem::not_found(detail).into());
            }
        }
        loop {
            match timeout_at(deadline, news.wait()).await {
                Ok(true) => {}
                Ok(false) => {
                    let detail = "the server is stopping; the command runs on";
                    return Err(Problem::new(code::UNAVAILABLE, detail)
                        .with("session", id.to_string())
                        .into());
                }
                Err(_) => return Ok(None),
            }
            // Where some were missed, the look above tells.
            let concerned = news.take(BATCH);
            if concerned.map_or(true, |events| events.iter().any(|event| event.session == id)) {
                break;
            }
        }
    }
}

/// Ends a command whose time is over.
async fn end(call: &Serving, session: &SessionRef) -> Result<Session, Failed> {
    let kill = Kill { cause: Some(call.cause.clone()), expected: None };
    let killed = timeout_at(Instant::now() + END_PATIENCE, session.addr.send(kill)).await;
    Ok(match killed {
        Ok(Ok(Ok(killed))) => killed.session,
        // It has ended by itself just now, or takes longer: it is being ended in any case.
        _ => session.handle.view(),
    })
}

async fn result(source: Option<&SessionRef>, session: &Session, timed_out: bool) -> Value {
    let (output, truncated) = match source {
        Some(source) => output(source.handle.ring()).await,
        None => (String::new(), session.offset > 0),
    };
    let code = session.exit_code.filter(|_| !timed_out);
    json!({
        "exit_code": code,
        "exit_signal": session.exit_signal,
        "output": output,
        "truncated": truncated,
        "timed_out": timed_out,
        "session": session.id,
    })
}

/// The end of what was printed, as text, and whether there was more.
async fn output(ring: &Reader) -> (String, bool) {
    loop {
        let head = ring.head();
        let from = ring.oldest().max(head.saturating_sub(RAW_MAX)).min(head);
        let mut raw = BytesMut::new();
        let length = usize::try_from(head - from).unwrap_or_default();
        if ring.read(from, length, &mut raw).is_ok() {
            let text = plain(&raw);
            let (last, cut) = last_bytes(&text, SCREEN_MAX);
            return (last.to_owned(), cut || from > ring.base());
        }
        // What still prints has overwritten the beginning meanwhile.
        yield_now().await;
    }
}

/// Ends the session of a command when its call ends, whatever ends it.
struct EndWithCall(Addr<Actor>, Cause);

impl Drop for EndWithCall {
    fn drop(&mut self) {
        self.0.do_send(Kill { cause: Some(self.1.clone()), expected: None });
    }
}
