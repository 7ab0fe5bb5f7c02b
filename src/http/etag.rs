//! Entity tags of sessions and of lists (RFC 9110, sections 8.8.3 and 13.1).

use super::problem::{Problem, code};
use crate::protocol::Session;
use crate::session::{Expected, Visibility};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use uuid::Uuid;

/// The tag of a session, as the client sees it, as a header's value.
pub(super) fn etag(session: &Session) -> (HeaderName, String) {
    (header::ETAG, format!("\"{}\"", session.tag()))
}

/// The tag of a text that is answered, as a header's value.
pub(super) fn text_tag(text: &[u8]) -> (HeaderName, String) {
    let tag = Uuid::new_v5(&Uuid::NAMESPACE_OID, text);
    (header::ETAG, format!("\"{tag}\""))
}

/// Whether the client has the text with this tag already (`If-None-Match`).
pub(super) fn is_known_text(headers: &HeaderMap, tag: &str) -> Result<bool, Problem> {
    let known = tags(headers, header::IF_NONE_MATCH, Visibility::Whole, |_| true)?;
    Ok(known.is_some_and(|known| match known {
        Expected::Any => true,
        Expected::OneOf(tags, _) => tags.iter().any(|it| it == tag.trim_matches('"')),
    }))
}

/// Checks `If-Match`: the state that the session must have for the request to be done, of which the
/// client sees so much.
pub(super) fn if_match(
    headers: &HeaderMap,
    visible: Visibility,
) -> Result<Option<Expected>, Problem> {
    // The comparison is strong: a weak tag matches nothing.
    tags(headers, header::IF_MATCH, visible, |weak| !weak)
}

/// Whether the client has this state of the session already (`If-None-Match`). The session is what
/// the client sees.
pub(super) fn is_known(headers: &HeaderMap, session: &Session) -> Result<bool, Problem> {
    let known = tags(headers, header::IF_NONE_MATCH, Visibility::Whole, |_| true)?;
    Ok(known.is_some_and(|known| known.holds(session)))
}

fn tags(
    headers: &HeaderMap,
    name: HeaderName,
    visible: Visibility,
    counts: impl Fn(bool) -> bool,
) -> Result<Option<Expected>, Problem> {
    let wrong = || Problem::invalid(format!("{name} must be * or quoted entity tags"));
    let mut found = None;
    for value in headers.get_all(&name) {
        let value = value.to_str().map_err(|_| wrong())?.trim();
        if value == "*" {
            return Ok(Some(Expected::Any));
        }
        let tags: &mut Vec<String> = found.get_or_insert_default();
        // Our tags have no commas; foreign ones match nothing however they are split.
        for tag in value.split(',').map(str::trim) {
            let (weak, tag) = tag.strip_prefix("W/").map_or((false, tag), |tag| (true, tag));
            let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let tag = tag.ok_or_else(wrong)?;
            if counts(weak) {
                tags.push(tag.to_owned());
            }
        }
    }
    Ok(found.map(|tags| Expected::OneOf(tags, visible)))
}

/// 412: the session was changed meanwhile. The body has its present state.
/// `shown` takes away what the client is not to see.
pub(super) fn changed(session: &Session, shown: impl Fn(Session) -> Session) -> Problem {
    let detail = "the session has changed; look at it again, then decide";
    let problem = Problem::new(code::CHANGED, detail);
    let shown = shown(session.clone());
    let (_, tag) = etag(&shown);
    // Strings and numbers: nothing in it can fail to be written.
    let shown = serde_json::to_value(shown).unwrap_or_default();
    problem.with("session", shown).with("etag", tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn tags_are_read_as_the_standard_has_them() {
        let visible = Visibility::Whole;
        let one_of = |tags: &[&str]| {
            let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
            Some(Expected::OneOf(tags, visible))
        };
        for (values, expected) in [
            (&[][..], None),
            (&["*"], Some(Expected::Any)),
            (&["\"a\""], one_of(&["a"])),
            (&["\"a\", \"b\"", "\"c\""], one_of(&["a", "b", "c"])),
            (&["W/\"a\""], one_of(&[])),
        ] {
            let headers = headers(header::IF_MATCH, values);
            assert_eq!(if_match(&headers, visible).unwrap(), expected);
        }
        for bad in ["", "a", "\"a", "a\"", "\"a\",", "'a'"] {
            let headers = headers(header::IF_MATCH, &[bad]);
            assert!(if_match(&headers, visible).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_text_is_known_by_its_tag() {
        let (_, tag) = text_tag(b"one");
        for (value, known) in [(tag.as_str(), true), ("*", true), (&text_tag(b"two").1, false)] {
            let headers = headers(header::IF_NONE_MATCH, &[value]);
            assert_eq!(is_known_text(&headers, &tag).unwrap(), known, "{value}");
        }
        assert!(!is_known_text(&HeaderMap::new(), &tag).unwrap());
    }

    #[test]
    fn weak_tags_are_good_enough_for_a_look() {
        let session = Session::begun(crate::id::SessionId::generate(), chrono::Utc::now());
        let (_, tag) = etag(&session);
        for (value, known) in [(format!("W/{tag}"), true), (tag, true), ("\"x\"".into(), false)] {
            let headers = headers(header::IF_NONE_MATCH, &[&value]);
            assert_eq!(is_known(&headers, &session).unwrap(), known, "{value}");
        }
    }
}
