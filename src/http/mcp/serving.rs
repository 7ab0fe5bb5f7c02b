//! A call of a tool that is being served: whom it speaks for, its turn, and the time that is left.

use crate::connections::HangUp;
use crate::http::api::{Lookup, unknown};
use crate::http::caller::CallerApi;
use crate::http::problem::{Problem, code};
use crate::http::turns::{Call, TooMany};
use crate::mcp::{Refusal, TIMEOUT_MAX_MS, TIMEOUT_MS};
use crate::protocol::Cause;
use actix_web::http::StatusCode;
use serde_json::Value;
use std::future::Future;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

/// The longest that a call takes.
const CALL_MAX: Duration = Duration::from_secs(118);
/// When a wait ends at the latest: after it, the screen is still to be taken.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(108);

/// When a call has its turn at the latest: what it does then must have the time for it.
const TURN_MAX: Duration = Duration::from_secs(90);

/// A call that is being served.
pub(super) struct Serving {
    pub(super) api: CallerApi,
    pub(super) cause: Cause,
    call: Call,
    begun: Instant,
}

/// Why a tool has not done it, with the status that the HTTP API has for it.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) refusal: Refusal,
    pub(super) status: StatusCode,
}

impl Failed {
    /// The arguments are not what they must be.
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Failed { refusal: Refusal::invalid(why), status: StatusCode::BAD_REQUEST }
    }

    /// With a further member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.refusal = self.refusal.with(name, value);
        self
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        let Problem { status, code, detail, extra, .. } = problem;
        Failed { refusal: Refusal { code: code.0, detail, more: extra }, status }
    }
}

impl From<TooMany> for Failed {
    fn from(too_many: TooMany) -> Self {
        Problem::new(code::TOO_MANY_REQUESTS, too_many.to_string()).into()
    }
}

/// The limit of a wait, in milliseconds.
pub(super) fn timeout(timeout_ms: Option<u64>) -> Result<u64, Failed> {
    match timeout_ms.unwrap_or(TIMEOUT_MS) {
        timeout_ms @ 1..=TIMEOUT_MAX_MS => Ok(timeout_ms),
        _ => Err(Failed::invalid(format!("timeout_ms must be 1 to {TIMEOUT_MAX_MS}"))),
    }
}

impl Serving {
    /// Admits a call.
    pub(super) fn begin(api: &CallerApi, cause: Cause) -> Result<Self, Failed> {
        let call = api.turns.admit(api.caller.principal.key())?;
        // A clone shares where the audit log finds the session that it is done to.
        Ok(Serving { api: api.clone(), cause, call, begun: Instant::now() })
    }

    /// Gives up what takes longer than a call may, and what nobody hears of any more: it would hold up the
    /// next calls on the session. What is typed stays typed.
    pub(super) async fn in_time<T>(
        &self,
        hang_up: &HangUp,
        done: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        tokio::select! {
            biased;
            done = timeout_at(self.begun + CALL_MAX, done) => {
                done.unwrap_or_else(|_| Err(self.late()))
            }
            () = hang_up.wait() => {
                Err(Problem::new(code::UNAVAILABLE, "the client has hung up").into())
            }
        }
    }

    /// Finds a session that exists for the caller and which it may do this to, and waits for the turn of
    /// this call. Returns the session's id and the turn.
    pub(super) async fn turn(&self, key: &str) -> Result<(String, OwnedMutexGuard<()>), Failed> {
        let id = match self.api.look_up(key).await? {
            Lookup::Live(session) => session.handle.id(),
            Lookup::Ended(session) => session.id,
            Lookup::Unknown => return Err(unknown(key).into()),
        };
        let turn = timeout_at(self.begun + TURN_MAX, self.call.turn(id)).await;
        turn.map(|turn| (id.to_string(), turn)).map_err(|_| self.late())
    }

    /// How long a wait may last that is to last so many milliseconds.
    pub(super) fn limit(&self, timeout_ms: u64) -> Duration {
        let left = (self.begun + WAIT_MAX).saturating_duration_since(Instant::now());
        Duration::from_millis(timeout_ms).min(left)
    }

    fn late(&self) -> Failed {
        let detail = format!(
            "it was not done within {} s, in which earlier calls on the session are served, too",
            self.begun.elapsed().as_secs()
        );
        Problem::new(code::UNAVAILABLE, detail).into()
    }
}
