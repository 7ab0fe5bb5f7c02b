//! One message of a client, read and checked, and the answers that are about the protocol itself.
//!
//! Two eras are spoken. Up to version 2025-11-25 a client begins with `initialize` and names the version in
//! a header from then on. From 2026-07-28 on each request carries its version, and headers repeat what it
//! asks. In both nothing is kept between requests: the server gives no session id.

use rmcp::model::{
    DiscoverResult, ErrorCode, ErrorData, Implementation, InitializeRequestParams,
    InitializeResult, JsonObject, JsonRpcError, NumberOrString, ProtocolVersion, RequestId,
    RequestMetaObject, ServerCapabilities, ServerJsonRpcMessage, ServerResult, ToolsCapability,
};
use serde_json::Value;

/// The longest message, in bytes: a screenful of text to type fits a hundred times.
pub const MESSAGE_MAX: usize = 256 << 10;
/// Clients may keep the list of tools and the server's capabilities for a minute: another server may run
/// by then.
const FRESH_MS: u64 = 60_000;

/// What a client is told when it connects.
const INSTRUCTIONS: &str = "Terminal sessions that outlive clients, networks and this server. \
    session_create starts one, session_send types into it and waits for what the program prints, \
    session_screen shows it, session_end ends it. command_run runs one command to its end. Give \
    idempotency_key to what you may have to repeat: it is then done once.";

/// The headers of a request that say what is in its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `MCP-Protocol-Version`.
    pub version: Option<&'a str>,
    /// `Mcp-Method`.
    pub method: Option<&'a str>,
    /// `Mcp-Name`.
    pub name: Option<&'a str>,
}

/// How a client and a server agree on a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// By `initialize`, before everything else.
    Handshake,
    /// In each request.
    PerRequest,
}

/// A message that makes sense.
#[derive(Debug)]
pub enum Incoming {
    /// A request, to be answered with its id.
    Request {
        /// The client's own id of it.
        id: RequestId,
        /// `tools/call` …
        method: String,
        /// Its parameters; empty if there are none.
        params: JsonObject,
        /// How it has agreed on a version.
        era: Era,
    },
    /// A notification, which is not answered. None of them changes anything here.
    Notification,
}

/// A message that makes no sense, or another than the one that the headers name.
#[derive(Debug)]
pub struct Rejected {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub error: JsonRpcError,
}

impl Rejected {
    fn new(id: Option<&RequestId>, error: ErrorData) -> Self {
        Rejected { status: 400, error: JsonRpcError::new(id.cloned(), error) }
    }

    /// The refusal of a method that is not here. In the first era an error of a request is an answer as any.
    #[must_use]
    pub fn unknown_method(id: &RequestId, method: &str, era: Era) -> Self {
        let error = ErrorData::new(
            ErrorCode::METHOD_NOT_FOUND,
            format!("there is no method {method:?} here"),
            None,
        );
        Rejected { status: in_era(era, 404), ..Rejected::new(Some(id), error) }
    }

    /// The refusal of a request whose parameters are not what they must be.
    #[must_use]
    pub fn invalid_params(id: &RequestId, why: String, era: Era) -> Self {
        let error = ErrorData::invalid_params(why, None);
        Rejected { status: in_era(era, 400), ..Rejected::new(Some(id), error) }
    }
}

fn in_era(era: Era, status: u16) -> u16 {
    if era == Era::Handshake { 200 } else { status }
}

impl Incoming {
    /// Reads a message. `headers` must agree with it.
    ///
    /// # Errors
    /// The answer that the client gets instead.
    pub fn read(body: &[u8], headers: &Headers<'_>) -> Result<Self, Rejected> {
        // The parser gives up beyond 128 levels of nesting.
        let message: Value = serde_json::from_slice(body).map_err(|error| {
            Rejected::new(None, ErrorData::parse_error(format!("no JSON: {error}"), None))
        })?;
        let invalid =
            |why: &'static str| Err(Rejected::new(None, ErrorData::invalid_request(why, None)));
        let Value::Object(mut message) = message else {
            return invalid("a message is one object; batches are not taken");
        };
        if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return invalid("jsonrpc must be \"2.0\"");
        }
        let method = match message.remove("method") {
            Some(Value::String(method)) => method,
            Some(_) => return invalid("method must be a text"),
            None => return invalid("no request of this server waits for an answer"),
        };
        let id = match message.remove("id") {
            None => {
                check_version(headers.version, None)?;
                return Ok(Incoming::Notification);
            }
            Some(Value::String(id)) => NumberOrString::String(id.into()),
            Some(Value::Number(id)) if id.is_i64() => {
                NumberOrString::Number(id.as_i64().unwrap_or_default())
            }
            Some(_) => return invalid("id must be a text or a whole number"),
        };
        let params = match message.remove("params") {
            None => JsonObject::new(),
            Some(Value::Object(params)) => params,
            Some(_) => {
                let error = ErrorData::invalid_params("params must be an object", None);
                return Err(Rejected::new(Some(&id), error));
            }
        };
        let era = era(&id, &method, &params, headers)?;
        Ok(Incoming::Request { id, method, params, era })
    }
}

