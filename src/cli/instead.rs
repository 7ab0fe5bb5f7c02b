//! The message for an ended session whose output is no longer kept.

use super::client::Client;
use crate::protocol::{Recording, Session};

/// Says that the output is gone, and which verbs show what is left.
pub(super) async fn instead(client: &Client, session: &Session) -> String {
    let id = session.id.to_string();
    let mut text = format!("session {id} has ended and its output is not kept any more");
    if client.screen(&id, "text", 0).await.is_ok() {
        text += &format!("; `stayd screen {id}` prints what it showed last");
    }
    if session.recording != Recording::Off {
        text += &format!("; `stayd recording {id}` prints what was recorded of it");
    }
    text
}
