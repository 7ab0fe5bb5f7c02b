//! The results of a fleet's checks, in words: those of a server of NATS, of a connection and of the clock, and
//! what is to be done.

use super::connect::ConnectError;
use crate::config::FleetSettings;
use async_nats::{ConnectErrorKind, ServerInfo};
use chrono::{DateTime, Utc};
use std::net::IpAddr;
use std::time::Duration;

/// The oldest NATS that has what the directory needs.
const VERSION_MIN: (u32, u32) = (2, 11);
/// A greater difference of clocks than this is a warning.
const CLOCK_MAX: Duration = Duration::from_secs(2);
/// The verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it is to be.
    Good,
    /// It works, but not as it should.
    Doubtful,
    /// It does not work.
    Bad,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The thing that was looked at.
    pub what: &'static str,
    /// The verdict.
    pub health: Health,
    /// The finding in words, and a remedy.
    pub detail: String,
}

pub(super) fn good(what: &'static str, detail: String) -> Checked {
    Checked { what, health: Health::Good, detail }
}

pub(super) fn doubtful(what: &'static str, detail: String) -> Checked {
    Checked { what, health: Health::Doubtful, detail }
}

pub(super) fn bad(what: &'static str, detail: String) -> Checked {
    Checked { what, health: Health::Bad, detail }
}

/// Without what it may have of a password.
pub(super) fn shown(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}

pub(super) fn of_server(url: &str, info: &ServerInfo) -> Checked {
    let what = "fleet NATS";
    let (host, version) = (shown(url), &info.version);
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < VERSION_MIN {
        let (major, minor) = VERSION_MIN;
        let detail = format!("{host} is nats-server {version}: install {major}.{minor} or later");
        return bad(what, detail);
    }
    let has_tls = info.tls_required || url.starts_with("tls://") || url.starts_with("wss://");
    let at = host.rsplit_once("://").map_or(host, |(_, at)| at);
    let at = at.rsplit_once(':').map_or(at, |(at, _)| at).trim_matches(['[', ']']);
    let is_here = at == "localhost" || at.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
    let detail = format!("{host} is nats-server {version}");
    match (has_tls, is_here) {
        (true, _) => good(what, format!("{detail}, with TLS")),
        (false, true) => good(what, format!("{detail}, on this machine")),
        (false, false) => doubtful(
            what,
            format!(
                "{detail}, without TLS: who is on the way can read what is typed, unless the network is encrypted \
                 itself; docs/fleet/nats-tls.conf has TLS"
            ),
        ),
    }
}

pub(super) fn unconnected(url: &str, settings: &FleetSettings, error: &ConnectError) -> String {
    let host = shown(url);
    let ConnectError::Client(client) = error else { return error.to_string() };
    match client.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            let by = match &settings.credentials {
                Some(path) => format!("fleet.credentials ({})", path.display()),
                None => "user and password in fleet.url".to_owned(),
            };
            format!("{host} refuses this machine ({client}): compare {by} with the users of NATS")
        }
        ConnectErrorKind::Tls => format!(
            "{host}: no TLS ({client}): its certificate has to be for this name, and by an authority that the \
             system or fleet.ca trusts"
        ),
        _ => format!(
            "{host} is not reached ({client}): see that nats-server runs there and that its port is open"
        ),
    }
}

/// A difference of clocks, in milliseconds: positive where this machine's is ahead.
pub(super) fn of_clock(ahead: i64) -> Checked {
    let what = "fleet clock";
    let by = Duration::from_millis(ahead.unsigned_abs());
    if by <= CLOCK_MAX {
        return good(what, format!("differs from that of NATS by {by:.1?}"));
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let detail = format!(
        "this machine's clock is {by:.1?} {side} that of NATS: set both by NTP, or times of sessions are shown wrong"
    );
    doubtful(what, detail)
}

/// How far the local time is ahead, in milliseconds.
pub(super) fn ahead(there: i128, here: DateTime<Utc>) -> i64 {
    here.timestamp_millis() - i64::try_from(there / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_by_more_than_two_seconds_is_told() {
        for (ahead, health, word) in [
            (0, Health::Good, "differs"),
            (-2000, Health::Good, "differs"),
            (2001, Health::Doubtful, "ahead of"),
            (-60_000, Health::Doubtful, "behind"),
        ] {
            let found = of_clock(ahead);
            assert_eq!(found.health, health, "{found:?}");
            assert!(found.detail.contains(word), "{found:?}");
        }
        let here = DateTime::from_timestamp(100, 500_000_000).unwrap();
        assert_eq!(ahead(98_000_000_000, here), 2500);
    }

    #[test]
    fn an_old_nats_and_one_without_tls_elsewhere_are_told() {
        let info = |version: &str| ServerInfo { version: version.into(), ..ServerInfo::default() };
        for (url, version, health, word) in [
            ("nats://u:p@127.0.0.1:4222", "2.11.0", Health::Good, "on this machine"),
            ("nats://u:p@[::1]:4222", "2.12.0", Health::Good, "on this machine"),
            ("tls://nats.example.org", "3.0.0", Health::Good, "with TLS"),
            ("nats://u:secret@10.0.0.1:4222", "2.11.9", Health::Doubtful, "without TLS"),
            ("tls://nats.example.org", "2.9.10", Health::Bad, "2.11 or later"),
            ("tls://nats.example.org", "", Health::Bad, "2.11 or later"),
        ] {
            let found = of_server(url, &info(version));
            assert_eq!(found.health, health, "{found:?}");
            assert!(found.detail.contains(word) && !found.detail.contains("secret"), "{found:?}");
        }
    }
}