/// Which era a request is of, once its headers agree with it.
fn era(
    id: &RequestId,
    method: &str,
    params: &JsonObject,
    headers: &Headers<'_>,
) -> Result<Era, Rejected> {
    if method == "initialize" {
        return Ok(Era::Handshake);
    }
    let meta = params
        .get("_meta")
        .and_then(|meta| serde_json::from_value::<RequestMetaObject>(meta.clone()).ok());
    let meta = meta.unwrap_or_default();
    let newest = ProtocolVersion::NO_INITIALIZE;
    let Some(version) = meta.protocol_version() else {
        let names_newest = headers.version.is_some_and(|version| version >= newest.as_str());
        if method == "server/discover" || names_newest {
            return Err(incomplete(id, &meta));
        }
        check_version(headers.version, Some(id))?;
        return Ok(Era::Handshake);
    };
    let mismatch = |what: &str| {
        let why = format!("the header {what} must be there and say what the request says");
        Err(Rejected::new(Some(id), ErrorData::header_mismatch(why, None)))
    };
    if headers.version != Some(version.as_str()) {
        return mismatch("MCP-Protocol-Version");
    }
    check_version(headers.version, Some(id))?;
    if !meta.missing_required_keys(&newest).is_empty() {
        return Err(incomplete(id, &meta));
    }
    if headers.method != Some(method) {
        return mismatch("Mcp-Method");
    }
    let name = (method == "tools/call").then(|| params.get("name").and_then(Value::as_str));
    if name.is_some_and(|name| name != headers.name) {
        return mismatch("Mcp-Name");
    }
    Ok(Era::PerRequest)
}

fn incomplete(id: &RequestId, meta: &RequestMetaObject) -> Rejected {
    let missing = meta.missing_required_keys(&ProtocolVersion::NO_INITIALIZE).join(", ");
    let why = format!("the request's _meta lacks, or has in a wrong form: {missing}");
    Rejected::new(Some(id), ErrorData::invalid_params(why, None))
}

/// Refuses a version that is not spoken. Without the header it is 2025-03-26, which had none.
fn check_version(version: Option<&str>, id: Option<&RequestId>) -> Result<(), Rejected> {
    let spoken = &ProtocolVersion::KNOWN_VERSIONS;
    match version {
        Some(version) if !spoken.iter().any(|known| known.as_str() == version) => {
            let version = serde_json::from_value(Value::from(version)).unwrap_or_default();
            Err(Rejected::new(id, ErrorData::unsupported_protocol_version(version, spoken)))
        }
        _ => Ok(()),
    }
}

fn capabilities() -> ServerCapabilities {
    let mut capabilities = ServerCapabilities::default();
    capabilities.tools = Some(ToolsCapability::default());
    capabilities
}

fn name() -> Implementation {
    Implementation::new("stayd", env!("CARGO_PKG_VERSION")).with_title("stayd")
}

/// The answer to `initialize`: the client's version if it is spoken, else the newest of those that have a
/// handshake.
///
/// # Errors
/// The parameters are not what they must be.
pub fn initialized(params: JsonObject) -> Result<ServerResult, String> {
    let asked: InitializeRequestParams =
        serde_json::from_value(Value::Object(params)).map_err(|error| error.to_string())?;
    let version = asked.protocol_version;
    let known = ProtocolVersion::KNOWN_VERSIONS.contains(&version) && version.has_initialize();
    let version = if known { version } else { ProtocolVersion::LATEST_WITH_INITIALIZE };
    let result = InitializeResult::new(capabilities())
        .with_protocol_version(version)
        .with_server_info(name())
        .with_instructions(INSTRUCTIONS);
    Ok(ServerResult::InitializeResult(result))
}

/// The answer to `server/discover`.
#[must_use]
pub fn discovered() -> ServerResult {
    let server = InitializeResult::new(capabilities())
        .with_server_info(name())
        .with_instructions(INSTRUCTIONS);
    let versions = ProtocolVersion::KNOWN_VERSIONS.to_vec();
    let result = DiscoverResult::from_server_info(versions, server).with_ttl_ms(FRESH_MS);
    ServerResult::DiscoverResult(result)
}

