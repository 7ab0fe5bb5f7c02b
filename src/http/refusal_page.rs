//! The page that a browser shows when a request from its address bar is refused; programs get JSON.

use super::problem::{Problem, code};
use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};

/// The page loads no resource and runs no script.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// The problem as JSON, or as a page if the client asks for HTML and used a name that is not
/// allowed.
pub(super) fn respond(request: &ServiceRequest, problem: &Problem) -> HttpResponse {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let wants_page = text(header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let (setting, name) = match problem.code {
        code::FORBIDDEN_HOST => ("allowed_hosts", text(header::HOST)),
        code::FORBIDDEN_ORIGIN => ("allowed_origins", text(header::ORIGIN)),
        _ => return problem.error_response(),
    };
    if !wants_page {
        return problem.error_response();
    }
    HttpResponse::build(problem.status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .body(page(setting, name.unwrap_or_default(), problem))
}

fn page(setting: &str, name: &str, problem: &Problem) -> String {
    let (name, detail, code) = (escaped(name), escaped(&problem.detail), problem.code.0);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>stayd: refused</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;\
         padding:0 1rem;color-scheme:light dark}}</style><h1>stayd does not answer here</h1>\
         <p>You asked for <code>{name}</code>: {detail}. Without this rule, other sites could \
         reach your terminals through your browser.</p><p>If this name is right, put it into \
         the server's settings and start the server again; the sessions run on:</p>\
         <pre>{setting} = [\"{name}\"]</pre><p>On the machine itself, and through \
         <code>ssh -L</code>, <code>http://127.0.0.1:PORT</code> needs no setting.</p>\
         <p><small>403 {code}</small></p></html>\n"
    )
}

/// Escapes text for HTML: the name comes from the request.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars().take(200) {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
