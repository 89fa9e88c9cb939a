use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use towerkit_core::BoxError;
use towerkit_http::PeerCertificates;

use crate::listener::{Accepted, Listener};

/// The TLS settings of a server: its certificate, and the certificates of clients that it accepts.
///
/// TLS 1.2 and 1.3 are served by [rustls] with [ring]; clients choose HTTP/2 or HTTP/1.1 by [ALPN]. For other settings give a
/// [`ServerConfig`] of your own to [`TlsListener::new`].
///
/// [rustls]: https://docs.rs/rustls
/// [ring]: https://docs.rs/ring
/// [ALPN]: https://www.rfc-editor.org/rfc/rfc7301
#[derive(Debug, Clone)]
pub struct Tls {
    certificate: Arc<SingleCertAndKey>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl Tls {
    /// Reads a certificate chain, with the certificate of the server first, and its private key; both are in PEM.
    ///
    /// Clients need no certificate.
    ///
    /// # Errors
    ///
    /// Returns an error if one of them cannot be read, or if the key does not belong to the certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain, "the certificate chain")?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(TlsError::reading("the private key"))?;
        let certificate = CertifiedKey::from_der(chain, key, &provider())
            .map_err(TlsError::reading("the certificate and its key"))?;
        Ok(Self {
            certificate: Arc::new(certificate.into()),
            clients: Arc::new(NoClientAuth),
        })
    }

    /// Verifies the certificates of clients that have one; the authorities are in PEM.
    ///
    /// A client with a certificate of another authority is rejected. [`PeerCertificates`] are in the extensions of the requests.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no authority, or if one cannot be read.
    pub fn optional_client_certificates(mut self, authorities: &[u8]) -> Result<Self, TlsError> {
        let verifier = verifier(authorities)?.allow_unauthenticated().build();
        self.clients = verifier.map_err(TlsError::reading("the authorities of clients"))?;
        Ok(self)
    }

    /// Rejects clients without a certificate of these authorities, which are in PEM.
    ///
    /// [`PeerCertificates`] are in the extensions of the requests.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no authority, or if one cannot be read.
    pub fn required_client_certificates(mut self, authorities: &[u8]) -> Result<Self, TlsError> {
        let verifier = verifier(authorities)?.build();
        self.clients = verifier.map_err(TlsError::reading("the authorities of clients"))?;
        Ok(self)
    }
}

impl From<Tls> for Arc<ServerConfig> {
    fn from(tls: Tls) -> Self {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions of TLS")
            .with_client_cert_verifier(tls.clients)
            .with_cert_resolver(tls.certificate);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::new(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &[u8], name: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(TlsError::reading(name))?;
    if certificates.is_empty() {
        return Err(TlsError::reading(name)("there is no certificate"));
    }
    Ok(certificates)
}

fn verifier(authorities: &[u8]) -> Result<rustls::server::ClientCertVerifierBuilder, TlsError> {
    const NAME: &str = "the authorities of clients";
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, NAME)? {
        roots.add(authority).map_err(TlsError::reading(NAME))?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider(),
    ))
}

/// A listener for TLS on top of another one.
///
/// Each handshake runs in the task of its connection, within [`handshake_timeout`](crate::Server::handshake_timeout).
#[derive(Debug)]
pub struct TlsListener<L> {
    inner: L,
    handle: TlsHandle,
}

impl<L> TlsListener<L> {
    /// Serves TLS on the connections of `inner`, with [`Tls`] or with a [`ServerConfig`] of your own.
    ///
    /// List `h2` and `http/1.1` in the [`alpn_protocols`](ServerConfig::alpn_protocols) of your own configuration.
    #[must_use]
    pub fn new(inner: L, tls: impl Into<Arc<ServerConfig>>) -> Self {
        Self {
            inner,
            handle: TlsHandle(Arc::new(RwLock::new(tls.into()))),
        }
    }

    /// Returns a handle that replaces the settings, such as a certificate that will expire.
    #[must_use]
    pub fn handle(&self) -> TlsHandle {
        self.handle.clone()
    }
}

/// Replaces the TLS settings of a [`TlsListener`] while it serves.
#[derive(Debug, Clone)]
pub struct TlsHandle(Arc<RwLock<Arc<ServerConfig>>>);

impl TlsHandle {
    /// Uses other settings for the connections from now on. Open connections stay as they are.
    pub fn reload(&self, tls: impl Into<Arc<ServerConfig>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tls.into();
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    type Io = TlsStream<L::Io>;
    type Handshake = Pin<Box<dyn Future<Output = io::Result<Accepted<Self::Io>>> + Send>>;

    async fn accept(&mut self) -> io::Result<Self::Handshake> {
        let handshake = self.inner.accept().await?;
        let acceptor = TlsAcceptor::from(self.handle.config());
        Ok(Box::pin(async move {
            let Accepted { io, extensions } = handshake.await?;
            let io = acceptor.accept(io).await?;
            let chain = io
                .get_ref()
                .1
                .peer_certificates()
                .map(PeerCertificates::new);
            let mut accepted = Accepted::new(io);
            accepted.extensions = extensions;
            if let Some(chain) = chain {
                accepted.extensions.insert(chain);
            }
            Ok(accepted)
        }))
    }
}

/// A certificate, a key or an authority that TLS cannot use.
#[derive(Debug)]
pub struct TlsError {
    name: &'static str,
    source: BoxError,
}

impl TlsError {
    fn reading<E: Into<BoxError>>(name: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self {
            name,
            source: source.into(),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use {}", self.name)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}
