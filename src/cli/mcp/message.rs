//! One message of a client on its way to the server. Pure.

use crate::mcp::Tool;
use rmcp::model::{ErrorCode, ErrorData};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// An object.
    body: Value,
}

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

impl Message {
    /// Reads a line. What must not be done twice gets a key, so that it may be sent again.
    ///
    /// # Errors
    /// The answer to what is no message.
    pub(super) fn read(line: &[u8]) -> Result<Self, Value> {
        let body = match serde_json::from_slice(line) {
            Ok(body @ Value::Object(_)) => body,
            Ok(_) => {
                let why = "a message is one object; batches are not taken";
                return Err(error(&Value::Null, ErrorCode::INVALID_REQUEST, why, Value::Null));
            }
            Err(why) => {
                let why = format!("no JSON: {why}");
                return Err(error(&Value::Null, ErrorCode::PARSE_ERROR, &why, Value::Null));
            }
        };
        let mut message = Message { body };
        let takes_key = message.tool().is_some_and(Tool::takes_key);
        if let Some(arguments) = message.arguments().filter(|_| takes_key) {
            let key = || Value::from(format!("stayd-mcp-{}", Uuid::now_v7().simple()));
            arguments.entry("idempotency_key").or_insert_with(key);
        }
        Ok(message)
    }

    /// The id, if it is to be answered.
    pub(super) fn id(&self) -> Option<Value> {
        self.body.get("id").filter(|_| self.method().is_some()).cloned()
    }

    /// The id of the request that this message gives up, if that is what it does.
    pub(super) fn cancels(&self) -> Option<String> {
        let cancels = self.method() == Some("notifications/cancelled");
        cancels.then(|| self.body["params"]["requestId"].to_string())
    }

    /// The session that a call is about.
    pub(super) fn session(&self) -> Option<&str> {
        self.tool()?;
        self.body["params"]["arguments"]["session"].as_str()
    }

    /// What goes with it: the version that it names, or `agreed`, and what it asks.
    pub(super) fn headers(&self, agreed: Option<&str>) -> Vec<(&'static str, String)> {
        let method = self.method().unwrap_or_default();
        let params = self.body.get("params");
        let own = params.and_then(|params| params["_meta"][VERSION].as_str());
        let version = own.or(agreed).filter(|_| method != "initialize");
        let mut headers = Vec::new();
        if let Some(version) = version {
            headers.push(("MCP-Protocol-Version", version.to_owned()));
        }
        if own.is_some() {
            headers.push(("Mcp-Method", method.to_owned()));
            let name = params.and_then(|params| params["name"].as_str());
            if let (Some(name), "tools/call") = (name, method) {
                headers.push(("Mcp-Name", name.to_owned()));
            }
        }
        // What is no header's value is refused by the server, which misses it.
        headers.retain(|(_, value)| value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        headers
    }

    /// As bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Texts, numbers and maps of them: nothing that could fail to be written.
        serde_json::to_vec(&self.body).unwrap_or_default()
    }

    /// The version that the answer agrees on, if this is `initialize`.
    pub(super) fn agreed_on(&self, answer: &Value) -> Option<String> {
        let version = answer["result"]["protocolVersion"].as_str()?;
        (self.method() == Some("initialize")).then(|| version.to_owned())
    }

    /// What to ask before this is sent for the first time, if it waits for what is printed after it: how
    /// much there is now.
    pub(super) fn asks_for_offset(&self, is_first: bool) -> Option<Message> {
        let arguments = &self.body["params"]["arguments"];
        let wait = &arguments["wait"];
        let waits = wait["text"].is_string() || wait["regex"].is_string();
        let sends = self.tool() == Some(Tool::SessionSend) && arguments["after"].is_null();
        if !(is_first && sends && waits) {
            return None;
        }
        let mut params = json!({
            "name": Tool::SessionScreen.as_str(),
            "arguments": { "session": arguments["session"] },
        });
        if let Some(meta) = self.body["params"].get("_meta") {
            params["_meta"] = meta.clone();
        }
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": params });
        Some(Message { body })
    }

    /// Has its wait count from this offset on.
    pub(super) fn counts_from(&mut self, offset: Option<u64>) {
        if let (Some(arguments), Some(offset)) = (self.arguments(), offset) {
            arguments.insert("after".into(), offset.into());
        }
    }

