//! What each tool does, by the means of the HTTP API.

use super::serving::{Failed, Serving, timeout};
use crate::http::list::{ListQuery, in_short};
use crate::http::problem::{Problem, code};
use crate::http::screen::{Counts, Outcome, ScreenQuery, Sight, Wanted, look};
use crate::http::sessions::{self, End};
use crate::http::shots::Shot;
use crate::http::{api, once};
use crate::id::ClientKey;
use crate::mcp::{
    SCREEN_MAX, SessionCreate, SessionEnd, SessionList, SessionScreen, SessionSend, SessionWait,
    TIMEOUT_MAX_MS, Wait, last_bytes, read, shortened,
};
use crate::registry::SessionRef;
use crate::screens::Inspection;
use crate::session::{InUse, TypeOutcome, type_all};
use chrono::{DateTime, Utc};
use rmcp::model::JsonObject;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// The longest that a program may take to make room for what is typed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The default and the largest number of sessions in a list.
const LISTED: u32 = 50;
const LISTED_MAX: u32 = 100;
/// The most lines of scrollback of a screen: more than its bound on bytes usually leaves.
const SCROLLBACK_MAX: u16 = 10_000;

pub(super) async fn create(call: &Serving, arguments: JsonObject) -> Result<Value, Failed> {
    let arguments = SessionCreate::read(arguments).map_err(Failed::invalid)?;
    let SessionCreate { session, idempotency_key } = arguments;
    let by = sessions::by(&call.cause);
    let once = idempotency_key.map(|key| once::keyed(&key, by, &session));
    let answered = sessions::create_for(&call.api, call.cause.clone(), session, once).await?;
    let session = answered.result.map_err(Problem::from)?;
    Ok(api::json(&call.api.shown(*session)))
}

pub(super) async fn list(call: &Serving, arguments: JsonObject) -> Result<Value, Failed> {
    let arguments: SessionList = read(arguments).map_err(Failed::invalid)?;
    call.api.caller.check(crate::rights::Action::List)?;
    let SessionList { all, status, name, label, limit, cursor } = arguments;
    let limit = limit.unwrap_or(LISTED);
    if !(1..=LISTED_MAX).contains(&limit) {
        return Err(Failed::invalid(format!("limit must be 1 to {LISTED_MAX}")));
    }
    let cursor = cursor.map(|cursor| cursor.parse()).transpose();
    let cursor = cursor.map_err(|_| Failed::invalid("cursor must be the next of an answer"))?;
    let query = ListQuery { status, all, name, label, limit: Some(limit), cursor, node: None };
    let short = in_short(&call.api, query, |page| {
        let sessions: Vec<Value> = page.sessions.iter().map(shortened).collect();
        json!({ "sessions": sessions, "next": page.next })
    });
    Ok(short.await?)
}

/// Types, and then waits. Whatever comes of it, it is told how many bytes were typed.
pub(super) async fn send(call: &Serving, arguments: JsonObject) -> Result<Value, Failed> {
    let begun = begin_to_send(call, arguments).await;
    let Sending { session, arguments, timeout_ms, after, since, _turn } =
        begun.map_err(|failed| failed.with("typed", 0))?;
    // Its countdown does not run out between the typing and the wait.
    let _in_use = InUse::of(session.addr.clone());
    let typed = type_in(call, &session, &arguments).await?;
    let seen = async {
        let wait = arguments.wait.as_ref();
        let counts = Counts {
            after: wait.is_some_and(Wait::counts_output).then_some(after),
            since: wait.is_some_and(Wait::is_for_state).then_some(since),
        };
        let wait = wait.map(|wait| wanted(wait, timeout_ms, counts)).transpose()?;
        let wait = wait.map(|(condition, limit)| (condition, call.limit(millis(limit))));
        let id = session.handle.id().to_string();
        look(&call.api, &id, 0, wait).await.map_err(Failed::from)
    };
    let mut told = shown(seen.await.map_err(|failed| failed.with("typed", typed))?);
    told["typed"] = typed.into();
    Ok(told)
}

/// A text that is about to be typed.
struct Sending {
    session: SessionRef,
    arguments: SessionSend,
    timeout_ms: u64,
    /// The offset from which a wait counts.
    after: u64,
    /// Since when the program has been in its state: a wait counts later ones.
    since: DateTime<Utc>,
    _turn: OwnedMutexGuard<()>,
}

/// Checks everything before anything is typed.
async fn begin_to_send(call: &Serving, arguments: JsonObject) -> Result<Sending, Failed> {
    let arguments: SessionSend = read(arguments).map_err(Failed::invalid)?;
    arguments.check().map_err(Failed::invalid)?;
    let timeout_ms = timeout(arguments.timeout_ms)?;
    let wait = arguments.wait.as_ref();
    wait.map(|wait| wanted(wait, timeout_ms, Counts::default())).transpose()?;
    let (id, _turn) = call.turn(&arguments.session).await?;
    let session = call.api.live(&id).await?;
    let head = session.handle.ring().head();
    let after = arguments.after.unwrap_or(head);
    if after > head {
        let detail = format!("after: there are {head} bytes of output, not {after}");
        return Err(Problem::new(code::OFFSET_GONE, detail).with("head", head).into());
    }
    let since = session.handle.with_view(|view| view.attention.since);
    Ok(Sending { session, arguments, timeout_ms, after, since, _turn })
}

