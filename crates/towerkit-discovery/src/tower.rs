//! tower's `Discover`, in both directions, and streams of sets.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    error::Error,
    fmt,
    future::poll_fn,
    hash::Hash,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, Stream, task::AtomicWaker};
use tower::discover::{Change, Discover};

use crate::{Address, AddressPolicy, Endpoints, Instance, InstanceSender, Source, Subscription};

impl<S, R> Endpoints<S, R>
where
    S: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Returns the services as a [`Discover`] of tower, for its load balancers.
    ///
    /// The guards are not part of it. The stream never ends.
    #[must_use]
    pub fn into_discover(self) -> EndpointChanges<S, R> {
        let waker = Arc::new(AtomicWaker::new());
        let wake = waker.clone();
        EndpointChanges {
            subscription: self.subscribe(move |_| wake.wake()),
            endpoints: self,
            waker,
            known: BTreeMap::new(),
            changes: VecDeque::new(),
        }
    }
}

/// The changes of [`Endpoints`], as a stream of [`Change`].
///
/// An instance is inserted again when its service was made anew, which replaces the service.
pub struct EndpointChanges<S, R = ()> {
    endpoints: Endpoints<S, R>,
    #[expect(dead_code, reason = "wakes the task while it lives")]
    subscription: Subscription,
    waker: Arc<AtomicWaker>,
    /// The ids of the services that were inserted.
    known: BTreeMap<Address, u64>,
    changes: VecDeque<Change<Address, S>>,
}

impl<S, R> Stream for EndpointChanges<S, R>
where
    S: Clone + Send + Sync + Unpin + 'static,
    R: Send + Sync + 'static,
{
    type Item = Result<Change<Address, S>, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.changes.is_empty() {
            this.waker.register(context.waker());
            this.compare();
        }
        match this.changes.pop_front() {
            Some(change) => Poll::Ready(Some(Ok(change))),
            None => Poll::Pending,
        }
    }
}

impl<S: Clone + Send + Sync + 'static, R: Send + Sync + 'static> EndpointChanges<S, R> {
    /// Finds the differences from the known services.
    fn compare(&mut self) {
        let set = self.endpoints.current();
        self.known.retain(|address, _| {
            let is_kept = set.find(address).is_some();
            if !is_kept {
                self.changes.push_back(Change::Remove(address.clone()));
            }
            is_kept
        });
        for endpoint in set.iter() {
            let address = &endpoint.instance().address;
            if self.known.get(address) != Some(&endpoint.id()) {
                self.known.insert(address.clone(), endpoint.id());
                let service = endpoint.service().clone();
                self.changes
                    .push_back(Change::Insert(address.clone(), service));
            }
        }
    }
}

impl<S, R> fmt::Debug for EndpointChanges<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointChanges")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// A source of the instances of a [`Discover`] of tower.
///
/// Its services are dropped: [`Discovery::endpoints`](crate::Discovery::endpoints) makes those that are called. When it ends, the last
/// instances stay in use; an error ends it and is reported.
pub struct DiscoverSource<D, F> {
    discover: D,
    instance: F,
}

// With the bounds, the compiler infers that the function takes any lifetime.
impl<D: Discover, F: Fn(&D::Key, &D::Service) -> Instance> DiscoverSource<D, F> {
    /// Makes a source of a `Discover`, and of a function that makes an instance of a key and its service.
    pub const fn new(discover: D, instance: F) -> Self {
        Self { discover, instance }
    }
}

impl<D, F> Source for DiscoverSource<D, F>
where
    D: Discover<Key: Hash + Send, Service: Send, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + 'static,
    F: Fn(&D::Key, &D::Service) -> Instance + Send + 'static,
{
    /// Allows any address, because the program has made the `Discover`.
    fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::Any
    }

    async fn run(self, sender: InstanceSender) {
        let mut discover = pin!(self.discover);
        let mut instances = HashMap::new();
        loop {
            let mut change = poll_fn(|context| discover.as_mut().poll_discover(context)).await;
            // All changes that are there make one set.
            loop {
                match change {
                    Some(Ok(Change::Insert(key, service))) => {
                        let instance = (self.instance)(&key, &service);
                        instances.insert(key, instance);
                    }
                    Some(Ok(Change::Remove(key))) => {
                        instances.remove(&key);
                    }
                    Some(Err(error)) => return sender.fail(error),
                    None => return sender.set(instances.into_values()),
                }
                let next = poll_fn(|context| discover.as_mut().poll_discover(context));
                match next.now_or_never() {
                    Some(next) => change = next,
                    None => break,
                }
            }
            sender.set(instances.values().cloned());
        }
    }
}

impl<D, F> fmt::Debug for DiscoverSource<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverSource").finish_non_exhaustive()
    }
}

/// A source of the sets that a [`Stream`] yields: each item is all instances, or an error of the registry.
///
/// When it ends, the last instances stay in use.
///
/// ```
/// use futures_util::stream;
/// use towerkit_discovery::{Discovery, Instance, StreamSource};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
/// let sets = stream::iter([Ok(vec![Instance::new("10.0.0.7:80".parse()?)]), Err("the registry is away")]);
/// let mut discovery = Discovery::spawn(StreamSource::new(sets));
/// discovery.changed().await;
/// assert_eq!(discovery.current().status.as_str(), "stale");
/// assert_eq!(discovery.current().instances.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct StreamSource<T>(T);

impl<T> StreamSource<T> {
    /// Makes a source of a stream.
    pub const fn new(stream: T) -> Self {
        Self(stream)
    }
}

impl<T, E> Source for StreamSource<T>
where
    T: Stream<Item = Result<Vec<Instance>, E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send,
{
    async fn run(self, sender: InstanceSender) {
        let mut stream = pin!(self.0);
        while let Some(set) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
            match set {
                Ok(instances) => sender.set(instances),
                Err(error) => sender.fail(error),
            }
        }
    }
}
