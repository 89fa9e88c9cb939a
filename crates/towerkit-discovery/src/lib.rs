//! Service discovery for tower: the instances of a service, kept up to date from a registry, and registration in one.
//!
//! A [`Discovery`] has the instances of a service at every moment: it reads them from a registry by a [`Source`], and keeps the last
//! ones while the registry is away. Its [`Endpoints`] have one service for each instance, for a load balancer. A [`Registrar`] keeps
//! an instance registered for as long as it runs.
//!
//! ```
//! use std::{future::ready, time::Duration};
//! use tower::{ServiceExt, service_fn};
//! use towerkit_discovery::{Discovery, Instance, InstanceService, MemoryRegistry, Registrar};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
//! let registry = MemoryRegistry::new();
//!
//! // A server registers itself, once it accepts calls.
//! let instance = Instance::new("10.0.0.7:8080".parse()?).zone("eu-1a");
//! let registration = Registrar::new(registry.service("addsvc"), instance).spawn();
//! registration.registered().await;
//!
//! // A client has one service for each instance.
//! let mut discovery = Discovery::spawn(registry.service("addsvc"));
//! discovery.ready().await;
//! let endpoints = discovery.endpoints(|instance| {
//!     let address = instance.address.to_string();
//!     InstanceService::new(service_fn(move |_: ()| ready(Ok::<_, ()>(address.clone()))))
//! });
//! let endpoint = endpoints.current()[0].service().clone();
//! assert_eq!(endpoint.oneshot(()).await, Ok("10.0.0.7:8080".to_owned()));
//!
//! // Before it stops, the server deregisters.
//! registration.stop(Duration::from_secs(5)).await;
//! discovery.changed().await;
//! assert_eq!(endpoints.current().len(), 0);
//! # Ok(()) }
//! ```
//!
//! # Sources
//!
//! | source | instances | of |
//! |---|---|---|
//! | [`StaticInstances`], [`Discovery::fixed`] | never change | the program |
//! | [`Discovery::channel`] | are sent | the program |
//! | `FileInstances`, feature `file` | are read again when the file changes | an operator, or a tool |
//! | [`MemoryRegistry`] | are registered in the process | tests and demonstrations |
//! | `DiscoverSource`, `StreamSource`, feature `tower` | come from tower's `Discover`, or from a stream of sets | other crates |
//! | `towerkit-discovery-dns`, `-etcd`, `-consul`, `-zookeeper`, `-eureka`, `-kubernetes` | come from a registry | the operator |
//!
//! [`Discovery`] treats all of them alike. Instances with one address are one. While a source fails, the last set stays in use, with the
//! status [`Stale`](DiscoveryStatus::Stale) and the first error; [`DiscoveryOptions`] limit that time, and hold back a sudden empty set.
//! Registries may not announce addresses of this host or of the metadata services of clouds ([`AddressPolicy`]). A set has at most 10,000
//! instances.
//!
//! A source of your own is one asynchronous function ([`Source`]), with a [`Pacer`] for its pauses. A registry is three requests
//! ([`Registry`]); `RegistryClient`, of the feature `http`, sends them to those that speak HTTP. The feature `conformance` has the tests
//! that all registries here pass: kill them, stop them, wipe them, cut them off.
//!
//! # Registration
//!
//! [`Registrar::spawn`] spawns one task. It registers the instance, renews the registration at a third of its TTL, and registers again
//! if the registry has lost it. While requests fail it sends at most two a second, and fewer after the first, with random pauses of up
//! to 1.5 seconds, for as long as it takes.
//!
//! Register after the server accepts connections, and [`stop`](Registration::stop) before it drains: clients learn of the end before the
//! server refuses calls. A stop leaves no instance behind, also if it comes before the registration is finished. If the registry does
//! not answer, it returns after its grace, and the instance is gone after its TTL.
//!
//! # Cancellation
//!
//! The source is dropped with the last [`Discovery`], [`Endpoints`] and [`Subscription`] of it. The last [`Registration`] that is dropped
//! deregisters in the background, for up to 5 seconds. All futures of this crate may be dropped at any time: a change is not lost, and
//! a stop that was polled once goes on.
//!
//! # Clones
//!
//! A clone of a [`Discovery`] reads the same instances, one of [`Endpoints`] has the same services, and one of a [`Registration`] is a
//! handle of the same.
//!
//! # Errors
//!
//! Errors of a registry are no errors of calls. They are in the [`DiscoveryStatus`] and the [`RegistrationStatus`], and one event each
//! time these change ([`DiscoveryOptions::events`], [`Registrar::events`]). They contain no credentials. Settings out of range are a
//! [`ConfigError`](towerkit_core::ConfigError).
//!
//! # Panics
//!
//! [`Discovery::spawn`] and [`Registrar::spawn`] panic outside of a tokio runtime. A panic of a source, a registry, an observer or a
//! function that makes services is caught, and reported as an error where there is a place for it.
//!
//! # Coming from go-kit
//!
//! `sd.Instancer` is a [`Source`], `sd.Endpointer` the [`Endpoints`], and `sd.Registrar` a [`Registrar`]. An endpointer has a connection for
//! each method of each instance, and [`Endpoints`] one for each instance. `InvalidateOnError` is
//! [`keep_for`](DiscoveryOptions::keep_for). An error of the registry does not replace the instances, addresses that are announced twice
//! are one instance, the services of instances that are gone are dropped after their calls, and a lost lease is registered again
//! ([go-kit 1043](https://github.com/go-kit/kit/issues/1043)). A registry that is away costs at most two requests a second
//! ([go-kit 627](https://github.com/go-kit/kit/issues/627), [1214](https://github.com/go-kit/kit/issues/1214)).

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
#[cfg(feature = "json")]
mod json;
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
