//! The TCP listeners: on the addresses of the settings, and on the other loopback address.

use super::error::ServeError;
use nix::sys::socket::{self, Backlog};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Connections of a burst that may wait to be accepted. A client beyond them tries again after a
/// second. The kernel's own limit (`somaxconn`, listen(2)) is as high by default.
const BACKLOG: i32 = 4096;
/// Attempts to find a port that is free on both loopback addresses.
const PORTS: usize = 16;

/// The listeners, and the loopback addresses that this server does not listen on.
pub(super) struct Listening {
    pub(super) listeners: Vec<TcpListener>,
    /// Loopback addresses that this machine does not have.
    pub(super) absent: Vec<SocketAddr>,
    /// Loopback addresses on which another process listens.
    pub(super) foreign: Vec<SocketAddr>,
}

/// Listens on the addresses. For a loopback address it also listens on the other one: `localhost`
/// means both, and another process on the other one would be sent our cookie.
pub(super) fn listen(addresses: &[SocketAddr]) -> Result<Listening, ServeError> {
    let mut all = Listening { listeners: Vec::new(), absent: Vec::new(), foreign: Vec::new() };
    let mut others = Vec::new();
    for &address in addresses {
        for attempt in 1..=PORTS {
            let failed = |error: io::Error| {
                let other = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "; choose another with --listen, STAYD_LISTEN, or listen in stayd.toml"
                    }
                    _ => "",
                };
                ServeError::Failed(format!("cannot listen on {address}: {error}{other}"))
            };
            let listener = bind(address).map_err(failed)?;
            let port = listener.local_addr().map_err(failed)?.port();
            let other = other_loopback(address.ip()).map(|ip| SocketAddr::new(ip, port));
            match other.filter(|other| !addresses.contains(other)) {
                None => {}
                Some(other) => match bind(other) {
                    Ok(listener) => others.push(listener),
                    Err(error) if is_absent(&error) => all.absent.push(other),
                    // Try another port.
                    Err(_) if address.port() == 0 && attempt < PORTS => continue,
                    Err(_) => all.foreign.push(other),
                },
            }
            all.listeners.push(listener);
            break;
        }
    }
    // The first address is the one that is shown to people.
    all.listeners.append(&mut others);
    Ok(all)
}

/// Creates a listener with our backlog. The standard library listens with a backlog of 128;
/// listening again changes only that number.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    socket::listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

/// The other loopback address, unless this address covers it. A listener on all IPv6 addresses also
/// covers the IPv4 ones.
fn other_loopback(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) if ip == Ipv4Addr::LOCALHOST || ip.is_unspecified() => {
            Some(Ipv6Addr::LOCALHOST.into())
        }
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    }
}

fn is_absent(error: &io::Error) -> bool {
    let unsupported = error.raw_os_error() == Some(libc::EAFNOSUPPORT);
    unsupported || error.kind() == io::ErrorKind::AddrNotAvailable
}
