//! Serves HTTP on admitted connections. As `actix_web::HttpServer`, but with the table of
//! connections between the listener and HTTP: a connection's task can be ended from outside,
//! whatever it waits for, which `HttpServer` has no way to do.

use super::handshake::shake_hands;
use super::local::{self, LocalListener};
use super::socket::{Peer, Place, Socket};
use super::stream::Stream;
use super::table::{Closing, Connections};
use super::tls::Tls;
use crate::tree::pidfd;
use actix::Arbiter;
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Service, ServiceFactory};
use actix_web::rt;
use futures_util::future::{Either, LocalBoxFuture, select};
use nix::sys::socket::sockopt::TcpUserTimeout;
use nix::sys::socket::{MsgFlags, send, setsockopt};
use nix::unistd::geteuid;
use socket2::SockRef;
use std::convert::Infallible;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::yield_now;

/// How long an idle connection is kept, and how long the head of its first request may take.
const IDLE: Duration = Duration::from_secs(5);
/// How long a peer may take to close its side after an answer that left a body unread.
const DISCONNECT: Duration = Duration::from_secs(1);
/// Bytes that the kernel buffers for a peer beyond what fits into the peer's window. The kernel's
/// default limit is megabytes for each connection, which add up if many peers read nothing. Bytes
/// in flight to a peer that reads do not count, so fast remote peers stay as fast.
const UNSENT: u32 = 128 << 10;
/// The answer to a connection for which there is no place. It may not arrive: the kernel may
/// discard it because the request stays unread.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    retry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// What is listened on.
pub struct Listeners {
    /// TCP, with TLS or without.
    pub tcp: Vec<TcpListener>,
    /// What all of those show; `None`: they are plain.
    pub tls: Option<Arc<Tls>>,
    /// The unix socket of this machine's own processes.
    pub local: UnixListener,
}

/// The connections of the unix socket, which a stop waits for as it does for the others.
pub struct LocalDoor(mpsc::Receiver<Infallible>);

impl LocalDoor {
    /// Resolves once the server stops and the last of them is closed.
    pub async fn closed(mut self) {
        self.0.recv().await;
    }
}

/// Serves an app on listeners. `server` holds the other settings (signals, workers, backlog).
///
/// # Errors
/// A listener cannot be used.
pub fn serve<F, I, S, B>(
    mut server: ServerBuilder,
    Listeners { tcp, tls, local }: Listeners,
    connections: &Arc<Connections>,
    app: F,
) -> io::Result<(Server, LocalDoor)>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    // Before the others are counted: these are the unix socket's, however many those are.
    let (local, arbiter) = (LocalListener::new(local)?, Arbiter::new());
    let workers = available_parallelism().map_or(2, NonZero::get);
    server = server.workers(workers);
    if let Some(most) = connections.at_once(workers) {
        server = server.max_concurrent_connections(most);
    }
    let (stopping, connections) = (server.graceful_shutdown_signal(), connections.clone());
    let doors = move || {
        let app = app().into_factory().map_err(|error: S::Error| error.into().error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(IDLE)
            .client_request_timeout(IDLE)
            .client_disconnect_timeout(DISCONNECT)
            .on_connect_ext(|socket: &Socket, data| {
                data.insert(socket.visitor());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        Doors { http, connections: connections.clone(), tls: tls.clone() }
    };
    for listener in tcp {
        let name = listener.local_addr()?.to_string();
        server = server.listen(name, listener, doors.clone())?;
    }
    let stopping = server.graceful_shutdown_signal();
    let (open, closed) = mpsc::channel(1);
    // Not by the server's own acceptor, which knows of no spare descriptors.
    arbiter.spawn_fn(move || {
        rt::spawn(serve_local(local, doors, open, async move { stopping.notified().await }));
    });
    Ok((server.run(), LocalDoor(closed)))
}

/// Accepts on the unix socket until the server stops. What is open goes on.
async fn serve_local<D, H>(
    mut listener: LocalListener,
    doors: impl FnOnce() -> D,
    open: mpsc::Sender<Infallible>,
    stopping: impl Future<Output = ()>,
) where
    D: ServiceFactory<UnixStream, Config = (), Service = Door<H>>,
    Door<H>: Service<UnixStream> + 'static,
{
    // The apps of TCP are created in the same way, and the server does not start without them.
    let Ok(door) = doors().new_service(()).await else { return };
    let accepting = pin!(async {
        loop {
            let stream = listener.accept().await;
            let (served, open) = (door.call(stream), open.clone());
            rt::spawn(async move {
                let _ = served.await;
                drop(open);
            });
            // Those who have lost their places to this one go before the next one comes, so that a
            // burst does not take all descriptors for a moment.
            yield_now().await;
            yield_now().await;
        }
    });
    select(accepting, pin!(stopping)).await;
}

/// Creates the service of each worker.
struct Doors<H> {
    http: H,
    connections: Arc<Connections>,
    tls: Option<Arc<Tls>>,
}

/// The input of the HTTP service: the stream, the protocol version and the peer's address.
type Opened = (Socket, Protocol, Option<SocketAddr>);

impl<H, T> ServiceFactory<T> for Doors<H>
where
    H: ServiceFactory<Opened, Config = (), Response = (), Error = DispatchError>,
    H::Service: 'static,
    H::Future: 'static,
    Door<H::Service>: Service<T, Response = (), Error = DispatchError>,
{
    type Response = ();
    type Error = DispatchError;
    type Config = ();
    type Service = Door<H::Service>;
    type InitError = H::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let http = self.http.new_service(());
        let (connections, tls) = (self.connections.clone(), self.tls.clone());
        Box::pin(async move { Ok(Door { http: Rc::new(http.await?), connections, tls }) })
    }
}

/// The service of one worker.
struct Door<H> {
    http: Rc<H>,
    connections: Arc<Connections>,
    tls: Option<Arc<Tls>>,
}

impl<H> Service<TcpStream> for Door<H>
where
    H: Service<Opened, Response = (), Error = DispatchError> + 'static,
    H::Future: 'static,
{
    type Response = ();
    type Error = DispatchError;
    type Future = LocalBoxFuture<'static, Result<(), DispatchError>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), DispatchError>> {
        self.http.poll_ready(context)
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let (http, connections, tls) =
            (self.http.clone(), self.connections.clone(), self.tls.clone());
        Box::pin(async move {
            // Yields, so that the runtime learns of bytes in the socket. A request that has arrived
            // is then read in the poll that admits the connection, so that its token is known
            // before a newcomer could take the connection's place.
            yield_now().await;
            let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            let peer = stream.peer_addr().unwrap_or(nobody);
            let Ok(admitted) = connections.admit(peer.ip(), stream.as_raw_fd()) else {
                // What does not speak HTTP is closed without a word.
                if tls.is_none() {
                    turn_away(&stream);
                }
                return Ok(());
            };
            let place = Place::new(&connections, admitted);
            prepare(&stream, connections.limits().unread);
            let stream = match tls {
                None => Stream::Tcp(stream),
                // Boxed: a connection without TLS must not keep the room of a handshake.
                Some(tls) => {
                    match Box::pin(shake_hands(&tls, stream, &place.closing, IDLE)).await {
                        Some(stream) => Stream::Tls(Box::new(stream)),
                        None => return Ok(()),
                    }
                }
            };
            let closing = place.closing.clone();
            let socket = Socket::new(stream, Peer::Tcp(peer), None, place);
            let served = serve_until(&closing, &*http, (socket, Protocol::Http1, Some(peer))).await;
            if let Err(DispatchError::Io(error)) = &served
                && error.kind() == ErrorKind::TimedOut
            {
                connections.was_unread(peer.ip());
            }
            served
        })
    }
}

