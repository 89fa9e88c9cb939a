use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::ConfigError;
use towerkit_discovery::Address;

use crate::{
    connection::{Connection, Options},
    service::ZooKeeperService,
};

/// The path of all services, by default.
const DEFAULT_PATH: &str = "/services";
/// The session timeout, by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// A client of a ZooKeeper ensemble, whose session all its services share.
///
/// It connects when it is used, and again after a failure. A clone shares the session; a setter is called before the first
/// [`service`](Self::service).
#[derive(Clone)]
pub struct ZooKeeper {
    path: Arc<str>,
    options: Options,
    connection: Arc<Connection>,
}

impl ZooKeeper {
    /// Makes a client of the ensemble with these servers, such as `10.0.0.1:2181`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no server, or one without a host and a port.
    pub fn new<S: AsRef<str>>(servers: impl IntoIterator<Item = S>) -> Result<Self, ConfigError> {
        let servers = servers
            .into_iter()
            .map(|server| server.as_ref().parse())
            .collect::<Result<Vec<Address>, _>>()?;
        if servers.is_empty() {
            let expected = "the address of at least one server";
            return Err(ConfigError::new("servers", servers, expected));
        }
        let options = Options {
            servers: servers.into(),
            session_timeout: DEFAULT_TIMEOUT,
            digest: None,
        };
        Ok(Self {
            path: DEFAULT_PATH.into(),
            connection: Arc::new(Connection::new(options.clone())),
            options,
        })
    }

    /// Sets the path under which each service has a node. Default: `/services`.
    ///
    /// It takes the place of a chroot, and is made if it is missing.
    ///
    /// # Errors
    ///
    /// Returns an error if `path` does not begin with a slash, ends with one, or has a part that ZooKeeper does not allow.
    pub fn path(mut self, path: &str) -> Result<Self, ConfigError> {
        let is_valid = path
            .strip_prefix('/')
            .is_some_and(|path| path.split('/').all(is_node_name));
        if !is_valid {
            let expected = "an absolute path such as /services";
            return Err(ConfigError::new("path", path, expected));
        }
        self.path = path.into();
        Ok(self)
    }

    /// Sets a user and a password of the scheme `digest`: only that user may change the nodes that are made, and all may read them.
    ///
    /// Default: all may change them.
    #[must_use]
    pub fn digest(self, user: &str, password: &str) -> Self {
        let digest = Some(format!("{user}:{password}").into());
        let options = Options {
            digest,
            ..self.options
        };
        Self::with_options(self.path, options)
    }

    /// Sets the time after which ZooKeeper ends a session without a sign of life, and removes its nodes. Default: 15 seconds.
    ///
    /// # Errors
    ///
    /// Returns an error if `timeout` is not from 1 second to 1 hour.
    pub fn session_timeout(self, timeout: Duration) -> Result<Self, ConfigError> {
        let range = Duration::from_secs(1)..=Duration::from_secs(3600);
        let session_timeout = ConfigError::check_range("session_timeout", timeout, range)?;
        let options = Options {
            session_timeout,
            ..self.options
        };
        Ok(Self::with_options(self.path, options))
    }

    /// Returns a service of the ensemble, to discover it or to register in it.
    ///
    /// # Errors
    ///
    /// Returns an error if `name` is not the name of a node.
    pub fn service(&self, name: &str) -> Result<ZooKeeperService, ConfigError> {
        if !is_node_name(name) {
            let expected = "the name of a node, without a slash";
            return Err(ConfigError::new("service", name, expected));
        }
        let path = format!("{}/{name}", self.path);
        Ok(ZooKeeperService::new(self.connection.clone(), path.into()))
    }

    fn with_options(path: Arc<str>, options: Options) -> Self {
        Self {
            path,
            connection: Arc::new(Connection::new(options.clone())),
            options,
        }
    }
}

impl fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeper")
            .field("servers", &self.options.servers)
            .field("path", &self.path)
            .field("session_timeout", &self.options.session_timeout)
            .finish_non_exhaustive()
    }
}

/// True for a part of a path that ZooKeeper allows.
fn is_node_name(name: &str) -> bool {
    let is_allowed = |char: char| {
        !char.is_control()
            && char != '/'
            && !matches!(char, '\u{f000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
    };
    !name.is_empty() && name != "." && name != ".." && name.chars().all(is_allowed)
}
