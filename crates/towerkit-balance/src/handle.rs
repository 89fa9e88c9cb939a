use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use towerkit_core::StateHandle;
use towerkit_discovery::{Address, Instance};

use crate::config::Config;

/// Shows the instances of a [`BalanceLayer`](crate::BalanceLayer), ejects and restores them.
///
/// It covers all services that the layer has made and that still exist.
#[derive(Clone)]
pub struct BalanceHandle(StateHandle<Arc<LayerShared>>);

/// The instances of a [`BalanceLayer`](crate::BalanceLayer) at one moment.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BalanceSnapshot {
    /// The instances, sorted by address; those of several services one after the other.
    pub instances: Vec<InstanceSnapshot>,
}

/// The state of one instance at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InstanceSnapshot {
    /// The instance.
    pub instance: Instance,
    /// True if the instance gets calls while it is well; false for one of weight 0 beside others, or outside of the
    /// [preferred zone](crate::BalanceLayer::prefer_zone).
    pub is_active: bool,
    /// The calls in flight, to the end of their response bodies, and calls that wait until the instance is ready.
    pub calls_in_flight: usize,
    /// The calls that have failed so far.
    pub failures: u64,
    /// The calls that have failed since the last success.
    pub consecutive_failures: u32,
    /// The number of ejections so far.
    pub ejections: u64,
    /// The time until the end of the ejection, if the instance is ejected.
    pub ejected_for: Option<Duration>,
    /// The latency as a peak EWMA, if the picker measures it.
    pub latency: Option<Duration>,
}

impl BalanceHandle {
    pub(crate) fn new(state: StateHandle<Arc<LayerShared>>) -> Self {
        Self(state)
    }

    /// Returns the instances and their state.
    #[must_use]
    pub fn snapshot(&self) -> BalanceSnapshot {
        let mut snapshot = BalanceSnapshot::default();
        for service in self.services() {
            service.snapshot(&mut snapshot.instances);
        }
        snapshot
    }

    /// Ejects an instance for a time, and returns true if it was not ejected. An ejection that would end sooner is prolonged.
    ///
    /// The limits of [`OutlierEjection`](crate::OutlierEjection) do not apply, except that all instances get calls if more than half
    /// of them are ejected. For a maintenance of known length; remove the instance from its registry otherwise.
    pub fn eject(&self, address: &Address, time: Duration) -> bool {
        // Not `any`, which would stop at the first.
        let ejected = self.services().into_iter().map(|s| s.eject(address, time));
        ejected.fold(false, |one, other| one | other)
    }

    /// Ends the ejection of an instance, and returns true if it was ejected.
    pub fn restore(&self, address: &Address) -> bool {
        let restored = self.services().into_iter().map(|s| s.restore(address));
        restored.fold(false, |one, other| one | other)
    }

    fn services(&self) -> Vec<Arc<dyn Instances>> {
        let shared = self.0.get();
        let services = shared.services();
        services.iter().filter_map(Weak::upgrade).collect()
    }
}

impl fmt::Debug for BalanceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BalanceHandle")
            .field(&self.snapshot())
            .finish()
    }
}

/// The instances of one service, whatever their type.
pub(crate) trait Instances: Send + Sync {
    fn snapshot(&self, into: &mut Vec<InstanceSnapshot>);
    fn eject(&self, address: &Address, time: Duration) -> bool;
    fn restore(&self, address: &Address) -> bool;
}

/// The options of a layer, and the services that it has made.
#[derive(Default)]
pub(crate) struct LayerShared {
    pub(crate) config: Config,
    services: Mutex<Vec<Weak<dyn Instances>>>,
}

impl LayerShared {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            services: Mutex::default(),
        }
    }

    /// Adds a service, and forgets those that are gone.
    pub(crate) fn add(&self, service: Weak<dyn Instances>) {
        let mut services = self.services();
        services.retain(|service| service.strong_count() > 0);
        services.push(service);
    }

    fn services(&self) -> MutexGuard<'_, Vec<Weak<dyn Instances>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LayerShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerShared")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
