use flags::RegistryUrl;
use std::time::Duration;
use towerkit::{
    core::BoxError,
    discovery::{Discovery, DiscoveryOptions, Instance, MemoryRegistry, Registrar, Registration},
};

/// The registry of the demo: in the memory of the process, or a real one.
#[derive(Debug, Clone)]
pub(crate) enum Registry {
    /// In memory.
    Memory(MemoryRegistry),
    /// By its URL.
    Url(RegistryUrl),
}

/// The name of the service in the registry in memory.
const SERVICE: &str = "demo";
/// How long the registration of a killed instance stays there.
const TTL: Duration = Duration::from_secs(2);

impl Registry {
    /// Makes a registry of the argument `--registry`.
    ///
    /// # Errors
    ///
    /// If it is neither `memory` nor the URL of a registry.
    pub(crate) fn new(text: &str) -> Result<Self, BoxError> {
        let url = match text {
            "memory" => return Ok(Self::Memory(MemoryRegistry::new())),
            "etcd" => "etcd://127.0.0.1:2379/demo",
            "consul" => "consul://127.0.0.1:8500/demo",
            "zk" => "zk://127.0.0.1:2181/demo",
            url => url,
        };
        Ok(Self::Url(url.parse()?))
    }

    /// Discovers the instances.
    ///
    /// # Errors
    ///
    /// If the registry cannot be used.
    pub(crate) fn discover(&self) -> Result<Discovery, BoxError> {
        match self {
            Self::Memory(registry) => Ok(DiscoveryOptions::new().spawn(registry.service(SERVICE))),
            Self::Url(url) => url.discover(DiscoveryOptions::new().development()),
        }
    }

    /// Registers an instance.
    ///
    /// # Errors
    ///
    /// If the registry cannot be used.
    pub(crate) fn register(&self, instance: Instance) -> Result<Registration, BoxError> {
        match self {
            Self::Memory(registry) => {
                let service = registry.service(SERVICE).ttl(TTL);
                Ok(Registrar::new(service, instance).spawn())
            }
            Self::Url(url) => url.register(instance),
        }
    }
}
