//! Flags that several examples have.
//!
//! # Registries
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
//!
//! # Schemes of authentication
//!
//! | value | credentials of a caller |
//! |---|---|
//! | `basic:FILE` | a name and a password; the file is as `htpasswd` writes it |
//! | `api-key:FILE` | the header `x-api-key`; the file has lines of `client:SHA-256 of the key` |
//! | `jwt:URL` | a bearer token; the URL is that of a JSON Web Key Set, or of an OpenID provider |

mod auth_scheme;
mod registry_url;

pub use auth_scheme::AuthScheme;
pub use registry_url::{RegistryUrl, ServerKind};
