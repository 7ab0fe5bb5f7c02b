//! Login of browsers: a token, a link or a code once, a cookie from then on.

use super::api::{Object, object};
use super::auth::Access;
use super::base_path::Below;
use super::caller::Caller;
use super::guesses::Refused;
use super::problem::{self, Problem};
use crate::connections::Visitor;
use crate::protocol::rfc3339;
use crate::rights::{Kind, Login};
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use actix_web::{ResponseError, rt};
use serde::Deserialize;
use serde_json::json;

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

/// Exactly one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    /// A token, or the secret of a share link.
    token: Option<String>,
    /// A one-time code.
    code: Option<String>,
}

async fn login(
    access: web::Data<Access>,
    request: HttpRequest,
    body: web::Json<Object>,
) -> Result<HttpResponse, Problem> {
    let (known, detail) = match object(body)? {
        Credentials { token: Some(token), code: None } => {
            let detail = "this token or link is not, or no longer, valid";
            (access.grants.by_secret(&token), detail)
        }
        Credentials { token: None, code: Some(code) } => {
            let detail = "this code was used already, or is older than ten minutes; `stayd url` \
                          prints a new link";
            (access.grants.redeem(&code), detail)
        }
        _ => return Err(Problem::invalid("the body has a token or a code")),
    };
    let from = request.peer_addr().map(|address| address.ip());
    let Some((principal, pass)) = known else {
        let Refused { problem, after } = access.guesses.refuse(from, detail);
        // Further attempts are counted by the log alone, so that they cannot fill the audit.
        if after.is_zero() {
            access.note_stranger(from, "login", detail);
        }
        rt::time::sleep(after).await;
        return Err(problem);
    };
    // A browser that has a login by this link keeps it: there are few, and opening the link again and
    // again must not use them up.
    let is_login = |cookie| {
        let known = access.grants.by_cookie(cookie);
        known.is_some_and(|(_, login)| login.is_of_same_secret(&pass))
    };
    if principal.kind == Kind::Share && access.cookies(request.headers()).any(is_login) {
        return Ok(HttpResponse::NoContent().finish());
    }
    let Login { cookie: secret, age_s } = access.grants.log_in(&pass).await?;
    access.note_login(&principal, from, "login");
    Ok(HttpResponse::NoContent().cookie(cookie(&access, &request, &secret, age_s)).finish())
}

async fn logout(access: web::Data<Access>, request: HttpRequest) -> HttpResponse {
    let mut written = Ok(());
    let from = request.peer_addr().map(|address| address.ip());
    for secret in access.cookies(request.headers()) {
        // A token may have come beside the cookie: whose login it is counts.
        let whose = access.grants.by_cookie(secret);
        written = written.and(access.grants.log_out(secret).await);
        if let Some((principal, _)) = whose {
            access.note_login(&principal, from, "logout");
        }
    }
    access.check_leases();
    let mut response = match written {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => Problem::from(error).error_response(),
    };
    // We have made the cookie's text ourselves.
    let _ = response.add_cookie(&cookie(&access, &request, "", 0));
    // What the page has kept in this browser is the person's who has logged out.
    let clear = HeaderValue::from_static(r#""cache", "storage""#);
    response.headers_mut().insert(HeaderName::from_static("clear-site-data"), clear);
    response
}

/// Makes a code that logs in as the caller, once.
pub(super) async fn code(
    access: web::Data<Access>,
    caller: web::ReqData<Caller>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (code, expires_at) = access.grants.issue_code(&caller.pass)?;
    let url = access.page_for(&request, &format!("code={code}"));
    let body = json!({ "code": code, "expires_at": rfc3339(expires_at), "url": url });
    Ok(HttpResponse::Created().json(body))
}

fn cookie(access: &Access, request: &HttpRequest, id: &str, age_s: i64) -> Cookie<'static> {
    // Behind a proxy that speaks TLS for us, the cookie must not be sent without TLS.
    let origin = request.headers().get(header::ORIGIN);
    let by_proxy = origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https:"));
    let secure = by_proxy || request.conn_data::<Visitor>().is_some_and(Visitor::is_encrypted);
    // The browser sends it to us alone, and not to others that the proxy shows beside us.
    let below =
        request.extensions().get::<Below>().map(|Below(base)| format!("{}/", base.as_str()));
    Cookie::build(access.cookie_name().to_owned(), id.to_owned())
        .path(below.unwrap_or_else(|| "/".into()))
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(secure)
        .max_age(Duration::seconds(age_s))
        .finish()
}
