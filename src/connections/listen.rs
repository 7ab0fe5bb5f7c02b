//! Serves HTTP on admitted connections. As `actix_web::HttpServer`, but with the table of
//! connections between the listener and HTTP: a connection's task can be ended from outside,
//! whatever it waits for, which `HttpServer` has no way to do. And connections wait in the kernel
//! until a worker has time for them, while `HttpServer` accepts all at once, a descriptor for each.

use super::handshake::shake_hands;
use super::local::{self, AGAIN_AFTER, LocalListener};
use super::socket::{Peer, Place, Socket};
use super::stream::Stream;
use super::table::{Closing, Connections};
use super::tls::Tls;
use crate::relay::RelayStream;
use crate::rights::Visit;
use crate::tree::pidfd;
use actix::{Arbiter, ArbiterHandle};
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol, Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Service, ServiceFactory};
use actix_web::rt;
use futures_util::future::{Either, LocalBoxFuture, join_all, select};
use nix::sys::socket::sockopt::TcpUserTimeout;
use nix::sys::socket::{MsgFlags, send, setsockopt};
use nix::unistd::geteuid;
use socket2::SockRef;
use std::convert::Infallible;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::{self, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

/// How long an idle connection is kept, and how long the head of its first request may take.
const IDLE: Duration = Duration::from_secs(5);
/// How long a peer may take to close its side after an answer that left a body unread.
const DISCONNECT: Duration = Duration::from_secs(1);
/// Bytes that the kernel buffers for a peer beyond what fits into the peer's window. The kernel's
/// default limit is megabytes for each connection, which add up if many peers read nothing. Bytes
/// in flight to a peer that reads do not count, so fast remote peers stay as fast.
const UNSENT: u32 = 128 << 10;
/// Accepted connections that may wait for a worker: few enough to cost few descriptors.
const ACCEPTED: usize = 16;
/// The answer to a connection for which there is no place. It may not arrive: the kernel may
/// discard it because the request stays unread.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    retry-after: 1\r\ncontent-length: 0\r\n\r\n";

/// What is listened on.
pub struct Listeners {
    /// TCP, with TLS or without.
    pub tcp: Vec<net::TcpListener>,
    /// What all of those show; `None`: they are plain.
    pub tls: Option<Arc<Tls>>,
    /// The unix socket of this machine's own processes.
    pub local: UnixListener,
    /// What other machines of the fleet pass on; `None`: this one is in none.
    pub relayed: Option<RelayedListener>,
}

/// Streams that come through the fleet.
pub struct RelayedListener {
    /// The thread that has the connection to the fleet, so that nothing crosses threads on the way.
    pub thread: ArbiterHandle,
    /// The streams.
    pub streams: mpsc::Receiver<Relayed>,
}

/// A stream that another machine of the fleet has opened for one of its clients.
pub struct Relayed {
    /// The stream.
    pub stream: RelayStream,
    /// Whom it is for.
    pub visit: Visit,
    /// Where that client is, as that machine says.
    pub address: Option<SocketAddr>,
}

/// The listeners and the workers that serve them.
pub struct Serving {
    stop: watch::Sender<bool>,
    /// Ends once no worker accepts and no connection is open.
    closed: mpsc::Receiver<Infallible>,
    arbiters: Vec<Arbiter>,
}

impl Serving {
    /// Stops accepting, and resolves once the last connection is closed. Those that are open after
    /// `grace` are dropped.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let _ = timeout(grace, self.closed.recv()).await;
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

/// Serves an app on listeners: those of TCP by as many workers as there are processors.
///
/// # Errors
/// A listener cannot be used.
pub fn serve<F, I, S, B>(
    Listeners { tcp, tls, local, relayed }: Listeners,
    connections: &Arc<Connections>,
    app: F,
) -> io::Result<Serving>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: Debug,
    S::Response: Into<Response<B>> + 'static,
    B: MessageBody + 'static,
{
    let local = LocalListener::new(local)?;
    for listener in &tcp {
        listener.set_nonblocking(true)?;
    }
    let (stop, stopping) = watch::channel(false);
    let (open, closed) = mpsc::channel(1);
    let (told, connections) = (stopping.clone(), connections.clone());
    let doors = move || {
        let app = app().into_factory().map_err(|error: S::Error| error.into().error_response());
        let stopping = told.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || is_asked_to_stop(stopping.clone()))
            .keep_alive(IDLE)
            .client_request_timeout(IDLE)
            .client_disconnect_timeout(DISCONNECT)
            .on_connect_ext(|socket: &Socket, data| {
                data.insert(socket.visitor());
            })
            .finish(map_config(app, |()| AppConfig::default()));
        Doors { http, connections: connections.clone(), tls: tls.clone() }
    };
    let mut arbiters = Vec::new();
    let (accepted, waiting) = mpsc::channel(ACCEPTED);
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..available_parallelism().map_or(2, NonZero::get) {
        let (waiting, doors, open) = (waiting.clone(), doors.clone(), open.clone());
        // Ends when no more are accepted.
        arbiters.push(arbiter(move || work(waiting, doors(), open)));
    }
    let told = stopping.clone();
    arbiters.push(arbiter(async move || {
        let listeners = tcp.into_iter().map(|listener| accept(listener, accepted.clone()));
        select(pin!(is_asked_to_stop(told)), join_all(listeners)).await;
    }));
    if let Some(RelayedListener { thread, streams }) = relayed {
        let (doors, open, stopping) = (doors.clone(), open.clone(), stopping.clone());
        thread.spawn_fn(move || {
            rt::spawn(serve_relayed(streams, doors(), open, stopping));
        });
    }
    arbiters.push(arbiter(move || serve_local(local, doors(), open, stopping)));
    Ok(Serving { stop, closed, arbiters })
}

/// A thread with a task.
fn arbiter<F: Future<Output = ()> + 'static>(task: impl FnOnce() -> F + Send + 'static) -> Arbiter {
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(move || {
        rt::spawn(task());
    });
    arbiter
}

