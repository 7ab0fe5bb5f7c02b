//! All tests that need the whole program, as one binary: real processes, real PTYs, a
//! real database.

#![allow(clippy::print_stderr, reason = "tests say what they measured, or why they were skipped")]

mod support;

mod attach;
mod backup;
mod bad_input;
mod causes;
mod checkpoints;
mod circles;
mod cli;
mod clock;
mod connections;
mod countdown;
mod dialects;
mod docs;
mod door;
mod endings;
mod events;
mod examples;
mod exhaustion;
mod fidelity;
mod frames;
mod guards;
mod guesses;
mod holder;
mod holder_attacks;
mod hostile;
mod idempotency;
mod impostors;
mod input;
mod late;
mod leases;
mod leftovers;
mod live_fidelity;
mod metrics;
mod names;
mod nesting;
mod openapi;
mod profiles;
mod queries;
mod races;
mod reconcile;
mod recording;
mod restarts;
mod restore;
mod screen_faults;
mod screens;
mod screens_http;
mod sessions;
mod sharing;
mod signals;
mod slow_link;
mod startup;
mod stops;
mod store_faults;
mod store_kills;
mod surroundings;
mod systemd;
mod tls;
mod torture;
mod trees;
mod unread;
mod verbs;
mod versions;
