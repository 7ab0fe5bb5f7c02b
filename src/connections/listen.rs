//! Serves HTTP on admitted connections. As `actix_web::HttpServer`, but with the table of
//! connections between the listener and HTTP: a connection's task can be ended from outside,
//! whatever it waits for, which `HttpServer` has no way to do.

use super::socket::Socket;
use super::table::{Admitted, Connections};
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Service, ServiceFactory};
use futures_util::future::{Either, LocalBoxFuture, select};
use nix::sys::socket::sockopt::TcpUserTimeout;
use nix::sys::socket::{MsgFlags, send, setsockopt};
use socket2::SockRef;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::net::TcpStream;
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

/// Serves an app on listeners. `server` holds the other settings (signals, workers, backlog).
///
/// # Errors
/// A listener cannot be used.
pub fn serve<F, I, S, B>(
    mut server: ServerBuilder,
    listeners: Vec<TcpListener>,
    connections: &Arc<Connections>,
    app: F,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    let workers = available_parallelism().map_or(2, NonZero::get);
    server = server.workers(workers);
    if let Some(most) = connections.at_once(workers) {
        server = server.max_concurrent_connections(most);
    }
    for listener in listeners {
        let (app, connections) = (app.clone(), connections.clone());
        let stopping = server.graceful_shutdown_signal();
        let name = listener.local_addr()?.to_string();
        server = server.listen(name, listener, move || {
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
            Doors { http, connections: connections.clone() }
        })?;
    }
    Ok(server.run())
}

/// Creates the service of each worker.
struct Doors<H> {
    http: H,
    connections: Arc<Connections>,
}

/// The input of the HTTP service: the stream, the protocol version and the peer's address.
type Opened = (Socket, Protocol, Option<SocketAddr>);

impl<H> ServiceFactory<TcpStream> for Doors<H>
where
    H: ServiceFactory<Opened, Config = (), Response = (), Error = DispatchError>,
    H::Service: 'static,
    H::Future: 'static,
{
    type Response = ();
    type Error = DispatchError;
    type Config = ();
    type Service = Door<H::Service>;
    type InitError = H::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (http, connections) = (self.http.new_service(()), self.connections.clone());
        Box::pin(async move { Ok(Door { http: Rc::new(http.await?), connections }) })
    }
}

/// The service of one worker.
struct Door<H> {
    http: Rc<H>,
    connections: Arc<Connections>,
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
        let (http, connections) = (self.http.clone(), self.connections.clone());
        Box::pin(async move {
            // Yields, so that the runtime learns of bytes in the socket. A request that has arrived
            // is then read in the poll that admits the connection, so that its token is known
            // before a newcomer could take the connection's place.
            yield_now().await;
            let peer = stream.peer_addr().ok();
            let ip = peer.map_or(IpAddr::from(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
            let Ok(Admitted { id, closing }) = connections.admit(ip, stream.as_raw_fd()) else {
                // Writes directly to the socket: the runtime does not know yet that it is writable.
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                let _ = send(stream.as_raw_fd(), NO_PLACE, flags);
                return Ok(());
            };
            prepare(&stream, connections.limits().unread);
            let socket = Socket::new(stream, id, connections.clone(), closing.clone());
            let http = http.call((socket, Protocol::Http1, peer));
            // Closing is polled first: a connection that has lost its place is not served further.
            let served = match select(pin!(closing.asked()), pin!(http)).await {
                // Dropping the future frees everything that belongs to the connection.
                Either::Left(((), _)) => return Ok(()),
                Either::Right((served, _)) => served,
            };
            if let Err(DispatchError::Io(error)) = &served
                && error.kind() == ErrorKind::TimedOut
            {
                connections.was_unread(ip);
            }
            served
        })
    }
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
