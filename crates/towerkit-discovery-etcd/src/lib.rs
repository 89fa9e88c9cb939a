//! Service discovery for [tower] with [etcd](https://etcd.io), by the [`Source`] and the [`Registry`] of [`towerkit_discovery`].
//!
//! Use it when services register themselves in an etcd cluster, version 3.4 or later. An instance is a key under the prefix of its
//! service, attached to a lease that the instance keeps alive.
//!
//! ```
//! use towerkit_discovery::{Discovery, Instance, Registrar};
//! use towerkit_discovery_etcd::Etcd;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
//! // It connects when it is used. All services share the connection.
//! let etcd = Etcd::new(["http://127.0.0.1:2379"])?.user("addsvc", "secret");
//!
//! // The instances of a service, under the keys that begin with `/services/stringsvc/`.
//! let stringsvc = Discovery::spawn(etcd.service("stringsvc")?);
//!
//! // This process, as an instance of another service.
//! let instance = Instance::new("10.0.0.7:8080".parse()?).weight(3).zone("eu-1a");
//! let registration = Registrar::new(etcd.service("addsvc")?, instance).spawn();
//! # drop((stringsvc, registration)); Ok(()) }
//! ```
//!
//! Building the crate needs `protoc`, the compiler of Protocol Buffers (Debian: `protobuf-compiler` and `libprotobuf-dev`), because
//! [`etcd_client`] does. So the crate is not part of the feature `full` of `towerkit`.
//!
//! # Metadata
//!
//! The key of an instance is `PREFIX SERVICE / ADDRESS`, such as `/services/addsvc/10.0.0.7:8080`. Its value is a JSON object:
//!
//! ```json
//! {"address": "10.0.0.7:8080", "weight": 3, "zone": "eu-1a", "version": "1.2.3", "tags": {"canary": "yes"}}
//! ```
//!
//! | of an instance | in etcd |
//! |---|---|
//! | address | `address`, which is required |
//! | weight | `weight`, 1 if it is missing |
//! | zone, version | `zone`, `version` |
//! | tags | `tags`, an object of strings |
//!
//! Further members are ignored. A value may also be a bare address, or one with a scheme such as `http://10.0.0.7:8080`, as programs
//! write that use go-kit. A value that is neither is skipped. At most 10,000 keys of a service are read.
//!
//! # Changes
//!
//! The source reads all keys of the service and watches them from that revision on. It starts anew when the watch ends, when its
//! revision was compacted, when the cluster has no leader, and when etcd does not answer on the watch within a second, which it is asked
//! to after two seconds without an event. So changes that were missed are made up for. Until etcd answers again the last set stays in use.
//!
//! There are at most two attempts in a second, and at most one and a half seconds between them; each has one second. A client is
//! connected to one member, and passes to the next if that member is down or has no leader. Services of one client connect together.
//!
//! # Registration
//!
//! A registration is a lease and a key. It is renewed, and made again if the lease or the key is gone: etcd has lost its data, the
//! process was stopped for longer than the TTL, or somebody has deleted the key. The TTL is in whole seconds, and etcd may extend it: a
//! server with default settings has a minimum of 2 seconds.
//!
//! # Credentials
//!
//! [`Etcd::user`] logs in with a password, and again when the token has expired. With the feature `tls`, [`Etcd::tls`] sets the
//! certificate authority and a client certificate. Neither password nor key is part of an error, an event, or the output of
//! [`Debug`](std::fmt::Debug).
//!
//! # Tasks
//!
//! The crate spawns no task, but the [`etcd_client`] does, for each of its connections: they end with the last [`Etcd`], service and
//! discovery of it.
//!
//! # Coming from go-kit
//!
//! `etcdv3.NewClient` becomes [`Etcd::new`], and `NewInstancer` and `NewRegistrar` become [`EtcdService`]. A lease that is lost is made
//! again ([go-kit 1043](https://github.com/go-kit/kit/issues/1043)), a watch that ends is started again, and one registration or source
//! does not end those of others on the same client. go-kit's programs find instances that are registered here only if they can read the
//! JSON object; here, theirs are found.
//!
//! [tower]: https://docs.rs/tower
//! [`Source`]: towerkit_discovery::Source
//! [`Registry`]: towerkit_discovery::Registry

mod client;
mod connection;
mod error;
mod registration;
mod service;
#[cfg(feature = "tls")]
mod tls;
mod watch;

pub use client::Etcd;
pub use registration::EtcdLease;
pub use service::EtcdService;
#[cfg(feature = "tls")]
pub use tls::EtcdTls;
