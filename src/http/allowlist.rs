//! The allowed `Host` and `Origin` headers: they keep other sites' scripts away (DNS rebinding,
//! cross-site WebSockets) and are checked before any token.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// An entry of the settings that cannot be parsed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HostsError {
    /// In `allowed_hosts`.
    #[error("allowed_hosts: {0:?} is neither NAME nor NAME:PORT")]
    Host(String),
    /// In `allowed_origins`.
    #[error("allowed_origins: {0:?} is not SCHEME://NAME or SCHEME://NAME:PORT")]
    Origin(String),
}

/// The allowed values of `Host` and `Origin`.
#[derive(Debug)]
pub struct Hosts {
    named: Vec<Authority>,
    /// Loopback names, allowed on any port: the near end of a tunnel may have another than the far
    /// end.
    loopback: Vec<Host>,
    /// Ports that listen on all of the machine's addresses.
    wildcard_ports: HashSet<u16>,
    origins: HashSet<String>,
}

/// A host, and a port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In lower case.
    Name(String),
}

impl Hosts {
    /// Allows the listening addresses (as bound: no port 0) and what the settings add. A host
    /// without a port is allowed on any. A server that listens on all addresses may be asked
    /// for by any address: rebinding needs a name.
    ///
    /// A server on a loopback address may be asked for by that address, and by `localhost` if it
    /// listens on both of them: otherwise a browser could find another server under that name and
    /// send it our cookie. These names are allowed on any port: no other site can take them, since
    /// they always mean the machine of the one who asks.
    ///
    /// # Errors
    /// Names the entry that is not a host or an origin.
    pub fn new(
        listen: &[SocketAddr],
        allowed_hosts: &[String],
        allowed_origins: &[String],
    ) -> Result<Hosts, HostsError> {
        let mut named = Vec::new();
        let mut wildcard_ports = HashSet::new();
        let v4 = listen.iter().any(|a| covers(a.ip(), Ipv4Addr::LOCALHOST.into()));
        let v6 = listen.iter().any(|a| covers(a.ip(), Ipv6Addr::LOCALHOST.into()));
        let mut loopback = Vec::new();
        if v4 {
            loopback.push(Host::Address(Ipv4Addr::LOCALHOST.into()));
        }
        if v6 {
            loopback.push(Host::Address(Ipv6Addr::LOCALHOST.into()));
        }
        if v4 && v6 {
            loopback.push(Host::Name("localhost".into()));
        }
        for address in listen {
            let port = Some(address.port());
            named.push(Authority { host: Host::Address(address.ip()), port });
            if address.ip().is_loopback() || address.ip().is_unspecified() {
                named.extend(loopback.iter().cloned().map(|host| Authority { host, port }));
            }
            if address.ip().is_unspecified() {
                wildcard_ports.insert(address.port());
            }
        }
        for entry in allowed_hosts {
            named.push(Authority::parse(entry).ok_or_else(|| HostsError::Host(entry.clone()))?);
        }
        let mut origins = HashSet::new();
        for entry in allowed_origins {
            // Browsers send no other form, and the comparison is exact.
            let origin = entry.to_ascii_lowercase();
            let authority = origin.split_once("://").and_then(|(_, rest)| Authority::parse(rest));
            authority.ok_or_else(|| HostsError::Origin(entry.clone()))?;
            origins.insert(origin);
        }
        Ok(Hosts { named, loopback, wildcard_ports, origins })
    }

    /// The host that a `Host` header names, if it is one of ours.
    pub(super) fn host(&self, header: &str) -> Option<Authority> {
        let asked = Authority::parse(header)?;
        // A missing port means 80, or 443 behind a proxy that speaks TLS for us.
        let is = |port: u16| asked.port.map_or(matches!(port, 80 | 443), |asked| asked == port);
        let named =
            self.named.iter().any(|ours| ours.host == asked.host && ours.port.is_none_or(is));
        let by_address = || {
            matches!(asked.host, Host::Address(_)) && self.wildcard_ports.iter().copied().any(is)
        };
        let is_loopback = self.loopback.contains(&asked.host);
        (named || is_loopback || by_address()).then_some(asked)
    }