    fn method(&self) -> Option<&str> {
        self.body.get("method")?.as_str()
    }

    fn tool(&self) -> Option<Tool> {
        let calls = self.method() == Some("tools/call");
        Tool::named(self.body.get("params")?.get("name")?.as_str()?).filter(|_| calls)
    }

    fn arguments(&mut self) -> Option<&mut Map<String, Value>> {
        self.body.get_mut("params")?.get_mut("arguments")?.as_object_mut()
    }
}

/// The offset in an answer to what [`Message::asks_for_offset`] has made.
pub(super) fn offset_of(answer: &Value) -> Option<u64> {
    answer["result"]["structuredContent"]["offset"].as_u64()
}

/// An error as an answer. An id of null is one that could not be read.
pub(super) fn error(id: &Value, code: ErrorCode, why: &str, data: Value) -> Value {
    let data = Some(data).filter(|data| !data.is_null());
    json!({ "jsonrpc": "2.0", "id": id, "error": ErrorData::new(code, why.to_owned(), data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &Value) -> Message {
        Message::read(text.to_string().as_bytes()).unwrap()
    }

    fn call(tool: &str, arguments: &Value) -> Message {
        let params = json!({ "name": tool, "arguments": arguments });
        message(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }))
    }

    fn key(message: &Message) -> &Value {
        &message.body["params"]["arguments"]["idempotency_key"]
    }

    #[test]
    fn what_must_not_be_done_twice_gets_a_key_of_its_own() {
        let send = || call("session_send", &json!({ "session": "a", "text": "x" }));
        assert!(key(&send()).is_string());
        assert_ne!(key(&send()), key(&send()));
        let keyed = json!({ "command": "x", "idempotency_key": "mine" });
        assert_eq!(key(&call("command_run", &keyed)), "mine");
        assert!(key(&call("session_end", &json!({ "session": "a" }))).is_null());
        assert!(key(&call("else", &json!({}))).is_null());
    }

    #[test]
    fn headers_say_what_the_message_says() {
        let plain = call("session_list", &json!({}));
        assert_eq!(plain.headers(None), []);
        let agreed = ("MCP-Protocol-Version", "2025-11-25".to_owned());
        assert_eq!(plain.headers(Some("2025-11-25")), [agreed]);
        let newer = message(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "session_list", "_meta": { VERSION: "2026-07-28" } },
        }));
        let expected = [
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "session_list"),
        ];
        assert_eq!(
            newer.headers(Some("x")),
            expected.map(|(name, value)| (name, value.to_owned()))
        );
        let first = message(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize" }));
        assert_eq!(first.headers(Some("x")), []);
    }

    #[test]
    fn a_wait_that_may_be_sent_again_counts_from_the_first_time() {
        let wait = json!({ "session": "a", "text": "x", "wait": { "text": "y" } });
        let mut send = call("session_send", &wait);
        let question = send.asks_for_offset(true).unwrap();
        assert_eq!(question.body["params"]["arguments"], json!({ "session": "a" }));
        assert!(send.asks_for_offset(false).is_none(), "it is sent again");
        send.counts_from(offset_of(&json!({ "result": { "structuredContent": { "offset": 7 } } })));
        assert_eq!(send.body["params"]["arguments"]["after"], 7);
        assert!(send.asks_for_offset(true).is_none());
        let quiet = json!({ "session": "a", "text": "x", "wait": { "quiet_ms": 5 } });
        assert!(call("session_send", &quiet).asks_for_offset(true).is_none());
    }

    #[test]
    fn only_requests_are_answered_and_may_be_given_up() {
        let list = message(&json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/list" }));
        assert_eq!((list.id(), list.cancels()), (Some(json!("a")), None));
        let cancel = json!({ "method": "notifications/cancelled", "params": { "requestId": "a" } });
        let cancel = message(&cancel);
        assert_eq!((cancel.id(), cancel.cancels().as_deref()), (None, Some("\"a\"")));
        assert_eq!(message(&json!({ "id": 1, "result": {} })).id(), None);
        let bare = message(&json!({ "method": "notifications/cancelled" }));
        assert_eq!(bare.cancels().as_deref(), Some("null"));
        assert!(bare.asks_for_offset(true).is_none() && bare.session().is_none());
        for wrong in ["", "[]", "{", "1"] {
            assert!(Message::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
