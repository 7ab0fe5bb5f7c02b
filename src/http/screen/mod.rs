//! A session's screen, now or once something is on it.
//!
//! - `wanted`: what a query asks for. `picture`: the answer's body.

mod picture;
mod wanted;

use super::api::{Api, HeadOnly, Lookup, OFFSET, ended, method_not_allowed, store_problem};
use super::problem::{Problem, code};
use super::query::Query;
use crate::keeper::Look;
use crate::session::{Shot, Waited, take_last, take_shot, wait_for};
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder};
use picture::{body, content_type};
use wanted::{Format, ScreenQuery, Wanted};

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(
        web::resource("/api/v1/sessions/{id}/screen")
            .route(web::get().to(screen))
            .default_service(web::to(method_not_allowed)),
    );
}

async fn screen(
    api: Data<Api>,
    id: Path<String>,
    request: HttpRequest,
    query: Query<ScreenQuery>,
) -> Result<HttpResponse, Problem> {
    let Wanted { format, scrollback, wait } = query.into_inner().try_into()?;
    // Nobody is to be waited for when nothing is to be shown.
    let wait = wait.filter(|_| !request.extensions().contains::<HeadOnly>());
    let answer = |status: StatusCode, look: &Look<Shot>| {
        HttpResponseBuilder::new(status)
            .content_type(content_type(format))
            .insert_header((OFFSET, look.offset.to_string()))
            .body(body(format, look))
    };
    let link = match api.readable(&id, None).await {
        Ok(session) => session.link,
        Err(problem) => {
            let look = last(&api, &id, scrollback).await?.ok_or(problem)?;
            return match wait {
                Some((condition, _)) if !condition.holds_at_the_end(&look) => {
                    Err(over(format, &look))
                }
                _ => Ok(answer(StatusCode::OK, &look)),
            };
        }
    };
    let Some((condition, limit)) = wait else {
        let look = take_shot(&link, scrollback).await.ok_or_else(broken)?;
        return Ok(answer(StatusCode::OK, &look));
    };
    let _in_use = api.in_use(&id).await;
    let waited = wait_for(&link, &api.events, &condition, scrollback, limit).await;
    match waited.map_err(|error| unavailable(error.to_string()))? {
        Waited::Held(look) => Ok(answer(StatusCode::OK, &look)),
        Waited::TimedOut(look) => Ok(answer(StatusCode::REQUEST_TIMEOUT, &look)),
        Waited::Ended(look) => Err(over(format, &look)),
        Waited::NoScreen => Err(broken()),
        Waited::Stopping => Err(unavailable("the server is stopping; ask again in a moment")),
    }
}

/// What an ended session showed last, if that is known.
async fn last(api: &Api, id: &str, scrollback: usize) -> Result<Option<Look<Shot>>, Problem> {
    let Lookup::Ended(session) = api.look_up(id).await? else { return Ok(None) };
    let screen = api.store.last_screen(session.id).await.map_err(|error| store_problem(&error))?;
    let Some(screen) = screen else { return Ok(None) };
    let look = take_last(&api.keeper, screen, scrollback).await;
    look.map(Some).ok_or_else(broken)
}

/// The session has ended, and this will not change any more.
fn over(format: Format, look: &Look<Shot>) -> Problem {
    ended().with("offset", look.offset).with("screen", picture::member(format, look))
}

fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, detail)
}

fn broken() -> Problem {
    let detail = "this session's screen has failed and cannot be shown; its output can be read";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code::NO_SCREEN, detail)
}
