//! The connection to NATS.

use crate::config::{FleetSettings, without_login};
use async_nats::{Client, ClientError, ConnectOptions, Event, Server, ServerAddr};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use slog::{Logger, info, warn};
use std::fs;
use std::future::ready;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an attempt may take. Linux asks a server that does not answer again after 1 s and 3 s; an attempt
/// that ended in between would leave a server that has come back unasked for longer.
const ATTEMPT: Duration = Duration::from_secs(4);
/// How often a connection is tried. The third try without an answer ends it, 4 to 6 s after the network has
/// begun to drop everything. TCP alone would go on for a quarter of an hour, and try again ever more seldom.
const PING: Duration = Duration::from_secs(2);
/// The longest pause between two attempts; each is shortened by up to a half, so that the machines of a
/// fleet do not come back all at once. With the last second of an attempt, 3 s without any try at most.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Messages that may wait in one subscription. More are lost, which the streams notice.
const SUBSCRIPTION: usize = 64 << 10;

/// Between two lines of the log about the same.
const SELDOM: Duration = Duration::from_secs(60);

/// Why the fleet's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address of a NATS server.
    #[error("fleet.url: {0}")]
    Address(io::Error),
    /// The file with credentials.
    #[error("fleet.credentials: {0}")]
    Credentials(String),
    /// The file with certificates.
    #[error("fleet.ca: {0}")]
    Ca(String),
    /// This machine.
    #[error("the fleet: {0}")]
    State(String),
    /// The client.
    #[error("NATS: {0}")]
    Client(#[from] async_nats::ConnectError),
}

/// Connects, now or later: the connection is tried until it stands. `connected` counts how often it did.
pub(super) async fn connect(
    settings: &FleetSettings,
    connected: Arc<watch::Sender<u64>>,
    log: Logger,
) -> Result<Client, ConnectError> {
    let (options, addresses) = kept(settings, log, move || connected.send_modify(|n| *n += 1))?;
    Ok(options.retry_on_initial_connect().connect(addresses).await?)
}

/// Connects now, and again whenever the connection is lost.
pub(super) async fn connect_once(
    settings: &FleetSettings,
    log: Logger,
) -> Result<Client, ConnectError> {
    let (options, addresses) = kept(settings, log, || {})?;
    Ok(options.connect(addresses).await?)
}

/// The options of a connection that is kept, and the addresses. The log says what happens to it.
fn kept(
    settings: &FleetSettings,
    log: Logger,
    connected: impl Fn() + Send + Sync + 'static,
) -> Result<(ConnectOptions, Vec<ServerAddr>), ConnectError> {
    let (slow, failures) = (Seldom::default(), Arc::new(Failures::default()));
    let (failed, log_of_failures) = (failures.clone(), log.clone());
    let mut options = options(settings)?
        .ping_interval(PING)
        .subscription_capacity(SUBSCRIPTION)
        .read_buffer_capacity(u16::MAX)
        .reconnect_delay_callback(pause)
        .reconnect_to_server_callback(move |servers, _| {
            if let Some((times, why)) = failures.told(&servers) {
                warn!(log_of_failures, "the fleet's NATS cannot be used; it is tried again, and `stayd doctor` says \
                    what to do"; "error" => why, "times" => times);
            }
            // The client chooses.
            ready(None)
        })
        .event_callback(move |event| {
            match &event {
                Event::Connected => {
                    info!(log, "connected to the fleet's NATS");
                    failed.end();
                    connected();
                }
                Event::Disconnected => {
                    warn!(log, "the connection to the fleet's NATS is lost; it is tried again")
                }
                Event::SlowConsumer(_) => {
                    if let Some(lost) = slow.now() {
                        warn!(log, "messages of the fleet came faster than they were taken; some are lost";
                              "lost" => lost);
                    }
                }
                Event::ServerError(error) => {
                    warn!(log, "the fleet's NATS refuses something; `stayd doctor` looks for the reason";
                          "error" => %error)
                }
                Event::ClientError(error) => failed.begin(error),
                Event::LameDuckMode | Event::Draining | Event::Closed => {}
            }
            ready(())
        });
    let mut addresses = Vec::new();
    for url in &settings.url {
        let (with, address) = with_address(options, url)?;
        options = with;
        addresses.push(address);
    }
    Ok((options, addresses))
}

/// Something of which the log speaks at most once a minute: others may cause it as often as they like.
#[derive(Default)]
struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// It has happened. How often since the log spoke of it, if the log may speak of it again.
    fn now(&self) -> Option<u64> {
        let mut it = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, times) = &mut *it;
        *times += 1;
        if told.is_some_and(|told| told.elapsed() < SELDOM) {
            return None;
        }
        *told = Some(Instant::now());
        Some(std::mem::take(times))
    }
}

/// Attempts to connect that have failed. The client reports a failure at once, and the error of each server only
/// before the next attempt.
#[derive(Default)]
struct Failures {
    last: Mutex<Option<String>>,
    told: Seldom,
}