async fn is_asked_to_stop(mut stopping: watch::Receiver<bool>) {
    // An error means that whoever could ask is gone.
    let _ = stopping.wait_for(|&is_asked| is_asked).await;
}

/// Accepts what the workers have time for. The others wait in the kernel, without a descriptor.
async fn accept(listener: net::TcpListener, accepted: mpsc::Sender<net::TcpStream>) {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    let listener = TcpListener::from_std(listener).expect("a listener can be waited for");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Another thread's runtime is to wait for its bytes.
                let Ok(stream) = stream.into_std() else { continue };
                if accepted.send(stream).await.is_err() {
                    return;
                }
            }
            Err(error) => match error.kind() {
                // The peer is gone, and the next one may be there.
                ConnectionAborted | ConnectionRefused | ConnectionReset => {}
                // No descriptor is free, or no memory.
                _ => sleep(AGAIN_AFTER).await,
            },
        }
    }
}

/// One worker: serves what is accepted.
async fn work<D, H>(
    waiting: Arc<Mutex<mpsc::Receiver<net::TcpStream>>>,
    doors: D,
    open: mpsc::Sender<Infallible>,
) where
    D: ServiceFactory<TcpStream, Config = (), Service = Door<H>, InitError: Debug>,
    Door<H>: Service<TcpStream, Future: 'static> + 'static,
{
    let door = doors.new_service(()).await.expect("the app can be created");
    // One at a time, so that those which come together are shared among the workers.
    while let Some(stream) = next(&waiting).await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            serve_one(&door, stream, &open);
        }
        let_go().await;
    }
}

/// The lock is fair: the workers take turns.
async fn next(waiting: &Mutex<mpsc::Receiver<net::TcpStream>>) -> Option<net::TcpStream> {
    waiting.lock().await.recv().await
}

/// Accepts on the unix socket until the server stops. What is open goes on.
async fn serve_local<D, H>(
    mut listener: LocalListener,
    doors: D,
    open: mpsc::Sender<Infallible>,
    stopping: watch::Receiver<bool>,
) where
    D: ServiceFactory<UnixStream, Config = (), Service = Door<H>, InitError: Debug>,
    Door<H>: Service<UnixStream, Future: 'static> + 'static,
{
    let door = doors.new_service(()).await.expect("the app can be created");
    let accepting = pin!(async {
        loop {
            serve_one(&door, listener.accept().await, &open);
            let_go().await;
        }
    });
    select(accepting, pin!(is_asked_to_stop(stopping))).await;
}

/// Serves what comes through the fleet until the server stops. What is open goes on.
async fn serve_relayed<D, H>(
    mut streams: mpsc::Receiver<Relayed>,
    doors: D,
    open: mpsc::Sender<Infallible>,
    stopping: watch::Receiver<bool>,
) where
    D: ServiceFactory<Relayed, Config = (), Service = Door<H>, InitError: Debug>,
    Door<H>: Service<Relayed, Future: 'static> + 'static,
{
    let door = doors.new_service(()).await.expect("the app can be created");
    let serving = pin!(async {
        while let Some(relayed) = streams.recv().await {
            serve_one(&door, relayed, &open);
        }
    });
    select(serving, pin!(is_asked_to_stop(stopping))).await;
}

fn serve_one<T, H>(door: &Door<H>, stream: T, open: &mpsc::Sender<Infallible>)
where
    Door<H>: Service<T, Future: 'static>,
{
    let (served, open) = (door.call(stream), open.clone());
    rt::spawn(async move {
        let _ = served.await;
        drop(open);
    });
}

/// Those who have lost their places to the newest go before the next ones come, so that a burst
/// does not take all descriptors for a moment.
async fn let_go() {
    yield_now().await;
    yield_now().await;
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

impl<H> Service<Relayed> for Door<H>
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

    fn call(&self, relayed: Relayed) -> Self::Future {
        let (http, connections) = (self.http.clone(), self.connections.clone());
        let Relayed { stream, visit, address } = relayed;
        Box::pin(async move {
            // Without a place, the stream is closed, which the other machine tells its client.
            let Ok(admitted) = connections.admit_relayed() else { return Ok(()) };
            let place = Place::new(&connections, admitted);
            let closing = place.closing.clone();
            let socket = Socket::relayed(stream, visit, place);
            serve_until(&closing, &*http, (socket, Protocol::Http1, address)).await
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
