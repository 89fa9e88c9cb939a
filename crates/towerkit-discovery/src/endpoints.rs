use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;
use towerkit_core::{Event, IntoPolicy};

use crate::{
    Address, Discovery, DiscoverySnapshot, DiscoveryStatus, Instance, Subscription,
    observable::Observable, sender::Inner as DiscoveryInner,
};

/// The minimum time between two services that are made for one instance.
const RECREATE_INTERVAL: Duration = Duration::from_secs(1);

/// The service of an instance, and the guards of this instance alone.
///
/// A load balancer starts the guards itself: a call that they reject goes to another instance.
#[derive(Debug, Clone)]
pub struct InstanceService<S, R = ()> {
    service: S,
    guards: R,
}

impl<S> InstanceService<S> {
    /// Makes an instance of a service, without guards.
    #[must_use]
    pub const fn new(service: S) -> Self {
        Self {
            service,
            guards: (),
        }
    }
}

impl<S, R> InstanceService<S, R> {
    /// Sets the guards of the instance: a layer such as a circuit breaker, or a [`stack`](towerkit_core::stack()) of them.
    #[must_use]
    pub fn guards<L: IntoPolicy>(self, guards: L) -> InstanceService<S, L::Policy> {
        InstanceService {
            service: self.service,
            guards: guards.into_policy(),
        }
    }
}

/// A service for each instance of a [`Discovery`], made when the instance appears and dropped when it is gone.
///
/// All operations of a service share it, so that an instance has one connection and not one for each operation. A service that is
/// removed is dropped after the last of its calls. A clone shares the services.
pub struct Endpoints<S, R = ()>(Arc<Inner<S, R>>);

type MakeService<S, R> = dyn Fn(&Instance) -> InstanceService<S, R> + Send + Sync;

struct Inner<S, R> {
    set: Observable<EndpointSet<S, R>>,
    make: Box<MakeService<S, R>>,
    next_id: AtomicU64,
    discovery: Arc<DiscoveryInner>,
    /// Ends with this value; the observer refers to it weakly.
    subscription: Mutex<Option<Subscription>>,
}

/// The services of all instances at one moment, sorted by address.
pub struct EndpointSet<S, R = ()> {
    /// How far the registry confirms the instances.
    pub status: DiscoveryStatus,
    endpoints: Arc<[InstanceEndpoint<S, R>]>,
}

/// An instance and its service.
pub struct InstanceEndpoint<S, R = ()> {
    id: u64,
    instance: Instance,
    service: S,
    guards: Arc<R>,
    made_at: Instant,
}

impl<S, R> InstanceEndpoint<S, R> {
    /// Returns a number that is unique among the services of these endpoints. A service that is made anew gets a new one.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the instance.
    #[must_use]
    pub const fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Returns the service.
    #[must_use]
    pub const fn service(&self) -> &S {
        &self.service
    }

    /// Returns the guards of the instance.
    #[must_use]
    pub const fn guards(&self) -> &Arc<R> {
        &self.guards
    }
}

impl Discovery {
    /// Makes a service for each instance by a function, now and when further instances appear.
    ///
    /// The function is called on the task of the source. An instance for which it panics is left out until the next change.
    ///
    /// # Examples
    ///
    /// ```
    /// use towerkit_discovery::{Discovery, Instance, InstanceService};
    ///
    /// let discovery = Discovery::fixed([Instance::new("10.0.0.7:80".parse()?)]);
    /// let endpoints = discovery.endpoints(|instance| {
    ///     let address = instance.address.to_string();
    ///     InstanceService::new(tower::service_fn(move |_: ()| std::future::ready(Ok::<_, ()>(address.clone()))))
    /// });
    /// assert_eq!(endpoints.current().len(), 1);
    /// # Ok::<(), towerkit_core::ConfigError>(())
    /// ```
    pub fn endpoints<S, R>(
        &self,
        make: impl Fn(&Instance) -> InstanceService<S, R> + Send + Sync + 'static,
    ) -> Endpoints<S, R>
    where
        S: Clone + Send + Sync + 'static,
        R: Send + Sync + 'static,
    {
        let inner = Arc::new(Inner {
            set: Observable::new(EndpointSet::default()),
            make: Box::new(make),
            next_id: AtomicU64::new(0),
            discovery: self.inner().clone(),
            subscription: Mutex::new(None),
        });
        let weak = Arc::downgrade(&inner);
        let subscription = self.subscribe(move |snapshot| {
            if let Some(inner) = weak.upgrade() {
                inner.update(snapshot);
            }
        });
        *inner
            .subscription
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(subscription);
        Endpoints(inner)
    }
}

