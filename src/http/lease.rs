//! Leases end what a request has opened. A WebSocket, a stream of events, a wait or a download
//! outlives the check of its token, so it holds a lease, which ends with the token or the login, and
//! where the session that it is about leaves the token's scope.

use crate::rights::Pass;
use futures_util::future::LocalBoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// The interval at which leases are checked: a revoked client is disconnected within two seconds.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Why a lease has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The token, link or login is no longer valid.
    Invalid(&'static str),
    /// The session does not exist any more for the principal.
    OutOfScope,
}

impl Why {
    /// For people.
    pub(super) fn text(self) -> &'static str {
        match self {
            Why::Invalid(why) => why,
            Why::OutOfScope => {
                "the session has left the scope of this token, or of who has made this link"
            }
        }
    }
}

/// Whether the session of a request is in the principal's scope.
type InScope = Box<dyn Fn() -> bool + Send + Sync>;

struct Shared {
    /// `None`: it has not ended.
    ended: watch::Sender<Option<Why>>,
    in_scope: OnceLock<InScope>,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { ended: watch::Sender::new(None), in_scope: OnceLock::new() })
    }

    /// Returns whether it goes on.
    fn check(&self, invalid: Option<&'static str>) -> bool {
        let has_left = || self.in_scope.get().is_some_and(|in_scope| !in_scope());
        let why = invalid.map(Why::Invalid).or_else(|| has_left().then_some(Why::OutOfScope));
        if why.is_some() {
            self.ended.send_replace(why);
        }
        why.is_none()
    }
}

/// A lease. Clones share it.
#[derive(Clone)]
pub(super) struct Lease(Arc<Shared>);

impl Lease {
    /// Resolves, with the reason, when the lease ends.
    pub(super) fn ended(&self) -> LocalBoxFuture<'static, Why> {
        let mut ended = self.0.ended.subscribe();
        // The sender lives as long as a lease waits, so there always is an answer.
        let lease = self.clone();
        Box::pin(async move {
            let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| *why);
            drop(lease);
            why.unwrap_or(Why::Invalid(""))
        })
    }

    /// Ends it also once `in_scope` is false. Only for a lease of [`Leases::open_alone`]; a request
    /// is about one session, so that later calls do nothing.
    pub(super) fn end_unless(&self, in_scope: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.0.in_scope.set(Box::new(in_scope));
    }
}

/// The leases that are open.
#[derive(Default)]
pub(super) struct Leases(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// Each is shared by all requests with the same pass.
    by_pass: HashMap<Pass, Weak<Shared>>,
    alone: Vec<(Pass, Weak<Shared>)>,
}

impl Leases {
    /// Opens a lease that ends when [`Leases::check`] finds the pass invalid.
    pub(super) fn open(&self, pass: Pass) -> Lease {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.by_pass.entry(pass).or_default();
        Lease(known.upgrade().unwrap_or_else(|| {
            let lease = Shared::new();
            *known = Arc::downgrade(&lease);
            lease
        }))
    }

    /// The same for one request alone, whose session may leave the principal's scope.
    pub(super) fn open_alone(&self, pass: Pass) -> Lease {
        let lease = Shared::new();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.alone.push((pass, Arc::downgrade(&lease)));
        Lease(lease)
    }

    /// Ends the leases whose pass is invalid, with the reason that `why_not` gives, and those whose
    /// session has left the scope.
    pub(super) fn check(&self, why_not: impl Fn(&Pass) -> Option<&'static str>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = |pass: &Pass, lease: &Weak<Shared>| {
            lease.upgrade().is_some_and(|lease| lease.check(why_not(pass)))
        };
        open.by_pass.retain(|pass, lease| goes_on(pass, lease));
        open.alone.retain(|(pass, lease)| goes_on(pass, lease));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Grants;
    use futures_util::FutureExt;
    use std::sync::atomic::{AtomicBool, Ordering};

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
        assert_eq!((&mut one).now_or_never(), Some(Why::Invalid("gone")));
        assert_eq!((&mut two).now_or_never(), Some(Why::Invalid("gone")));
        assert_eq!((&mut other).now_or_never(), None);
        // Whoever comes with it again is checked again.
        let mut again = leases.open(a).ended();
        assert_eq!((&mut again).now_or_never(), None);
        leases.check(|_| Some("all"));
        assert_eq!(
            ((&mut again).now_or_never(), (&mut other).now_or_never()),
            (Some(Why::Invalid("all")), Some(Why::Invalid("all")))
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
        drop(leases.open_alone(kept));
        leases.check(|_| None);
        let open = leases.0.lock().unwrap();
        assert_eq!((open.by_pass.len(), open.alone.len()), (1, 0));
    }

    #[actix_web::test]
    async fn a_lease_ends_when_its_session_leaves_the_scope() {
        let leases = Leases::default();
        let [pass] = passes().await;
        let in_scope = Arc::new(AtomicBool::new(true));
        let (lease, other) = (leases.open_alone(pass), leases.open_alone(pass));
        let seen = in_scope.clone();
        lease.end_unless(move || seen.load(Ordering::Relaxed));
        let (mut ended, mut others) = (lease.ended(), other.ended());
        leases.check(|_| None);
        assert_eq!((&mut ended).now_or_never(), None);
        in_scope.store(false, Ordering::Relaxed);
        leases.check(|_| None);
        assert_eq!((&mut ended).now_or_never(), Some(Why::OutOfScope));
        assert_eq!((&mut others).now_or_never(), None);
        leases.check(|_| Some("gone"));
        assert_eq!(others.now_or_never(), Some(Why::Invalid("gone")));
    }
}
