//! What a session must still be for a change to be made: two who administer the same
//! session do not undo each other's work unseen.

use super::actor::Session;
use super::requests::NotDone;
use crate::protocol;

/// Entity tags (RFC 9110, `If-Match`), without their quotation marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Any,
    /// As it was when it had one of these.
    OneOf(Vec<String>),
}

impl Expected {
    /// Whether a session is still what was expected.
    #[must_use]
    pub fn holds(&self, session: &protocol::Session) -> bool {
        match self {
            Expected::Any => true,
            Expected::OneOf(tags) => tags.contains(&session.tag()),
        }
    }
}

impl Session {
    /// Refuses what is asked for if the session is not as it was expected.
    pub(super) fn check(&self, expected: Option<&Expected>) -> Result<(), NotDone> {
        let Some(expected) = expected else { return Ok(()) };
        // As everybody else sees it; only this actor changes that.
        let session = self.link.view();
        if expected.holds(&session) { Ok(()) } else { Err(NotDone::Changed(Box::new(session))) }
    }
}
