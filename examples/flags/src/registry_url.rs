use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use towerkit::{
    core::BoxError,
    discovery::{
        Address, Discovery, DiscoveryOptions, FileInstances, Instance, Registration,
        StaticInstances,
    },
    discovery_dns::{Dns, DnsResolver},
};

/// A registry, and a service in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryUrl {
    /// `static:ADDR,ADDR`
    Static(Vec<Address>),
    /// `file:PATH`
    File(PathBuf),
    /// `dns://NAME` or `dns://HOST:PORT`, with an optional `?server=IP:PORT`
    Dns {
        /// The name of SRV records, or of a host.
        name: String,
        /// The port, if it is the name of a host.
        port: Option<u16>,
        /// The name server, if it is not one of the system.
        server: Option<SocketAddr>,
    },
    /// `SCHEME://HOST:PORT/SERVICE`
    Server {
        /// What kind of server it is.
        kind: ServerKind,
        /// Its host and port.
        address: String,
        /// The name of the service.
        service: String,
    },
}

/// The kinds of registries that are servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// Consul.
    Consul,
    /// etcd.
    Etcd,
    /// ZooKeeper.
    Zookeeper,
}

impl RegistryUrl {
    /// Starts to discover the instances of the service.
    ///
    /// # Errors
    ///
    /// Returns an error if the registry is not compiled in, or if its address is invalid.
    pub fn discover(&self, options: DiscoveryOptions) -> Result<Discovery, BoxError> {
        match self {
            Self::Static(addresses) => {
                let instances = addresses.iter().cloned().map(Instance::new);
                Ok(options.spawn(StaticInstances::new(instances)))
            }
            Self::File(path) => Ok(options.spawn(FileInstances::new(path))),
            Self::Dns { name, port, server } => {
                let dns = match port {
                    Some(port) => Dns::host(name, *port)?,
                    None => Dns::srv(name)?,
                };
                Ok(match server {
                    Some(server) => options.spawn(dns.resolver(&DnsResolver::new([*server])?)),
                    None => options.spawn(dns),
                })
            }
            Self::Server {
                kind,
                address,
                service,
            } => match kind {
                ServerKind::Consul => consul::discover(address, service, options),
                ServerKind::Etcd => etcd::discover(address, service, options),
                ServerKind::Zookeeper => zookeeper::discover(address, service, options),
            },
        }
    }

    /// Registers an instance of the service.
    ///
    /// # Errors
    ///
    /// Returns an error if the registry takes no registrations or is not compiled in, or if its address is invalid.
    pub fn register(&self, instance: Instance) -> Result<Registration, BoxError> {
        match self {
            Self::Static(_) | Self::File(_) | Self::Dns { .. } => {
                Err("only etcd://, consul:// and zk:// take registrations".into())
            }
            Self::Server {
                kind,
                address,
                service,
            } => match kind {
                ServerKind::Consul => consul::register(address, service, instance),
                ServerKind::Etcd => etcd::register(address, service, instance),
                ServerKind::Zookeeper => zookeeper::register(address, service, instance),
            },
        }
    }
}

/// The functions of a registry that is compiled in, by an expression that makes its service.
macro_rules! registry {
    ($module:ident, $feature:literal, |$address:ident, $service:ident| $make:expr) => {
        #[cfg(feature = $feature)]
        mod $module {
            use towerkit::discovery::{Registrar, Registry, Source};

            use super::*;

            fn service($address: &str, $service: &str) -> Result<impl Registry + Source, BoxError> {
                Ok($make)
            }

            pub(super) fn discover(
                address: &str,
                name: &str,
                options: DiscoveryOptions,
            ) -> Result<Discovery, BoxError> {
                Ok(options.spawn(service(address, name)?))
            }

            pub(super) fn register(
                address: &str,
                name: &str,
                instance: Instance,
            ) -> Result<Registration, BoxError> {
                Ok(Registrar::new(service(address, name)?, instance).spawn())
            }
        }

        #[cfg(not(feature = $feature))]
        mod $module {
            use super::*;

            const MISSING: &str = concat!(
                "this registry is not compiled in: build with `--features ",
                $feature,
                "`"
            );

            pub(super) fn discover(
                _: &str,
                _: &str,
                _: DiscoveryOptions,
            ) -> Result<Discovery, BoxError> {
                Err(MISSING.into())
            }

            pub(super) fn register(
                _: &str,
                _: &str,
                _: Instance,
            ) -> Result<Registration, BoxError> {
                Err(MISSING.into())
            }
        }
    };
}