    /// Whether a page from this origin may send requests to `host`, which was allowed before.
    pub(super) fn allows_origin(&self, origin: &str, host: &Authority) -> bool {
        if self.origins.contains(&origin.to_ascii_lowercase()) {
            return true;
        }
        let (scheme_port, rest) = match origin.split_once("://") {
            Some(("http", rest)) => (80, rest),
            Some(("https", rest)) => (443, rest),
            _ => return false,
        };
        let Some(page) = Authority::parse(rest) else { return false };
        let port = page.port.unwrap_or(scheme_port);
        // The common case: the page came from the server that it now asks.
        if page.host == host.host && port == host.port.unwrap_or(scheme_port) {
            return true;
        }
        // An `allowed_hosts` entry without a port does not allow pages of other servers on that
        // host.
        let own = |ours: &Authority| ours.port.map_or(port == scheme_port, |ours| ours == port);
        self.named.iter().any(|ours| ours.host == page.host && own(ours))
    }
}

/// Whether a listener on this address answers at a loopback address. One on all IPv6 addresses
/// answers at the IPv4 ones too.
fn covers(listens: IpAddr, loopback: IpAddr) -> bool {
    match listens {
        IpAddr::V4(ip) if ip.is_unspecified() => loopback.is_ipv4(),
        ip => ip == loopback || ip == IpAddr::from(Ipv6Addr::UNSPECIFIED),
    }
}

