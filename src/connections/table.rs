//! The open connections, and the choice of those to close when there are too many.
//!
//! A connection is a stranger until an authenticated request has come over it. Strangers have few
//! places, and a new one always gets one: the oldest stranger of the address with most strangers is
//! closed instead. So a client without a token cannot shut out one that has a token, and
//! authenticated connections are never closed for a newcomer.
//!
//! A connection with rights counts for the principal that was the first to use it: a proxy may send
//! requests of several over one, and counting it for one of them is enough to keep each from taking
//! all places. A principal that has too many gets no rights over a further one, which stays a
//! stranger's. When the pass of the last authenticated request ends (a token that is removed, a login
//! that is over), the connection is a stranger's again and counts for nobody.

use crate::metrics::Metrics;
use crate::rights::Pass;
use futures_util::task::AtomicWaker;
use nix::sys::resource::{Resource, getrlimit};
use slog::{Logger, warn};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Local connections beyond the limit of all: whoever has rights may have taken every place, and the
/// owner must be able to take the rights away.
const LOCAL_PLACES: usize = 8;

/// The shortest interval between log lines on refused or closed connections.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The limits of connections, and of how long they may be stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All connections.
    pub connections: usize,
    /// Connections of one address that is not this machine's own; IPv6 addresses count by their
    /// /64.
    pub per_address: usize,
    /// Connections that count for one principal.
    pub per_principal: usize,
    /// Connections without an authenticated request.
    pub strangers: usize,
    /// How long the peer may leave unread what it is sent.
    pub unread: Duration,
}

/// Why a connection was closed or refused: the label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// All places are taken by authenticated connections.
    Full,
    /// The process may not open many more files.
    Descriptors,
    /// Its address has too many connections.
    Address,
    /// Its principal has too many connections.
    Principal,
    /// There are too many strangers.
    Strangers,
    /// The peer did not read.
    Unread,
    /// The peer's user has no business on the unix socket.
    User,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Reason::Full => "full",
            Reason::Descriptors => "descriptors",
            Reason::Address => "address",
            Reason::Principal => "principal",
            Reason::Strangers => "strangers",
            Reason::Unread => "unread",
            Reason::User => "user",
        }
    }
}

/// The table of connections; one for the whole server.
pub struct Connections {
    limits: Limits,
    /// A descriptor number from which on few are left: the kernel always assigns the lowest free
    /// one.
    last_descriptor: i32,
    table: Mutex<Table>,
    metrics: Arc<Metrics>,
    log: Logger,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Open>,
    /// The open connections, by order of arrival.
    strangers: BTreeMap<u64, IpAddr>,
    /// Those of local processes over which no authenticated request has come: they take no
    /// stranger's place, and are as few.
    locals: BTreeSet<u64>,
    by_address: HashMap<IpAddr, usize>,
    /// The connections that count for each principal, by `Principal::places_key`.
    by_principal: HashMap<Arc<str>, usize>,
    logged: Option<Instant>,
    unlogged: u64,
}

struct Open {
    /// `None`: a local process.
    address: Option<IpAddr>,
    /// Whom it counts for; `None`: nobody that is counted.
    principal: Option<Arc<str>>,
    /// That of the last authenticated request.
    pass: Option<Pass>,
    known: Arc<AtomicBool>,
    closing: Arc<Closing>,
}

/// A principal has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are {0} connections open already, which is the most for each token or link \
    (max_connections_per_principal); close some, or ask over one of them"
)]
pub struct TooManyConnections(usize);

/// Tells the task of a connection that it has to end.
#[derive(Default)]
pub(super) struct Closing {
    asked: AtomicBool,
    waker: AtomicWaker,
}

