use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use towerkit_core::ConfigError;

/// The address of an instance: a socket address, or the name of a host and a port.
///
/// It is written and parsed as the authority of a URI, with brackets around an IPv6 address:
///
/// ```
/// use towerkit_discovery::Address;
///
/// assert_eq!(Address::new("::1", 80)?.to_string(), "[::1]:80");
/// assert_eq!(Address::new("db.internal", 5432)?, "db.internal:5432".parse()?);
/// assert!(Address::new("user@host", 80).is_err());
/// assert!(Address::new("host", 0).is_err());
/// # Ok::<(), towerkit_core::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// The name of a host in lower case, and a port. The client that connects resolves the name.
    Name(Arc<str>, u16),
}

impl Address {
    /// Makes an address of a host, which is an IP address or a name, and a port.
    ///
    /// An IPv6 address may have brackets. An IPv4 address that is mapped to IPv6 becomes an IPv4 address.
    ///
    /// # Errors
    ///
    /// Returns an error if the port is 0, or if the host is neither an IP address nor a name of at most 253 letters, digits, dots,
    /// hyphens and underscores ([RFC 1123](https://www.rfc-editor.org/rfc/rfc1123#section-2.1), with the underscores of SRV names).
    pub fn new(host: &str, port: u16) -> Result<Self, ConfigError> {
        ConfigError::check_range("port", port, 1..=u16::MAX)?;
        let unbracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Ok(ip) = unbracketed.unwrap_or(host).parse::<IpAddr>() {
            return Ok(Self::Socket(SocketAddr::new(ip.to_canonical(), port)));
        }
        if !is_host_name(host) {
            // The host is shortened, because a registry may hold anything.
            let shown: String = host.chars().take(64).collect();
            let expected = "an IP address, or a host name of letters, digits, dots and hyphens";
            return Err(ConfigError::new("host", shown, expected));
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        Ok(Self::Name(name.to_ascii_lowercase().into(), port))
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }
}

/// True for a name of labels of 1 to 63 characters, whose last is no number, so that no malformed IPv4 address is a name.
fn is_host_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= 253
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number)
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl FromStr for Address {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let shown = || text.chars().take(64).collect::<String>();
        let invalid = || ConfigError::new("address", shown(), "a host and a port such as [::1]:80");
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        // `::1:80` could be an address without a port.
        if host.contains(':') && !host.starts_with('[') {
            return Err(invalid());
        }
        // `u16::from_str` would take `+80`.
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        Self::new(host, port.parse().map_err(|_| invalid())?)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}
