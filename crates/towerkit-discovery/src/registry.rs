use std::{error::Error, future::Future, time::Duration};

use crate::Instance;

/// A registry in which an instance can register itself.
///
/// An implementation is three requests. [`Registrar`](crate::Registrar) calls them in a loop that is the same for all registries:
/// it renews the lease at a third of its TTL, registers again after a loss, and backs off after errors.
pub trait Registry: Send + Sync + 'static {
    /// A registration, as the registry identifies it: a lease, a session, or the id of an instance.
    type Lease: Send;

    /// Returns the time after which a registration that is not renewed is gone.
    fn ttl(&self) -> Duration;

    /// Registers an instance, and replaces an earlier registration of it.
    fn register(
        &self,
        instance: &Instance,
    ) -> impl Future<Output = Result<Self::Lease, RegistryError>> + Send;

    /// Renews a registration.
    fn renew(
        &self,
        lease: &mut Self::Lease,
    ) -> impl Future<Output = Result<LeaseStatus, RegistryError>> + Send;

    /// Removes a registration. One that is gone already is no error.
    fn deregister(
        &self,
        lease: Self::Lease,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// An error of a registry.
pub type RegistryError = Box<dyn Error + Send + Sync>;

/// The result of the renewal of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseStatus {
    /// The registration was renewed.
    Renewed,
    /// The registry does not have the registration any more.
    Lost,
}