impl Closing {
    fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Resolves once the connection has to be closed.
    pub(super) async fn asked(&self) {
        poll_fn(|context| {
            // Registered before the check, so that no wake-up is missed between the two.
            self.waker.register(context.waker());
            if self.is_asked() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// An admitted connection.
pub(super) struct Admitted {
    pub(super) id: u64,
    /// Whether an authenticated request has come over it whose pass has not ended since.
    pub(super) known: Arc<AtomicBool>,
    pub(super) closing: Arc<Closing>,
}

impl Connections {
    /// `limits` come from the settings; strangers get at most a quarter of the files that the
    /// process may open now, and so does each principal.
    pub fn new(limits: Limits, metrics: Arc<Metrics>, log: Logger) -> Arc<Connections> {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let files = i32::try_from(files).unwrap_or(i32::MAX);
        let quarter = usize::try_from(files / 4).unwrap_or(1);
        let strangers = limits.strangers.min(quarter).max(1);
        let per_principal = limits.per_principal.min(quarter).max(1);
        // The other descriptors are for sessions, the database and the holder.
        let last_descriptor = files - (files / 8).clamp(8, 64);
        let limits = Limits { strangers, per_principal, ..limits };
        let table = Mutex::default();
        Arc::new(Connections { limits, last_descriptor, table, metrics, log })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Admits a connection, if need be in place of another, or says why not. `descriptor` is the
    /// connection's own.
    pub(super) fn admit(&self, peer: IpAddr, descriptor: i32) -> Result<Admitted, Reason> {
        let address = subscriber(peer);
        let mut table = self.lock();
        let of_address = table.by_address.get(&address).copied().unwrap_or(0);
        // Tunnels, proxies and the command line connect from this machine's own address.
        if !peer.to_canonical().is_loopback() && of_address >= self.limits.per_address {
            let oldest = table.oldest_stranger(address);
            self.make_room(&mut table, oldest, Reason::Address, peer)?;
        }
        if table.strangers.len() >= self.limits.strangers {
            let crowding = table.crowding_stranger();
            self.make_room(&mut table, crowding, Reason::Strangers, peer)?;
        }
        if descriptor >= self.last_descriptor {
            let crowding = table.crowding_stranger();
            self.make_room(&mut table, crowding, Reason::Descriptors, peer)?;
        } else if table.open.len() >= self.limits.connections {
            let crowding = table.crowding_stranger();
            self.make_room(&mut table, crowding, Reason::Full, peer)?;
        }
        let admitted = table.add(Some(address));
        self.show(&table);
        Ok(admitted)
    }

    /// Admits a local process of our own user, which has no address that could have too many
    /// connections. It may run inside a session, and is then as unwelcome as a stranger: so the
    /// oldest that has shown no rights makes room for a newer one here, too.
    pub(super) fn admit_local(&self, descriptor: i32) -> Result<Admitted, Reason> {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let mut table = self.lock();
        if table.locals.len() >= self.limits.strangers {
            let oldest = table.locals.first().copied();
            self.make_room(&mut table, oldest, Reason::Strangers, here)?;
        }
        let victim =
            |table: &Table| table.crowding_stranger().or_else(|| table.locals.first().copied());
        if descriptor >= self.last_descriptor {
            let victim = victim(&table);
            self.make_room(&mut table, victim, Reason::Descriptors, here)?;
        } else if table.open.len() >= self.limits.connections {
            let victim = victim(&table);
            let has_place = table.open.len() < self.limits.connections + LOCAL_PLACES;
            if victim.is_some() || !has_place {
                self.make_room(&mut table, victim, Reason::Full, here)?;
            }
        }
        let admitted = table.add(None);
        self.show(&table);
        Ok(admitted)
    }

    /// Admits a stream of another machine of the fleet, which has authenticated its client: it counts for a
    /// principal as soon as its request is looked at, and until then as a local process without rights.
    pub(super) fn admit_relayed(&self) -> Result<Admitted, Reason> {
        let mut table = self.lock();
        if table.open.len() >= self.limits.connections {
            let crowding = table.crowding_stranger();
            let nobody = IpAddr::from(Ipv4Addr::UNSPECIFIED);
            self.make_room(&mut table, crowding, Reason::Full, nobody)?;
        }
        let admitted = table.add(None);
        self.show(&table);
        Ok(admitted)
    }

    /// Counts a connection of a user who has no business on the unix socket.
    pub(super) fn was_another_user(&self, uid: u32) {
        self.tell(&mut self.lock(), Reason::User, format_args!("uid {uid}"));
    }

    /// An authenticated request has come over the connection with this pass. If it was a stranger's,
    /// it counts for this principal from now on; `None`: for nobody. One too many stays without
    /// rights.
    pub(super) fn has_rights(
        &self,
        id: u64,
        principal: Option<&str>,
        pass: Pass,
    ) -> Result<(), TooManyConnections> {
        let mut table = self.lock();
        let Some(open) = table.open.get_mut(&id) else { return Ok(()) };
        if open.known.load(Ordering::Relaxed) {
            open.pass = Some(pass);
            return Ok(());
        }
        if let Some(principal) = principal {
            let (most, address) = (self.limits.per_principal, open.address);
            if table.by_principal.get(principal).is_some_and(|count| *count >= most) {
                let address = address.map_or_else(|| "local".to_owned(), |ip| ip.to_string());
                let whose = format_args!("{address} ({principal})");
                self.tell(&mut table, Reason::Principal, whose);
                return Err(TooManyConnections(most));
            }
        }
        table.give_rights(id, principal, pass);
        self.show(&table);
        Ok(())
    }

    /// Makes the connections strangers' again whose pass has ended, and closes those that there are
    /// too many of then.
    pub fn forget_ended(&self, has_ended: impl Fn(&Pass) -> bool) {
        let passes: HashSet<Pass> =
            self.lock().open.values().filter_map(|open| open.pass).collect();
        // The lock is released first: whether a pass has ended takes another.
        let ended: HashSet<Pass> = passes.into_iter().filter(has_ended).collect();
        if ended.is_empty() {
            return;
        }
        let mut table = self.lock();
        let is_over = |open: &Open| open.pass.is_some_and(|pass| ended.contains(&pass));
        let over = table.open.iter().filter(|(_, open)| is_over(open)).map(|(id, _)| *id);
        for id in over.collect::<Vec<_>>() {
            table.take_rights(id);
        }
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        while table.strangers.len() > self.limits.strangers {
            let crowding = table.crowding_stranger();
            let _ = self.make_room(&mut table, crowding, Reason::Strangers, here);
        }
        while table.locals.len() > self.limits.strangers {
            let oldest = table.locals.first().copied();
            let _ = self.make_room(&mut table, oldest, Reason::Strangers, here);
        }
        self.show(&table);
    }

    /// The connection is closed.
    pub(super) fn gone(&self, id: u64) {
        let mut table = self.lock();
        table.remove(id);
        self.show(&table);
    }

    /// Counts a connection that ended because its peer read nothing.
    pub(super) fn was_unread(&self, peer: IpAddr) {
        self.tell(&mut self.lock(), Reason::Unread, peer);
    }

    /// Closes `victim` for a newcomer; without one, the newcomer is refused.
    fn make_room(
        &self,
        table: &mut Table,
        victim: Option<u64>,
        reason: Reason,
        newcomer: IpAddr,
    ) -> Result<(), Reason> {
        let closed = victim.and_then(|id| table.remove(id));
        let whose = closed.as_ref().and_then(|open| open.address).unwrap_or(newcomer);
        self.tell(table, reason, whose);
        match closed {
            Some(open) => {
                open.closing.ask();
                Ok(())
            }
            None => Err(reason),
        }
    }

    /// Counts, and logs at most once in an interval: clients that make us close connections must
    /// not be able to fill the log.
    fn tell(&self, table: &mut Table, reason: Reason, address: impl Display) {
        self.metrics.connections_closed.get_or_create(&[("reason", reason.as_str())]).inc();
        table.unlogged += 1;
        if table.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            warn!(self.log, "connections were closed or not accepted";
                "reason" => reason.as_str(), "address" => %address, "count" => table.unlogged,
                "open" => table.open.len(), "without_rights" => table.strangers.len());
            table.logged = Some(Instant::now());
            table.unlogged = 0;
        }
    }

    fn show(&self, table: &Table) {
        let strangers = table.strangers.len();
        let gauge = |rights, count: usize| {
            let gauge = self.metrics.http_connections.get_or_create_owned(&[("rights", rights)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        gauge("none", strangers);
        gauge("some", table.open.len() - strangers);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Adds a stranger's connection; `None`: a local process's.
    fn add(&mut self, address: Option<IpAddr>) -> Admitted {
        let id = self.next;
        self.next += 1;
        let (closing, known) = (Arc::<Closing>::default(), Arc::<AtomicBool>::default());
        let (principal, pass) = (None, None);
        let open =
            Open { address, principal, pass, known: known.clone(), closing: closing.clone() };
        self.open.insert(id, open);
        if let Some(address) = address {
            *self.by_address.entry(address).or_default() += 1;
        }
        self.add_stranger(id, address);
        Admitted { id, known, closing }
    }

    fn add_stranger(&mut self, id: u64, address: Option<IpAddr>) {
        match address {
            Some(address) => drop(self.strangers.insert(id, address)),
            None => drop(self.locals.insert(id)),
        }
    }

    fn give_rights(&mut self, id: u64, principal: Option<&str>, pass: Pass) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.pass = Some(pass);
        open.known.store(true, Ordering::Relaxed);
        if let Some(principal) = principal {
            let principal: Arc<str> = principal.into();
            open.principal = Some(principal.clone());
            *self.by_principal.entry(principal).or_default() += 1;
        }
        self.strangers.remove(&id);
        self.locals.remove(&id);
    }

    fn take_rights(&mut self, id: u64) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.pass = None;
        open.known.store(false, Ordering::Relaxed);
        let (address, principal) = (open.address, open.principal.take());
        self.count_less(principal);
        self.add_stranger(id, address);
    }

    fn count_less(&mut self, principal: Option<Arc<str>>) {
        if let Some(principal) = principal
            && let Some(count) = self.by_principal.get_mut(&principal)
        {
            *count -= 1;
            if *count == 0 {
                self.by_principal.remove(&principal);
            }
        }
    }

    fn remove(&mut self, id: u64) -> Option<Open> {
        let mut open = self.open.remove(&id)?;
        self.count_less(open.principal.take());
        self.strangers.remove(&id);
        self.locals.remove(&id);
        if let Some(address) = open.address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        Some(open)
    }

    fn oldest_stranger(&self, address: IpAddr) -> Option<u64> {
        self.strangers.iter().find(|&(_, &of)| of == address).map(|(&id, _)| id)
    }

    /// The oldest stranger of the address that has most of them. A scan is fine: strangers are few.
    fn crowding_stranger(&self) -> Option<u64> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for &address in self.strangers.values() {
            *counts.entry(address).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        self.strangers.iter().find(|&(_, address)| counts[address] == most).map(|(&id, _)| id)
    }
}

/// An address as it counts: an IPv6 subscriber has a whole network of 64 bits, so that counts as
/// one.
pub fn subscriber(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Grants;
    use slog::{Discard, o};

    fn connections(connections: usize, per_address: usize, strangers: usize) -> Arc<Connections> {
        let (per_principal, unread) = (3, Duration::from_secs(1));
        let limits = Limits { connections, per_address, per_principal, strangers, unread };
        Connections::new(limits, Arc::default(), Logger::root(Discard, o!()))
    }

    fn pass() -> Pass {
        Grants::owner().1
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_asked(admitted: &Admitted) -> bool {
        admitted.closing.is_asked()
    }

    #[test]
    fn the_newest_stranger_gets_in_and_who_has_rights_stays() {
        let all = connections(10, 10, 2);
        let address = ip("127.0.0.1");
        let owner = all.admit(address, 0).unwrap();
        all.has_rights(owner.id, None, pass()).unwrap();
        let strangers: Vec<_> = (0..5).map(|_| all.admit(address, 0).unwrap()).collect();
        let asked: Vec<_> = strangers.iter().map(is_asked).collect();
        assert_eq!(asked, [true, true, true, false, false]);
        assert!(!is_asked(&owner));
        assert_eq!(all.lock().open.len(), 3);
        for closed in &strangers {
            all.gone(closed.id);
        }
        let table = all.lock();
        assert_eq!((table.open.len(), table.by_address.len()), (1, 1));
    }

    #[test]
    fn a_local_process_takes_no_strangers_place() {
        let all = connections(4, 1, 2);
        let stranger = all.admit(ip("192.0.2.1"), 0).unwrap();
        let mut locals: Vec<_> = (0..3).map(|_| all.admit_local(0).unwrap()).collect();
        assert!(!is_asked(&stranger));
        // Those without rights are few, too, and the newest gets in.
        assert_eq!(locals.iter().map(is_asked).collect::<Vec<_>>(), [true, false, false]);
        for owner in locals.drain(1..) {
            all.has_rights(owner.id, None, pass()).unwrap();
        }
        let third = all.admit_local(0).unwrap();
        all.has_rights(third.id, None, pass()).unwrap();
        let fourth = all.admit_local(0).unwrap();
        assert!(is_asked(&stranger) && !is_asked(&third), "a stranger makes room");
        all.has_rights(fourth.id, None, pass()).unwrap();
        // The owner gets in although those with rights have taken all places, and not without end.
        for _ in 0..LOCAL_PLACES {
            let owner = all.admit_local(0).unwrap();
            all.has_rights(owner.id, None, pass()).unwrap();
        }
        assert_eq!(all.admit_local(0).err(), Some(Reason::Full));
    }

    #[test]
    fn who_crowds_goes_first() {
        let all = connections(10, 10, 3);
        let first = all.admit(ip("192.0.2.1"), 0).unwrap();
        let crowd: Vec<_> = (0..4).map(|_| all.admit(ip("192.0.2.2"), 0).unwrap()).collect();
        assert!(!is_asked(&first));
        assert_eq!(crowd.iter().map(is_asked).collect::<Vec<_>>(), [true, true, false, false]);
    }

    #[test]
    fn a_full_house_takes_strangers_places_and_then_refuses() {
        let all = connections(3, 10, 2);
        let known: Vec<_> = (0..3).map(|_| all.admit(ip("127.0.0.1"), 0).unwrap()).collect();
        // One of the three made room for the third; the rest show a token.
        assert!(is_asked(&known[0]));
        all.has_rights(known[1].id, None, pass()).unwrap();
        all.has_rights(known[2].id, None, pass()).unwrap();
        let third = all.admit(ip("127.0.0.1"), 0).unwrap();
        let fourth = all.admit(ip("127.0.0.1"), 0).unwrap();
        assert!(is_asked(&third));
        all.has_rights(fourth.id, None, pass()).unwrap();
        assert_eq!(all.admit(ip("127.0.0.1"), 0).err(), Some(Reason::Full));
        assert!(!known[1..].iter().any(is_asked) && !is_asked(&fourth));
    }

    #[test]
    fn few_descriptors_are_not_for_strangers() {
        let all = connections(10, 10, 5);
        let stranger = all.admit(ip("127.0.0.1"), 0).unwrap();
        let newest = all.admit(ip("127.0.0.1"), i32::MAX).unwrap();
        assert!(is_asked(&stranger) && !is_asked(&newest));
        all.has_rights(newest.id, None, pass()).unwrap();
        assert_eq!(all.admit(ip("127.0.0.1"), i32::MAX).err(), Some(Reason::Descriptors));
    }

    #[test]
    fn an_address_has_a_share_and_this_machine_all() {
        let all = connections(100, 2, 50);
        for address in ["192.0.2.1", "::ffff:192.0.2.1"] {
            all.has_rights(all.admit(ip(address), 0).unwrap().id, None, pass()).unwrap();
        }
        assert_eq!(all.admit(ip("192.0.2.1"), 0).err(), Some(Reason::Address));
        let net: Vec<_> =
            (1..4).map(|n| all.admit(ip(&format!("2001:db8::{n}")), 0).unwrap()).collect();
        assert_eq!(net.iter().map(is_asked).collect::<Vec<_>>(), [true, false, false]);
        for own in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            for _ in 0..4 {
                let admitted = all.admit(ip(own), 0).unwrap();
                all.has_rights(admitted.id, None, pass()).unwrap();
            }
        }
    }

    #[test]
    fn a_principal_takes_no_more_than_its_places() {
        let all = connections(100, 100, 10);
        let open = || all.admit(ip("127.0.0.1"), 0).unwrap();
        let mut annas: Vec<_> = (0..3).map(|_| open()).collect();
        for known in &annas {
            assert_eq!(all.has_rights(known.id, Some("anna"), pass()), Ok(()));
        }
        let fourth = open();
        for _ in 0..2 {
            assert_eq!(all.has_rights(fourth.id, Some("anna"), pass()), Err(TooManyConnections(3)));
        }
        assert!(all.lock().strangers.contains_key(&fourth.id), "it has no rights");
        // Another principal may use it, and it counts for that one.
        assert_eq!(all.has_rights(fourth.id, Some("ben"), pass()), Ok(()));
        for _ in 0..5 {
            assert_eq!(
                all.has_rights(open().id, None, pass()),
                Ok(()),
                "who is not counted has no limit"
            );
        }
        let local = all.admit_local(0).unwrap();
        assert_eq!(all.has_rights(local.id, Some("anna"), pass()), Err(TooManyConnections(3)));
        all.gone(annas.pop().unwrap().id);
        assert_eq!(all.has_rights(local.id, Some("anna"), pass()), Ok(()));
        for known in annas.iter().chain([&fourth, &local]) {
            all.gone(known.id);
            all.gone(known.id);
        }
        assert!(all.lock().by_principal.is_empty());
    }

    #[test]
    fn a_connection_whose_pass_has_ended_is_a_strangers_and_counts_for_nobody() {
        let secret = "secret-secret-secret";
        let (_, annas) = Grants::in_memory(secret).by_secret(secret).unwrap();
        let all = connections(100, 100, 2);
        let mut open = vec![all.admit_local(0).unwrap()];
        open.extend((0..2).map(|_| all.admit(ip("192.0.2.1"), 0).unwrap()));
        for one in &open {
            assert_eq!(all.has_rights(one.id, Some("anna"), annas), Ok(()));
            assert!(one.known.load(Ordering::Relaxed));
        }
        // Over one somebody else asks next: it is that one's, although it still counts for the first.
        let other = all.admit(ip("192.0.2.2"), 0).unwrap();
        assert_eq!(all.has_rights(other.id, Some("ben"), annas), Ok(()));
        assert_eq!(all.has_rights(other.id, Some("ben"), pass()), Ok(()));
        let stranger = all.admit(ip("192.0.2.3"), 0).unwrap();
        all.forget_ended(|_| false);
        assert_eq!(all.lock().strangers.len(), 1);
        all.forget_ended(|ended| *ended == annas);
        assert!(!open.iter().any(|one| one.known.load(Ordering::Relaxed)));
        assert!(other.known.load(Ordering::Relaxed));
        // One of three strangers on the network was too many, and one of its address had to go.
        assert_eq!(all.lock().strangers.len(), 2);
        let asked = open.iter().map(is_asked).collect::<Vec<_>>();
        assert_eq!((asked, is_asked(&stranger)), (vec![false, true, false], false));
        assert_eq!(all.lock().by_principal.get("anna"), None);
        // Somebody with rights who uses it again has it again.
        assert_eq!(all.has_rights(open[2].id, Some("ben"), pass()), Ok(()));
        assert_eq!(all.lock().by_principal.get("ben"), Some(&2));
        for admitted in open.iter().chain([&other, &stranger]) {
            all.gone(admitted.id);
        }
        let table = all.lock();
        assert!(table.by_principal.is_empty() && table.by_address.is_empty());
        assert!(table.strangers.is_empty() && table.locals.is_empty());
    }
}
