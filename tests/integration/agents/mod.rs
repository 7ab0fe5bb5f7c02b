//! A program that behaves like an agent, walked through its states at random: what the server says of it
//! is what it logs of itself. With `STAYD_AGENT_WALKS`, the number of walks, the server must be quick as
//! well; `STAYD_AGENT_SEED` makes other walks.

mod claude;
mod fake;
mod walk;

use crate::support::Server;
use fake::{Bench, Mode};
use futures_util::future::join_all;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use walk::{Patience, Tally, walk};

/// Walks of a normal run, and those that run at the same time.
const WALKS: u64 = 18;
const AT_ONCE: u64 = 6;
/// The same of a run that is asked for.
const AT_ONCE_ALONE: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[actix_web::test]
#[allow(clippy::print_stderr, reason = "for whoever reads the test's output")]
async fn random_walks_of_an_agent_never_show_what_it_does_not_do() {
    let asked = number("STAYD_AGENT_WALKS");
    let (walks, at_once, patience) = match asked {
        Some(walks) => (walks, AT_ONCE_ALONE, Patience::STRICT),
        None => (WALKS, AT_ONCE, Patience::BESIDE_OTHERS),
    };
    let seed = number("STAYD_AGENT_SEED").unwrap_or(1);
    eprintln!("STAYD_AGENT_SEED={seed} STAYD_AGENT_WALKS={walks}");
    let bench = Bench::start().await;
    let (next, tally) = (Cell::new(0), RefCell::new(Tally::default()));
    let walker = async || {
        while next.get() < walks {
            let number = next.replace(next.get() + 1);
            let mode = Mode::ALL[(number % 3) as usize];
            let done = walk(&bench, mode, (number, seed), patience).await;
            tally.borrow_mut().add(done);
        }
    };
    join_all((0..at_once.min(walks)).map(|_| walker())).await;
    let tally = tally.into_inner();
    eprintln!("{tally}");
    assert!(
        tally.wrong.is_empty(),
        "{} wrong states:\n{}",
        tally.wrong.len(),
        tally.wrong.join("\n")
    );
    assert!(tally.changes > walks, "{tally}");
}

/// Nothing is looked at while nothing is printed, however many agents wait.
#[actix_web::test]
async fn agents_that_wait_cost_no_look() {
    let bench = Bench::start().await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        let agent = bench.agent(Mode::Rules, number, false).await;
        agent.settles("idle").await;
        waiting.push(agent);
    }
    let looks = async |server: &Server| -> String {
        let text = String::from_utf8(server.api().get("/metrics").await.bytes).expect("text");
        let line = text.lines().find(|line| line.starts_with("stayd_attention_looks_total "));
        line.expect("the counter").to_owned()
    };
    // The last look comes a moment after the last output.
    bench.quiet(&waiting).await;
    let before = looks(&bench.server).await;
    actix_web::rt::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(looks(&bench.server).await, before);
    assert_ne!(before, "stayd_attention_looks_total 0");
}