impl<H> Service<UnixStream> for Door<H>
where
    H: Service<Opened, Response = (), Error = DispatchError> + 'static,
    H::Future: 'static,
{
    type Response = ();
    type Error = DispatchError;
    type Future = LocalBoxFuture<'static, Result<(), DispatchError>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), DispatchError>> {
        self.http.poll_ready(context)
    }

    fn call(&self, stream: UnixStream) -> Self::Future {
        let (http, connections) = (self.http.clone(), self.connections.clone());
        Box::pin(async move {
            // As above.
            yield_now().await;
            let Ok((pid, uid)) = local::credentials(&stream) else { return Ok(()) };
            if uid != geteuid().as_raw() && uid != 0 {
                connections.was_another_user(uid);
                return Ok(());
            }
            let Ok(admitted) = connections.admit_local(stream.as_raw_fd()) else {
                turn_away(&stream);
                return Ok(());
            };
            let place = Place::new(&connections, admitted);
            let process = pidfd::of_peer(stream.as_fd(), pid).ok();
            let closing = place.closing.clone();
            let peer = Peer::Local { pid, uid };
            let socket = Socket::new(Stream::Unix(stream), peer, process, place);
            serve_until(&closing, &*http, (socket, Protocol::Http1, None)).await
        })
    }
}

/// Serves a connection until it ends or has to be closed.
async fn serve_until<H>(closing: &Closing, http: &H, opened: Opened) -> Result<(), DispatchError>
where
    H: Service<Opened, Response = (), Error = DispatchError>,
{
    // Closing is polled first: a connection that has lost its place is not served further.
    match select(pin!(closing.asked()), pin!(http.call(opened))).await {
        // Dropping the future frees everything that belongs to the connection.
        Either::Left(((), _)) => Ok(()),
        Either::Right((served, _)) => served,
    }
}

/// Says that there is no place.
fn turn_away(stream: &impl AsRawFd) {
    // Writes directly to the socket: the runtime does not know yet that it is writable.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = send(stream.as_raw_fd(), NO_PLACE, flags);
}

/// Disables Nagle's delay for the echoes of keys, limits what the kernel buffers for a slow peer,
/// and lets the kernel close a connection whose peer reads nothing for too long: only the kernel
/// sees that a slow peer has read a little (tcp(7), `TCP_USER_TIMEOUT`). An idle connection is left
/// alone.
fn prepare(stream: &TcpStream, unread: Duration) {
    let ms = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
    // Errors are ignored: the peer is served all the same.
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, TcpUserTimeout, &ms);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}
