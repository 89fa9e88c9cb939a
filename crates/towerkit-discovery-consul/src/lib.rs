//! [Consul](https://developer.hashicorp.com/consul) as a registry of [`towerkit-discovery`](towerkit_discovery).
//!
//! A [`ConsulService`] is a [`Source`](towerkit_discovery::Source) of the healthy instances of a service, and a
//! [`Registry`](towerkit_discovery::Registry) in which an instance registers with a check of its TTL. Changes arrive at once, by
//! [blocking queries](https://developer.hashicorp.com/consul/api-docs/features/blocking).
//!
//! ```no_run
//! use std::time::Duration;
//! use towerkit_discovery::{Discovery, Instance, Registrar, RegistryClient};
//! use towerkit_discovery_consul::Consul;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
//! let client = RegistryClient::new(["http://127.0.0.1:8500"])?;
//! let consul = Consul::new(client).token("8a5b…")?.ttl(Duration::from_secs(10))?;
//!
//! let instance = Instance::new("10.0.0.7:8080".parse()?).weight(3).zone("eu-1a");
//! let registration = Registrar::new(consul.service("addsvc"), instance).spawn();
//!
//! let discovery = Discovery::spawn(consul.service("addsvc"));
//! let instances = discovery.ready().await.instances;
//! assert_eq!(instances[0].weight, 3);
//! registration.stop(Duration::from_secs(5)).await;
//! # Ok(()) }
//! ```
//!
//! TLS, further agents and timeouts are settings of the [`RegistryClient`](towerkit_discovery::RegistryClient).
//!
//! # Metadata
//!
//! | [`Instance`](towerkit_discovery::Instance) | Consul |
//! |---|---|
//! | address | `Service.Address`, or that of the node if it is empty, and `Service.Port` |
//! | weight | `Service.Weights.Passing`, from 1 to 65,535 |
//! | zone, version | the keys `zone` and `version` of `Service.Meta` |
//! | tags | the other keys of `Service.Meta`; and `Service.Tags`, of which `key=value` is a pair, and any other a key without a value |
//!
//! An instance registers a tag that fits into `Meta` there: one with a value of at most 512 bytes, and a key of at most 128 letters,
//! digits, hyphens and underscores. It registers the others in `Tags`. Consul has no weight of 0: such a registration is refused.
//!
//! # Registration
//!
//! An instance is registered at the agent, and is healthy until its TTL ends without a renewal. Then it gets no more calls, and a minute
//! later ([`deregister_after`](Consul::deregister_after)) Consul removes it. Its id is the name of the service and the address, so that a
//! process that starts again replaces its former registration. If the client has several agents and the first one fails, the next renewal
//! registers the instance at another one.
//!
//! # Cancellation
//!
//! Dropping the [`Discovery`](towerkit_discovery::Discovery) closes the connection of its query. For registrations see
//! [`Registration`](towerkit_discovery::Registration).
//!
//! # Clones
//!
//! A clone of a [`Consul`] and all of its services share one client, with its connections and its limit of requests. A query that waits
//! has a connection of its own, unless the agent speaks HTTP/2 over TLS.
//!
//! # Errors
//!
//! A [`RegistryClientError`](towerkit_discovery::RegistryClientError) is reported by the discovery or the registration, without the
//! token.
//!
//! # Coming from go-kit
//!
//! `consul.NewInstancer(client, logger, service, tags, passingOnly)` is `consul.service(service).with_tag(tag)`; only healthy instances
//! are discovered. `consul.NewRegistrar(client, registration, logger)` registers without a check; here a TTL check is part of every
//! registration, so that an instance that was killed gets no calls for long.

mod consul;
mod entry;
mod service;

pub use consul::Consul;
pub use service::{ConsulLease, ConsulService};
