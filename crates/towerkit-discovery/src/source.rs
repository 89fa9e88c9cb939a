use std::future::{Future, ready};

use crate::{AddressPolicy, Instance, InstanceSender};

/// A registry as a source of the instances of one service.
///
/// An implementation is one asynchronous function, which sends whole sets: after each change, and after each reconnection. So a
/// change that was missed while the registry was away is made up for.
///
/// ```
/// use std::time::Duration;
/// use towerkit_discovery::{Discovery, Instance, InstanceSender, Source};
///
/// /// Resolves a host name every five seconds.
/// struct Resolve(&'static str);
///
/// impl Source for Resolve {
///     async fn run(self, sender: InstanceSender) {
///         loop {
///             match tokio::net::lookup_host(self.0).await {
///                 Ok(addresses) => sender.set(addresses.map(Instance::from)),
///                 Err(error) => sender.fail(error),
///             }
///             tokio::time::sleep(Duration::from_secs(5)).await;
///         }
///     }
/// }
/// # let _ = || Discovery::spawn(Resolve("example.org:80"));
/// ```
pub trait Source: Send + 'static {
    /// Returns the addresses that may be announced. Default: [`AddressPolicy::Remote`].
    ///
    /// [`DiscoveryOptions::development`](crate::DiscoveryOptions::development) overrides it.
    fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::Remote
    }

    /// Sends the instances to `sender` for as long as the future is polled.
    ///
    /// It is dropped when no [`Discovery`](crate::Discovery) of it is left. If it ends or panics, the last set stays in use; a panic
    /// is reported as an error of the registry.
    fn run(self, sender: InstanceSender) -> impl Future<Output = ()> + Send;
}

/// A source of instances that never change.
#[derive(Debug, Clone)]
pub struct StaticInstances(Vec<Instance>);

impl StaticInstances {
    /// Makes a source of these instances.
    pub fn new(instances: impl IntoIterator<Item = Instance>) -> Self {
        Self(instances.into_iter().collect())
    }
}

impl Source for StaticInstances {
    /// Allows any address, because the operator has written it.
    fn address_policy(&self) -> AddressPolicy {
        AddressPolicy::Any
    }

    fn run(self, sender: InstanceSender) -> impl Future<Output = ()> + Send {
        sender.set(self.0);
        ready(())
    }
}