registry!(consul, "consul", |address, service| {
    let client = towerkit::discovery::RegistryClient::new([format!("http://{address}")])?;
    towerkit::discovery_consul::Consul::new(client).service(service)
});
registry!(etcd, "etcd", |address, service| {
    towerkit::discovery_etcd::Etcd::new([format!("http://{address}")])?.service(service)?
});
registry!(zookeeper, "zookeeper", |address, service| {
    towerkit::discovery_zookeeper::ZooKeeper::new([address])?.service(service)?
});

impl FromStr for RegistryUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |expected: &str| format!("invalid registry {text:?}: expected {expected}");
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(invalid("a URL such as file:instances.txt"));
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let kind = match scheme {
            "static" => {
                let addresses = rest.split(',').map(str::parse).collect();
                return match addresses {
                    Ok(addresses) => Ok(Self::Static(addresses)),
                    Err(error) => Err(format!("invalid registry {text:?}: {error}")),
                };
            }
            "file" if rest.is_empty() => return Err(invalid("a path, as in file:instances.txt")),
            "file" => return Ok(Self::File(rest.into())),
            "dns" => {
                return dns(rest)
                    .ok_or_else(|| invalid("dns://HOST:PORT or dns://_SERVICE._tcp.DOMAIN"));
            }
            "consul" => ServerKind::Consul,
            "etcd" => ServerKind::Etcd,
            "zk" => ServerKind::Zookeeper,
            _ => return Err(invalid("static:, file:, dns:, consul:, etcd: or zk:")),
        };
        match rest.split_once('/') {
            Some((address, service)) if !address.is_empty() && !service.is_empty() => {
                Ok(Self::Server {
                    kind,
                    address: address.to_owned(),
                    service: service.to_owned(),
                })
            }
            _ => Err(invalid(&format!("{scheme}://HOST:PORT/SERVICE"))),
        }
    }
}

fn dns(text: &str) -> Option<RegistryUrl> {
    let (name, server) = match text.split_once("?server=") {
        Some((name, server)) => (name, Some(server.parse().ok()?)),
        None => (text, None),
    };
    let (name, port) = match name.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (name, None),
    };
    let is_service = name.starts_with('_');
    (!name.is_empty() && is_service == port.is_none()).then(|| RegistryUrl::Dns {
        name: name.to_owned(),
        port,
        server,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_registry_and_the_service() {
        let parse = |text: &str| text.parse::<RegistryUrl>().unwrap();
        let addresses = ["a:1", "b:2"].map(|address| address.parse().unwrap());
        assert_eq!(
            parse("static:a:1,b:2"),
            RegistryUrl::Static(addresses.into())
        );
        assert_eq!(parse("file:/etc/x"), RegistryUrl::File("/etc/x".into()));
        assert_eq!(parse("file:x.txt"), RegistryUrl::File("x.txt".into()));
        let dns = |name: &str, port, server: Option<&str>| RegistryUrl::Dns {
            name: name.to_owned(),
            port,
            server: server.map(|server| server.parse().unwrap()),
        };
        assert_eq!(
            parse("dns://a.internal:80"),
            dns("a.internal", Some(80), None)
        );
        assert_eq!(
            parse("dns://_a._tcp.internal?server=127.0.0.1:53"),
            dns("_a._tcp.internal", None, Some("127.0.0.1:53"))
        );
        let server = RegistryUrl::Server {
            kind: ServerKind::Etcd,
            address: "127.0.0.1:2379".to_owned(),
            service: "strings".to_owned(),
        };
        assert_eq!(parse("etcd://127.0.0.1:2379/strings"), server);
    }

    #[test]
    fn an_invalid_url_is_an_error_that_says_why() {
        for text in [
            "",
            "x",
            "http://x",
            "file:",
            "dns://",
            "dns://a",
            "dns://_a._tcp.b:80",
            "dns://a:x",
            "dns://a:80?server=x",
            "etcd://",
            "etcd://a:1",
            "etcd:///x",
        ] {
            let error = text.parse::<RegistryUrl>().expect_err(text);
            assert!(
                error.starts_with("invalid registry") && error.contains("expected"),
                "{error}"
            );
        }
    }

    #[cfg(not(feature = "etcd"))]
    #[test]
    fn a_registry_that_is_not_compiled_in_names_its_feature() {
        let url: RegistryUrl = "etcd://127.0.0.1:2379/strings".parse().unwrap();
        let error = url.discover(DiscoveryOptions::new()).unwrap_err();
        assert!(error.to_string().contains("--features etcd"), "{error}");
    }
}
