//! What an edge says in opening a stream: whom it is for.

use crate::rights::{Principal, Role, Vouched};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

#[derive(Serialize)]
struct Said<'a> {
    principal: &'a Principal,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
}

#[derive(Deserialize)]
struct Heard {
    principal: Vouched,
    #[serde(default)]
    address: Option<IpAddr>,
}

/// The opening for a principal, whose client is at this address.
pub(super) fn say(principal: &Principal, address: Option<IpAddr>) -> Bytes {
    // Strings, numbers and sorted maps of them cannot fail to be written.
    serde_json::to_vec(&Said { principal, address }).unwrap_or_default().into()
}

/// Whom a stream is for, with at most these rights, and where that client is. `None`: it says nothing that an
/// edge would say.
pub(super) fn hear(opening: &[u8], most: Role) -> Option<(Principal, Option<SocketAddr>)> {
    let Heard { principal, address } = serde_json::from_slice(opening).ok()?;
    Some((principal.capped(most)?, address.map(|address| SocketAddr::new(address, 0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_heard_as_it_is_said_and_capped() {
        let address = Some("192.0.2.1".parse().unwrap());
        let said = say(&Principal::owner(), address);
        let (principal, from) = hear(&said, Role::Viewer).unwrap();
        assert_eq!(principal, Principal { role: Role::Viewer, ..Principal::owner() });
        assert_eq!(from, Some("192.0.2.1:0".parse().unwrap()));
        assert_eq!(hear(&say(&Principal::owner(), None), Role::Admin).unwrap().1, None);
    }

    #[test]
    fn nonsense_opens_nothing() {
        for text in ["", "{}", "[]", "{\"principal\":{}}", "{\"principal\":\"owner\"}"] {
            assert!(hear(text.as_bytes(), Role::Admin).is_none(), "{text}");
        }
    }
}
