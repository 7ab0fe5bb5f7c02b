//! `GET /api/v1/nodes`: the machines of the fleet.

use crate::fleet::{Fleet, ShownNode};
use crate::http::caller::CallerApi;
use crate::protocol::rfc3339;
use crate::registry::Roster;
use actix_web::HttpResponse;
use serde::Serialize;

#[derive(Default, Serialize)]
struct Nodes {
    #[serde(rename = "self")]
    this: Option<String>,
    connected: bool,
    heard_at: Option<String>,
    nodes: Vec<ShownNode>,
}

pub(in crate::http) async fn nodes(api: CallerApi) -> HttpResponse {
    let Some(fleet) = &api.fleet else { return HttpResponse::Ok().json(Nodes::default()) };
    HttpResponse::Ok().json(Nodes {
        this: Some(fleet.name().to_string()),
        connected: fleet.is_connected(),
        heard_at: fleet.directory().heard().map(rfc3339),
        nodes: shown(fleet, &api.roster),
    })
}

/// All machines, by name.
pub(super) fn shown(fleet: &Fleet, roster: &Roster) -> Vec<ShownNode> {
    let mut nodes = fleet.directory().nodes(fleet.name());
    if let Some(this) = nodes.iter_mut().find(|node| node.is_self) {
        // This server answers, so it is online, whatever the directory says.
        this.state = "online";
        this.live_sessions = roster.ids().len();
    }
    nodes
}
