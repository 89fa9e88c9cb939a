//! Service discovery for tower.
mod address;
mod address_policy;
#[cfg(feature = "conformance")]
#[doc(hidden)]
pub mod conformance;
mod discovery;
mod endpoints;
#[cfg(feature = "file")]
mod file;
mod instance;
mod memory;
mod observable;
mod options;
mod pacer;
mod registrar;
mod registry;
#[cfg(feature = "http")]
mod registry_client;
mod sender;
mod snapshot;
mod source;
#[cfg(feature = "tower")]
mod tower;

pub use address::Address;
pub use address_policy::AddressPolicy;
pub use discovery::Discovery;
pub use endpoints::{EndpointSet, Endpoints, InstanceEndpoint, InstanceService};
#[cfg(feature = "file")]
pub use file::FileInstances;
pub use instance::{Instance, InstanceSet};
pub use memory::{MemoryLease, MemoryRegistry, MemoryService};
pub use observable::Subscription;
pub use options::DiscoveryOptions;
pub use pacer::Pacer;
pub use registrar::{Registrar, Registration, RegistrationStatus};
pub use registry::{LeaseStatus, Registry, RegistryError};
#[cfg(feature = "http")]
pub use registry_client::{RegistryClient, RegistryClientError, RegistryRequest, RegistryResponse};
pub use sender::InstanceSender;
pub use snapshot::{DiscoverySnapshot, DiscoveryStatus};
pub use source::{Source, StaticInstances};
#[cfg(feature = "tower")]
pub use tower::{DiscoverSource, EndpointChanges, StreamSource};
