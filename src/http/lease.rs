//! Leases end what a request has opened. A WebSocket, a stream of events, a wait or a download
//! outlives the check of its token, so it holds a lease, which ends with the token or the login.

use crate::rights::Pass;
use futures_util::future::LocalBoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// The interval at which leases are checked: a revoked client is disconnected within two seconds.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);

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
    use crate::rights::Grants;
    use futures_util::FutureExt;

    /// The passes of some logins.
    async fn passes<const N: usize>() -> [Pass; N] {
        let grants = Grants::in_memory("secret-secret-secret");
        let (_, owner) = grants.by_secret("secret-secret-secret").unwrap();
        let mut passes = [owner; N];
        for pass in &mut passes {
            let login = grants.log_in(&owner).await.unwrap();
            *pass = grants.by_cookie(&login.cookie).unwrap().1;
        }
        passes
    }

    #[actix_web::test]
    async fn a_lease_ends_with_its_pass_for_all_who_have_it() {
        let leases = Leases::default();
        let [a, b] = passes().await;
        let (mut one, mut two) = (leases.open(a).ended(), leases.open(a).ended());
        let mut other = leases.open(b).ended();
        leases.check(|_| None);
        assert_eq!((&mut one).now_or_never(), None);
        leases.check(|pass| (*pass == a).then_some("gone"));
        assert_eq!((&mut one).now_or_never(), Some("gone"));
        assert_eq!((&mut two).now_or_never(), Some("gone"));
        assert_eq!((&mut other).now_or_never(), None);
        // Whoever comes with it again is checked again.
        let mut again = leases.open(a).ended();
        assert_eq!((&mut again).now_or_never(), None);
        leases.check(|_| Some("all"));
        assert_eq!(
            ((&mut again).now_or_never(), (&mut other).now_or_never()),
            (Some("all"), Some("all"))
        );
    }

    #[actix_web::test]
    async fn passes_that_nobody_uses_are_forgotten() {
        let leases = Leases::default();
        let [kept, others @ ..] = passes::<10>().await;
        for pass in others {
            drop(leases.open(pass));
        }
        let _kept = leases.open(kept);
        leases.check(|_| None);
        assert_eq!(leases.0.lock().unwrap().len(), 1);
    }
}
