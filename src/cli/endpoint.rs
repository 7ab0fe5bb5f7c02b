//! The server's address, and the token for it, if one is needed.
// The comments are the help that is printed, where <> would be read as a placeholder.
#![allow(rustdoc::bare_urls)]

use super::failure::Failure;
use super::local::LocalServer;
use crate::config::{self, PathFlags};
use crate::private;
use clap::Args;
use nix::unistd::geteuid;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The flags by which a verb finds its server.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServerFlags {
    /// Address of the server, such as http://127.0.0.1:7829 or https://term.example.org [default:
    /// that of the state directory's server]
    #[arg(long, env = "STAYD_URL", value_name = "URL")]
    pub(super) url: Option<String>,

    /// Token, or secret of a share link; safer in the environment than on a command line, which
    /// others can see [default: none, which the unix socket of the state directory does not need]
    #[arg(long, env = "STAYD_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
}

/// A server's address and its token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `http://host:port` or `https://…`, without a slash at the end.
    pub(super) url: String,
    /// `None`: the unix socket needs none.
    pub(super) token: Option<String>,
    /// The server of the state directory, which is asked over its unix socket; `None` where the
    /// user has given the address.
    pub(super) server: Option<LocalServer>,
}

impl Endpoint {
    /// Uses the flags, otherwise the unix socket of the state directory.
    pub(super) fn find(paths: &PathFlags, flags: &ServerFlags) -> Result<Endpoint, Failure> {
        let Some(url) = &flags.url else {
            let server = LocalServer::find(&state_dir(paths)?)?;
            // Nobody looks at the host, but a request has one.
            let url = "http://localhost".into();
            return Ok(Endpoint { url, token: flags.token.clone(), server: Some(server) });
        };
        let (url, fragment) = parse(url)?;
        let token = match flags.token.clone().or(fragment) {
            Some(token) => token,
            None => {
                let why = "a server that is asked by its address needs a token: give one in STAYD_TOKEN \
                     (`stayd token add NAME` makes one, on the server's machine)";
                return Err(Failure::Other(why.into()));
            }
        };
        Ok(Endpoint { url, token: Some(token), server: None })
    }

    /// Where the server is, for people.
    pub(super) fn at(&self) -> String {
        match &self.server {
            Some(server) => server.socket().display().to_string(),
            None => self.url.clone(),
        }
    }

    /// A request with the token, if there is one.
    pub(super) fn authorize(&self, request: awc::ClientRequest) -> awc::ClientRequest {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// The state directory, after a check that nobody else can write to it: requests are sent to the
/// socket in it.
fn state_dir(paths: &PathFlags) -> Result<PathBuf, Failure> {
    let dir = config::state_dir(paths)?;
    private::check(&dir).map_err(|problem| {
        let by_address = match std::fs::symlink_metadata(&dir) {
            Ok(found) if found.uid() == geteuid().as_raw() => "",
            _ => "; a server of somebody else is asked by its address: --url, and a token",
        };
        Failure::Other(format!("{problem}{by_address}"))
    })?;
    Ok(dir)
}

/// Parses `http://host:port/#share=…`, so that the output of `stayd share` is accepted.
fn parse(url: &str) -> Result<(String, Option<String>), Failure> {
    let (base, fragment) = url.split_once('#').unwrap_or((url, ""));
    let base = base.trim_end_matches('/');
    let host = base.strip_prefix("http://").or_else(|| base.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.contains(['?', '@'])) {
        let expected = "expected an address such as http://127.0.0.1:7829 or https://example.org";
        return Err(Failure::Usage(format!("--url: {expected}, not {base:?}")));
    }
    let token = fragment
        .split('&')
        .find_map(|pair| pair.strip_prefix("token=").or(pair.strip_prefix("share=")));
    Ok((base.into(), token.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn paths(dir: &Path) -> PathFlags {
        PathFlags { config: None, state_dir: Some(dir.into()) }
    }

    #[test]
    fn the_state_directory_says_where_and_how() {
        let dir = tempfile::tempdir().unwrap();
        let find = |flags: &ServerFlags| Endpoint::find(&paths(dir.path()), flags);
        let nobody = find(&ServerFlags::default()).err().unwrap();
        assert!(nobody.to_string().contains("stayd serve"), "{nobody}");

        assert!(find(&ServerFlags::default()).is_err(), "nobody holds the lock");
        let lock = std::fs::File::create(dir.path().join("lock")).unwrap();
        lock.lock().unwrap();
        let found = find(&ServerFlags::default()).unwrap();
        assert!(found.token.is_none() && found.at().ends_with("/server.sock"));

        let url = |url: &str| ServerFlags { url: Some(url.into()), token: None };
        assert!(find(&url("http://a:1/")).is_err(), "who is asked by an address asks for a token");
        let linked = find(&url("http://a:1/#share=secret")).unwrap();
        assert_eq!((linked.at().as_str(), linked.token.as_deref()), ("http://a:1", Some("secret")));
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
