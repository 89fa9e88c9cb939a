//! The client of registries that speak HTTP and JSON.

mod attempt;
mod error;
mod gate;
mod request;

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, Uri, header::AUTHORIZATION, uri::Scheme};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tower_layer::Layer;
use tower_service::Service;
use towerkit_core::{ConfigError, LayerExt, Plain};
use towerkit_retry::{Always, Retry, RetryLayer};

use self::attempt::{Attempt, BaseUrl, Config};
pub use self::{
    error::RegistryClientError,
    request::{RegistryRequest, RegistryResponse},
};

/// The maximum number of attempts of a request, if there are as many servers.
const MAX_ATTEMPTS: usize = 3;

/// A client of a registry that speaks HTTP and JSON, such as Consul or Eureka.
///
/// For the authors of a [`Source`](crate::Source) or a [`Registry`](crate::Registry), and for their users to set TLS and credentials.
/// All sources and registrations of a process share one client:
///
/// - It tries the servers in turn: after a failure the next one, for as long as that works.
/// - While requests fail, all that share the client send at most two a second together; the others wait. The first answer lets all
///   of them go, at most once in ten seconds.
/// - A request, with its response, has to end within 5 seconds ([`timeout`](Self::timeout)). A response has at most 16 MiB.
/// - Secrets appear neither in [`Debug`] nor in errors, also where a server repeats them.
///
/// ```
/// use towerkit_discovery::RegistryClient;
///
/// let client = RegistryClient::new(["https://10.0.0.1:8501", "https://10.0.0.2:8501"])?
///     .secret_header("X-Consul-Token", "8a5b…")?;
/// assert!(!format!("{client:?}").contains("8a5b"));
/// # Ok::<(), towerkit_core::ConfigError>(())
/// ```
///
/// # Cancellation
///
/// Dropping the future of a request closes its HTTP/1.1 connection. The server may have handled the request.
#[derive(Clone)]
pub struct RegistryClient {
    config: Arc<Config>,
    service: Retry<Attempt, Plain, Always>,
}

impl RegistryClient {
    /// Makes a client of a registry with these servers, such as `http://10.0.0.1:8500` or `https://eureka.internal/eureka`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no URL, or if one has another scheme, credentials, a query or no host.
    pub fn new(urls: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, ConfigError> {
        let urls = urls.into_iter().map(|url| base_url(url.as_ref()));
        let urls: Vec<_> = urls.collect::<Result<_, _>>()?;
        if urls.is_empty() {
            return Err(ConfigError::new("urls", urls.len(), "at least one URL"));
        }
        Self::build(Config::new(urls))
    }

    /// Sets the time for a request with its response. Default: 5 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if `timeout` is zero or longer than 365 days.
    pub fn timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("timeout", timeout)?;
        self.with(|config| config.timeout = timeout)
    }

