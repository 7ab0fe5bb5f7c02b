//! Identifiers of sessions, and of the clients that type into them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A session's id: a UUID v7, so ids sort by time of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id, with the present time in it.
    #[must_use]
    pub fn generate() -> Self {
        SessionId(Uuid::now_v7())
    }

    /// The 16 bytes that name the session on the holder's socket.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id with the bytes that [`SessionId::to_bytes`] has returned.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        SessionId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only the hyphenated form is accepted: a name may look like any of the others.
        if text.len() != 36 {
            return Uuid::try_parse("").map(SessionId);
        }
        Uuid::try_parse(text).map(SessionId)
    }
}

/// Identifies a source of input, which is one client of one principal, in the holder's input
/// ledger. The same client has the same key after every reconnect and every restart of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey([u8; 16]);

impl ClientKey {
    /// The source of the answers to the program's queries. No client has this key: theirs are UUIDs
    /// of version 5, 7 and 8, and this is the Max UUID (RFC 9562, 5.10).
    pub const REPLIES: ClientKey = ClientKey([0xff; 16]);

    /// The key of a client with a name (`?client=`), which is unique within its principal.
    #[must_use]
    pub fn named(principal: &str, client: &str) -> Self {
        const NAMESPACE: Uuid = Uuid::from_u128(0x7f1e_2a5c_0d43_4b52_9f0e_5c1a_7d29_4e68);
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        let words = format!("{}:{principal}{client}", principal.len());
        ClientKey(Uuid::new_v5(&NAMESPACE, words.as_bytes()).into_bytes())
    }

    /// A key that nobody else has, for a client without a name.
    #[must_use]
    pub fn anonymous() -> Self {
        ClientKey(Uuid::now_v7().into_bytes())
    }

    /// The key of one request of a principal that may be repeated. Unlike a client's it is forgotten as
    /// soon as an anonymous one, so that many requests do not push out the clients that are attached.
    #[must_use]
    pub fn of_request(principal: &str, request: &str) -> Self {
        let ClientKey(named) = ClientKey::named(principal, request);
        // Version 8: made by rules of one's own (RFC 9562, 5.8).
        ClientKey(uuid::Builder::from_custom_bytes(named).into_uuid().into_bytes())
    }

    /// Whether the holder forgets the key before those of clients with a name.
    #[must_use]
    pub const fn gives_way(self) -> bool {
        let [_, _, _, _, _, _, version, ..] = self.0;
        matches!(version >> 4, 7 | 8)
    }

    /// Whether [`ClientKey::anonymous`] has made the key, so that its client never reconnects.
    #[must_use]
    pub const fn is_anonymous(self) -> bool {
        let [_, _, _, _, _, _, version, ..] = self.0;
        version >> 4 == 7
    }

    /// The key as the holder stores it.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The key with the bytes that [`ClientKey::to_bytes`] has returned.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        ClientKey(bytes)
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_bytes() {
        let id = SessionId::generate();
        assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
        assert_eq!(SessionId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn only_hyphenated_uuids_are_ids() {
        for text in [
            "",
            "shell",
            "0190d3c0a1b27c3d8e4f5a6b7c8d9e0f",
            "{0190d3c0-a1b2-7c3d-8e4f-5a6b7c8d9e0f}",
        ] {
            assert!(text.parse::<SessionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn client_keys_are_stable_and_kept_apart() {
        assert_eq!(ClientKey::named("token", "a"), ClientKey::named("token", "a"));
        assert_ne!(ClientKey::named("ab", "c"), ClientKey::named("a", "bc"));
        assert_ne!(ClientKey::anonymous(), ClientKey::anonymous());
        let version = |key: ClientKey| key.to_bytes()[6] >> 4;
        let request = ClientKey::of_request("anna", "k");
        assert_eq!(request, ClientKey::of_request("anna", "k"));
        assert_ne!(request, ClientKey::of_request("bert", "k"));
        assert_ne!(request, ClientKey::named("anna", "k"));
        let all = [ClientKey::named("", ""), ClientKey::anonymous(), ClientKey::REPLIES, request];
        assert_eq!(all.map(ClientKey::gives_way), [false, true, false, true]);
        assert_eq!(all.map(version), [5, 7, 15, 8]);
        assert_eq!(all.map(ClientKey::is_anonymous), [false, true, false, false]);
    }
}
