//! A verb for several sessions.

use super::failure::Failure;
use super::out;
use serde_json::{Value, json};

/// Does it with all that it can; the exit code is that of the first that it could not. The
/// sessions as the API gives them are printed where `json` asks for it.
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
                    // They name it themselves.
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
