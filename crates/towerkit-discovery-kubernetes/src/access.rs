use std::{fmt, sync::Arc, time::Duration};

use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{Client, Config, client::ConfigExt};
use tower::{BoxError, ServiceBuilder};

/// The time for the connection of a socket, after which the next attempt is due.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// An idle connection to a host that is gone is noticed after 8 s.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_PROBES: u32 = 3;

/// A client of an API server, and the configuration by which it is made. A clone shares them.
#[derive(Clone)]
pub(crate) struct Access {
    client: Client,
    /// `None` if the user has made the client.
    config: Option<Arc<Config>>,
}

impl Access {
    pub(crate) fn of_config(config: Config) -> kube::Result<Self> {
        Ok(Self {
            client: connect(&config)?,
            config: Some(Arc::new(config)),
        })
    }

    pub(crate) const fn of_client(client: Client) -> Self {
        Self {
            client,
            config: None,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns a client that has loaded its credentials again, if they can be.
    pub(crate) async fn renewed_client(&self) -> Option<Client> {
        let config = self.config.clone()?;
        // It reads files, and may run a command.
        let renewed = tokio::task::spawn_blocking(move || connect(&config)).await;
        renewed.ok()?.ok()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// Makes a client without retries, of which each request has a connection of its own, so that a dead connection delays no request.
fn connect(config: &Config) -> kube::Result<Client> {
    // Without an installed provider rustls panics in an application that has compiled in several.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // On an error another thread has installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    if config.proxy_url.is_some() {
        let mut config = config.clone();
        config.default_retry = false;
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEP_ALIVE));
    connector.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http = HttpClient::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build::<_, kube::client::Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}
