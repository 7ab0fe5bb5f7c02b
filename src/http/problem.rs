//! Errors as clients see them: RFC 9457 `application/problem+json` with a stable `code`.

use actix_web::body::BoxBody;
use actix_web::error::{JsonPayloadError, ResponseError};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use code::Code;
use serde_json::{Map, Value, json};
use std::fmt;

/// The media type of every error's body.
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The longest JSON body, in bytes: a session's command, environment and labels fit well.
const JSON_MAX: usize = 256 << 10;

/// Error codes for programs. Stable: clients match on these.
pub mod code {
    use actix_web::http::StatusCode;

    /// The word for programs, and the status that comes with it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Code(pub &'static str, pub StatusCode);

    /// No token, or a wrong one.
    pub const UNAUTHORIZED: Code = Code("unauthorized", StatusCode::UNAUTHORIZED);
    /// The role or scope does not allow it; `needs` is the role that would.
    pub const FORBIDDEN: Code = Code("forbidden", StatusCode::FORBIDDEN);
    /// The page that sends the request is not allowed.
    pub const FORBIDDEN_ORIGIN: Code = Code("forbidden_origin", StatusCode::FORBIDDEN);
    /// The request's `Host` is not allowed.
    pub const FORBIDDEN_HOST: Code = Code("forbidden_host", StatusCode::FORBIDDEN);
    /// No such session, or no such path.
    pub const NOT_FOUND: Code = Code("not_found", StatusCode::NOT_FOUND);
    /// Not with this method; `Allow` says which.
    pub const METHOD_NOT_ALLOWED: Code = Code("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED);
    /// The session is ending or has ended.
    pub const ENDED: Code = Code("ended", StatusCode::GONE);
    /// The request is malformed, or a parameter is wrong.
    pub const INVALID_REQUEST: Code = Code("invalid_request", StatusCode::BAD_REQUEST);
    /// The body is longer than is accepted.
    pub const PAYLOAD_TOO_LARGE: Code = Code("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE);
    /// The body did not come in time.
    pub const BODY_TIMEOUT: Code = Code("body_timeout", StatusCode::REQUEST_TIMEOUT);
    /// Not in this media type.
    pub const UNSUPPORTED_MEDIA_TYPE: Code =
        Code("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE);
    /// Another live session has this name.
    pub const NAME_TAKEN: Code = Code("name_taken", StatusCode::CONFLICT);
    /// The session's tag is not that of `If-Match`; `session` and `etag` have the present state.
    pub const CHANGED: Code = Code("changed", StatusCode::PRECONDITION_FAILED);
    /// A different request has used this `Idempotency-Key`.
    pub const IDEMPOTENCY_KEY_REUSED: Code =
        Code("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY);
    /// The ring does not hold these bytes of output any more, or not yet.
    pub const OFFSET_GONE: Code = Code("offset_gone", StatusCode::RANGE_NOT_SATISFIABLE);
    /// The command could not be started; `step` and `errno` say why.
    pub const SPAWN_FAILED: Code = Code("spawn_failed", StatusCode::UNPROCESSABLE_ENTITY);
    /// As many sessions as the settings, or the system, allow.
    pub const TOO_MANY_SESSIONS: Code = Code("too_many_sessions", StatusCode::SERVICE_UNAVAILABLE);
    /// Too many wrong tokens from this address; `Retry-After` says how long.
    pub const TOO_MANY_REQUESTS: Code = Code("too_many_requests", StatusCode::TOO_MANY_REQUESTS);
    /// As many connections of this token or link as the settings allow; this one is closed.
    pub const TOO_MANY_CONNECTIONS: Code =
        Code("too_many_connections", StatusCode::TOO_MANY_REQUESTS);
    /// The database cannot be written.
    pub const STORE_UNAVAILABLE: Code = Code("store_unavailable", StatusCode::SERVICE_UNAVAILABLE);
    /// The holder does not answer.
    pub const HOLDER_UNAVAILABLE: Code =
        Code("holder_unavailable", StatusCode::SERVICE_UNAVAILABLE);
    /// The server cannot do it at the moment.
    pub const UNAVAILABLE: Code = Code("unavailable", StatusCode::SERVICE_UNAVAILABLE);
    /// Sessions are still being restored, or the database cannot be written.
    pub const NOT_READY: Code = Code("not_ready", StatusCode::SERVICE_UNAVAILABLE);
    /// The path is for WebSockets.
    pub const UPGRADE_REQUIRED: Code = Code("upgrade_required", StatusCode::UPGRADE_REQUIRED);
    /// Earlier input of this client was never received.
    pub const INPUT_GAP: Code = Code("input_gap", StatusCode::CONFLICT);
    /// A WebSocket of this client is attached, which counts the client's input itself.
    pub const CLIENT_ATTACHED: Code = Code("client_attached", StatusCode::CONFLICT);
    /// The session's screen has failed; its output goes on.
    pub const NO_SCREEN: Code = Code("no_screen", StatusCode::SERVICE_UNAVAILABLE);
    /// The session is not recorded, or no such file of its recording is there.
    pub const NO_RECORDING: Code = Code("no_recording", StatusCode::NOT_FOUND);
    /// There is no such file, or no upload of that name.
    pub const NO_FILE: Code = Code("no_file", StatusCode::NOT_FOUND);
    /// Earlier bytes of this upload have not come; `received` says how many have.
    pub const UPLOAD_GAP: Code = Code("upload_gap", StatusCode::CONFLICT);
    /// The file may not be read or written; `errno` says why.
    pub const FILE_REFUSED: Code = Code("file_refused", StatusCode::CONFLICT);
    /// There is no room on the disk.
    pub const DISK_FULL: Code = Code("disk_full", StatusCode::INSUFFICIENT_STORAGE);
    /// The program does not read its input.
    pub const INPUT_FULL: Code = Code("input_full", StatusCode::SERVICE_UNAVAILABLE);
    /// No machine of the fleet has this name.
    pub const UNKNOWN_NODE: Code = Code("unknown_node", StatusCode::NOT_FOUND);
    /// The machine is not there now.
    pub const NODE_OFFLINE: Code = Code("node_offline", StatusCode::SERVICE_UNAVAILABLE);
    /// The machine was not reached, or did not answer.
    pub const NODE_UNREACHABLE: Code = Code("node_unreachable", StatusCode::SERVICE_UNAVAILABLE);
    /// The machine's answer is none that a server of ours would give.
    pub const BAD_GATEWAY: Code = Code("bad_gateway", StatusCode::BAD_GATEWAY);
    /// The server's own fault.
    pub const INTERNAL: Code = Code("internal", StatusCode::INTERNAL_SERVER_ERROR);
}

/// An error response.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// One of [`code`].
    pub code: Code,
    /// An explanation for people, without secrets.
    pub detail: String,
    /// Further members of the body.
    pub extra: Map<String, Value>,
    retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem without further members.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, detail) = (code.1, detail.into());
        Problem { status, code, detail, extra: Map::new(), retry_after_s: None }
    }

    /// 400 `invalid_request`.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Problem::new(code::INVALID_REQUEST, detail)
    }

