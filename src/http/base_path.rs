//! The path below which a proxy shows the server. It is taken off before anything else looks at a
//! request, so that routes, rights and the log know one path for each thing; answers lead back below it.

use crate::config::BasePath;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};

/// A request extension: the request came below this path.
#[derive(Clone)]
pub(super) struct Below(pub(super) BasePath);

/// Where a request's path lies.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// Below the base path: the rest, which begins with a slash.
    Below(&'a str),
    /// At the base path itself, without the slash from which the page's own links start.
    At,
    /// Elsewhere: the proxy has taken the base path off, or the client is none of the proxy's.
    Elsewhere,
}

/// The middleware for the whole app, around the guard.
///
/// # Errors
/// Those of the app.
pub async fn below_base_path<B: MessageBody + 'static>(
    base: BasePath,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let rest = match place(request.path(), base.as_str()) {
        Place::Elsewhere => return Ok(next.call(request).await?.map_into_left_body()),
        Place::At => {
            let page = format!("{}/", base.as_str());
            let redirect = HttpResponse::PermanentRedirect()
                .insert_header((header::LOCATION, page))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .finish();
            return Ok(request.into_response(redirect).map_into_right_body());
        }
        Place::Below(rest) => rest.to_owned(),
    };
    if let Some(uri) = with_path(request.uri(), &rest) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    request.extensions_mut().insert(Below(base.clone()));
    let mut response = next.call(request).await?;
    if let Some(location) = response.headers().get(header::LOCATION) {
        let below = [base.as_str().as_bytes(), location.as_bytes()].concat();
        if let (true, Ok(below)) =
            (location.as_bytes().starts_with(b"/"), HeaderValue::from_bytes(&below))
        {
            response.headers_mut().insert(header::LOCATION, below);
        }
    }
    Ok(response.map_into_left_body())
}

fn place<'a>(path: &'a str, base: &str) -> Place<'a> {
    match path.strip_prefix(base) {
        Some("") => Place::At,
        Some(rest) if rest.starts_with('/') => Place::Below(rest),
        _ => Place::Elsewhere,
    }
}

/// A request's address with another path.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let all = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(all).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_parts_of_a_path_are_taken_off() {
        for (path, is) in [
            ("/stayd/", Place::Below("/")),
            ("/stayd/api/v1/sessions", Place::Below("/api/v1/sessions")),
            ("/stayd", Place::At),
            ("/stayd2/", Place::Elsewhere),
            ("/", Place::Elsewhere),
            ("/api/stayd/", Place::Elsewhere),
            ("/STAYD/", Place::Elsewhere),
            ("/stayd//evil", Place::Below("//evil")),
        ] {
            assert_eq!(place(path, "/stayd"), is, "{path}");
        }
    }

    #[test]
    fn the_query_and_the_rest_stay() {
        let uri: Uri = "/stayd/api?limit=5&x=%2F".parse().unwrap();
        assert_eq!(with_path(&uri, "/api").unwrap(), "/api?limit=5&x=%2F");
        let absolute: Uri = "http://h:1/stayd/".parse().unwrap();
        assert_eq!(with_path(&absolute, "/").unwrap(), "http://h:1/");
    }
}
