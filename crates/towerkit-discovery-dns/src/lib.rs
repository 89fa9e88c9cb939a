//! Service discovery for [tower] by DNS, with the [`Source`] of [`towerkit_discovery`].
//!
//! Use it when the instances of a service have [SRV records](https://www.rfc-editor.org/rfc/rfc2782), or one name with several
//! addresses, as a headless service of Kubernetes has. It looks the names up again when their TTL is over.
//!
//! ```
//! use towerkit_discovery::Discovery;
//! use towerkit_discovery_dns::{Dns, DnsResolver};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
//! // By the name servers of the system, which /etc/resolv.conf lists.
//! let addsvc = Discovery::spawn(Dns::srv("_addsvc._tcp.example.org")?);
//!
//! // By name servers of your own, which both discoveries share.
//! let resolver = DnsResolver::new(["10.96.0.10:53".parse().unwrap()])?;
//! let stringsvc = Discovery::spawn(Dns::host("stringsvc.default.svc.cluster.local", 8080)?.resolver(&resolver));
//! let profilesvc = Discovery::spawn(Dns::host("profilesvc.default.svc.cluster.local", 8080)?.resolver(&resolver));
//!
//! // Until the first answer there are no instances, and the status is `pending`.
//! assert!(addsvc.current().instances.is_empty());
//! # drop((stringsvc, profilesvc)); Ok(()) }
//! ```
//!
//! # Metadata
//!
//! | of an instance | SRV | host name |
//! |---|---|---|
//! | address | the addresses (A and AAAA) of the target, and the port of the record | the addresses of the name, and the port given |
//! | weight | the weight of the record, divided among the addresses of its target | 1 |
//! | zone, version | – | – |
//! | tags | `target`: the name of the target | – |
//!
//! Only the records of the lowest priority that has instances are used. A record of weight 0 gets the small share of calls that
//! [RFC 2782](https://www.rfc-editor.org/rfc/rfc2782) gives it; if all have the weight 0, all shares are equal. A record without a
//! valid port or target is skipped, and the target `.` says that there is no instance.
//!
//! # Names
//!
//! A name is absolute, with and without a final dot: search domains and `/etc/hosts` are not used, so that a lookup is one query. Aliases
//! (CNAME records) are followed up to 8 times.
//!
//! # Refreshes
//!
//! The names are looked up again when the shortest TTL among their records is over: after one second at least, after
//! [30 seconds](Dns::max_interval) at most, and up to a tenth later, at random, so that processes do not ask at the same moment. An
//! answer that says that there are no records holds for the TTL of its SOA record, within the same limits.
//!
//! # Failures
//!
//! A name that does not exist (`NXDOMAIN`), or that has no such records, is an empty set. Anything else, such as `SERVFAIL`, a circle of
//! aliases, garbage or silence, is a failure: the last set stays in use, and its status is
//! [stale](towerkit_discovery::DiscoveryStatus::Stale). The next attempt follows within 1.5 seconds, with at most two queries a second.
//! If only some of several lookups fail, their last answers stay in use beside the new ones of the others.
//!
//! A query waits a second for an answer. It goes to two name servers at a time, and over TCP if the answer was truncated.
//!
//! # Tasks
//!
//! The crate spawns no task, but the [`hickory_resolver`] does, one for each of its connections: they end with the last
//! [`DnsResolver`] and the last discovery that uses it.
//!
//! # Coming from go-kit
//!
//! `dnssrv.NewInstancer` becomes [`Dns::srv`]. It refreshes by TTL in place of a fixed interval, obeys priorities and weights, and keeps
//! the last set after an error. A record with port 0 is skipped, where go-kit reports `ErrPortZero` for the whole answer; if no record
//! is left, it is a failure here, too.
//!
//! [tower]: https://docs.rs/tower
//! [`Source`]: towerkit_discovery::Source

mod dns;
mod lookup;
mod refresh;
mod resolver;
mod srv;

pub use dns::Dns;
pub use resolver::DnsResolver;
