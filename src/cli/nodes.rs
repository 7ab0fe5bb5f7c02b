//! `stayd nodes`: the machines of the fleet.

use super::client::{Client, read};
use super::endpoint::ServerFlags;
use super::failure::Failure;
use super::fleet::{Fleet, Node};
use super::grid::{self, printable};
use super::out;
use crate::config::PathFlags;
use crate::protocol::span;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

/// What to do without a fleet.
const NONE: &str = "this server is in no fleet: set url and name under [fleet] in stayd.toml, or start \
                    it with --fleet-url and --fleet-name";

/// What to do at a machine that does not answer for others.
const KNOWS_NONE: &str = "knows no other machines (fleet.serve_page is false in its settings): ask a machine of the \
                          fleet whose page is served, by --url and a token of that machine; or set serve_page = true \
                          here, for which this machine's user in NATS needs the rights of an edge";

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// Print only names
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Print the API's response
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn nodes(paths: &PathFlags, flags: &Flags) -> Result<u8, Failure> {
    let client = Client::find(paths, &flags.server)?;
    let asked = actix::System::new().block_on(client.get_at("/api/v1/nodes"));
    let answer: Value = match asked {
        Ok(answer) => answer.json()?,
        // The failure is not about a session.
        Err(Failure::NoSuchSession(_)) => {
            return Err(Failure::Other("the server is older and knows no fleets".into()));
        }
        Err(failure) => return Err(failure),
    };
    if flags.json {
        out::json(&answer)?;
        return Ok(0);
    }
    let fleet: Fleet = read(&answer)?;
    if flags.quiet {
        let names = fleet.nodes.iter().map(|node| format!("{}\n", printable(&node.name)));
        out::print(&names.collect::<String>())?;
        return Ok(0);
    }
    let now = Utc::now();
    let Some(own) = &fleet.own else {
        out::message(&format!("stayd: {NONE}"));
        return Ok(0);
    };
    if !fleet.connected {
        out::message(&format!("stayd: {}", unconnected(&fleet, now)));
    }
    if fleet.is_plain() {
        out::message(&format!("stayd: {own} {KNOWS_NONE}"));
        return Ok(0);
    }
    out::print(&table(&fleet.nodes, now))?;
    Ok(0)
}

/// Says why the server has no part in the fleet, and when it last heard of it.
pub(super) fn unconnected(fleet: &Fleet, now: DateTime<Utc>) -> String {
    let heard = match fleet.heard_at {
        Some(at) => format!("the directory was last heard {} ago", span(now - at)),
        None => "the directory was never heard".into(),
    };
    let why = fleet.disconnected_because.as_deref();
    format!("{}; {heard}", why.unwrap_or("the server has no connection to the fleet's NATS"))
}

fn table(nodes: &[Node], now: DateTime<Utc>) -> String {
    let heading = ["NODE", "STATE", "SESSIONS", "LOAD", "VERSION", "LABELS", "HEARD"];
    grid::render(&heading, nodes.iter().map(|node| row(node, now)))
}

fn row(node: &Node, now: DateTime<Utc>) -> Vec<String> {
    let mark = if node.is_self { " (this server)" } else { "" };
    let gateway = if node.gateway { ", gateway" } else { "" };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let most = node.max_sessions.map(|most| format!("/{most}")).unwrap_or_default();
    let sessions = node.live_sessions.filter(|_| !node.gateway);
    let cores = node.cores.map(|cores| format!("/{cores}")).unwrap_or_default();
    let labels = node.labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let labels = labels.collect::<Vec<_>>().join(" ");
    let heard = node.heard_at.filter(|_| !node.is_online());
    vec![
        format!("{}{mark}", printable(&node.name)),
        format!("{}{gateway}", printable(&node.state)),
        or_dash(sessions.map(|live| format!("{live}{most}"))),
        or_dash(node.load.map(|load| format!("{load:.2}{cores}"))),
        or_dash(node.version.as_deref().map(printable)),
        or_dash((!labels.is_empty()).then(|| printable(&labels))),
        or_dash(heard.map(|at| format!("{} ago", span(now - at)))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use serde_json::json;

    fn fleet(heard_at: DateTime<Utc>) -> Fleet {
        read(&json!({
            "self": "desk", "connected": true, "heard_at": heard_at, "later": 1,
            "nodes": [
                { "name": "desk", "self": true, "state": "online", "version": "0.2.0", "labels": {},
                  "live_sessions": 3, "max_sessions": 4000, "load": 0.416, "cores": 8,
                  "since": heard_at, "heard_at": heard_at, "gateway": false, "rights": "controller" },
                { "name": "gone", "self": false, "state": "offline", "version": null, "load": null,
                  "labels": { "gpu": "yes", "site": "home" }, "live_sessions": 2, "cores": null,
                  "max_sessions": null, "since": null, "heard_at": heard_at, "gateway": false },
                { "name": "web", "state": "online", "version": "0.2.0", "live_sessions": 0,
                  "max_sessions": 0, "load": 1.5, "cores": 2, "gateway": true },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn a_line_tells_of_each_machine_what_is_known() {
        let now = Utc::now();
        let fleet = fleet(now - TimeDelta::seconds(90));
        assert_eq!(
            table(&fleet.nodes, now),
            "NODE                STATE            SESSIONS  LOAD    VERSION  LABELS             HEARD\n\
             desk (this server)  online           3/4000    0.42/8  0.2.0    -                  -\n\
             gone                offline          2         -       -        gpu=yes site=home  1m ago\n\
             web                 online, gateway  -         1.50/2  0.2.0    -                  -\n"
        );
        let offline: Vec<_> = fleet.offline().map(|node| &*node.name).collect();
        assert_eq!(offline, ["gone"]);
        assert!(unconnected(&fleet, now).ends_with("NATS; the directory was last heard 1m ago"));
        let taken = Fleet { disconnected_because: Some("its name is taken".into()), ..fleet };
        assert!(unconnected(&taken, now).starts_with("its name is taken; the"));
    }

    #[test]
    fn no_fleet_is_an_answer_too() {
        let none = json!({ "self": null, "connected": false, "heard_at": null, "nodes": [] });
        let none: Fleet = read(&none).unwrap();
        assert!(none.own.is_none() && none.nodes.is_empty());
        assert!(unconnected(&none, Utc::now()).ends_with("never heard"));
    }
}
