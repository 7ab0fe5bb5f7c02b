//! `POST /mcp`: sessions as tools of agents, by the Model Context Protocol over streamable HTTP. Nothing is
//! kept between requests, so that a restart of the server costs a client nothing.
//!
//! | room | what is in it |
//! |---|---|
//! | `call` | a call of a tool: its right, and its entry in the audit log |
//! | `serving` | a call that is being served: its turn, and the time that is left |
//! | `tools` | what each tool does |
//! | `command` | `command_run` |
//! | `turns` | the order of calls, and how many there are |

mod call;
mod command;
mod serving;
mod tools;

use super::caller::CallerApi;
use super::problem::Problem;
use crate::connections::Visitor;
use crate::mcp::{Headers, Incoming, Rejected, answered, discovered, initialized, listed};
use crate::protocol::Cause;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, ContentType, HeaderMap};
use actix_web::web::{Bytes, ReqData};
use actix_web::{HttpRequest, HttpResponse};
use rmcp::model::{JsonObject, RequestId, ServerResult};
use serde_json::Value;

/// One message of a client. Host, Origin and token were checked by the guard, as for every route; each tool
/// is checked by its own action.
pub(super) async fn mcp(
    api: CallerApi,
    cause: ReqData<Cause>,
    http: HttpRequest,
    body: Bytes,
) -> Result<HttpResponse, Problem> {
    check_types(http.headers())?;
    let message = match Incoming::read(&body, &headers(http.headers())?) {
        Ok(message) => message,
        Err(rejected) => return Ok(refused(&rejected)),
    };
    drop(body);
    let Incoming::Request { id, method, mut params, era } = message else {
        return Ok(HttpResponse::Accepted().finish());
    };
    let result = match method.as_str() {
        "initialize" => initialized(params),
        "server/discover" => Ok(discovered()),
        // The later era has none: each request shows that the server is there.
        "ping" if era == crate::mcp::Era::Handshake => Ok(ServerResult::empty(())),
        "tools/list" => match params.get("cursor") {
            None | Some(Value::Null) => Ok(ServerResult::ListToolsResult(listed())),
            Some(_) => Err("there is no further page of tools".into()),
        },
        "tools/call" => {
            let arguments = match params.remove("arguments") {
                None | Some(Value::Null) => Ok(JsonObject::new()),
                Some(Value::Object(arguments)) => Ok(arguments),
                Some(_) => Err("arguments must be an object".to_owned()),
            };
            let tool = match params.get("name") {
                Some(Value::String(name)) => crate::mcp::Tool::named(name)
                    .ok_or_else(|| format!("there is no tool {name:?}")),
                _ => Err("a call needs the name of a tool".into()),
            };
            match tool.and_then(|tool| Ok((tool, arguments?))) {
                Ok((tool, arguments)) => {
                    let hang_up = http.conn_data::<Visitor>().map(Visitor::hang_up);
                    let by = (cause.into_inner(), hang_up.unwrap_or_default());
                    let result = call::call(&api, by, tool, arguments).await;
                    Ok(ServerResult::CallToolResult(result))
                }
                Err(why) => Err(why),
            }
        }
        _ => return Ok(refused(&Rejected::unknown_method(&id, &method, era))),
    };
    Ok(match result {
        Ok(result) => respond(id, result, era),
        Err(why) => refused(&Rejected::invalid_params(&id, why, era)),
    })
}

fn respond(id: RequestId, result: ServerResult, era: crate::mcp::Era) -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(answered(id, result, era))
}

fn refused(rejected: &Rejected) -> HttpResponse {
    let status = StatusCode::from_u16(rejected.status).unwrap_or(StatusCode::BAD_REQUEST);
    HttpResponse::build(status).json(&rejected.error)
}

/// A client sends JSON and takes both JSON and events, as the protocol has it. It gets JSON.
fn check_types(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = |value: &str| essence(value).eq_ignore_ascii_case("application/json");
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !sent.is_some_and(is_json) {
        let detail = "a message must come with Content-Type: application/json";
        return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let taken = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let taken: Vec<&str> = taken.flat_map(|value| value.split(',')).map(essence).collect();
    let takes = |kind: &str| {
        let any = kind.split('/').next().unwrap_or_default();
        taken.iter().any(|taken| {
            let all_of_it = taken.strip_suffix("/*").is_some_and(|of| of == any || of == "*");
            taken.eq_ignore_ascii_case(kind) || all_of_it
        })
    };
    if takes("application/json") && takes("text/event-stream") {
        return Ok(());
    }
    let detail = "a client must take both: Accept: application/json, text/event-stream";
    Err(Problem::of_status(StatusCode::NOT_ACCEPTABLE, detail))
}

/// A media type without its parameters.
fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// The headers that repeat what the body says.
fn headers(headers: &HeaderMap) -> Result<Headers<'_>, Problem> {
    let one = |name: &str| {
        let mut values = headers.get_all(name);
        let value = values.next().map(|value| value.to_str());
        match (value.transpose(), values.next()) {
            (Ok(value), None) => Ok(value),
            _ => Err(Problem::invalid(format!("the header {name} must be there once, as text"))),
        }
    };
    Ok(Headers {
        version: one("mcp-protocol-version")?,
        method: one("mcp-method")?,
        name: one("mcp-name")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn a_client_takes_json_and_events() {
        let status = |accept: &str, sent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(sent).unwrap());
            check_types(&headers).map_or_else(|problem| problem.status.as_u16(), |()| 200)
        };
        let json = "application/json";
        for (accept, expected) in [
            ("application/json, text/event-stream", 200),
            ("text/event-stream;q=0.5,application/json;q=0.9", 200),
            ("*/*", 200),
            ("application/*, text/*", 200),
            ("application/json", 406),
            ("text/event-stream", 406),
            ("text/html", 406),
            ("", 406),
        ] {
            assert_eq!(status(accept, json), expected, "{accept}");
        }
        assert_eq!(status("*/*", "application/json; charset=utf-8"), 200);
        assert_eq!(status("*/*", "text/plain"), 415);
    }
}
