//! Registries by their URLs, for the examples that discover or register instances.
//!
//! | URL | registry | feature |
//! |---|---|---|
//! | `static:HOST:PORT,HOST:PORT` | these instances | |
//! | `file:PATH` | a file with one address per line, or with JSON; it is read again when it changes | |
//! | `dns://HOST:PORT` | the addresses of a host | |
//! | `dns://_SERVICE._tcp.DOMAIN` | SRV records | |
//! | `etcd://HOST:PORT/SERVICE` | etcd | `etcd` |
//! | `consul://HOST:PORT/SERVICE` | Consul | `consul` |
//! | `zk://HOST:PORT/SERVICE` | ZooKeeper | `zookeeper` |
//!
//! `dns://` takes the address of a name server as `?server=IP:PORT`. Only etcd, Consul and ZooKeeper register instances.

mod registry_url;

pub use registry_url::RegistryUrl;
