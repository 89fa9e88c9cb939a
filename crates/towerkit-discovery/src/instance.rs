use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use crate::Address;

/// One instance of a service: its address, and the metadata that a registry has of it.
///
/// ```
/// use towerkit_discovery::Instance;
///
/// let instance = Instance::new("10.0.0.7:8080".parse()?).weight(3).zone("eu-1a").tag("canary", "yes");
/// assert_eq!(instance.address.to_string(), "10.0.0.7:8080");
/// assert_eq!((instance.weight, instance.zone.as_deref()), (3, Some("eu-1a")));
/// # Ok::<(), towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// The address, which identifies the instance in a set.
    pub address: Address,
    /// The share of the calls relative to the other instances, 1 by default. An instance of weight 0 gets calls only if all have 0.
    pub weight: u32,
    /// The zone, or location, in which the instance runs.
    pub zone: Option<Arc<str>>,
    /// The version of the service that the instance runs.
    pub version: Option<Arc<str>>,
    /// Further metadata.
    pub tags: Arc<BTreeMap<String, String>>,
}

impl Instance {
    /// Makes an instance of weight 1, without metadata.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            weight: 1,
            zone: None,
            version: None,
            tags: Arc::default(),
        }
    }

    /// Sets the weight.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the zone.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: impl Into<Arc<str>>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Adds a tag, or replaces the one of that key.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.tags).insert(key.into(), value.into());
        self
    }
}

impl From<Address> for Instance {
    fn from(address: Address) -> Self {
        Self::new(address)
    }
}

impl From<std::net::SocketAddr> for Instance {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::new(address.into())
    }
}

/// The instances of a service: sorted by address, and no address twice. A clone shares them.
///
/// Of several instances with one address the first is kept.
///
/// ```
/// use towerkit_discovery::{Instance, InstanceSet};
///
/// let instances: InstanceSet = ["b:80", "a:80", "b:80"]
///     .iter()
///     .map(|address| Ok(Instance::new(address.parse()?)))
///     .collect::<Result<_, towerkit_core::ConfigError>>()?;
/// let addresses: Vec<_> = instances.iter().map(|instance| instance.address.to_string()).collect();
/// assert_eq!(addresses, ["a:80", "b:80"]);
/// # Ok::<(), towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceSet(Arc<[Instance]>);

impl InstanceSet {
    /// The maximum number of instances that a [`Discovery`](crate::Discovery) keeps of one service.
    pub const CAPACITY: usize = 10_000;

    /// Returns the instance with this address.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<&Instance> {
        let index = self
            .0
            .binary_search_by(|instance| instance.address.cmp(address));
        index.ok().map(|index| &self.0[index])
    }
}

impl FromIterator<Instance> for InstanceSet {
    fn from_iter<I: IntoIterator<Item = Instance>>(instances: I) -> Self {
        let mut instances: Vec<_> = instances.into_iter().collect();
        // Stable, so that the first of equal addresses is the one that stays.
        instances.sort_by(|a, b| a.address.cmp(&b.address));
        instances.dedup_by(|a, b| a.address == b.address);
        Self(instances.into())
    }
}

impl Deref for InstanceSet {
    type Target = [Instance];

    fn deref(&self) -> &[Instance] {
        &self.0
    }
}
