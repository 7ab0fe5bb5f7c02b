//! `GET /api/v1/nodes`: the machines of the fleet.

use crate::fleet::{Fleet, ShownNode};
use crate::http::caller::CallerApi;
use crate::http::etag;
use crate::http::problem::Problem;
use crate::protocol::rfc3339;
use crate::registry::Roster;
use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

#[derive(Clone, Default, Serialize)]
struct Nodes {
    #[serde(rename = "self")]
    this: Option<String>,
    /// Whether it answers for others. A machine that does not knows none.
    serves: bool,
    connected: bool,
    /// The reason for which it is not connected; `None` where it is, or is in no fleet.
    disconnected_because: Option<String>,
    heard_at: Option<String>,
    nodes: Vec<ShownNode>,
}

impl Nodes {
    /// What changes when something happens: who is heard every few seconds is there, and a load is shown in
    /// tenths.
    fn what_counts(&self) -> Vec<u8> {
        let mut counts = self.clone();
        counts.heard_at = counts.heard_at.filter(|_| !self.connected);
        for node in &mut counts.nodes {
            let is_online = node.state == "online";
            node.heard_at = node.heard_at.take().filter(|_| !is_online);
            node.load = node.load.map(|load| (load * 10.0).round());
        }
        // Strings and numbers cannot fail to be written.
        serde_json::to_vec(&counts).unwrap_or_default()
    }

    fn answer(&self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let tag = etag::of_list(&self.what_counts());
        let known = etag::not_modified(request.headers(), &tag)?;
        Ok(known.unwrap_or_else(|| HttpResponse::Ok().insert_header((ETAG, tag)).json(self)))
    }
}

pub(in crate::http) async fn nodes(
    api: CallerApi,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let Some(fleet) = &api.fleet else { return Nodes::default().answer(&request) };
    let absence = fleet.absence();
    let nodes = Nodes {
        this: Some(fleet.name().to_string()),
        serves: fleet.serves(),
        connected: absence.is_none(),
        disconnected_because: absence.map(|absence| absence.to_string()),
        heard_at: fleet.directory().heard().map(rfc3339),
        nodes: shown(fleet, &api.roster),
    };
    nodes.answer(&request)
}

/// All machines, by name.
pub(super) fn shown(fleet: &Fleet, roster: &Roster) -> Vec<ShownNode> {
    let mut nodes = fleet.directory().nodes(fleet.name());
    if let Some(this) = nodes.iter_mut().find(|node| node.is_self) {
        // This server answers, so it is online, whatever the directory says.
        this.state = "online";
        this.live_sessions = roster.living();
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_changes_with_what_happens_and_not_with_every_sign_of_life() {
        let node = ShownNode {
            name: "attic".into(),
            is_self: false,
            state: "online",
            version: None,
            labels: [].into(),
            live_sessions: 1,
            max_sessions: Some(10),
            load: Some(0.52),
            cores: Some(2),
            since: None,
            heard_at: Some("1".into()),
            heard_ago: None,
            refused_lines: 0,
            gateway: false,
            rights: None,
        };
        let this = Some("desk".to_owned());
        let (heard_at, nodes) = (Some("1".into()), vec![node]);
        let nodes = Nodes {
            this,
            serves: true,
            connected: true,
            disconnected_because: None,
            heard_at,
            nodes,
        };
        let tag = |change: &dyn Fn(&mut Nodes)| {
            let mut nodes = nodes.clone();
            change(&mut nodes);
            etag::of_list(&nodes.what_counts())
        };
        let first = tag(&|_| {});
        let later = |nodes: &mut Nodes| {
            nodes.heard_at = Some("2".into());
            nodes.nodes[0].heard_at = Some("2".into());
            nodes.nodes[0].load = Some(0.48);
        };
        assert_eq!(tag(&later), first);
        type Change = &'static dyn Fn(&mut Nodes);
        let changes: [(&str, Change); 5] = [
            ("load", &|it| it.nodes[0].load = Some(0.61)),
            ("state", &|it| it.nodes[0].state = "offline"),
            ("sessions", &|it| it.nodes[0].live_sessions = 2),
            ("connection", &|it| it.connected = false),
            ("machines", &|it| it.nodes.clear()),
        ];
        for (what, change) in changes {
            assert_ne!(tag(change), first, "{what}");
        }
        let away = |heard: &str| {
            tag(&|it| {
                it.connected = false;
                it.heard_at = Some(heard.into());
            })
        };
        assert_ne!(away("1"), away("2"), "when it was heard last");
    }
}