/// Returns how many bytes are typed by now, of which an earlier call with the same key may have typed
/// some or all.
async fn type_in(
    call: &Serving,
    session: &SessionRef,
    arguments: &SessionSend,
) -> Result<usize, Failed> {
    let nothing = |problem: Problem| Failed::from(problem).with("typed", 0);
    let application = match arguments.depends_on_mode() {
        false => false,
        true => {
            let sight = look(&call.api, &session.handle.id().to_string(), 0, None).await;
            sight.map_err(nothing)?.inspection.seen.modes.application_cursor
        }
    };
    let bytes = arguments.bytes(application);
    let (key, offset) = match arguments.identity() {
        None => (ClientKey::anonymous(), None),
        Some(identity) => (call.api.caller.principal.request_key(&identity), Some(0)),
    };
    let handle = &session.handle;
    let (code, why, typed) = match type_all(handle, key, offset, &bytes, PATIENCE).await {
        TypeOutcome::Accepted(_) => return Ok(bytes.len()),
        TypeOutcome::Full { typed, .. } => {
            (code::INPUT_FULL, "the program does not read its input", typed)
        }
        TypeOutcome::Attached { typed, .. } => {
            (code::CLIENT_ATTACHED, "somebody is attached with this key", typed)
        }
        TypeOutcome::Gap(received) => (code::INPUT_GAP, "its input was counted anew", received),
        TypeOutcome::Ended => {
            let detail =
                "the session has ended; nobody knows whether its program got what was typed";
            return Err(Failed::from(Problem::new(code::ENDED, detail)).with("typed", Value::Null));
        }
    };
    let detail = format!("{why}: {typed} of {} bytes were typed", bytes.len());
    Err(Failed::from(Problem::new(code, detail)).with("typed", typed))
}

pub(super) async fn screen(call: &Serving, arguments: JsonObject) -> Result<Value, Failed> {
    let SessionScreen { session, scrollback } = read(arguments).map_err(Failed::invalid)?;
    if scrollback > SCROLLBACK_MAX {
        return Err(Failed::invalid(format!("scrollback must be 0 to {SCROLLBACK_MAX}")));
    }
    let (id, _turn) = call.turn(&session).await?;
    let sight = look(&call.api, &id, scrollback.into(), None).await?;
    let Shot { size, cursor, title, alternate, modes, .. } = &sight.inspection.seen;
    let more = json!({
        "cols": size.0,
        "rows": size.1,
        "cursor": { "x": cursor.x, "y": cursor.y, "visible": modes.cursor_visible },
        "title": title,
        "alternate": alternate,
    });
    let mut told = shown(sight);
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.remove("waited");
        told.extend(more);
    }
    told["status"] = json!(call.api.session(&id).await?.status);
    Ok(told)
}

pub(super) async fn wait(call: &Serving, arguments: JsonObject) -> Result<Value, Failed> {
    let arguments: SessionWait = read(arguments).map_err(Failed::invalid)?;
    let timeout_ms = timeout(arguments.timeout_ms)?;
    if arguments.after.is_some() && !arguments.wait.counts_output() {
        return Err(Failed::invalid("after needs wait.text or wait.regex"));
    }
    let counts = Counts { after: arguments.after, since: None };
    let (condition, limit) = wanted(&arguments.wait, timeout_ms, counts)?;
    let (id, _turn) = call.turn(&arguments.session).await?;
    let limit = call.limit(millis(limit));
    Ok(shown(look(&call.api, &id, 0, Some((condition, limit))).await?))
}

pub(super) async fn end(call: &Serving, arguments: JsonObject) -> Result<Value, Failed> {
    let SessionEnd { session } = read(arguments).map_err(Failed::invalid)?;
    let (id, _turn) = call.turn(&session).await?;
    let session = match sessions::end(&call.api, call.cause.clone(), &id, None).await? {
        End::Ended { session, .. } => sessions::stay_ended(&call.api, *session, false).await?,
        End::Ending(session) => *session,
    };
    Ok(api::json(&call.api.shown(session)))
}

fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(TIMEOUT_MAX_MS)
}

type Wanting = (crate::http::screen::Condition, Duration);

/// The condition, as a query of the screen has it.
fn wanted(wait: &Wait, timeout_ms: u64, counts: Counts) -> Result<Wanting, Failed> {
    let words = wait.words().map_err(Failed::invalid)?;
    let Wanted { wait, .. } = ScreenQuery::waiting(words, timeout_ms, counts).try_into()?;
    wait.ok_or_else(|| Failed::invalid("there is nothing to wait for"))
}

/// The screen as text, with the lines at its end where it is long.
fn shown(sight: Sight) -> Value {
    let Sight { inspection: Inspection { offset, seen, .. }, waited } = sight;
    let text = seen.view.text();
    let (screen, truncated) = last_bytes(text.trim_end_matches('\n'), SCREEN_MAX);
    let waited = match waited {
        Outcome::Now => Value::Null,
        Outcome::Held => "held".into(),
        Outcome::TimedOut => "timeout".into(),
        Outcome::Ended => "ended".into(),
    };
    let mut told = json!({ "screen": screen, "offset": offset, "waited": waited });
    if truncated {
        told["truncated"] = true.into();
    }
    told
}
