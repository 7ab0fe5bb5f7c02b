//! HTTP on the connections that are let in. As `actix_web::HttpServer` puts it together, with
//! the table of connections between the listener and HTTP: a connection's task can be ended
//! from outside, whatever it waits for, which `HttpServer` has no way to do.

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

/// How long a connection without a request is kept, and the head of its first one may take.
const IDLE: Duration = Duration::from_secs(5);
/// How long a peer may take to close its side, after an answer that leaves a body unread.
const DISCONNECT: Duration = Duration::from_secs(1);
/// Bytes that the kernel takes for a peer beyond what the peer has room for. The kernel's own
/// bound is megabytes for each connection, which many that read nothing would add up. What is
/// on its way to a peer that reads is not counted, so fast remote peers are as fast as before.
const UNSENT: u32 = 128 << 10;
/// What a connection is told for which there is no place. Whether it arrives is not certain:
/// the kernel may discard it because the request stays unread.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    retry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// Serves an app on listeners. `server` says what else holds (signals, workers, backlog).
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

/// Makes the service of each worker.
struct Doors<H> {
    http: H,
    connections: Arc<Connections>,
}

/// What HTTP takes: the stream, which version it speaks, and who is at its other end.
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

/// Serves one connection after the other.
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
            // The runtime learns what is in the socket in between. A request that is there is
            // then read in the same poll in which the connection is admitted, so its token is
            // known before any newcomer could take the connection's place.
            yield_now().await;
            let peer = stream.peer_addr().ok();
            let ip = peer.map_or(IpAddr::from(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
            let Ok(Admitted { id, closing }) = connections.admit(ip, stream.as_raw_fd()) else {
                // Straight to the kernel: the runtime does not know yet that it has room.
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                let _ = send(stream.as_raw_fd(), NO_PLACE, flags);
                return Ok(());
            };
            prepare(&stream, connections.limits().unread);
            let socket = Socket::new(stream, id, connections.clone(), closing.clone());
            let http = http.call((socket, Protocol::Http1, peer));
            // Closing comes first: whoever has lost the place is served no further.
            let served = match select(pin!(closing.asked()), pin!(http)).await {
                // Everything that belongs to the connection is dropped with its future.
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

/// Sends keystrokes' echoes at once, bounds what the kernel takes ahead of a slow peer, and has
/// the kernel give a connection up whose peer takes nothing for too long: it alone sees that a
/// slow peer has taken something, however little (tcp(7), `TCP_USER_TIMEOUT`). A connection on
/// which nothing is sent is left alone.
fn prepare(stream: &TcpStream, unread: Duration) {
    let ms = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
    // What cannot be set stays as it is; the peer is served all the same.
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, TcpUserTimeout, &ms);
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
}
