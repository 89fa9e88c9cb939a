use std::{
    collections::BTreeMap,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    Address, AddressPolicy, Instance, InstanceSender, InstanceSet, LeaseStatus, Registry,
    RegistryError, Source,
};

/// The time after which a registration that is not renewed is gone, by default.
const DEFAULT_TTL: Duration = Duration::from_secs(15);

/// A registry in the memory of this process, for tests and demonstrations.
///
/// A clone is the same registry. A test takes it away by [`set_reachable`](Self::set_reachable), and its data by
/// [`clear`](Self::clear).
///
/// ```
/// use towerkit_discovery::{Discovery, Instance, MemoryRegistry};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
/// let registry = MemoryRegistry::new();
/// registry.insert("addsvc", Instance::new("127.0.0.1:8081".parse()?));
/// let discovery = Discovery::spawn(registry.service("addsvc"));
/// assert_eq!(discovery.ready().await.instances.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct MemoryRegistry(Arc<Inner>);

struct Inner {
    services: Mutex<Services>,
    /// Counts changes; the sources wait for it.
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct Services {
    entries: BTreeMap<Arc<str>, BTreeMap<Address, Entry>>,
    next_lease: u64,
    is_unreachable: bool,
}

struct Entry {
    instance: Instance,
    lease: u64,
    /// `None` for an instance that was inserted, which stays.
    expires_at: Option<Instant>,
}

/// One service of a [`MemoryRegistry`]: a source of its instances, and a registry for them.
///
/// As a source it allows any address.
#[derive(Clone)]
pub struct MemoryService {
    registry: MemoryRegistry,
    name: Arc<str>,
    ttl: Duration,
}

/// A registration in a [`MemoryRegistry`].
#[derive(Debug)]
pub struct MemoryLease {
    id: u64,
    address: Address,
}

impl MemoryRegistry {
    /// Makes a registry without instances.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a service of the registry, to discover it or to register in it.
    #[must_use]
    pub fn service(&self, name: impl Into<Arc<str>>) -> MemoryService {
        MemoryService {
            registry: self.clone(),
            name: name.into(),
            ttl: DEFAULT_TTL,
        }
    }

    /// Inserts an instance that stays until it is removed.
    pub fn insert(&self, service: impl Into<Arc<str>>, instance: Instance) {
        self.update(|services| services.insert(service.into(), instance, None));
    }

    /// Removes an instance, and returns true if it was there.
    pub fn remove(&self, service: &str, address: &Address) -> bool {
        self.update(|services| {
            let entries = services.entries.get_mut(service);
            entries.is_some_and(|entries| entries.remove(address).is_some())
        })
    }

    /// Removes all instances of all services, as the restart of a registry without its data does.
    pub fn clear(&self) {
        self.update(|services| services.entries.clear());
    }

    /// Sets if the registry answers. While it does not, sources and registrations get errors.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.update(|services| services.is_unreachable = !is_reachable);
    }

    /// Returns the instances of a service.
    #[must_use]
    pub fn instances(&self, service: &str) -> InstanceSet {
        self.services().list(service, Instant::now()).0
    }

    fn services(&self) -> MutexGuard<'_, Services> {
        self.0
            .services
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn update<T>(&self, change: impl FnOnce(&mut Services) -> T) -> T {
        let result = change(&mut self.services());
        self.0.version.send_modify(|version| *version += 1);
        result
    }

    /// Makes a change on behalf of a client.
    fn request<T>(&self, change: impl FnOnce(&mut Services) -> T) -> Result<T, RegistryError> {
        self.update(|services| services.check().map(|()| change(services)))
    }
}

impl Services {
    fn check(&self) -> Result<(), RegistryError> {
        if self.is_unreachable {
            return Err("the registry is not reachable".into());
        }
        Ok(())
    }

    fn insert(&mut self, service: Arc<str>, instance: Instance, ttl: Option<Duration>) -> u64 {
        self.next_lease += 1;
        let entry = Entry {
            lease: self.next_lease,
            expires_at: ttl.and_then(|ttl| Instant::now().checked_add(ttl)),
            instance,
        };
        let entries = self.entries.entry(service).or_default();
        entries.retain(|_, entry| !entry.is_expired(Instant::now()));
        entries.insert(entry.instance.address.clone(), entry);
        self.next_lease
    }

    /// Returns the entry of a lease that has not run out.
    fn entry(&mut self, service: &str, lease: &MemoryLease) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(service)?.get_mut(&lease.address)?;
        let is_alive = entry.lease == lease.id && !entry.is_expired(Instant::now());
        is_alive.then_some(entry)
    }

    /// Returns the instances, and when the next of them expires.
    fn list(&self, service: &str, now: Instant) -> (InstanceSet, Option<Instant>) {
        let entries = self.entries.get(service).into_iter().flatten();
        let alive = entries
            .map(|(_, entry)| entry)
            .filter(|entry| !entry.is_expired(now));
        let next = alive.clone().filter_map(|entry| entry.expires_at).min();
        (alive.map(|entry| entry.instance.clone()).collect(), next)
    }
}

impl Entry {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl MemoryService {
    /// Sets the time after which a registration that is not renewed is gone. Default: 15 seconds.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }
}

impl Source for MemoryService {
    fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::Any
    }

    async fn run(self, sender: InstanceSender) {
        let mut version = self.registry.0.version.subscribe();
        loop {
            version.mark_unchanged();
            let (answer, next) = {
                let services = self.registry.services();
                let (instances, next) = services.list(&self.name, Instant::now());
                (services.check().map(|()| instances), next)
            };
            match answer {
                Ok(instances) => sender.set(instances.iter().cloned()),
                Err(error) => sender.fail(error),
            }
            let expired = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // `self.registry` has the sender.
                _ = version.changed() => {}
                () = expired => {}
            }
        }
    }
}

impl Registry for MemoryService {
    type Lease = MemoryLease;

    fn ttl(&self) -> Duration {
        self.ttl
    }

    async fn register(&self, instance: &Instance) -> Result<MemoryLease, RegistryError> {
        let id = self.registry.request(|services| {
            services.insert(self.name.clone(), instance.clone(), Some(self.ttl))
        })?;
        let address = instance.address.clone();
        Ok(MemoryLease { id, address })
    }

    async fn renew(&self, lease: &mut MemoryLease) -> Result<LeaseStatus, RegistryError> {
        self.registry.request(|services| {
            let Some(entry) = services.entry(&self.name, lease) else {
                return LeaseStatus::Lost;
            };
            entry.expires_at = Instant::now().checked_add(self.ttl);
            LeaseStatus::Renewed
        })
    }

    async fn deregister(&self, lease: MemoryLease) -> Result<(), RegistryError> {
        self.registry.request(|services| {
            if services.entry(&self.name, &lease).is_some()
                && let Some(entries) = services.entries.get_mut(&self.name)
            {
                entries.remove(&lease.address);
            }
        })
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            services: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl fmt::Debug for MemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.services();
        let counts = services
            .entries
            .iter()
            .map(|(name, entries)| (name, entries.len()));
        f.debug_map().entries(counts).finish()
    }
}

impl fmt::Debug for MemoryService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryService")
            .field("name", &self.name)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
