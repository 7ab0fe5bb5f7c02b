//! Hooks of the server: a command is run, or a URL is called, when a program needs somebody, when it has
//! finished, and when a session ends.
//!
//! ```text
//!  sessions ──► events ──► Dispatcher ──► Notice ──► Queue ──► command, post ──► somebody
//!                              │          (what)    (whose turn)     │
//!                              └──────► Ledger ──► stayd.db ◄────────┘
//! ```
//!
//! Nothing here is in the way of a terminal: sessions tell the bus, which never waits, and do not know
//! that there are hooks. One task listens, and each attempt is a task of its own.
//!
//! Nothing is lost. An event is put into the queue in memory at once, and into the database behind:
//! whichever server dies, the next one has either the delivery, or finds that the session's row says
//! more than the last state that hooks were told of, and makes the same delivery of it, with the same id.
//! A listener that was too slow for the bus finds out in the same way. So a delivery may come twice, and
//! its id tells.
//!
//! Order is kept for each hook and session: one delivery at a time, the next one once the one before has
//! arrived or is given up. A hook that hangs for one session holds up no other, because attempts are
//! bounded in time, and in number in all and for each hook.
//!
//! Browsers that have subscribed ([`crate::push`]) are told in the same way, by the same queue, each in a
//! lane of its own. Which of them is told is decided for each event anew.
//!
//! - `notice`: what a hook is told, whether it is told at all, and the JSON
//! - `queue`: pure: the deliveries that wait, whose turn it is, what is dropped when there are too many
//! - `backoff`: pure: how long after a failure
//! - `command`: runs a program; `post`: sends a request
//! - `ledger`: the changes that the database does not have yet
//! - `handle`: how a server starts and stops them
//! - `dispatcher`: the task: listens, starts attempts, and notes what became of them

mod backoff;
mod command;
mod dispatcher;
mod handle;
mod ledger;
mod notice;
mod post;
mod queue;

pub use dispatcher::HooksParts;
pub use handle::Hooks;

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The event has arrived.
    Delivered,
    /// It has not, and may later.
    Failed(String),
    /// It will not, however often it is tried.
    Refused(String),
    /// The browser is gone: nothing will ever arrive there.
    Gone,
}
