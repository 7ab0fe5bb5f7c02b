//! Finds the server of a state directory: whether it runs, and who listens at its address.
//!
//! A server that was killed leaves its socket and the file `listen`, and whoever runs meanwhile as
//! The file `listen` outlives a killed server, and another process may have its port by then. So
//! the token is sent only to the server that holds the directory's lock, at an address where nobody
//! but the directory's owner (or root, who can read the token anyway) listens.

use super::failure::Failure;
use crate::connections::local;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file that a server keeps locked, in its state directory.
const LOCK: &str = "lock";

/// A server that held the lock of its state directory when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalServer {
    /// The state directory.
    dir: PathBuf,
    /// The process id that it has written into the lock's file.
    pid: String,
    /// The user whose directory it is.
    owner: u32,
}

impl LocalServer {
    /// Finds the server of a state directory.
    pub(super) fn find(dir: &Path) -> Result<LocalServer, Failure> {
        match holder_of(&dir.join(LOCK))? {
            Some((pid, owner)) => Ok(LocalServer { dir: dir.to_owned(), pid, owner }),
            None => Err(Failure::NoServer { at: dir.display().to_string() }),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its unix socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join(local::SOCKET)
    }

    /// Whether a process of this user may be the server: a process of another user that listens
    /// is not. Root could be the server anyway.
    pub(super) fn may_be(&self, uid: u32) -> bool {
        uid == self.owner || uid == 0
    }

    /// The address for browsers, with its scheme.
    pub(super) fn url(&self) -> Result<String, Failure> {
        let nobody = || Failure::NoServer { at: self.dir.display().to_string() };
        let path = self.dir.join("listen");
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => nobody(),
            // A lock that cannot be read may well be held.
            _ => Failure::Other(format!("{}: {e}", path.display())),
        })?;
        let (scheme, mut address) = places(&text).next().ok_or_else(nobody)?;
        // The server listens on every address of this machine, so use the loopback address.
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let uids = listeners(address)?;
        if uids.is_empty() {
            return Err(Failure::NoServer { at: format!("{scheme}://{address}") });
        }
        if let Some(uid) = uids.into_iter().find(|uid| !self.may_be(*uid)) {
            return Err(Failure::Other(format!(
                "a process of another user (uid {uid}) listens at {address}, where the server of \
                 {} is said to be; nothing was sent to it. Start the server again, or name its \
                 address with --url",
                self.dir.display()
            )));
        }
        Ok(format!("{scheme}://{address}"))
    }

    /// Whether the server still holds the lock. Call it once a connection is open: if it does, the
    /// server was alive when the connection was made, and is its peer.
    pub(super) fn still_runs(&self) -> bool {
        let holder = holder_of(&self.dir.join(LOCK)).ok().flatten();
        holder.is_some_and(|(pid, _)| pid == self.pid)
    }
}

/// The addresses in the file `listen`, with their schemes.
pub(super) fn places(text: &str) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    text.split_whitespace().filter_map(|word| {
        let (scheme, address) = match word.strip_prefix("https://") {
            Some(address) => ("https", address),
            None => ("http", word),
        };
        Some((scheme, address.parse().ok()?))
    })
}

/// The process id that the holder of a lock (flock(2)) has written into the file, and the file's
/// owner; `None` if nobody holds the lock.
fn holder_of(path: &Path) -> Result<Option<(String, u32)>, Failure> {
    if !is_locked(path)? {
        return Ok(None);
    }
    let failed = |e: io::Error| Failure::Other(format!("{}: {e}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let mut pid = String::new();
    file.read_to_string(&mut pid).map_err(failed)?;
    Ok(Some((pid, file.metadata().map_err(failed)?.uid())))
}

/// Whether a process holds the lock of a file. The check takes a shared lock for a moment; a server
/// that starts in that moment tries again.
pub(super) fn is_locked(path: &Path) -> Result<bool, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Failure::Other(format!("{}: {e}", path.display()))),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, e)) => Err(Failure::Other(format!("{}: {e}", path.display()))),
    }
}

/// The users whose sockets accept connections to an address.
fn listeners(address: SocketAddr) -> Result<Vec<u32>, Failure> {
    let read = |name: &str| {
        let path = format!("/proc/net/{name}");
        std::fs::read_to_string(&path).map_err(|e| {
            let instead = "cannot check which process listens; name the address with --url";
            Failure::Other(format!("{path}: {e}: {instead}"))
        })
    };
    let mut tables = read("tcp")?;
    // The file is missing where the kernel has no IPv6.
    tables += &read("tcp6").unwrap_or_default();
    Ok(listening(&tables, address))
}

