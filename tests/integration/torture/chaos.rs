//! Who kills the server, the holder and its guardian, and what is going on at that moment.

use super::audit::{self, Database};
use super::chance::Chance;
use super::churn::{self, Book, Kind, Outcome};
use super::pair::{Pair, Upgrade};
use super::world::World;
use crate::support::{Server, soon};
use actix_web::rt::task::JoinHandle;
use actix_web::rt::time::sleep;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// What is going on when the server is killed.
const MOMENTS: [Moment; 12] = [
    Moment::Flood,
    Moment::Typing,
    Moment::Creation(Kind::Lasting),
    Moment::Creation(Kind::Unattended),
    Moment::Creation(Kind::Missing),
    Moment::Creation(Kind::Brief),
    Moment::Attach { leave: false },
    Moment::Attach { leave: true },
    Moment::Resize,
    Moment::Kill(Kind::Lasting),
    Moment::Kill(Kind::Stubborn),
    Moment::Expiry,
];

/// Sessions of a kind that are kept for such moments.
const KEPT: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Moment {
    Flood,
    Typing,
    Creation(Kind),
    Attach { leave: bool },
    Resize,
    Kill(Kind),
    Expiry,
}

pub(super) struct Chaos<'a> {
    pub(super) server: &'a mut Server,
    pub(super) world: &'a World,
    pub(super) chance: Chance,
    pub(super) book: Book,
    pub(super) kills: u64,
    pub(super) upgrade: Upgrade,
}

impl Chaos<'_> {
    /// Kills so many times; in the end all run and everything agrees.
    pub(super) async fn rage(&mut self, kills: u64) {
        let mut rounds = 0;
        while self.kills < kills {
            self.furnish().await;
            // All of them before any comes twice.
            let moment = match MOMENTS.get(rounds) {
                Some(moment) => *moment,
                None => self.chance.pick(&MOMENTS),
            };
            let under_way = self.begin(moment).await;
            self.strike().await;
            let before = self.kill(under_way).await;
            let before = self.start(before).await;
            let now = audit::agrees(self.server, &self.book, &before).await;
            self.book.learn(&now);
            rounds += 1;
            if rounds.is_multiple_of(50) {
                println!("torture: {} kills, {moment:?} the last", self.kills);
            }
        }
    }

    /// Sees to it that there are sessions to do something with, and not too many.
    async fn furnish(&mut self) {
        let api = self.server.api();
        for kind in [Kind::Lasting, Kind::Stubborn] {
            if self.book.living(kind, &mut self.chance).is_none() {
                let created = self.book.create(&api, kind).await;
                self.book.note(created);
            }
        }
        while self.book.count_living(Kind::Lasting) > KEPT {
            let Some((name, _)) = self.book.living(Kind::Lasting, &mut self.chance) else { break };
            let ended = self.book.delete(&api, &name).await;
            self.book.note(ended);
        }
    }

    /// Has something under way, and returns when the server is to be killed.
    async fn begin(&mut self, moment: Moment) -> Vec<JoinHandle<Outcome>> {
        let api = self.server.api();
        let mut under_way = Vec::new();
        let mut longest = Duration::from_millis(self.chance.pick(&[2, 10, 50]));
        match moment {
            Moment::Flood => {
                let more = self.chance.below(4 << 20);
                let world = self.world;
                soon("more output", world.lead_passes(world.lead() + more)).await;
            }
            Moment::Typing => {
                soon("more input", self.world.typed.notified()).await;
                longest = Duration::from_millis(1);
            }
            Moment::Creation(kind) => {
                for kind in [kind, Kind::Lasting] {
                    under_way.push(actix_web::rt::spawn(self.book.create(&api, kind)));
                }
            }
            Moment::Attach { leave } => {
                if let Some((_, id)) = self.book.living(Kind::Lasting, &mut self.chance) {
                    under_way.push(actix_web::rt::spawn(churn::attach(api, id, leave)));
                }
            }
            Moment::Resize => {
                let cols = 40 + self.chance.below(200) as u16;
                self.world.resize.set(Some((cols, 30)));
                if let Some((_, id)) = self.book.living(Kind::Lasting, &mut self.chance) {
                    under_way.push(actix_web::rt::spawn(churn::resize(api, id, cols)));
                }
            }
            Moment::Kill(kind) => {
                if let Some((name, _)) = self.book.living(kind, &mut self.chance) {
                    under_way.push(actix_web::rt::spawn(self.book.delete(&api, &name)));
                }
                if kind == Kind::Stubborn {
                    // SIGHUP at once, SIGTERM after a second.
                    longest = Duration::from_millis(self.chance.pick(&[50, 1500]));
                }
            }
            Moment::Expiry => {
                self.await_expiry().await;
                longest = Duration::from_millis(20);
            }
        }
        sleep(self.chance.moment(longest)).await;
        under_way
    }

    /// Returns just before a timer fires.
    async fn await_expiry(&mut self) {
        let api = self.server.api();
        let kind = self.chance.pick(&[Kind::Unattended, Kind::Left]);
        let created = self.book.create(&api, kind).await;
        let Outcome::Created { id, .. } = &created else { panic!("no session") };
        if kind == Kind::Left {
            churn::visit(&api, id).await;
        }
        let id = id.clone();
        self.book.note(created);
        let deadline = soon("a deadline", async {
            loop {
                let session = api.session(&id).await;
                if let Some(deadline) = session["destroy_at"].as_str() {
                    return deadline.parse::<DateTime<Utc>>().expect("RFC 3339");
                }
            }
        });
        let left = deadline.await.signed_duration_since(Utc::now());
        let left = left.to_std().unwrap_or_default();
        sleep(left.saturating_sub(Duration::from_millis(10))).await;
    }

    /// Kills the holder or its guardian, or neither, and sometimes replaces both by another program
    /// meanwhile. Sometimes the server goes in the same instant, sometimes it has time to notice
    /// that it went on.
    async fn strike(&mut self) {
        self.upgrade.is_over().await;
        let pair = Pair::of(self.server).await;
        if self.chance.one_in(3) {
            self.upgrade.begin(self.server);
            sleep(self.chance.moment(Duration::from_millis(12))).await;
        }
        match self.chance.below(3) {
            0 => pair.kill_holder(),
            1 => pair.kill_guardian(),
            _ => return,
        }
        self.kills += 1;
        if self.chance.one_in(3) {
            return;
        }
        let replaced = pair.replaced(self.server).await;
        self.world.pause(replaced);
        sleep(self.chance.moment(Duration::from_millis(50))).await;
    }

    /// Kills it, and says what it left behind.
    async fn kill(&mut self, under_way: Vec<JoinHandle<Outcome>>) -> Database {
        self.server.kill();
        self.kills += 1;
        for asked in under_way {
            let outcome = soon("an answer, or none", asked).await.expect("no panic");
            self.book.note(outcome);
        }
        Database::read(self.server)
    }

    /// Starts it, perhaps after a while, perhaps killing it again while it starts.
    async fn start(&mut self, mut before: Database) -> Database {
        loop {
            if self.chance.one_in(3) {
                sleep(self.chance.moment(Duration::from_millis(300))).await;
            }
            self.server.begin_restart();
            self.world.restarts();
            if self.chance.one_in(4) {
                // While it starts, and while it restores.
                sleep(self.chance.moment(Duration::from_millis(120))).await;
            } else {
                self.server.wait_until_listening().await;
                if !self.chance.one_in(6) {
                    return before;
                }
            }
            before = self.kill(Vec::new()).await;
        }
    }
}