impl<S, R> Endpoints<S, R>
where
    S: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Returns the services and the status.
    #[must_use]
    pub fn current(&self) -> EndpointSet<S, R> {
        self.0.set.get()
    }

    /// Calls `observe` with the services, and again after each change until the subscription is dropped.
    ///
    /// As [`Discovery::subscribe`]. The subscription keeps the endpoints.
    pub fn subscribe(
        &self,
        observe: impl Fn(&EndpointSet<S, R>) + Send + Sync + 'static,
    ) -> Subscription {
        self.0.set.subscribe(observe, self.clone())
    }

    /// Makes the service with this id anew, and returns true if it was replaced.
    ///
    /// For a service whose [`poll_ready`](tower_service::Service::poll_ready) has failed, which is finished for good. A service that
    /// is less than a second old is not replaced, so that an instance that always fails costs one service a second.
    pub fn recreate(&self, id: u64) -> bool {
        self.0.recreate(id)
    }
}

impl<S: Clone + Send + Sync + 'static, R: Send + Sync + 'static> Inner<S, R> {
    fn update(&self, snapshot: &DiscoverySnapshot) {
        let known = self.set.get();
        let mut made: HashMap<&Address, InstanceEndpoint<S, R>> = snapshot
            .instances
            .iter()
            .filter(|instance| known.find(&instance.address).is_none())
            .filter_map(|instance| Some((&instance.address, self.make(instance)?)))
            .collect();
        drop(known);
        self.set.update(|current| {
            let endpoints = snapshot.instances.iter().filter_map(|instance| {
                let kept = current
                    .find(&instance.address)
                    .map(|endpoint| InstanceEndpoint {
                        instance: instance.clone(),
                        ..endpoint.clone()
                    });
                kept.or_else(|| made.remove(&instance.address))
            });
            Some(EndpointSet {
                status: snapshot.status.clone(),
                endpoints: endpoints.collect(),
            })
        });
    }

    fn recreate(&self, id: u64) -> bool {
        let set = self.set.get();
        let Some(endpoint) = set.iter().find(|endpoint| endpoint.id == id) else {
            return false;
        };
        if endpoint.made_at.elapsed() < RECREATE_INTERVAL {
            return false;
        }
        let Some(made) = self.make(&endpoint.instance) else {
            return false;
        };
        let mut made = Some(made);
        self.set.update(|current| {
            let mut endpoints: Vec<_> = current.iter().cloned().collect();
            let replaced = endpoints.iter_mut().find(|endpoint| endpoint.id == id)?;
            *replaced = InstanceEndpoint {
                instance: replaced.instance.clone(),
                ..made.take()?
            };
            Some(EndpointSet {
                status: current.status.clone(),
                endpoints: endpoints.into(),
            })
        });
        made.is_none()
    }

    /// Makes a service; `None` if the function of the user panics.
    fn make(&self, instance: &Instance) -> Option<InstanceEndpoint<S, R>> {
        match catch_unwind(AssertUnwindSafe(|| (self.make)(instance))) {
            Ok(made) => Some(InstanceEndpoint {
                id: self.next_id.fetch_add(1, Relaxed),
                instance: instance.clone(),
                service: made.service,
                guards: Arc::new(made.guards),
                made_at: Instant::now(),
            }),
            Err(_) => {
                let events = self.discovery.events();
                events.push(Event::Other {
                    layer: "discovery",
                    name: self.discovery.name(),
                    event: "endpoint_failed",
                    message: format!(
                        "{}: the function that makes its service panicked",
                        instance.address
                    )
                    .into(),
                });
                events.deliver();
                None
            }
        }
    }
}

impl<S, R> EndpointSet<S, R> {
    /// Returns the service of the instance with this address.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<&InstanceEndpoint<S, R>> {
        let index = self
            .endpoints
            .binary_search_by(|endpoint| endpoint.instance.address.cmp(address));
        index.ok().map(|index| &self.endpoints[index])
    }
}

impl<S, R> Deref for EndpointSet<S, R> {
    type Target = [InstanceEndpoint<S, R>];

    fn deref(&self) -> &Self::Target {
        &self.endpoints
    }
}

impl<S, R> Default for EndpointSet<S, R> {
    fn default() -> Self {
        Self {
            status: DiscoveryStatus::Pending,
            endpoints: Arc::new([]),
        }
    }
}

impl<S, R> Clone for EndpointSet<S, R> {
    fn clone(&self) -> Self {
        Self {
            status: self.status.clone(),
            endpoints: self.endpoints.clone(),
        }
    }
}

impl<S: Clone, R> Clone for InstanceEndpoint<S, R> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            instance: self.instance.clone(),
            service: self.service.clone(),
            guards: self.guards.clone(),
            made_at: self.made_at,
        }
    }
}

impl<S, R> Clone for Endpoints<S, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, R> fmt::Debug for EndpointSet<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self
            .iter()
            .map(|endpoint| endpoint.instance.address.to_string());
        f.debug_struct("EndpointSet")
            .field("status", &self.status)
            .field("endpoints", &addresses.collect::<Vec<_>>())
            .finish()
    }
}

impl<S, R> fmt::Debug for InstanceEndpoint<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceEndpoint")
            .field("id", &self.id)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl<S, R> fmt::Debug for Endpoints<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").finish_non_exhaustive()
    }
}