    /// Sets the time for a TCP connection. Default: 2 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if `timeout` is zero or longer than 365 days.
    pub fn connect_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("connect_timeout", timeout)?;
        self.with(|config| config.connect_timeout = timeout)
    }

    /// Sends a header with a secret value, such as a token, with each request.
    ///
    /// # Errors
    ///
    /// Returns an error, without the value, if the name or the value cannot be sent.
    pub fn secret_header(self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let name = HeaderName::try_from(name)
            .map_err(|_| ConfigError::new("header", name, "the name of an HTTP header"))?;
        let header = sensitive(value)?;
        self.with(|config| {
            config.headers.retain(|(known, _)| *known != name);
            config.headers.push((name, header));
            config.secrets.push(value.to_owned());
        })
    }

    /// Sends a user and a password with each request ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    ///
    /// # Errors
    ///
    /// Returns an error, without the password, if the user has a colon.
    pub fn basic_auth(self, user: &str, password: &str) -> Result<Self, ConfigError> {
        if user.contains(':') {
            return Err(ConfigError::new("user", user, "a name without a colon"));
        }
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let header = sensitive(&format!("Basic {credentials}"))?;
        self.with(|config| {
            config.headers.retain(|(known, _)| *known != AUTHORIZATION);
            config.headers.push((AUTHORIZATION, header));
            config.secrets.extend([password.to_owned(), credentials]);
        })
    }

    /// Trusts these authorities for the certificates of servers, which are in PEM, and no others. Default: the public authorities.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no certificate, or if one cannot be read.
    pub fn authorities(self, pem: &[u8]) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::new("authorities", "PEM", "certificates in PEM");
        let mut roots = RootCertStore::empty();
        for certificate in certificates(pem).ok_or_else(invalid)? {
            roots.add(certificate).map_err(|_| invalid())?;
        }
        self.with(|config| config.roots = Some(roots))
    }

    /// Presents a certificate to servers: its chain, with the own certificate first, and its private key; both are in PEM.
    ///
    /// # Errors
    ///
    /// Returns an error if one of them cannot be read, or if the key does not belong to the certificate.
    pub fn client_certificate(self, chain: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let invalid =
            || ConfigError::new("client certificate", "PEM", "a chain and its key in PEM");
        let chain = certificates(chain).ok_or_else(invalid)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| invalid())?;
        self.with(|config| config.certificate = Some((chain, Arc::new(key))))
    }

    /// Sends a request, and returns the response with any status below 500.
    ///
    /// If there are several servers, it is tried at up to three of them.
    ///
    /// # Errors
    ///
    /// Returns an error if no server can be reached, or answers in time and with less than 16 MiB, or if the status is 500 or above
    /// and the request does not [expect](RegistryRequest::expect) it.
    pub async fn send(
        &self,
        request: RegistryRequest,
    ) -> Result<RegistryResponse, RegistryClientError> {
        // The service is always ready.
        self.service.clone().call(request).await
    }

    fn with(&self, change: impl FnOnce(&mut Config)) -> Result<Self, ConfigError> {
        let mut config = (*self.config).clone();
        change(&mut config);
        Self::build(config)
    }

    fn build(config: Config) -> Result<Self, ConfigError> {
        let attempts = config.urls.len().min(MAX_ATTEMPTS);
        let layer = RetryLayer::new()
            .attempts(u8::try_from(attempts).expect("there are at most three attempts"))?
            .name("registry")
            .plain("registry")
            // A registration replaces an earlier one.
            .idempotent();
        let config = Arc::new(config);
        Ok(Self {
            service: layer.layer(Attempt::new(config.clone())?),
            config,
        })
    }
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryClient")
            .field("urls", &self.config.urls)
            .field("timeout", &self.config.timeout)
            .finish_non_exhaustive()
    }
}

fn base_url(url: &str) -> Result<BaseUrl, ConfigError> {
    let expected = "a URL such as https://10.0.0.1:8500, without credentials and query";
    // What is wrong may be a password.
    let shown = || match url.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => url.to_owned(),
    };
    let invalid = || ConfigError::new("url", shown(), expected);
    let parsed: Uri = url.parse().map_err(|_| invalid())?;
    let scheme = parsed
        .scheme()
        .filter(|scheme| **scheme == Scheme::HTTP || **scheme == Scheme::HTTPS);
    let authority = parsed.authority();
    let (Some(scheme), Some(authority), None) = (scheme, authority, parsed.query()) else {
        return Err(invalid());
    };
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(invalid());
    }
    Ok(BaseUrl {
        origin: format!("{scheme}://{authority}").into(),
        path: parsed.path().trim_end_matches('/').into(),
    })
}

fn sensitive(value: &str) -> Result<HeaderValue, ConfigError> {
    let expected = "visible ASCII";
    let mut header = HeaderValue::try_from(value)
        .map_err(|_| ConfigError::new("header value", "…", expected))?;
    header.set_sensitive(true);
    Ok(header)
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    certificates.ok().filter(|found| !found.is_empty())
}