/// An answer as JSON, in the form of the request's era.
#[must_use]
pub fn answered(id: RequestId, mut result: ServerResult, era: Era) -> Vec<u8> {
    match era {
        Era::Handshake => result.strip_result_type_for_legacy_peer(),
        Era::PerRequest => {
            if let ServerResult::ListToolsResult(tools) = &mut result {
                tools.ttl_ms = Some(FRESH_MS);
            }
            result.fill_missing_cache_hints();
        }
    }
    // Texts, numbers and maps of them: nothing that could fail to be written.
    serde_json::to_vec(&ServerJsonRpcMessage::response(result, id)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(message: &Value, headers: &Headers<'_>) -> Result<Incoming, Rejected> {
        Incoming::read(message.to_string().as_bytes(), headers)
    }

    fn era_of(message: &Value, headers: &Headers<'_>) -> Result<Era, i32> {
        match read(message, headers) {
            Ok(Incoming::Request { era, .. }) => Ok(era),
            Ok(Incoming::Notification) => panic!("{message}"),
            Err(rejected) => Err(rejected.error.error.code.0),
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_code_of_json_rpc() {
        let deep = "[".repeat(100_000);
        for (body, code) in [
            ("", -32700),
            ("{", -32700),
            (&*deep, -32700),
            ("[]", -32600),
            ("1", -32600),
            (r#"{"id":1,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":2}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, -32602),
        ] {
            let rejected = Incoming::read(body.as_bytes(), &Headers::default()).unwrap_err();
            assert_eq!((rejected.status, rejected.error.error.code.0), (400, code), "{body:.40}");
        }
    }

    #[test]
    fn a_request_says_its_version_once_or_each_time() {
        let plain = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        let with = |version| Headers { version: Some(version), ..Headers::default() };
        assert_eq!(era_of(&plain, &Headers::default()), Ok(Era::Handshake));
        assert_eq!(era_of(&plain, &with("2025-06-18")), Ok(Era::Handshake));
        assert_eq!(era_of(&plain, &with("1999-01-01")), Err(-32022));
        assert_eq!(era_of(&plain, &with("2026-07-28")), Err(-32602));
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let call = json!({
            "jsonrpc": "2.0", "id": "a", "method": "tools/call",
            "params": { "name": "session_list", "_meta": meta },
        });
        let full = Headers {
            version: Some("2026-07-28"),
            method: Some("tools/call"),
            name: Some("session_list"),
        };
        assert_eq!(era_of(&call, &full), Ok(Era::PerRequest));
        for wrong in [
            Headers { version: None, ..full },
            Headers { version: Some("2025-11-25"), ..full },
            Headers { method: None, ..full },
            Headers { method: Some("tools/list"), ..full },
            Headers { name: Some("session_end"), ..full },
            Headers { name: None, ..full },
        ] {
            assert_eq!(era_of(&call, &wrong), Err(-32020), "{wrong:?}");
        }
    }

    #[test]
    fn a_version_that_has_no_handshake_is_not_agreed_on_by_one() {
        for (asked, agreed) in [
            ("2024-11-05", "2024-11-05"),
            ("2025-11-25", "2025-11-25"),
            ("2026-07-28", "2025-11-25"),
            ("2099-01-01", "2025-11-25"),
        ] {
            let Value::Object(params) = json!({
                "protocolVersion": asked,
                "capabilities": {},
                "clientInfo": { "name": "a", "version": "1" },
            }) else {
                unreachable!()
            };
            let ServerResult::InitializeResult(result) = initialized(params).unwrap() else {
                panic!()
            };
            assert_eq!(result.protocol_version.as_str(), agreed, "{asked}");
        }
        assert!(initialized(JsonObject::new()).is_err());
    }

    #[test]
    fn answers_have_the_form_of_their_era() {
        let id = || NumberOrString::Number(7);
        let told = |era| -> Value {
            let tools = ServerResult::ListToolsResult(crate::mcp::listed());
            serde_json::from_slice(&answered(id(), tools, era)).unwrap()
        };
        let old = told(Era::Handshake);
        assert_eq!((&old["id"], &old["result"]["resultType"]), (&json!(7), &Value::Null));
        let new = told(Era::PerRequest);
        assert_eq!(new["result"]["resultType"], "complete");
        assert_eq!(new["result"]["ttlMs"], FRESH_MS);
    }
}
