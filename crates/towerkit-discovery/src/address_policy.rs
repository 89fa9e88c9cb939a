use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Address;

/// The addresses that a registry may announce.
///
/// A registry is often writable by many, and an instance is an address to which this process connects. So the default refuses
/// addresses that lead back into this host or to the metadata service of a cloud, from which credentials can be read
/// ([CWE-918](https://cwe.mitre.org/data/definitions/918.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AddressPolicy {
    /// Refuses loopback, link-local, multicast and unspecified addresses, the metadata services of clouds, `localhost` and names
    /// under it. The default.
    #[default]
    Remote,
    /// Refuses unspecified and multicast addresses only. For development, and for sources that the operator writes.
    Any,
}

/// The metadata services outside of the link-local networks: of AWS over IPv6, of Alibaba Cloud, and of Oracle Cloud.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// The names of the metadata services of clouds, and of this host.
const NAMES: [&str; 6] = [
    "localhost",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "instance-data",
    "ip6-localhost",
];

impl AddressPolicy {
    /// Returns true if calls may go to this address.
    ///
    /// ```
    /// use towerkit_discovery::AddressPolicy;
    ///
    /// let metadata = "169.254.169.254:80".parse()?;
    /// assert!(!AddressPolicy::Remote.allows(&metadata));
    /// assert!(AddressPolicy::Any.allows(&metadata));
    /// # Ok::<(), towerkit_core::ConfigError>(())
    /// ```
    #[must_use]
    pub fn allows(self, address: &Address) -> bool {
        let is_reachable = match address {
            Address::Socket(address) => {
                let ip = address.ip();
                !ip.is_unspecified() && !ip.is_multicast() && address.port() != 0
            }
            Address::Name(..) => true,
        };
        is_reachable
            && match (self, address) {
                (Self::Any, _) => true,
                (Self::Remote, Address::Socket(address)) => is_remote(address.ip()),
                (Self::Remote, Address::Name(name, _)) => {
                    !NAMES.contains(&&**name) && !name.ends_with(".localhost")
                }
            }
    }
}

fn is_remote(ip: IpAddr) -> bool {
    let ip = unwrap_ipv4(ip);
    let is_local = match ip {
        // 0.0.0.0/8 is this host on Linux.
        IpAddr::V4(ip) => {
            ip.is_loopback() || ip.is_link_local() || ip.is_broadcast() || ip.octets()[0] == 0
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    !is_local && !METADATA.contains(&ip)
}

/// Returns the IPv4 address within an IPv6 address that is mapped, or translated by NAT64
/// ([RFC 6052](https://www.rfc-editor.org/rfc/rfc6052#section-2.1)).
fn unwrap_ipv4(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0] => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_refuses_local_and_metadata_addresses() {
        // SD-13
        for address in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "169.254.169.254:80",
            "169.254.0.1:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "100.100.100.200:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "[::]:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[ff02::1]:80",
            "localhost:80",
            "LOCALHOST.:80",
            "a.localhost:80",
            "metadata.google.internal:80",
            "Metadata.Google.Internal.:80",
        ] {
            let address: Address = address.parse().unwrap();
            assert!(!AddressPolicy::Remote.allows(&address), "{address}");
        }
        for address in ["10.0.0.1:80", "[fd00::1]:80", "a.internal:80", "8.8.8.8:53"] {
            let address: Address = address.parse().unwrap();
            assert!(AddressPolicy::Remote.allows(&address), "{address}");
        }
    }

    #[test]
    fn the_policy_any_allows_this_host_and_refuses_unspecified_addresses() {
        for (address, allowed) in [
            ("127.0.0.1:80", true),
            ("localhost:80", true),
            ("0.0.0.0:80", false),
            ("[ff02::1]:80", false),
        ] {
            assert_eq!(
                AddressPolicy::Any.allows(&address.parse().unwrap()),
                allowed,
                "{address}"
            );
        }
    }
}
