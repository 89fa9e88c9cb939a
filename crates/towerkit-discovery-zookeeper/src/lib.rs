//! Service discovery for [tower] with [ZooKeeper](https://zookeeper.apache.org), by the [`Source`] and the [`Registry`] of
//! [`towerkit_discovery`].
//!
//! Use it when services register themselves in a ZooKeeper ensemble, version 3.6 or later. An instance is an ephemeral node under the
//! path of its service, which ZooKeeper removes with the session that made it.
//!
//! ```
//! use towerkit_discovery::{Discovery, Instance, Registrar};
//! use towerkit_discovery_zookeeper::ZooKeeper;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
//! // It connects when it is used. All services share the session.
//! let zookeeper = ZooKeeper::new(["127.0.0.1:2181"])?.digest("addsvc", "secret");
//!
//! // The instances of a service: the nodes under `/services/stringsvc`.
//! let stringsvc = Discovery::spawn(zookeeper.service("stringsvc")?);
//!
//! // This process, as an instance of another service.
//! let instance = Instance::new("10.0.0.7:8080".parse()?).weight(3).zone("eu-1a");
//! let registration = Registrar::new(zookeeper.service("addsvc")?, instance).spawn();
//! # drop((stringsvc, registration)); Ok(()) }
//! ```
//!
//! # Metadata
//!
//! The node of an instance is `PATH / SERVICE / ADDRESS`, such as `/services/addsvc/10.0.0.7:8080`. Its data is a JSON object:
//!
//! ```json
//! {"address": "10.0.0.7:8080", "weight": 3, "zone": "eu-1a", "version": "1.2.3", "tags": {"canary": "yes"}}
//! ```
//!
//! | of an instance | in ZooKeeper |
//! |---|---|
//! | address | `address`, which is required |
//! | weight | `weight`, 1 if it is missing |
//! | zone, version | `zone`, `version` |
//! | tags | `tags`, an object of strings |
//!
//! Further members are ignored. The data may also be a bare address, or one with a scheme such as `http://10.0.0.7:8080`, as programs
//! write that use go-kit; the name of a node means nothing. Data that is neither is skipped. At most 10,000 nodes of a service are read.
//!
//! # Changes
//!
//! The source watches the path of the service with all its nodes, and reads them. It starts anew when the session was disconnected,
//! because events may be lost then. Until ZooKeeper answers again the last set stays in use.
//!
//! After a disconnection the [`zookeeper_client`] has a second to take the session up again, on any server of the ensemble. Then a new
//! session is made, with at most two attempts in a second, and at most one and a half seconds between them.
//!
//! # Registration
//!
//! A registration lives as long as its session. The TTL is the [session timeout](ZooKeeper::session_timeout), which a server limits to
//! between 2 and 20 times its `tickTime`: with the default, to between 4 and 40 seconds. A renewal looks if the node is there. If the
//! session was lost, it makes the node again in a new one; if somebody has deleted the node, the lease is
//! [lost](towerkit_discovery::LeaseStatus::Lost), and the instance is registered again.
//!
//! # Credentials
//!
//! With [`ZooKeeper::digest`] only that user may change the nodes that are made, and all may read them. The password is not part of an
//! error, an event, or the output of [`Debug`](std::fmt::Debug).
//!
//! TLS is not there: the library would bring a second implementation of cryptography, in C. Use a proxy such as `stunnel` beside the
//! process, or a network that encrypts.
//!
//! # Tasks
//!
//! The crate spawns no task, but the [`zookeeper_client`] does, for each session: it ends with the last [`ZooKeeper`], service, lease and
//! discovery of it. The library also starts one thread for all sessions of a process, which waits for its sockets and timers.
//!
//! # Coming from go-kit
//!
//! `zk.NewClient` becomes [`ZooKeeper::new`], `Credentials` [`ZooKeeper::digest`], and `NewInstancer` and `NewRegistrar` become
//! [`ZooKeeperService`]. A session that is lost is made again with its registrations, deregistration removes the node that was made, and
//! a failed read does not end the watch.
//!
//! [tower]: https://docs.rs/tower
//! [`Source`]: towerkit_discovery::Source
//! [`Registry`]: towerkit_discovery::Registry

mod client;
mod connection;
mod error;
mod registration;
mod service;
mod watch;

pub use client::ZooKeeper;
pub use registration::ZooKeeperLease;
pub use service::ZooKeeperService;
