//! Passes: what a request has proved its rights with, and so what ends them.

use super::secret::Digest;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The owner of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The user that runs the server, on the unix socket or by a code.
    Owner,
    /// The token of `--admin-token-file`.
    Admin(Digest),
    /// A named token.
    Token(Digest),
    /// A share link.
    Share(Digest),
    /// What another machine of the fleet has authenticated.
    Visit(u64),
}

/// What a request has proved its rights with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pass {
    pub(super) subject: Subject,
    pub(super) login: Option<Digest>,
}

impl Pass {
    /// The id of the login that it is, if it is one.
    #[must_use]
    pub fn login_id(&self) -> Option<Uuid> {
        self.login.map(|digest| digest.id())
    }

    /// Whether another machine of the fleet has authenticated the request.
    #[must_use]
    pub fn is_visit(&self) -> bool {
        matches!(self.subject, Subject::Visit(_))
    }

    /// Whether both come from the same token or link, by a login or not.
    #[must_use]
    pub fn is_of_same_secret(&self, other: &Pass) -> bool {
        self.subject == other.subject
    }
}

/// Whose logins somebody may see and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginsOf {
    /// Everybody's.
    All,
    /// Those that were made with the same secret as this.
    Same(Pass),
}

impl LoginsOf {
    /// Whether those that speak for this are among them.
    pub(super) fn has(self, subject: Subject) -> bool {
        match self {
            LoginsOf::All => true,
            LoginsOf::Same(pass) => pass.subject == subject,
        }
    }
}

/// As the rows of logins spell it.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, digest) = match self {
            Subject::Owner => return f.write_str("owner"),
            Subject::Admin(digest) => ("admin", digest),
            Subject::Token(digest) => ("token", digest),
            Subject::Share(digest) => ("share", digest),
            // No login is made with it, so that no row has it.
            Subject::Visit(number) => return write!(f, "visit:{number}"),
        };
        write!(f, "{kind}:")?;
        digest.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Subject {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "owner" {
            return Ok(Subject::Owner);
        }
        let (kind, hex) = text.split_once(':').ok_or(())?;
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(());
        }
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(drop)?;
        }
        let digest = Digest(digest);
        match kind {
            "admin" => Ok(Subject::Admin(digest)),
            "token" => Ok(Subject::Token(digest)),
            "share" => Ok(Subject::Share(digest)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_as_they_are_written() {
        let digest = Digest::of("x");
        for subject in
            [Subject::Owner, Subject::Admin(digest), Subject::Token(digest), Subject::Share(digest)]
        {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for wrong in
            ["", "token", "token:", "token:é", "other:00", &format!("x:{}", "0".repeat(64))]
        {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }
}
