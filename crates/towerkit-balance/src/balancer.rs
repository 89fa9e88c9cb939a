use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use towerkit_discovery::{Address, Endpoints, InstanceEndpoint, Subscription};

use crate::{
    BuildTable,
    config::Config,
    handle::{InstanceSnapshot, Instances},
    instance_policy::InstancePolicy,
    instance_stats::{InstanceStats, SharedState},
    snapshot::{Candidate, Snapshot},
    snapshot_cell::SnapshotCell,
};

/// The state of a service: its instances, and the picker. Clones of the service share it.
pub(crate) struct Balancer<S, R, C: BuildTable> {
    pub(crate) snapshot: SnapshotCell<Snapshot<S, R, C::Table>>,
    pub(crate) picker: C,
    pub(crate) shared: Arc<SharedState>,
    /// Makes the service of an endpoint anew, and returns true if it did.
    recreate: Box<dyn Fn(u64) -> bool + Send + Sync>,
    /// Held while a snapshot is made.
    updating: Mutex<()>,
    /// Ends with the balancer: the observer refers to it weakly.
    subscription: OnceLock<Subscription>,
}

impl<S, R, C> Balancer<S, R, C>
where
    S: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
    C: BuildTable,
{
    pub(crate) fn new(endpoints: Endpoints<S, R>, config: Config, picker: C) -> Arc<Self> {
        let shared = Arc::new(SharedState::new(config, C::MEASURES_LATENCY));
        let empty = Snapshot::new(Vec::new(), None, |none| picker.build_table(none));
        let balancer = Arc::new_cyclic(|weak: &Weak<Self>| {
            let (weak, endpoints) = (weak.clone(), endpoints.clone());
            Self {
                snapshot: SnapshotCell::new(empty),
                picker,
                shared,
                recreate: Box::new(move |id| {
                    let is_recreated = endpoints.recreate(id);
                    if let Some(balancer) = weak.upgrade().filter(|_| is_recreated) {
                        // Another thread may be on its way to do so.
                        balancer.update(&endpoints);
                    }
                    is_recreated
                }),
                updating: Mutex::new(()),
                subscription: OnceLock::new(),
            }
        });
        let weak = Arc::downgrade(&balancer);
        let current = endpoints.clone();
        let update = move || {
            if let Some(balancer) = weak.upgrade() {
                balancer.update(&current);
            }
        };
        if balancer.shared.config.zone.is_some() {
            balancer.shared.set_on_ejection(update.clone());
        }
        let subscription = endpoints.subscribe(move |_| update());
        let _ = balancer.subscription.set(subscription);
        // Another thread may be on its way to call the observer.
        balancer.update(&endpoints);
        balancer
    }

    /// Replaces the snapshot by one of the current endpoints. They are read under the lock, so that a newer set is never replaced by an
    /// older one.
    fn update(&self, endpoints: &Endpoints<S, R>) {
        let updating = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let set = endpoints.current();
        let old = self.snapshot.load();
        let zone = self.shared.config.zone.as_ref();
        if zone.is_none() && is_same(&old, &set) {
            return;
        }
        let mut known: HashMap<&Address, &Candidate<S, R>> = old
            .all()
            .map(|(instance, candidate, _)| (&instance.address, candidate))
            .collect();
        let is_first = known.is_empty();
        let now = self.shared.config.clock.now();
        let all = set.iter().map(|endpoint| {
            let instance = endpoint.instance();
            let known = known.remove(&instance.address);
            let kept = known.filter(|known| known.policy.stats.endpoint_id() == endpoint.id());
            let candidate = kept.cloned().unwrap_or_else(|| {
                let (shared, address) = (self.shared.clone(), instance.address.clone());
                let stats = InstanceStats::new(shared, endpoint.id(), address);
                match known {
                    Some(known) => stats.continue_from(&known.policy.stats),
                    None if is_first => {}
                    None => stats.begin_slow_start(now),
                }
                Candidate {
                    service: endpoint.service().clone(),
                    policy: Arc::new(InstancePolicy::new(stats, endpoint.guards().clone())),
                }
            });
            (instance.clone(), candidate)
        });
        let new = Snapshot::new(all.collect(), zone, |instances| {
            self.picker.build_table(instances)
        });
        self.shared.ejections.set_members(
            old.active().iter().map(|c| c.policy.stats.ejection()),
            new.active().iter().map(|c| c.policy.stats.ejection()),
        );
        drop(known);
        drop(old);
        let old = self.snapshot.replace(new);
        drop(updating);
        // Drops the services of instances that are gone, outside of the lock.
        drop(old);
    }
}

/// Returns true if only the status has changed, so that the snapshot can stay.
fn is_same<S, R, T>(snapshot: &Snapshot<S, R, T>, set: &[InstanceEndpoint<S, R>]) -> bool {
    let known = snapshot.all().map(|(instance, candidate, _)| {
        let id = candidate.policy.stats.endpoint_id();
        (id, instance)
    });
    let current = set
        .iter()
        .map(|endpoint| (endpoint.id(), endpoint.instance()));
    known.eq(current)
}

impl<S, R, C: BuildTable> Balancer<S, R, C> {
    /// Handles an instance whose service has failed to get ready, and returns true if its service was made anew.
    #[cold]
    pub(crate) fn on_failed_readiness(&self, stats: &InstanceStats) -> bool {
        stats.on_failure(0, self.shared.config.clock.now());
        (self.recreate)(stats.endpoint_id())
    }
}

impl<S, R, C> Instances for Balancer<S, R, C>
where
    S: Send + Sync,
    R: Send + Sync,
    C: BuildTable,
{
    fn snapshot(&self, into: &mut Vec<InstanceSnapshot>) {
        let now = self.shared.config.clock.now();
        let snapshot = self.snapshot.load();
        let start = into.len();
        into.extend(snapshot.all().map(|(instance, candidate, is_active)| {
            let stats = &candidate.policy.stats;
            let left = stats.ejection().until().saturating_sub(now);
            InstanceSnapshot {
                instance: instance.clone(),
                is_active,
                calls_in_flight: candidate.policy.calls_in_flight() as usize,
                failures: stats.failures(),
                consecutive_failures: stats.ejection().consecutive_failures(),
                ejections: stats.ejection_count(),
                ejected_for: (left > 0).then(|| Duration::from_nanos(left)),
                latency: stats
                    .latency(now)
                    .map(|micros| Duration::from_secs_f64(f64::from(micros) / 1e6)),
            }
        }));
        into[start..].sort_by(|a, b| a.instance.address.cmp(&b.instance.address));
    }

    fn eject(&self, address: &Address, time: Duration) -> bool {
        self.find(address, |stats| stats.eject(time))
    }

    fn restore(&self, address: &Address) -> bool {
        self.find(address, |stats| stats.restore(None))
    }
}

impl<S, R, C: BuildTable> Balancer<S, R, C> {
    fn find(&self, address: &Address, f: impl FnOnce(&InstanceStats) -> bool) -> bool {
        let snapshot = self.snapshot.load();
        let found = snapshot
            .all()
            .find(|(instance, ..)| instance.address == *address)
            .map(|(_, candidate, _)| candidate.policy.clone());
        drop(snapshot);
        found.is_some_and(|policy| f(&policy.stats))
    }
}