impl Failures {
    fn begin(&self, error: &ClientError) {
        let kind = match error {
            ClientError::Other(kind) => kind.clone(),
            other => other.to_string(),
        };
        *self.last() = Some(kind);
    }

    fn end(&self) {
        *self.last() = None;
    }

    /// If the log may speak of it again: how often attempts have failed since it did, and why the last one has,
    /// server by server.
    fn told(&self, servers: &[Server]) -> Option<(u64, String)> {
        let kind = self.last().take()?;
        let times = self.told.now()?;
        // A server whose name could not be resolved has no error of its own.
        let why = servers.iter().map(|server| {
            let error = server.last_error.as_deref().unwrap_or(&kind);
            format!("{}: {error}", without_login(server.addr.as_url_str()))
        });
        Some((times, why.collect::<Vec<_>>().join("; ")))
    }

    fn last(&self) -> MutexGuard<'_, Option<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who this machine is, and whom it trusts.
pub(super) fn options(settings: &FleetSettings) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new()
        .name(format!("stayd {}", settings.name))
        .custom_inbox_prefix(format!("_INBOX_stayd.{}", settings.name))
        .connection_timeout(ATTEMPT);
    if let Some(path) = &settings.credentials {
        let shown = |error: &dyn std::fmt::Display| {
            ConnectError::Credentials(format!("{}: {error}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|error| shown(&error))?;
        options = if text.contains("BEGIN NATS USER JWT") {
            options.credentials(&text).map_err(|error| shown(&error))?
        } else {
            options.nkey(text.trim().to_owned())
        };
    }
    if let Some(path) = &settings.ca {
        // The client would read it with each attempt, and say no more than that there is no TLS.
        check_certificates(path)
            .map_err(|why| ConnectError::Ca(format!("{}: {why}", path.display())))?;
        options = options.add_root_certificates(path.clone());
    }
    Ok(options)
}

fn check_certificates(path: &Path) -> Result<(), String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(found) if found.is_empty() => Err("expected certificates in PEM, and found none".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// An address, and the options with the user and password that are in it: the client takes these from there alone.
pub(super) fn with_address(
    options: ConnectOptions,
    url: &str,
) -> Result<(ConnectOptions, ServerAddr), ConnectError> {
    let address: ServerAddr = url.parse().map_err(ConnectError::Address)?;
    let options = match (address.username(), address.password()) {
        (Some(user), Some(password)) => {
            options.user_and_password(user.to_owned(), password.to_owned())
        }
        _ => options,
    };
    Ok((options, address))
}

/// The pause before an attempt.
fn pause(attempts: usize) -> Duration {
    let longest = Duration::from_millis(100 << attempts.min(6)).min(PAUSE_MAX);
    let mut byte = [0];
    // Without randomness, the pause is whole.
    let _ = getrandom::fill(&mut byte);
    longest.mul_f64(1.0 - f64::from(byte[0]) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_speaks_seldom_and_says_how_often() {
        let seldom = Seldom::default();
        let told: Vec<_> = (0..1000).filter_map(|_| seldom.now()).collect();
        assert_eq!(told, [1]);
        seldom.0.lock().unwrap().0 = Instant::now().checked_sub(SELDOM);
        assert_eq!(seldom.now(), Some(1000));
    }

    #[test]
    fn a_failure_is_told_server_by_server_and_without_passwords() {
        let failures = Failures::default();
        let server = |url: &str, last_error: Option<&str>| Server {
            addr: url.parse().unwrap(),
            failed_attempts: 1,
            did_connect: false,
            is_discovered: false,
            last_error: last_error.map(str::to_owned),
        };
        let servers = [
            server("nats://desk:secret@10.0.0.1:4222", Some("IO error: Connection refused")),
            server("tls://nats.example.org:4222", None),
        ];
        assert_eq!(failures.told(&servers), None, "nothing has failed yet");
        failures.begin(&ClientError::Other("DNS error".into()));
        let why =
            "10.0.0.1:4222: IO error: Connection refused; tls://nats.example.org:4222: DNS error";
        assert_eq!(failures.told(&servers), Some((1, why.to_owned())));
        assert_eq!(failures.told(&servers), None, "it is told once");
        failures.begin(&ClientError::Other("DNS error".into()));
        failures.end();
        assert_eq!(failures.told(&servers), None, "it is connected");
    }

    #[test]
    fn certificates_are_looked_for_before_they_are_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(check_certificates(&path).unwrap_err().contains("No such file"));
        fs::write(&path, "no certificate").unwrap();
        assert!(check_certificates(&path).unwrap_err().contains("found none"));
    }

    #[test]
    fn pauses_grow_and_end() {
        for attempts in 0..100 {
            let pause = pause(attempts);
            assert!(pause >= Duration::from_millis(50) && pause <= PAUSE_MAX, "{pause:?}");
        }
    }
}
