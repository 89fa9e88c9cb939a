//! [Netflix Eureka](https://github.com/Netflix/eureka) as a registry of [`towerkit-discovery`](towerkit_discovery).
//!
//! A [`EurekaService`] is a [`Source`](towerkit_discovery::Source) of the instances of a service that are up, and a
//! [`Registry`](towerkit_discovery::Registry) in which an instance registers with heartbeats. All services of a [`Eureka`] share one look at
//! the changes every 5 seconds.
//!
//! ```no_run
//! use std::time::Duration;
//! use towerkit_discovery::{Discovery, Instance, Registrar, RegistryClient};
//! use towerkit_discovery_eureka::Eureka;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
//! let client = RegistryClient::new(["http://10.0.0.1:8761/eureka", "http://10.0.0.2:8761/eureka"])?
//!     .basic_auth("user", "password")?;
//! let eureka = Eureka::new(client);
//!
//! let instance = Instance::new("10.0.0.7:8080".parse()?).zone("eu-1a");
//! let registration = Registrar::new(eureka.service("addsvc"), instance).spawn();
//!
//! let discovery = Discovery::spawn(eureka.service("addsvc"));
//! let instances = discovery.ready().await.instances;
//! assert_eq!(instances[0].zone.as_deref(), Some("eu-1a"));
//! registration.stop(Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! The interface is that of Eureka 1.x and Spring Cloud Netflix, [in JSON](https://github.com/Netflix/eureka/wiki/Eureka-REST-operations).
//!
//! # Instances
//!
//! All applications are fetched once, and then the changes (`/apps/delta`). If the instances by status are not those that the server
//! counts (`apps__hashcode`), and after each failure, all are fetched again. Only those with the status `UP` are instances.
//!
//! | [`Instance`](towerkit_discovery::Instance) | Eureka |
//! |---|---|
//! | address | `ipAddr`, or `hostName` without one, and `port`, or `securePort` after [`secure`](EurekaService::secure), if it is enabled |
//! | weight, zone, version | the keys `weight`, `zone` and `version` of `metadata`; the zone may be that of Amazon's `dataCenterInfo` |
//! | tags | the other keys of `metadata` |
//!
//! # Registration
//!
//! A heartbeat that the server answers by 404 registers again. Servers of Eureka evict instances that have died late: they look for them
//! once a minute, keep them for up to twice their TTL, and keep all of them if too many are missing at once. Their own caches delay a
//! change by up to 30 seconds more. A load balancer that ejects instances which fail is of use there.
//!
//! # Cancellation
//!
//! There is no task: one of the sources that run fetches for all of them, and another one goes on if it is dropped. For registrations see
//! [`Registration`](towerkit_discovery::Registration).
//!
//! # Clones
//!
//! A clone of a [`Eureka`] and all of its services share one client, with its connections and its limit of requests, and the instances.
//!
//! # Errors
//!
//! A [`RegistryClientError`](towerkit_discovery::RegistryClientError) is reported by the discovery or the registration, without
//! credentials.
//!
//! # Coming from go-kit
//!
//! `eureka.NewInstancer(conn, app, logger)` is `eureka.service(app)`. go-kit discovers instances with every status, also those that are
//! down. `eureka.NewRegistrar(conn, instance, logger)` makes its instance from the [`Instance`](towerkit_discovery::Instance) here.

mod cache;
mod eureka;
mod service;
mod wire;

pub use eureka::Eureka;
pub use service::{EurekaLease, EurekaService};
