//! The transport to the server: a TCP connection without Nagle's delay, with TLS around it for an
//! `https` address.

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::local::LocalServer;
use crate::connections::local;
use crate::trust::client_config;
use actix_http::Uri;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector, ConnectorService};
use actix_web::dev::Service;
use actix_web::rt::net::{ActixStream, TcpStream, UnixStream};
use rustls::CertificateError;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// An HTTP client with connections of its own. `limit` is the timeout of a whole response; `None`
/// for endless ones.
pub(super) fn client(endpoint: &Endpoint, limit: Option<Duration>) -> Result<awc::Client, Failure> {
    if let Some(server) = &endpoint.server {
        let connector = awc::Connector::new().connector(Local { server: server.clone() });
        return Ok(finish(connector, limit));
    }
    let mut connector =
        awc::Connector::new().connector(Remote { tcp: Connector::default().service() });
    if endpoint.url.starts_with("https://") {
        connector = connector.rustls_0_23(client_config().map_err(Failure::Other)?);
    }
    Ok(finish(connector, limit))
}

fn finish<S, Io>(connector: awc::Connector<S>, limit: Option<Duration>) -> awc::Client
where
    S: Service<ConnectInfo<Uri>, Response = Connection<Uri, Io>, Error = ConnectError>
        + Clone
        + 'static,
    Io: ActixStream + Debug + 'static,
{
    let builder = awc::Client::builder().connector(connector).disable_redirects();
    match limit {
        Some(limit) => builder.timeout(limit).finish(),
        None => builder.disable_timeout().finish(),
    }
}

/// The reason why a connection cannot be trusted, which a retry will not change; `None` if the
/// error may be transient.
pub(super) fn distrust(url: &str, e: &io::Error) -> Option<Failure> {
    let why = match e.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidMessage(_) => "does not speak TLS; perhaps http:// is meant".into(),
        rustls::Error::InvalidCertificate(e) => format!("is not trusted: {}", blame(e)),
        // Such as an alert of a proxy that is being restarted.
        _ => return None,
    };
    Some(Failure::Other(format!("the server at {url} {why}")))
}

/// The problem of a certificate, and advice where that is not obvious.
fn blame(e: &CertificateError) -> String {
    match e {
        // No trusted certificate has that name, or that key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "nobody who is trusted here has issued its certificate; SSL_CERT_FILE can name a file \
             with the issuer's"
                .into()
        }
        // `openssl req -x509` makes such certificates by default.
        CertificateError::Other(e) if e.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's; one for a server has CA:FALSE in its \
             basicConstraints"
                .into()
        }
        e => e.to_string(),
    }
}

/// Connects, disables Nagle's delay, and checks that the peer is the server that was found, before
/// anything is sent.
#[derive(Clone)]
struct Remote {
    tcp: ConnectorService,
}

impl Service<ConnectInfo<Uri>> for Remote {
    type Response = Connection<Uri, TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>>>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Service::<ConnectInfo<Uri>>::poll_ready(&self.tcp, cx)
    }

    fn call(&self, to: ConnectInfo<Uri>) -> Self::Future {
        let connecting = self.tcp.call(to);
        Box::pin(async move {
            let connection = connecting.await?;
            connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
            Ok(connection)
        })
    }
}

/// Connects to the unix socket of a server of this machine, and verifies that the peer is the
/// server that was found, before anything is sent.
#[derive(Clone)]
struct Local {
    server: LocalServer,
}

impl Service<ConnectInfo<Uri>> for Local {
    type Response = Connection<Uri, UnixStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>>>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, to: ConnectInfo<Uri>) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move {
            let stream = connect(&server).await.map_err(ConnectError::Io)?;
            Ok(Connection::new(to.request().clone(), stream))
        })
    }
}

async fn connect(server: &LocalServer) -> io::Result<UnixStream> {
    let directory = local::open_directory(server.dir())?;
    let stream = UnixStream::connect(local::short_path(&directory)).await?;
    let (_, uid) = local::credentials(&stream)?;
    if !server.may_be(uid) {
        let who = format!(
            "a process of another user (uid {uid}) listens there; nothing was sent to it. Start the \
             server again"
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, who));
    }
    // If the server has died meanwhile, whoever listens there now was not meant.
    if server.still_runs() { Ok(stream) } else { Err(io::ErrorKind::ConnectionReset.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, Error, InvalidMessage, OtherError};
    use std::sync::Arc;

    #[test]
    fn only_what_tls_objects_to_is_final() {
        let said = |e: Error| distrust("https://a", &io::Error::other(e)).unwrap().to_string();
        let authority = OtherError(Arc::new(io::Error::other("CaUsedAsEndEntity")));
        for (wrong, words) in [
            (CertificateError::UnknownIssuer, "SSL_CERT_FILE"),
            (CertificateError::Other(authority), "CA:FALSE"),
            (CertificateError::Revoked, "Revoked"),
        ] {
            let said = said(Error::InvalidCertificate(wrong));
            assert!(said.starts_with("the server at https://a is not trusted: "), "{said}");
            assert!(said.contains(words), "{said}");
        }
        assert!(said(Error::InvalidMessage(InvalidMessage::InvalidCcs)).contains("http://"));
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert!(distrust("https://a", &cut).is_none());
        let alert = io::Error::other(Error::AlertReceived(AlertDescription::InternalError));
        assert!(distrust("https://a", &alert).is_none());
    }
}