    /// 404 `not_found`.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(code::NOT_FOUND, detail)
    }

    /// The generic problem of a status, for errors of the framework.
    pub fn of_status(status: StatusCode, detail: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => code::UNAUTHORIZED,
            StatusCode::NOT_FOUND => code::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => code::METHOD_NOT_ALLOWED,
            StatusCode::PAYLOAD_TOO_LARGE => code::PAYLOAD_TOO_LARGE,
            StatusCode::REQUEST_TIMEOUT => code::BODY_TIMEOUT,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => code::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::TOO_MANY_REQUESTS => code::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE => code::UNAVAILABLE,
            status if status.is_server_error() => code::INTERNAL,
            _ => code::INVALID_REQUEST,
        };
        Problem { status, ..Problem::new(code, detail) }
    }

    /// Adds a member to the body, such as `session` or `errno`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Says when to try again (`Retry-After`), in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The body. What [`Problem::with`] added cannot replace the standard members.
    pub fn body(&self) -> String {
        let mut body = self.extra.clone();
        // about:blank: the title is the status's own phrase (RFC 9457, section 4.2.1).
        body.insert("type".into(), json!("about:blank"));
        body.insert("title".into(), json!(self.status.canonical_reason().unwrap_or("Error")));
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("detail".into(), json!(self.detail));
        body.insert("code".into(), json!(self.code.0));
        Value::Object(body).to_string()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.0, self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, CONTENT_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.code == code::TOO_MANY_CONNECTIONS {
            response.force_close();
        }
        response.body(self.body())
    }
}

/// Makes extractors and unknown paths answer with problems.
pub fn configure(app: &mut ServiceConfig) {
    app.app_data(web::JsonConfig::default().limit(JSON_MAX).error_handler(json_error))
        // A path that cannot be parsed names nothing.
        .app_data(
            web::PathConfig::default()
                .error_handler(|error, _| Problem::not_found(error.to_string()).into()),
        )
        .app_data(
            web::QueryConfig::default()
                .error_handler(|error, _| Problem::invalid(error.to_string()).into()),
        )
        .default_service(web::to(unknown_path));
}

/// Answers requests for unknown paths.
pub async fn unknown_path(request: HttpRequest) -> Problem {
    Problem::not_found(format!("there is nothing at {}", request.path()))
}

impl actix_web::Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse<BoxBody> {
        self.error_response()
    }
}

/// For [`web::JsonConfig::error_handler`].
pub fn json_error(error: JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    let status = match &error {
        JsonPayloadError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        error => match error.status_code() {
            StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        },
    };
    let detail = match &error {
        JsonPayloadError::ContentType => "the body must be application/json".to_owned(),
        JsonPayloadError::Deserialize(error) => format!("the body is not what it must be: {error}"),
        error => error.to_string(),
    };
    Problem::of_status(status, detail).into()
}
