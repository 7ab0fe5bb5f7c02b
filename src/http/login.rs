//! Login of browsers: the token once, a cookie from then on.

use super::api::{Object, object};
use super::auth::Access;
use super::guesses::Refused;
use super::logins::LOGIN_S;
use super::problem::{self, Problem, code};
use crate::connections::Visitor;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use actix_web::{ResponseError, rt};
use serde::Deserialize;

/// The path to log in, which the guard makes public.
pub(super) const LOGIN: &str = "/api/v1/login";
/// The path to log out, which ends everything that was opened with this login.
pub(super) const LOGOUT: &str = "/api/v1/logout";

/// The longest body, in bytes.
const BODY_MAX: usize = 4 << 10;

/// Serves `POST /api/v1/login` and `POST /api/v1/logout`; needs `web::Data<Access>`.
pub fn configure(app: &mut ServiceConfig) {
    let json = web::JsonConfig::default().limit(BODY_MAX).error_handler(problem::json_error);
    app.service(web::resource(LOGIN).app_data(json).post(login))
        .service(web::resource(LOGOUT).post(logout));
}

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

async fn login(
    access: web::Data<Access>,
    request: HttpRequest,
    body: web::Json<Object>,
) -> Result<HttpResponse, Problem> {
    let credentials: Credentials = object(body)?;
    let principal = access.tokens.principal(&credentials.token);
    let Some(token) = principal.and_then(|principal| access.tokens.fingerprint(&principal)) else {
        let detail = "this is not the token; `stayd url` prints a handle that has it";
        let from = request.peer_addr().map(|address| address.ip());
        let Refused { problem, after } = access.guesses.refuse(from, detail);
        rt::time::sleep(after).await;
        return Err(problem);
    };
    let id = access.logins.issue(&token).map_err(|_| {
        let detail = "the system has no randomness to give";
        Problem::new(code::UNAVAILABLE, detail)
    })?;
    // If saving fails, the login is valid until the server stops.
    let _ = access.logins.save().await;
    Ok(HttpResponse::NoContent().cookie(cookie(&access, &request, &id, LOGIN_S)).finish())
}

async fn logout(access: web::Data<Access>, request: HttpRequest) -> HttpResponse {
    for id in access.cookies(request.headers()) {
        access.logins.revoke(id);
    }
    access.check_leases();
    let removed = cookie(&access, &request, "", 0);
    let Err(why) = access.logins.save().await else {
        return HttpResponse::NoContent().cookie(removed).finish();
    };
    let detail = format!(
        "this login opens nothing any more, but that cannot be written down ({why}): until it can, \
         which is tried again, a server that is started anew would accept it"
    );
    let problem = Problem::new(code::UNAVAILABLE, detail);
    let mut response = problem.error_response();
    // We have made the cookie's text ourselves.
    let _ = response.add_cookie(&removed);
    response
}

fn cookie(access: &Access, request: &HttpRequest, id: &str, age_s: i64) -> Cookie<'static> {
    // Behind a proxy that speaks TLS for us, the cookie must not be sent without TLS.
    let origin = request.headers().get(header::ORIGIN);
    let by_proxy = origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https:"));
    let secure = by_proxy || request.conn_data::<Visitor>().is_some_and(Visitor::is_encrypted);
    Cookie::build(access.cookie_name().to_owned(), id.to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .max_age(Duration::seconds(age_s))
        .finish()
}