impl Authority {
    fn parse(text: &str) -> Option<Authority> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            (Host::Address(address.parse::<Ipv6Addr>().ok()?.into()), port)
        } else {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(name) {
                return None;
            }
            let as_name = |_| Host::Name(host.to_ascii_lowercase());
            (host.parse().map_or_else(as_name, Host::Address), port)
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        Some(Authority { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses to listen on, with spaces between them.
    fn hosts(listen: &str, hosts: &[&str], origins: &[&str]) -> Hosts {
        let owned = |entries: &[&str]| entries.iter().map(|&e| e.to_owned()).collect::<Vec<_>>();
        let listen: Vec<_> = listen.split(' ').map(|address| address.parse().unwrap()).collect();
        Hosts::new(&listen, &owned(hosts), &owned(origins)).unwrap()
    }

    const BOTH: &str = "127.0.0.1:7829 [::1]:7829";

    #[test]
    fn loopback_names_are_ours_on_any_port_where_both_addresses_are() {
        let both = hosts(BOTH, &[], &[]);
        for ours in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST", "[::1]"] {
            let host = both.host(ours).expect(ours);
            assert!(both.allows_origin(&format!("http://{ours}"), &host), "{ours}");
            assert!(!both.allows_origin("http://localhost:3000", &host), "{ours}");
            assert!(!both.allows_origin("http://evil.example:8080", &host), "{ours}");
        }
        for other in ["evil.example:8080", "localhost.evil.example:8080", "127.0.0.2:8080"] {
            assert!(both.host(other).is_none(), "{other}");
        }
        for (listen, ours, other) in [
            ("127.0.0.1:7829", "127.0.0.1:1", "[::1]:7829"),
            ("[::1]:7829", "[::1]:1", "127.0.0.1:7829"),
            ("0.0.0.0:7829", "127.0.0.1:1", "[::1]:1"),
        ] {
            let alone = hosts(listen, &[], &[]);
            assert!(alone.host(ours).is_some(), "{listen} {ours}");
            for other in [other, "localhost:7829", "localhost"] {
                assert!(alone.host(other).is_none(), "{listen} {other}");
            }
        }
        for listen in ["[::]:7829", "0.0.0.0:7829 [::1]:7829"] {
            assert!(hosts(listen, &[], &[]).host("localhost:1").is_some(), "{listen}");
        }
        assert!(hosts("192.168.1.5:7829", &[], &[]).host("localhost:7829").is_none());
    }

    #[test]
    fn listening_addresses_and_localhost_are_ours() {
        let hosts = hosts("192.168.1.5:7829 127.0.0.1:7829 [::1]:7829", &[], &[]);
        for ours in [
            "192.168.1.5:7829",
            "localhost:7829",
            "LocalHost:7829",
            "127.0.0.1:7829",
            "[::1]:7829",
            "[0:0:0:0:0:0:0:1]:7829",
        ] {
            assert!(hosts.host(ours).is_some(), "{ours}");
        }
        for other in [
            "",
            "localhost:",
            "192.168.1.5",
            "192.168.1.5:80",
            "localhost:7829:7829",
            "localhost:+7829",
            "localhost:73365",
            "evil.example:7829",
            "localhost.evil.example:7829",
            "user@localhost:7829",
            "localhost:7829/",
            "localhost:7829, evil.example",
            "192.168.1.6:7829",
            "::1:7829",
            "[::1:7829",
            "[::1]7829",
            "[localhost]:7829",
        ] {
            assert!(hosts.host(other).is_none(), "{other}");
        }
    }

    #[test]
    fn settings_add_hosts() {
        let hosts = hosts(BOTH, &["term.example", "Other.Example:8443"], &[]);
        for ours in ["term.example", "term.example:443", "term.example:1", "other.example:8443"] {
            assert!(hosts.host(ours).is_some(), "{ours}");
        }
        assert!(hosts.host("other.example").is_none());
        let behind_a_proxy = hosts.host("term.example").unwrap();
        assert!(hosts.allows_origin("https://term.example", &behind_a_proxy));
        assert!(!hosts.allows_origin("https://term.example:9000", &behind_a_proxy));
        let secure = Hosts::new(&[], &["a.example:443".into()], &[]).unwrap();
        assert!(secure.host("a.example").is_some());
    }

    #[test]
    fn a_wildcard_is_asked_by_address_and_only_its_own_pages_ask() {
        for listen in ["0.0.0.0:7829", "[::]:7829"] {
            let hosts = hosts(listen, &[], &[]);
            let host = hosts.host("192.168.1.5:7829").unwrap();
            assert!(hosts.host("evil.example:7829").is_none());
            assert!(hosts.host("192.168.1.5:80").is_none());
            assert!(hosts.allows_origin("http://192.168.1.5:7829", &host));
            assert!(!hosts.allows_origin("http://192.168.1.6:7829", &host));
        }
    }

    #[test]
    fn origins_are_ours_or_listed() {
        let hosts = hosts(BOTH, &[], &["https://ok.example", "app://desk"]);
        let host = hosts.host("localhost:7829").unwrap();
        for ours in [
            "http://localhost:7829",
            "http://127.0.0.1:7829",
            "https://localhost:7829",
            "https://ok.example",
            "app://desk",
        ] {
            assert!(hosts.allows_origin(ours, &host), "{ours}");
        }
        for other in [
            "",
            "null",
            "localhost:7829",
            "http://localhost",
            "http://localhost:3000",
            "http://evil.example",
            "http://localhost:7829.evil.example",
            "http://localhost:7829/",
            "http://ok.example",
            "https://ok.example:8443",
            "https://sub.ok.example",
            "file://localhost:7829",
        ] {
            assert!(!hosts.allows_origin(other, &host), "{other}");
        }
    }

    #[test]
    fn what_cannot_match_is_refused_at_the_start() {
        let error = |hosts: &[&str], origins: &[&str]| {
            let owned = |e: &[&str]| e.iter().map(|&e| e.to_owned()).collect::<Vec<_>>();
            Hosts::new(&[], &owned(hosts), &owned(origins)).unwrap_err()
        };
        assert_eq!(error(&["http://a"], &[]), HostsError::Host("http://a".into()));
        assert_eq!(error(&["*"], &[]), HostsError::Host("*".into()));
        for origin in ["null", "*", "a.example", "https://a.example/"] {
            assert_eq!(error(&[], &[origin]), HostsError::Origin(origin.into()));
        }
    }
}
