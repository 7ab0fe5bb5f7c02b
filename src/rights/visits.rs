//! Visits: requests that another machine of the fleet passes on. That machine has authenticated who asks, and
//! says whom it is for and when it is no longer so; this one keeps that while the request lasts.

use super::pass::{Pass, Subject};
use super::principal::{Principal, Role};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest name of a principal that is taken over from another machine, in bytes. Names of its own are shorter.
pub const PRINCIPAL_MAX: usize = 128;

/// The visits that are under way.
#[derive(Default)]
pub(super) struct Visits {
    last: AtomicU64,
    /// Whether each is revoked.
    open: Mutex<HashMap<u64, Arc<AtomicBool>>>,
}

impl Visits {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<AtomicBool>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a visit is under way and not revoked.
    pub(super) fn has(&self, number: u64) -> bool {
        self.lock().get(&number).is_some_and(|revoked| !revoked.load(Ordering::Acquire))
    }

    /// A visit begins. `revoked` turns true once its rights end.
    pub(super) fn begin(self: &Arc<Self>, principal: Principal, revoked: Arc<AtomicBool>) -> Visit {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, revoked);
        Visit { number, principal, visits: self.clone() }
    }
}

/// A visit, which ends when this is dropped.
pub struct Visit {
    number: u64,
    principal: Principal,
    visits: Arc<Visits>,
}

impl Visit {
    /// Whom it is for.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What its requests prove their rights with.
    #[must_use]
    pub fn pass(&self) -> Pass {
        Pass { subject: Subject::Visit(self.number), login: None }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visits.lock().remove(&self.number);
    }
}

/// A principal that another machine has authenticated, from its JSON.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Vouched(Principal);

impl Vouched {
    /// The principal here: with no more rights than the fleet has on this machine. `None`: what was said of
    /// it is nothing that a machine of the fleet would say.
    #[must_use]
    pub fn capped(self, most: Role) -> Option<Principal> {
        let principal = self.0;
        let makers = std::iter::successors(Some(&principal), |it| it.maker.as_deref());
        let plain = |it: &Principal| {
            !it.name.is_empty()
                && it.name.len() <= PRINCIPAL_MAX
                && !it.name.contains(char::is_control)
        };
        let is_plain = makers.clone().take(3).all(plain) && makers.count() <= 2;
        is_plain.then(|| Principal { role: principal.role.min(most), ..principal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::rights::{Kind, Scope};

    fn anna() -> Principal {
        Principal { name: "anna".into(), kind: Kind::Token, ..Principal::owner() }
    }

    fn told(principal: &Principal, most: Role) -> Option<Principal> {
        let json = serde_json::to_string(principal).unwrap();
        serde_json::from_str::<Vouched>(&json).unwrap().capped(most)
    }

    #[test]
    fn a_principal_comes_over_as_it_was_with_no_more_rights_than_allowed() {
        let scope = Scope::Sessions(vec![SessionId::generate()]);
        let link = Principal { scope, kind: Kind::Share, maker: Some(Box::new(anna())), ..anna() };
        for principal in [Principal::owner(), anna(), link] {
            assert_eq!(told(&principal, Role::Admin).as_ref(), Some(&principal));
            let capped = told(&principal, Role::Viewer).unwrap();
            assert_eq!(capped, Principal { role: Role::Viewer, ..principal });
        }
        let viewer = Principal { role: Role::Viewer, ..anna() };
        assert_eq!(told(&viewer, Role::Admin), Some(viewer), "nobody gets more");
    }

    #[test]
    fn what_no_machine_would_say_is_refused() {
        for name in ["", "a\nb", &"x".repeat(PRINCIPAL_MAX + 1)] {
            let principal = Principal { name: name.into(), ..anna() };
            assert_eq!(told(&principal, Role::Admin), None, "{name:?}");
        }
        let nested = |maker| Principal { maker: Some(Box::new(maker)), ..anna() };
        assert_eq!(told(&nested(nested(anna())), Role::Admin), None);
    }

    #[test]
    fn a_visit_ends_when_it_is_revoked_or_over() {
        let visits = Arc::new(Visits::default());
        let revoked = Arc::new(AtomicBool::new(false));
        let (one, two) =
            (visits.begin(anna(), revoked.clone()), visits.begin(anna(), Arc::default()));
        assert_ne!(one.pass(), two.pass());
        assert!(visits.has(one.number) && visits.has(two.number));
        revoked.store(true, Ordering::Release);
        assert!(!visits.has(one.number) && visits.has(two.number));
        let number = two.number;
        drop(two);
        assert!(!visits.has(number));
    }
}
