use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{net::TcpStream, time::timeout};
use tower_service::Service;
use towerkit_core::BoxError;

/// A client of hyper-util that connects by TCP or TLS; made by [`client`].
pub type Client<B> = legacy::Client<Connector, B>;

/// Makes a client for HTTP/1.1 and HTTP/2 with a connection pool and TLS.
///
/// - Connections that have been idle for 90 seconds are closed.
/// - A connection has to be made within 10 seconds, TLS handshake included. The call fails otherwise, with an error by which a retry
///   knows that the request was not sent.
/// - TLS is [rustls] with [ring]; servers need a certificate of a public authority ([Mozilla's list]). HTTP/2 is used where the server
///   offers it by ALPN.
///
/// The client itself does not limit the time of a call: a server may take as long for its response as it likes. Add a
/// [`TimeoutLayer`] for that, and a retry outside of it:
///
/// ```text
/// let client = ServiceBuilder::new()
///     .layer(RetryLayer::new().http_client())
///     .layer(TimeoutLayer::new(Duration::from_secs(5))?.http_client())
///     .service(towerkit_http::client::<Full<Bytes>>());
/// ```
///
/// For private authorities, client certificates or proxies build a [`legacy::Client`] yourself, or use reqwest by
/// [`Reqwest`](crate::Reqwest): the layers take any client.
///
/// # Panics
///
/// A call needs a tokio runtime with time and IO enabled.
///
/// [rustls]: https://docs.rs/rustls
/// [ring]: https://docs.rs/ring
/// [Mozilla's list]: https://docs.rs/webpki-roots
/// [`TimeoutLayer`]: https://docs.rs/towerkit-timeout/latest/towerkit_timeout/struct.TimeoutLayer.html
#[must_use]
pub fn client<B: Body<Data: Send> + Send>() -> Client<B> {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(Connector::new())
}

const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects the [`client`] to a server, by TCP or TLS, within 10 seconds.
#[derive(Clone)]
pub struct Connector(HttpsConnector<HttpConnector>);

impl Connector {
    fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses of a host, so that a dead one does not use up all of the time.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let tls = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .expect("ring has the default versions of TLS");
        Self(
            tls.https_or_http()
                .enable_all_versions()
                .wrap_connector(tcp),
        )
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connect = self.0.call(target);
        Box::pin(async {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s");
            timeout(CONNECT_TIMEOUT, connect).await.map_err(late)?
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}
