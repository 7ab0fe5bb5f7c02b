//! Requests to a server, and what they must answer.

use super::soon;
use awc::http::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;

/// Talks HTTP with the token.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
}

/// An answer.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// A problem with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status.as_u16(), json["code"].as_str()), (status, Some(code)), "{json}");
        assert_eq!(self.headers.get("content-type").unwrap(), "application/problem+json");
        assert_eq!(json["status"], status);
        json
    }

    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

impl Api {
    pub fn new(address: &str, token: &str) -> Self {
        Api { base: format!("http://{address}"), token: token.to_owned() }
    }

    /// The same server with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Api { base: self.base.clone(), token: token.to_owned() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub async fn send(&self, method: Method, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.try_send(method, path, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The same where the server may die before it has answered: then why there is no answer.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Vec<u8>>,
    ) -> Result<Reply, String> {
        self.try_send_with(method, path, &[], body).await
    }

    /// With more headers.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let sent = self.try_send_with(method, path, headers, body).await;
        sent.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub async fn try_send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Reply, String> {
        let mut request = awc::Client::builder()
            .timeout(super::DEADLINE)
            .finish()
            .request(method, format!("{}{path}", self.base))
            .insert_header(("Authorization", format!("Bearer {}", self.token)))
            .insert_header(("Content-Type", "application/json"));
        for &header in headers {
            request = request.append_header(header);
        }
        let sent = soon(path, request.send_body(body.into())).await;
        let mut reply = sent.map_err(|error| error.to_string())?;
        let body = soon(path, reply.body().limit(64 << 20)).await;
        let bytes = body.map_err(|error| error.to_string())?.to_vec();
        Ok(Reply { status: reply.status(), headers: reply.headers().clone(), bytes })
    }

    /// The session once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        soon("the end", async {
            loop {
                let session = self.session(id).await;
                if session["end_reason"].is_string() {
                    return session;
                }
                actix_web::rt::task::yield_now().await;
            }
        })
        .await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, "").await
    }

    pub async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        self.send(Method::POST, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, "").await
    }

    /// Creates a session; its JSON.
    pub async fn create(&self, body: Value) -> Value {
        self.post("/api/v1/sessions", body.to_string()).await.ok(201)
    }

    /// Creates a session that runs a shell script; its id.
    pub async fn run(&self, script: &str) -> String {
        let session = self.create(serde_json::json!({ "command": ["bash", "-c", script] })).await;
        session["id"].as_str().expect("an id").to_owned()
    }

    pub async fn session(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/sessions/{id}")).await.ok(200)
    }

    pub async fn transitions(&self, id: &str) -> Vec<(Value, String, String)> {
        let reply = self.get(&format!("/api/v1/sessions/{id}/transitions")).await.ok(200);
        let rows = reply["transitions"].as_array().expect("rows");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        rows.iter()
            .map(|row| (row["from_status"].clone(), text(&row["to_status"]), text(&row["reason"])))
            .collect()
    }
}
