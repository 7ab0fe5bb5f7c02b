//! The edges: routes, rights, WebSocket upgrades and errors. Nothing here knows how a
//! session works; it asks the registry and the session's actor.

mod access_log;
mod allowlist;
mod api;
pub mod assets;
mod attach;
pub mod auth;
mod backup;
mod bodies;
mod etag;
mod events;
pub mod guard;
mod guesses;
mod health;
mod input;
mod large;
mod lease;
mod list;
pub mod login;
mod logins;
mod metrics;
mod once;
mod openapi;
mod output;
pub mod problem;
mod profiles;
mod query;
mod recording;
mod refusal_page;
mod reject;
mod restart;
mod screen;
mod sessions;
mod shots;
mod signals;
#[cfg(test)]
mod tests;
pub mod token;
pub mod tokens;

pub use allowlist::{Hosts, HostsError};
pub use api::Api;
pub use backup::COPIES;
pub use logins::Logins;
pub use shots::Shots;

use actix_web::web::{self, ServiceConfig};

/// All routes. Rights are checked before any of them, by [`guard::Guard`].
pub fn configure(config: &mut ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(input::BODY_MAX))
        .configure(health::configure)
        .configure(metrics::configure)
        .configure(login::configure)
        .configure(sessions::configure)
        .configure(profiles::configure)
        .configure(input::configure)
        .configure(output::configure)
        .configure(restart::configure)
        .configure(screen::configure)
        .configure(recording::configure)
        .configure(attach::configure)
        .configure(events::configure)
        .configure(backup::configure)
        .configure(openapi::configure)
        .configure(assets::configure)
        .configure(problem::configure);
}
