//! The fleet that a server belongs to: `[fleet]`.

use super::flags::ServeFlags;
use crate::relay::NodeName;
use nix::sys::utsname::uname;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// More would make the record that each machine repeats every few seconds long.
pub const FLEET_LABELS_MAX: usize = 32;
/// The longest key or value of a label, in bytes.
pub const FLEET_LABEL_MAX: usize = 64;

/// The most that comes in over the fleet may do on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FleetRights {
    /// Looks on.
    Viewer,
    /// Also types, starts and ends sessions.
    #[default]
    Controller,
    /// Also removes what is kept of sessions, and reads the audit log.
    Admin,
}

/// `[fleet]` in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FleetTable {
    #[serde(default)]
    pub(super) url: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) rights: Option<FleetRights>,
    pub(super) serve_page: Option<bool>,
    pub(super) gateway: Option<bool>,
}

/// The fleet that a server belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// The addresses of NATS servers, at least one; user and password may be in them.
    pub url: Vec<String>,
    /// This machine's name.
    pub name: NodeName,
    /// A file with NATS credentials, or with the seed of an nkey.
    pub credentials: Option<PathBuf>,
    /// Certificates to trust in place of the system's, a PEM file.
    pub ca: Option<PathBuf>,
    /// What new sessions can be placed by.
    pub labels: BTreeMap<String, String>,
    /// The most that comes in over the fleet may do here.
    pub rights: FleetRights,
    /// Whether this server answers for the sessions of all machines.
    pub serve_page: bool,
    /// Whether it has no sessions of its own.
    pub gateway: bool,
}

/// The settings of the fleet; `None`: the server belongs to none.
///
/// # Errors
/// The key, whether it came from a flag, and what is wrong.
pub(super) fn fleet(
    flags: &ServeFlags,
    table: FleetTable,
    beside: impl Fn(PathBuf) -> PathBuf,
) -> Result<Option<FleetSettings>, (&'static str, bool, String)> {
    let by_flag = !flags.fleet_url.is_empty();
    let url = if by_flag { flags.fleet_url.clone() } else { table.url };
    let url: Vec<String> = url.into_iter().filter(|url| !url.is_empty()).collect();
    let gateway = flags.gateway.or(table.gateway).unwrap_or(false);
    if url.is_empty() {
        return if gateway {
            let problem =
                "a gateway has no sessions of its own: name the fleet's NATS servers".into();
            Err(("fleet.url", flags.gateway.is_some(), problem))
        } else {
            Ok(None)
        };
    }
    if let Some(wrong) = url.iter().find(|url| !is_address(url)) {
        // It may have a password.
        let shown = without_login(wrong);
        let problem =
            format!("expected an address such as \"tls://nats.example.org:4222\", not …{shown:?}");
        return Err(("fleet.url", by_flag, problem));
    }
    let name = match flags.fleet_name.as_ref().or(table.name.as_ref()) {
        Some(name) => NodeName::new(name)
            .map_err(|error| ("fleet.name", flags.fleet_name.is_some(), error.to_string()))?,
        None => NodeName::of_host(&host()),
    };
    let fits = |text: &str| !text.is_empty() && text.len() <= FLEET_LABEL_MAX;
    let labels = table.labels;
    if labels.len() > FLEET_LABELS_MAX
        || !labels.iter().all(|(key, value)| fits(key) && fits(value))
    {
        let problem = format!(
            "expected at most {FLEET_LABELS_MAX} labels, whose keys and values have 1 to {FLEET_LABEL_MAX} bytes"
        );
        return Err(("fleet.labels", false, problem));
    }
    let given =
        |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty()).map(&beside);
    let serve_page = table.serve_page.unwrap_or(true);
    if gateway && !serve_page {
        let problem = "a gateway that does not serve the fleet's page does nothing".to_owned();
        return Err(("fleet.serve_page", false, problem));
    }
    Ok(Some(FleetSettings {
        url,
        name,
        credentials: given(table.credentials),
        ca: given(table.ca),
        labels,
        rights: table.rights.unwrap_or_default(),
        serve_page,
        gateway,
    }))
}

/// What this machine is called by its system.
fn host() -> String {
    uname().map(|names| names.nodename().to_string_lossy().into_owned()).unwrap_or_default()
}

/// An address of NATS without the user and password that may be in it.
#[must_use]
pub fn without_login(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

fn is_address(url: &str) -> bool {
    // Not ws:// nor wss://: the client, built without WebSockets, would speak to them without TLS.
    let rest = ["nats://", "tls://"].iter().find_map(|it| url.strip_prefix(it));
    rest.is_some_and(|rest| {
        let host = without_login(rest);
        !host.is_empty() && !host.contains(['/', '?', '#', ' '])
    })
}

impl FleetSettings {
    /// The settings of an edge with this name, for tests.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn sample(name: &str) -> FleetSettings {
        FleetSettings {
            url: vec!["nats://127.0.0.1".into()],
            name: NodeName::new(name).unwrap(),
            credentials: None,
            ca: None,
            labels: BTreeMap::new(),
            rights: FleetRights::Controller,
            serve_page: true,
            gateway: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<FleetSettings>, (&'static str, bool, String)> {
        let table = toml::from_str(text).unwrap();
        fleet(&ServeFlags::default(), table, |path| PathBuf::from("/etc/stayd").join(path))
    }

    #[test]
    fn without_an_address_there_is_no_fleet() {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("url = [\"\"]\nname = \"desk\""), Ok(None));
        assert_eq!(read("gateway = true").unwrap_err().0, "fleet.url");
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let fleet =
            read("url = [\"nats://u:p@[::1]:4222\"]\ncredentials = \"x.nk\"").unwrap().unwrap();
        assert_eq!(fleet.rights, FleetRights::Controller);
        assert_eq!(fleet.credentials, Some("/etc/stayd/x.nk".into()));
        assert!(fleet.serve_page && !fleet.gateway && !fleet.name.as_str().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_without_a_password() {
        for (text, key) in [
            ("url = [\"http://user:secret@x\"]", "fleet.url"),
            ("url = [\"wss://user:secret@x\"]", "fleet.url"),
            ("url = [\"nats://\"]", "fleet.url"),
            ("url = [\"nats://x/y\"]", "fleet.url"),
            ("url = [\"nats://x\"]\nname = \"A b\"", "fleet.name"),
            ("url = [\"nats://x\"]\nlabels = { a = \"\" }", "fleet.labels"),
            ("url = [\"nats://x\"]\ngateway = true\nserve_page = false", "fleet.serve_page"),
        ] {
            let (wrong, _, problem) = read(text).unwrap_err();
            assert_eq!(wrong, key, "{text}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
