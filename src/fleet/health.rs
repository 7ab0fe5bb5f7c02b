//! The results of a fleet's checks, in words: those of a server of NATS, of a connection and of the clock, and
//! what is to be done.

use super::connect::ConnectError;
use crate::config::{FleetSettings, without_login};
use async_nats::{ConnectErrorKind, ServerInfo};
use chrono::{DateTime, Utc};
use rustls::{CertificateError, InvalidMessage};
use std::error::Error;
use std::io;
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

pub(super) fn of_server(url: &str, info: &ServerInfo) -> Checked {
    let what = "fleet NATS";
    let (host, version) = (without_login(url), &info.version);
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    if (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < VERSION_MIN {
        let (major, minor) = VERSION_MIN;
        let detail = format!("{host} is nats-server {version}: install {major}.{minor} or later");
        return bad(what, detail);
    }
    let has_tls = info.tls_required || url.starts_with("tls://");
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
    let host = without_login(url);
    let ConnectError::Client(client) = error else { return error.to_string() };
    if let Some(error) = handshake(client) {
        return of_handshake(host, settings, error);
    }
    match client.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            let by = match &settings.credentials {
                Some(path) => format!("fleet.credentials ({})", path.display()),
                None => "user and password in fleet.url".to_owned(),
            };
            format!("{host} refuses this machine ({client}): compare {by} with the users of NATS")
        }
        ConnectErrorKind::Tls => untrusted(host, settings, client),
        _ => format!(
            "{host} is not reached ({client}): see that nats-server runs there and that its port is open"
        ),
    }
}

/// The error of a handshake, which the client takes for one of the network.
fn handshake(error: &async_nats::ConnectError) -> Option<&rustls::Error> {
    error.source()?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// A server that is reached, and with which there is no TLS.
fn of_handshake(host: &str, settings: &FleetSettings, error: &rustls::Error) -> String {
    use CertificateError as Certificate;
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => format!(
            "{host} answers, but it speaks no TLS ({error}): set up TLS in NATS, as docs/fleet/nats-tls.conf has it, \
             or write nats:// in fleet.url where the network is encrypted itself"
        ),
        rustls::Error::InvalidCertificate(
            Certificate::UnknownIssuer | Certificate::BadSignature,
        ) => {
            let remedy = match &settings.ca {
                Some(path) => format!(
                    "fleet.ca ({}) has to be the certificate of the authority that has signed the server's",
                    path.display()
                ),
                None => {
                    "name the certificate of that authority, a PEM file, in fleet.ca".to_owned()
                }
            };
            format!(
                "{host} answers, but its certificate is by an authority that is not trusted here ({error}): {remedy}"
            )
        }
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => format!(
            "{host} answers, but its certificate is for another name ({error}): write a name in fleet.url that the \
             certificate has, or have a certificate made for this one"
        ),
        rustls::Error::InvalidCertificate(
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. },
        ) => format!(
            "{host} answers, but its certificate is not valid at this time ({error}): have a new one made, or set the \
             clock of this machine"
        ),
        _ => untrusted(host, settings, error),
    }
}

fn untrusted(host: &str, settings: &FleetSettings, error: &dyn Error) -> String {
    let by = if settings.ca.is_some() { "fleet.ca names" } else { "the system trusts" };
    format!(
        "{host}: no TLS ({error}): its certificate has to be for this name, and by an authority that {by}"
    )
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
    fn a_server_that_is_reached_without_tls_between_is_told_from_one_that_is_not() {
        let settings = |ca: Option<&str>| FleetSettings {
            ca: ca.map(Into::into),
            ..FleetSettings::sample("desk")
        };
        let said = |ca, error: io::Error| {
            let error = async_nats::ConnectError::with_source(ConnectErrorKind::Io, error);
            unconnected("tls://u:secret@x:4222", &settings(ca), &error.into())
        };
        let of = |certificate| rustls::Error::InvalidCertificate(certificate);
        for (ca, error, words) in [
            (None, of(CertificateError::UnknownIssuer), "in fleet.ca"),
            (Some("/ca.pem"), of(CertificateError::BadSignature), "fleet.ca (/ca.pem) has to be"),
            (None, of(CertificateError::NotValidForName), "for another name"),
            (None, of(CertificateError::Expired), "clock of this machine"),
            (None, InvalidMessage::InvalidContentType.into(), "speaks no TLS"),
            (None, rustls::Error::NoCertificatesPresented, "that the system trusts"),
            (Some("/ca.pem"), rustls::Error::NoCertificatesPresented, "that fleet.ca names"),
        ] {
            let found = said(ca, io::Error::new(io::ErrorKind::InvalidData, error));
            assert!(found.starts_with("x:4222") && found.contains(words), "{found}");
            assert!(!found.contains("not reached") && !found.contains("secret"), "{found}");
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(said(None, refused).contains("is not reached"));
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
