use std::{fmt, sync::Arc, time::Duration};

use etcd_client::ConnectOptions;
use towerkit_core::ConfigError;

use crate::{connection::Connection, service::EtcdService};

/// The prefix of all keys, by default.
const DEFAULT_PREFIX: &str = "/services/";

/// What a URL may begin with.
#[cfg(feature = "tls")]
const SCHEMES: &[&str] = &["http://", "https://"];
#[cfg(not(feature = "tls"))]
const SCHEMES: &[&str] = &["http://"];

/// A client of an etcd cluster, which all its services share.
///
/// It connects when it is used, and again after a failure. A clone shares the connection; a setter is called before the first
/// [`service`](Self::service).
#[derive(Clone)]
pub struct Etcd {
    endpoints: Arc<[String]>,
    prefix: Arc<str>,
    options: ConnectOptions,
    connection: Arc<Connection>,
}

impl Etcd {
    /// Makes a client of the cluster with these members, such as `http://127.0.0.1:2379`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no endpoint, or one that is not `http://` or, with the feature `tls`, `https://`, with a host and
    /// perhaps a port.
    pub fn new<E: AsRef<str>>(endpoints: impl IntoIterator<Item = E>) -> Result<Self, ConfigError> {
        let endpoints = endpoints
            .into_iter()
            .map(|endpoint| check_endpoint(endpoint.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            let expected = "the URL of at least one member";
            return Err(ConfigError::new("endpoints", endpoints, expected));
        }
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(1))
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        let endpoints: Arc<[String]> = endpoints.into();
        Ok(Self {
            connection: Arc::new(Connection::new(endpoints.clone(), options.clone())),
            endpoints,
            prefix: DEFAULT_PREFIX.into(),
            options,
        })
    }

    /// Sets the prefix of all keys, to which the name of a service and a slash are added. Default: `/services/`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets a user and a password, with which the client logs in.
    #[must_use]
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        let options = self.options.clone().with_user(name, password);
        self.with_options(options)
    }

    /// Returns a service of the cluster, to discover it or to register in it.
    ///
    /// # Errors
    ///
    /// Returns an error if `name` is empty, or has a slash, which would mix its keys with those of another.
    pub fn service(&self, name: &str) -> Result<EtcdService, ConfigError> {
        if name.is_empty() || name.contains('/') {
            let expected = "the name of a service without a slash";
            return Err(ConfigError::new("service", name, expected));
        }
        let prefix = format!("{}{name}/", self.prefix);
        Ok(EtcdService::new(self.connection.clone(), prefix.into()))
    }

    pub(crate) fn with_options(self, options: ConnectOptions) -> Self {
        let connection = Connection::new(self.endpoints.clone(), options.clone());
        Self {
            connection: Arc::new(connection),
            options,
            ..self
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn options(&self) -> &ConnectOptions {
        &self.options
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A password in a URL would be part of errors, and etcd does not read it there.
fn check_endpoint(endpoint: &str) -> Result<String, ConfigError> {
    let authority = SCHEMES
        .iter()
        .find_map(|scheme| endpoint.strip_prefix(scheme))
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let is_host = |authority: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        !authority.is_empty() && authority.bytes().all(allowed)
    };
    if authority.is_some_and(is_host) {
        return Ok(endpoint.to_owned());
    }
    let expected = format!("{} and a host", SCHEMES.join(" or "));
    let shown = if endpoint.contains('@') {
        "…"
    } else {
        endpoint
    };
    Err(ConfigError::new("endpoint", shown, expected))
}
