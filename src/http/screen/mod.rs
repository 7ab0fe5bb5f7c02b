//! A session's screen, at once or after a wait for its content.
//!
//! `wanted`: what a query asks for. `picture`: the answer, piece by piece.

mod picture;
mod wait;
mod wanted;

use super::api::{HeadOnly, Lookup, OFFSET, ended, store_problem};
use super::caller::CallerApi;
use super::large::{self, PATIENCE, no_room};
use super::problem::{self, Problem, code};
use super::query::Query;
use super::shots::{NoShot, Shot};
use crate::screens::Inspection;
use crate::session::InUse;
use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use picture::{Pieces, content_type};
use std::time::Duration;
use tokio::time::Instant;
pub(super) use wait::Condition;
use wait::{Waited, wait_for};
use wanted::Format;
pub(super) use wanted::{Counts, ScreenQuery, Wanted};

pub(super) async fn screen(
    api: CallerApi,
    id: Path<String>,
    request: HttpRequest,
    Query(query): Query<ScreenQuery>,
) -> Result<HttpResponse, Problem> {
    let Wanted { format, scrollback, wait } = query.try_into()?;
    // `HEAD` does not wait.
    let wait = wait.filter(|_| !request.extensions().contains::<HeadOnly>());
    let Sight { inspection, waited } = look(&api, &id, scrollback, wait).await?;
    let status = match waited {
        Outcome::Ended => return Ok(of_ended(format, inspection)),
        Outcome::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Outcome::Now | Outcome::Held => StatusCode::OK,
    };
    let mut response = HttpResponseBuilder::new(status);
    response.content_type(content_type(format));
    response.insert_header((OFFSET, inspection.offset.to_string()));
    Ok(large::answer(response, Pieces::of(format, inspection)))
}

/// A session's screen, and what became of the wait for it.
pub(super) struct Sight {
    pub(super) inspection: Inspection<Shot>,
    pub(super) waited: Outcome,
}

/// The result of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was waited for.
    Now,
    /// The condition holds.
    Held,
    /// It did not hold in time.
    TimedOut,
    /// It did not hold, and the session has ended.
    Ended,
}

/// Looks at a session's screen, at once or when a condition holds, but no later than after its limit.
pub(super) async fn look(
    api: &CallerApi,
    id: &str,
    scrollback: usize,
    wait: Option<(Condition, Duration)>,
) -> Result<Sight, Problem> {
    let sight = |waited, inspection| Ok(Sight { inspection, waited });
    let session = match api.readable(id, None).await {
        Ok(session) => session,
        Err(problem) => {
            let inspection = last(api, id, scrollback).await?.ok_or(problem)?;
            return match wait {
                Some((condition, _)) if condition.holds_at_the_end(&inspection) => {
                    sight(Outcome::Held, inspection)
                }
                Some(_) => sight(Outcome::Ended, inspection),
                None => sight(Outcome::Now, inspection),
            };
        }
    };
    let Some((condition, limit)) = wait else {
        let inspection =
            api.shots.take(&session.handle, scrollback, Instant::now() + PATIENCE).await;
        return sight(Outcome::Now, inspection.map_err(no_shot)?);
    };
    if let Condition::Prints(_, after) = condition {
        let head = session.handle.ring().head();
        if after > head {
            let detail = format!("after: there are {head} bytes of output, not {after}");
            return Err(Problem::new(code::OFFSET_GONE, detail).with("head", head));
        }
    }
    let _in_use = InUse::of(session.addr.clone());
    let scrollback = scrollback.min(api.defaults.scrollback_lines);
    let waited =
        wait_for(&api.shots, &session.handle, &api.events, &condition, scrollback, limit).await;
    match waited.map_err(|error| unavailable(error.to_string()))? {
        Waited::Held(inspection) => sight(Outcome::Held, inspection),
        Waited::TimedOut(inspection) => sight(Outcome::TimedOut, inspection),
        Waited::Ended(inspection) => sight(Outcome::Ended, inspection),
        Waited::NoShot(error) => Err(no_shot(error)),
        Waited::Stopping => Err(unavailable("the server is stopping; ask again in a moment")),
    }
}

/// The last screen of an ended session, if it was kept.
async fn last(
    api: &CallerApi,
    id: &str,
    scrollback: usize,
) -> Result<Option<Inspection<Shot>>, Problem> {
    let Lookup::Ended(session) = api.look_up(id).await? else { return Ok(None) };
    let screen = api.store.last_screen(session.id).await.map_err(|error| store_problem(&error))?;
    let Some(screen) = screen else { return Ok(None) };
    let deadline = Instant::now() + PATIENCE;
    let inspection = api.shots.take_last(&api.screens, screen, scrollback, deadline).await;
    inspection.map(Some).map_err(no_shot)
}

/// The answer of a session that has ended: the screen will not change any more.
fn of_ended(format: Format, inspection: Inspection<Shot>) -> HttpResponse {
    let problem = ended().with("offset", inspection.offset);
    let mut response = HttpResponseBuilder::new(problem.status_code());
    response.content_type(problem::CONTENT_TYPE);
    large::answer(response, Pieces::member_of(&problem, format, inspection))
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(code::UNAVAILABLE, detail)
}

fn no_shot(error: NoShot) -> Problem {
    match error {
        NoShot::Broken => {
            let detail =
                "this session's screen has failed and cannot be shown; its output can be read";
            Problem::new(code::NO_SCREEN, detail)
        }
        NoShot::Busy => no_room(error),
    }
}
