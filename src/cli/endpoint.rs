//! Where the server is, and the token that opens it.
// The comments are the help that is printed, where <> would be read as a placeholder.
#![allow(rustdoc::bare_urls)]

use super::failure::Failure;
use crate::config::{self, Place};
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// How a verb finds its server.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServerFlags {
    /// Address of the server, such as http://127.0.0.1:7829 or https://term.example.org [default: that of the server
    /// of the state directory]
    #[arg(long, env = "STAYD_URL", value_name = "URL")]
    pub(super) url: Option<String>,

    /// Token of the server; better in the environment than on a command line that others
    /// can see [default: the one in the state directory]
    #[arg(long, env = "STAYD_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
}

/// A server's address and token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `http://host:port` or `https://…`, without a slash at the end.
    pub(super) url: String,
    pub(super) token: String,
}

impl Endpoint {
    /// Looks where the flags say, else in the state directory, where a server writes its
    /// address and its token.
    pub(super) fn find(place: &Place, flags: &ServerFlags) -> Result<Endpoint, Failure> {
        let (url, fragment) = match &flags.url {
            Some(url) => parse(url)?,
            None => (local(&config::state_dir(place)?)?, None),
        };
        let token = match flags.token.clone().or(fragment) {
            Some(token) => token,
            None => read(&config::state_dir(place)?.join("token")).map_err(|e| {
                Failure::Other(format!("no token ({e}); give one in STAYD_TOKEN or --state-dir"))
            })?,
        };
        Ok(Endpoint { url, token })
    }

    /// The address that a browser opens. The token is in the fragment, which browsers
    /// keep to themselves.
    pub(super) fn page(&self) -> String {
        format!("{}/#token={}", self.url, self.token)
    }
}

/// The address of a state directory's server.
fn local(dir: &Path) -> Result<String, Failure> {
    let nobody = || Failure::NoServer { at: dir.display().to_string() };
    let text = read(&dir.join("listen")).map_err(|_| nobody())?;
    let address = text.split_whitespace().next().and_then(|word| word.parse().ok());
    let mut address: SocketAddr = address.ok_or_else(nobody)?;
    // Every address of this machine: take the nearest.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(format!("http://{address}"))
}

fn read(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Takes `http://host:port/#token=…` apart, so that what `stayd url` prints can be given.
fn parse(url: &str) -> Result<(String, Option<String>), Failure> {
    let (base, fragment) = url.split_once('#').unwrap_or((url, ""));
    let base = base.trim_end_matches('/');
    let host = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.contains(['?', '@'])) {
        let expected = "expected an address such as http://127.0.0.1:7829 or https://example.org";
        return Err(Failure::Usage(format!("--url: {expected}, not {base:?}")));
    }
    let token = fragment.split('&').find_map(|pair| pair.strip_prefix("token="));
    Ok((base.into(), token.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path) -> Place {
        Place { config: None, state_dir: Some(dir.into()) }
    }

    #[test]
    fn the_state_directory_says_where_and_how() {
        let dir = tempfile::tempdir().unwrap();
        let find = |flags: &ServerFlags| Endpoint::find(&place(dir.path()), flags);
        let nobody = find(&ServerFlags::default()).err().unwrap();
        assert!(nobody.to_string().contains("stayd serve"), "{nobody}");

        std::fs::write(dir.path().join("listen"), "0.0.0.0:81\n").unwrap();
        std::fs::write(dir.path().join("token"), "secret\n").unwrap();
        let found = find(&ServerFlags::default()).unwrap();
        assert_eq!(found.page(), "http://127.0.0.1:81/#token=secret");

        let flags = ServerFlags { url: Some("http://a:1/".into()), token: None };
        assert_eq!(find(&flags).unwrap().page(), "http://a:1/#token=secret");
    }

    #[test]
    fn a_printed_address_can_be_given_back() {
        let parse = |url| parse(url).ok();
        assert_eq!(
            parse("http://[::1]:1/#token=t"),
            Some(("http://[::1]:1".into(), Some("t".into())))
        );
        for plain in ["http://a", "https://a", "https://a:1/under"] {
            assert_eq!(parse(plain), Some((plain.into(), None)));
        }
        for wrong in ["ftp://a", "a:1", "https://", "", "http://", "http://a?token=t", "http://u@a"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
