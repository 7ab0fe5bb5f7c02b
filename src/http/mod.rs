//! The edges: routes, rights, WebSocket upgrades and errors. Nothing here knows how a
//! session works; it asks the registry and the session's actor.

mod access_log;
mod allowlist;
mod api;
pub mod assets;
mod attach;
mod attention;
mod audit;
pub mod auth;
mod backup;
mod base_path;
mod bodies;
mod caller;
mod etag;
mod events;
mod files;
mod fleet;
#[cfg(test)]
#[path = "../../tests/fuzz/http.rs"]
mod fuzz;
pub mod guard;
mod guesses;
mod health;
mod input;
mod large;
mod lease;
mod list;
mod local_peer;
pub mod login;
mod logins;
mod mcp;
mod metrics;
mod once;
mod openapi;
mod output;
pub mod problem;
mod profiles;
mod push;
mod query;
mod recording;
mod refusal_page;
mod reject;
mod screen;
mod sessions;
mod shares;
mod shots;
mod signals;
mod strict_transport;
#[cfg(test)]
mod tests;
mod tokens;
mod turns;

pub use allowlist::{Hosts, HostsError};
pub use api::Api;
pub use backup::COPIES;
pub use base_path::below_base_path;
pub use fleet::to_its_machine;
pub use shots::Shots;
pub use strict_transport::strict_transport;
pub use turns::Turns;

use actix_web::web::{PayloadConfig, ServiceConfig, resource};

/// All routes. Rights are checked before any of them, by [`guard::Guard`].
pub fn configure(config: &mut ServiceConfig) {
    config
        .app_data(PayloadConfig::new(input::BODY_MAX))
        .service(resource("/healthz").get(health::healthz))
        .service(resource("/readyz").get(health::readyz))
        .service(resource("/metrics").get(metrics::metrics))
        .service(resource("/openapi.json").get(openapi::openapi))
        .service(resource("/api/v1/sessions").get(list::list).post(sessions::create))
        .service(
            resource("/api/v1/sessions/{id}")
                .get(sessions::get)
                .patch(sessions::patch)
                .delete(sessions::delete),
        )
        .service(resource("/api/v1/sessions/{id}/transitions").get(sessions::transitions))
        .service(resource("/api/v1/sessions/{id}/restart").post(sessions::restart))
        .service(resource("/api/v1/sessions/{id}/input").post(input::input))
        .service(
            resource("/api/v1/sessions/{id}/files")
                .get(files::get)
                .put(files::put)
                .delete(files::cancel),
        )
        .service(resource("/api/v1/sessions/{id}/resize").post(input::resize))
        .service(resource("/api/v1/sessions/{id}/signal").post(input::signal))
        .service(resource("/api/v1/sessions/{id}/attention").post(attention::report))
        .service(resource("/api/v1/sessions/{id}/output").get(output::output))
        .service(resource("/api/v1/sessions/{id}/screen").get(screen::screen))
        .service(resource("/api/v1/sessions/{id}/recording").get(recording::recording))
        .service(resource("/api/v1/sessions/{id}/attach").get(attach::attach))
        .service(resource("/ws/{kind:terminal|claude}/{id}").get(attach::original))
        .service(resource("/api/v1/profiles").get(profiles::profiles))
        .service(resource("/api/v1/nodes").get(fleet::nodes))
        .service(resource("/api/v1/events").get(events::events))
        .service(resource("/api/v1/backup").get(backup::backup))
        .service(resource("/api/v1/reconcile").post(health::reconcile))
        .service(resource("/api/v1/sessions/{id}/shares").get(shares::list).post(shares::add))
        .service(resource("/api/v1/sessions/{id}/shares/{share}").delete(shares::remove))
        .service(resource("/api/v1/shares").get(shares::list_all))
        .service(resource("/api/v1/audit").get(audit::audit))
        .service(
            resource("/mcp").app_data(PayloadConfig::new(crate::mcp::MESSAGE_MAX)).post(mcp::mcp),
        )
        .service(resource("/api/v1/whoami").get(tokens::whoami))
        .service(resource("/api/v1/tokens").get(tokens::list).post(tokens::add))
        .service(resource("/api/v1/tokens/{name}").delete(tokens::remove))
        .service(resource("/api/v1/login/code").post(login::code))
        .service(resource("/api/v1/push").get(push::key))
        .service(resource("/api/v1/push/subscriptions").put(push::subscribe))
        .service(resource("/api/v1/push/subscriptions/{subscription}").delete(push::unsubscribe))
        .service(resource("/api/v1/logins").get(logins::list))
        .service(resource("/api/v1/logins/{login}").delete(logins::remove))
        .configure(login::configure)
        .configure(assets::configure)
        .configure(problem::configure);
}
