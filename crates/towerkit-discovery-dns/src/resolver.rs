use std::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hickory_resolver::{
    ConnectionProvider, NameServerPool, PoolContext, TlsConfig,
    config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverOpts},
    net::{
        DnsError, NetError,
        runtime::TokioRuntimeProvider,
        udp::UdpClientStream,
        xfer::{DnsExchange, DnsHandle, FirstAnswer},
    },
    proto::{
        op::{DnsRequestOptions, Query, ResponseCode},
        rr::{Name, RecordType},
    },
    system_conf::read_system_conf,
};
use towerkit_core::ConfigError;

use crate::lookup::{Answer, Lookup, LookupError};

/// The time in which a name server has to answer. With the pause after a failure it is below the two seconds in which a discovery
/// recovers.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A set of name servers, which several [`Dns`](crate::Dns) sources can share.
///
/// A clone shares the connections.
#[derive(Clone)]
pub struct DnsResolver(Arc<Inner>);

struct Inner {
    /// The name servers; `None` for those of the system, which are read at the first lookup.
    name_servers: Option<Vec<NameServerConfig>>,
    pool: OnceLock<NameServerPool<Connections>>,
}

impl DnsResolver {
    /// Makes a resolver with these name servers, which are asked over UDP, and over TCP if an answer is too long for it.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no name servers.
    pub fn new(name_servers: impl IntoIterator<Item = SocketAddr>) -> Result<Self, ConfigError> {
        let name_servers: Vec<_> = name_servers.into_iter().map(name_server).collect();
        if name_servers.is_empty() {
            let expected = "the address of at least one name server";
            return Err(ConfigError::new("name_servers", name_servers, expected));
        }
        Ok(Self::with(Some(name_servers)))
    }

    /// Makes a resolver with the name servers of the system: those of `/etc/resolv.conf` on Unix.
    ///
    /// They are read at the first lookup, and a lookup fails while there are none.
    #[must_use]
    pub fn system() -> Self {
        Self::with(None)
    }

    fn with(name_servers: Option<Vec<NameServerConfig>>) -> Self {
        Self(Arc::new(Inner {
            name_servers,
            pool: OnceLock::new(),
        }))
    }

    fn pool(&self) -> Result<&NameServerPool<Connections>, NetError> {
        if let Some(pool) = self.0.pool.get() {
            return Ok(pool);
        }
        let name_servers = match &self.0.name_servers {
            Some(name_servers) => name_servers.clone(),
            None => read_system_conf()?.0.name_servers,
        };
        let mut options = ResolverOpts::default();
        options.timeout = TIMEOUT;
        options.use_hosts_file = ResolveHosts::Never;
        let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
        let connections = Connections(TokioRuntimeProvider::default());
        let pool = NameServerPool::from_config(name_servers, context, connections);
        Ok(self.0.pool.get_or_init(|| pool))
    }
}

impl Lookup for DnsResolver {
    async fn query(&self, name: &Name, record_type: RecordType) -> Result<Answer, LookupError> {
        let query = Query::query(name.clone(), record_type);
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        let response = self.pool()?.lookup(query, options).first_answer().await;
        match response {
            Ok(response) => match response.response_code {
                ResponseCode::NoError => Ok(Answer {
                    negative_ttl: response.negative_ttl(),
                    answers: response.answers.clone(),
                    additionals: response.additionals.clone(),
                    is_final: false,
                }),
                ResponseCode::NXDomain => Ok(Answer {
                    negative_ttl: response.negative_ttl(),
                    answers: response.answers.clone(),
                    additionals: Vec::new(),
                    is_final: true,
                }),
                code => Err(NetError::from(DnsError::ResponseCode(code)).into()),
            },
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                // A referral to other name servers is no answer.
                if none.ns.is_some() && none.soa.is_none() {
                    return Err(LookupError::Referral);
                }
                Ok(Answer {
                    negative_ttl: none.negative_ttl,
                    answers: Vec::new(),
                    additionals: Vec::new(),
                    is_final: true,
                })
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for name_server in self.0.name_servers.iter().flatten() {
            for connection in &name_server.connections {
                list.entry(&SocketAddr::new(name_server.ip, connection.port));
            }
        }
        list.finish()
    }
}

/// Connections that send a query once: a retransmission is an attempt of the source, which counts them.
#[derive(Clone)]
struct Connections(TokioRuntimeProvider);

impl ConnectionProvider for Connections {
    type Conn = DnsExchange<TokioRuntimeProvider>;
    type FutureConn = Pin<Box<dyn Future<Output = Result<Self::Conn, NetError>> + Send>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        if !matches!(config.protocol, ProtocolConfig::Udp) {
            return self.0.new_connection(ip, config, context);
        }
        let address = SocketAddr::new(ip, config.port);
        let stream = UdpClientStream::builder(address, self.0.clone())
            .with_timeout(Some(context.options.timeout))
            .with_max_retries(1);
        Ok(Box::pin(async move { Ok(stream.exchange()) }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.0
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut config = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut config.connections {
        connection.port = address.port();
    }
    config
}