/// Finds them in the text of the tables (proc_net_tcp(5)): among the sockets that listen at the
/// port, those with the most specific matching address.
fn listening(tables: &str, address: SocketAddr) -> Vec<u32> {
    const LISTEN: &str = "0A";
    let mut best = (0, Vec::new());
    for line in tables.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(local), Some(&LISTEN), Some(uid)) = (words.get(1), words.get(3), words.get(7))
        else {
            continue;
        };
        let (Some((ip, port)), Ok(uid)) = (socket(local), uid.parse()) else { continue };
        let fit = match (ip.to_canonical(), address.ip().to_canonical()) {
            _ if port != address.port() => 0,
            (found, wanted) if found == wanted => 3,
            (found, _) if !found.is_unspecified() => 0,
            (found, wanted) if found.is_ipv4() == wanted.is_ipv4() => 2,
            // A socket on all IPv6 addresses usually accepts IPv4 too.
            (IpAddr::V6(_), _) => 1,
            (IpAddr::V4(_), _) => 0,
        };
        if fit > best.0 {
            best = (fit, Vec::new());
        }
        if fit > 0 && fit == best.0 {
            best.1.push(uid);
        }
    }
    best.1
}

/// Parses `0100007F:1E95`: an address in words of this machine's byte order, and a port in plain
/// hex.
fn socket(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?)
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_listener_whose_address_fits_best_counts() {
        let line = |local: &str, state: &str, uid: u32| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid} 0 7\n"
            )
        };
        let of =
            |lines: &[String], address: &str| listening(&lines.concat(), address.parse().unwrap());
        let any6 = "0".repeat(32);
        let here = u32::from_ne_bytes([127, 0, 0, 1]);
        let here = format!("{here:08X}");
        let lines = [
            "  sl  local_address rem_address   st tx_queue rx_queue\n".to_owned(),
            line(&format!("{here}:1E95"), "01", 1),
            line(&format!("{any6}:1E95"), "0A", 2),
            line("00000000:1E95", "0A", 3),
            line(&format!("{here}:1E95"), "0A", 4),
            line(&format!("{here}:1E96"), "0A", 5),
        ];
        assert_eq!(of(&lines, "127.0.0.1:7829"), [4]);
        assert_eq!(of(&lines[..4], "127.0.0.1:7829"), [3]);
        assert_eq!(of(&lines[..3], "127.0.0.1:7829"), [2]);
        assert_eq!(of(&lines[..3], "[::1]:7829"), [2]);
        assert!(of(&lines[3..], "[::1]:7829").is_empty(), "IPv4 takes no IPv6");
        assert!(of(&lines[..2], "127.0.0.1:7829").is_empty(), "a connection is no listener");
        assert!(of(&["garbage 1 2 0A : x y z\n".to_owned()], "[::1]:1").is_empty());
    }

    #[test]
    fn those_who_listen_are_found() {
        for any in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            // A machine may not have IPv6.
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let mut address = listener.local_addr().unwrap();
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::LOCALHOST.into());
            }
            let us = nix::unistd::geteuid().as_raw();
            assert_eq!(listeners(address).unwrap(), [us], "{any}");
            drop(listener);
            assert!(listeners(address).unwrap().is_empty(), "{any}");
        }
    }

    #[test]
    fn a_server_is_there_while_it_holds_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::fs::write(dir.path().join("listen"), format!("{address}\n")).unwrap();
        let find = || LocalServer::find(dir.path());
        let is_nobody =
            |found: Result<LocalServer, Failure>| matches!(found, Err(Failure::NoServer { .. }));
        assert!(is_nobody(find()), "no lock");
        std::fs::write(&path, "7\n").unwrap();
        assert!(is_nobody(find()), "nobody holds it");
        let lock = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
        let server = find().unwrap();
        assert_eq!(server.url().unwrap(), format!("http://{address}"));
        assert!(server.still_runs());
        std::fs::write(&path, "8\n").unwrap();
        assert!(!server.still_runs(), "another one");
        std::fs::write(&path, "7\n").unwrap();
        // If the file cannot be read, a server may still be there.
        std::fs::remove_file(dir.path().join("listen")).unwrap();
        std::fs::create_dir(dir.path().join("listen")).unwrap();
        assert!(matches!(server.url(), Err(Failure::Other(_))));
        drop(lock);
        assert!(!server.still_runs());
    }
}
