//! Leases end what a request has opened. A WebSocket, a stream of events, a wait or a download
//! outlives the check of its token, so it holds a lease, which ends with the token or the login.

use futures_util::future::LocalBoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// The interval at which leases are checked: a revoked client is disconnected within two seconds.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The token, and the login if there was one, that authenticated a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pass {
    /// Fingerprint of the token.
    pub(super) token: String,
    /// The id of the login that was made with it, if a cookie was sent.
    pub(super) login: Option<String>,
}

/// Why a lease has ended; `None`: it has not.
type Ended = Option<&'static str>;

/// A lease, shared by all requests with the same pass.
#[derive(Clone, Debug)]
pub(super) struct Lease(Arc<watch::Sender<Ended>>);

impl Lease {
    /// Resolves, with the reason, when the lease ends.
    pub(super) fn ended(&self) -> LocalBoxFuture<'static, &'static str> {
        let mut ended = self.0.subscribe();
        // The sender lives as long as a lease waits, so there always is an answer.
        let lease = self.clone();
        Box::pin(async move {
            let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| *why);
            drop(lease);
            why.unwrap_or_default()
        })
    }
}

/// The leases that are open.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<Pass, Weak<watch::Sender<Ended>>>>);

impl Leases {
    /// Opens a lease that ends when [`Leases::check`] finds the pass invalid.
    pub(super) fn open(&self, pass: Pass) -> Lease {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.entry(pass).or_default();
        Lease(known.upgrade().unwrap_or_else(|| {
            let lease = Arc::new(watch::Sender::new(None));
            *known = Arc::downgrade(&lease);
            lease
        }))
    }

    /// Ends the leases whose pass is invalid, with the reason that `why_not` gives.
    pub(super) fn check(&self, why_not: impl Fn(&Pass) -> Ended) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|pass, lease| {
            let Some(lease) = lease.upgrade() else { return false };
            let why = why_not(pass);
            if why.is_some() {
                lease.send_replace(why);
            }
            why.is_none()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn pass(token: &str) -> Pass {
        Pass { token: token.to_owned(), login: None }
    }

    #[test]
    fn a_lease_ends_with_its_pass_for_all_who_have_it() {
        let leases = Leases::default();
        let (mut one, mut two) = (leases.open(pass("a")).ended(), leases.open(pass("a")).ended());
        let mut other = leases.open(pass("b")).ended();
        leases.check(|_| None);
        assert_eq!((&mut one).now_or_never(), None);
        leases.check(|pass| (pass.token == "a").then_some("gone"));
        assert_eq!((&mut one).now_or_never(), Some("gone"));
        assert_eq!((&mut two).now_or_never(), Some("gone"));
        assert_eq!((&mut other).now_or_never(), None);
        // Whoever comes with it again is checked again.
        let mut again = leases.open(pass("a")).ended();
        assert_eq!((&mut again).now_or_never(), None);
        leases.check(|_| Some("all"));
        assert_eq!(
            ((&mut again).now_or_never(), (&mut other).now_or_never()),
            (Some("all"), Some("all"))
        );
    }

    #[test]
    fn passes_that_nobody_uses_are_forgotten() {
        let leases = Leases::default();
        for token in 0..10 {
            drop(leases.open(pass(&token.to_string())));
        }
        let _kept = leases.open(pass("kept"));
        leases.check(|_| None);
        assert_eq!(leases.0.lock().unwrap().len(), 1);
    }
}
