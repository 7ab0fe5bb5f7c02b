//! The permissions that a member's user in NATS lacks, in words: what has one cause is one line.

use super::health::{Checked, bad, good};
use super::needs::Need;
use crate::config::FleetSettings;

const WHAT: &str = "fleet rights";

/// The results for a user that needs all of `needs` and lacks some. `user`: its name, if that is known.
pub(super) fn rights(
    settings: &FleetSettings,
    user: Option<&str>,
    needs: &[Need],
    lacking: &[&Need],
) -> Vec<Checked> {
    if lacking.is_empty() {
        let kind = if settings.serve_page { "an edge" } else { "a node" };
        return vec![good(WHAT, format!("this machine's user in NATS may do what {kind} does"))];
    }
    let (mut needs, mut lacking) = (needs.iter().collect::<Vec<_>>(), lacking.to_vec());
    let mut found = Vec::new();
    if are_most(&lacking, &needs, |need| need.is_of_name) {
        found.push(bad(WHAT, of_another_name(settings, user)));
        needs.retain(|need| !need.is_of_name);
        lacking.retain(|need| !need.is_of_name);
    }
    if lacking.iter().all(|need| need.is_of_edges)
        && are_most(&lacking, &needs, |need| need.is_of_edges)
    {
        found.push(bad(WHAT, of_a_node(settings)));
        lacking.clear();
    }
    found.extend(lacking.iter().map(|need| bad(WHAT, need.advice(settings.serve_page))));
    found
}

/// Whether at least four fifths of the needs of a kind are lacking: a user may have some by another line.
fn are_most(lacking: &[&Need], needs: &[&Need], is_one: impl Fn(&Need) -> bool) -> bool {
    let count = |needs: &[&Need]| needs.iter().filter(|need| is_one(need)).count();
    let (lacks, all) = (count(lacking), count(needs));
    lacks > 0 && lacks * 5 >= all * 4
}

/// The line about a user that has no permissions for the machine's name.
fn of_another_name(settings: &FleetSettings, user: Option<&str>) -> String {
    let name = &settings.name;
    let file = "docs/fleet/nats-tls.conf";
    match user {
        Some(user) if user == name.as_str() => format!(
            "this machine and its user in NATS are both called {name}, but the user's permissions are not for that \
             name: write it into them where {file} has the name of its example"
        ),
        Some(user) => format!(
            "this machine is called {name}, its user in NATS is {user}, and that one has no permissions for {name}: \
             set fleet.name to the name that the user's permissions have, or log in as the user of {name}"
        ),
        None => format!(
            "this machine is called {name}, and its user in NATS has no permissions for that name; it may be the user \
             of another machine: set fleet.name to the name that the user's permissions have, or log in as the user \
             of {name} ({file})"
        ),
    }
}

/// The line about a user that has the permissions of a node, and hardly any others of an edge.
fn of_a_node(settings: &FleetSettings) -> String {
    let first = match settings.gateway {
        true => "a gateway is an edge: give the user",
        false => "set fleet.serve_page = false, which is true unless set, or give the user",
    };
    format!(
        "this machine's user in NATS has the permissions of a node, and not those of an edge, which shows the sessions \
         of all machines: {first} the permissions that the block of an edge (desk) in docs/fleet/nats-tls.conf has"
    )
}

#[cfg(test)]
mod tests {
    use super::super::needs::needs;
    use super::*;

    /// The lines about the user of "desc", which lacks the needs that `lacks` chooses.
    fn said(serve_page: bool, user: Option<&str>, lacks: impl Fn(&Need) -> bool) -> Vec<String> {
        let settings = FleetSettings { serve_page, ..FleetSettings::sample("desc") };
        let needs = needs(&settings.name, serve_page);
        let lacking: Vec<&Need> = needs.iter().filter(|need| lacks(need)).collect();
        rights(&settings, user, &needs, &lacking).into_iter().map(|it| it.detail).collect()
    }

    #[test]
    fn a_user_of_another_name_is_told_first_and_in_one_line() {
        for serve_page in [true, false] {
            let lines = said(serve_page, Some("desk"), |need| need.is_of_name);
            let [line] = &lines[..] else { panic!("{lines:#?}") };
            assert!(line.contains("called desc, its user in NATS is desk"), "{line}");
            // A permission that the user has by another line changes nothing.
            let lines = said(serve_page, None, |need| {
                need.is_of_name && !need.tried.starts_with("$KV.stayd-nodes.")
            });
            let [line] = &lines[..] else { panic!("{lines:#?}") };
            assert!(line.contains("may be the user of another machine"), "{line}");
        }
        let same = said(true, Some("desc"), |need| need.is_of_name);
        assert!(same.len() == 1 && same[0].contains("both called desc"), "{same:#?}");
        let more = said(true, Some("desk"), |need| need.is_of_name || need.tried == "$JS.API.INFO");
        assert!(more.len() == 2 && more[1].contains("$JS.API.INFO"), "{more:#?}");
    }

    #[test]
    fn a_nodes_user_is_told_in_one_line_and_also_that_of_another_name() {
        let own_line = "$JS.API.DIRECT.GET.KV_stayd-nodes.$KV.stayd-nodes.desc";
        let lines = said(true, None, |need| need.is_of_edges && need.tried != own_line);
        let [line] = &lines[..] else { panic!("{lines:#?}") };
        assert!(
            line.contains("fleet.serve_page = false") && line.contains("nats-tls.conf"),
            "{line}"
        );
        let both = said(true, Some("attic"), |need| need.is_of_edges || need.is_of_name);
        assert!(
            both.len() == 2 && both[0].contains("attic") && both[1].contains("of a node"),
            "{both:#?}"
        );
        // Few of an edge's needs, or other needs as well, get a line each.
        let few = said(true, None, |need| need.tried.contains(".STREAM.CREATE."));
        assert_eq!(few.len(), 3, "{few:#?}");
        let other =
            said(true, None, |need| need.is_of_edges || need.tried == "$KV.stayd-nodes.desc");
        assert!(other.len() > 20, "{other:#?}");
    }
}
