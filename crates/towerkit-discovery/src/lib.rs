//! Service discovery for tower.
mod address;
mod address_policy;
mod discovery;
mod endpoints;
mod instance;
mod observable;
mod options;
mod registry;
mod sender;
mod snapshot;
mod source;

pub use address::Address;
pub use address_policy::AddressPolicy;
pub use discovery::Discovery;
pub use endpoints::{EndpointSet, Endpoints, InstanceEndpoint, InstanceService};
pub use instance::{Instance, InstanceSet};
pub use observable::Subscription;
pub use options::DiscoveryOptions;
pub use registry::{LeaseStatus, Registry, RegistryError};
pub use sender::InstanceSender;
pub use snapshot::{DiscoverySnapshot, DiscoveryStatus};
pub use source::{Source, StaticInstances};
