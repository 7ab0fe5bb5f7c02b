//! A verb for several sessions.

use super::failure::Failure;
use super::out;
use serde_json::{Value, json};

/// Applies the verb to each session. A failure does not stop it, and the exit code is that of the
/// first failure. With `json` the sessions are printed as the API returns them.
pub(super) async fn each(
    words: &[String],
    json: bool,
    one: impl AsyncFn(&str) -> Result<Value, Failure>,
) -> Result<u8, Failure> {
    let (mut code, mut sessions) = (0, Vec::new());
    for word in words {
        match one(word).await {
            Ok(session) => sessions.push(session),
            Err(failure) => {
                out::message(&match failure {
                    // These failures name the session themselves.
                    Failure::NoSuchSession(_) | Failure::Ended { .. } => {
                        format!("stayd: {failure}")
                    }
                    _ => format!("stayd: {word}: {failure}"),
                });
                code = if code == 0 { failure.exit_code() } else { code };
            }
        }
    }
    if json {
        out::json(&json!({ "sessions": sessions }))?;
    }
    Ok(code)
}
