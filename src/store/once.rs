//! Idempotency keys: a request that is sent twice takes effect once.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// The `Idempotency-Key` of the request that created a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The key as the client chose it. At most one row has it.
    pub key: String,
    /// The request that it came with.
    pub of: OnceOf,
}

/// The stored part of a request, by which a repetition is recognized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnceOf {
    /// Fingerprint of the principal and the body.
    pub request: String,
    /// The step of the start that failed, and its errno, so that a repetition gets the same answer.
    pub failed: Option<(String, i32)>,
}

/// The text form: `FINGERPRINT`, or `FINGERPRINT STEP ERRNO`.
impl fmt::Display for OnceOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failed {
            None => f.write_str(&self.request),
            Some((step, errno)) => write!(f, "{} {step} {errno}", self.request),
        }
    }
}

impl FromStr for OnceOf {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (request, failed) = text.split_once(' ').unwrap_or((text, ""));
        let failed = failed
            .split_once(' ')
            .and_then(|(step, errno)| Some((step.to_owned(), errno.parse().ok()?)));
        Ok(OnceOf { request: request.to_owned(), failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_and_read_again() {
        for failed in [None, Some(("exec".to_owned(), 2))] {
            let of = OnceOf { request: "0190-ab".to_owned(), failed };
            assert_eq!(of.to_string().parse(), Ok(of));
        }
    }
}
