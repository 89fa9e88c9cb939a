use std::{
    borrow::Cow,
    iter,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::Chars,
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName, header};
use towerkit_core::ConfigError;

/// Finds the address of the client behind trusted proxies.
///
/// Any client can send [`X-Forwarded-For`], so only the entries of trusted proxies count. The header is read from the right, where the
/// nearest proxy appends the address of its peer: the client is the first address that is not a trusted proxy. By default no proxy is
/// trusted, and the client is the peer of the connection: a [`PeerAddress`] or, with the feature `axum`, axum's [`ConnectInfo`].
///
/// ```
/// use http::{Extensions, HeaderMap};
/// use std::net::{IpAddr, SocketAddr};
/// use towerkit_http::{ClientAddress, PeerAddress};
///
/// let client = ClientAddress::new().trust(["10.0.0.0/8", "fd00::/8"])?;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.2".parse()?);
/// let mut extensions = Extensions::new();
/// extensions.insert(PeerAddress(SocketAddr::from(([10, 0, 0, 1], 443))));
///
/// let address = client.find(&headers, &extensions);
/// assert_eq!(address, Some(IpAddr::from([203, 0, 113, 7])));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// [`X-Forwarded-For`]: https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
/// [`ConnectInfo`]: https://docs.rs/axum/0.8/axum/extract/connect_info/struct.ConnectInfo.html
#[derive(Debug, Clone)]
pub struct ClientAddress {
    trusted: Arc<[Network]>,
    header: HeaderName,
    ipv6_prefix: u8,
}

/// The address of the peer of a connection, as a server inserts it into the extensions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl PeerAddress {
    /// Returns the address in the extensions of a request: a [`PeerAddress`], or axum's `ConnectInfo` with the feature `axum`.
    #[must_use]
    pub fn find(extensions: &Extensions) -> Option<SocketAddr> {
        let peer = extensions.get().map(|Self(peer)| *peer);
        peer.or_else(|| connected(extensions))
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl ClientAddress {
    /// Makes a finder that trusts no proxy, so that the client is the peer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trusted: Arc::default(),
            header: X_FORWARDED_FOR,
            ipv6_prefix: 64,
        }
    }

    /// Trusts the proxies in these networks: addresses such as `10.0.0.1`, or prefixes such as `10.0.0.0/8`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for any other text.
    pub fn trust<N: AsRef<str>>(
        mut self,
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self, ConfigError> {
        let networks = networks
            .into_iter()
            .map(|text| Network::parse(text.as_ref()));
        self.trusted = networks.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Reads the header [`Forwarded`](https://www.rfc-editor.org/rfc/rfc7239) instead of `X-Forwarded-For`.
    ///
    /// Trusted proxies must set the header that is read, or else clients can forge it.
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.header = header::FORWARDED;
        self
    }

    /// Sets the bits by which IPv6 clients are told apart; 64 by default, the network of a home or a host.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `bits` is not between 1 and 128.
    pub fn ipv6_prefix(mut self, bits: u8) -> Result<Self, ConfigError> {
        if !(1..=128).contains(&bits) {
            return Err(ConfigError::new("ipv6 prefix", bits, "1 to 128 bits"));
        }
        self.ipv6_prefix = bits;
        Ok(self)
    }

    /// Finds the address of the client; `None` if the peer is unknown.
    ///
    /// An IPv4 address mapped to IPv6 is returned as IPv4. If a trusted proxy appended an entry that is no address, the client is that
    /// proxy. If all entries are trusted proxies, the client is the farthest of them.
    #[must_use]
    pub fn find(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        let mut known = PeerAddress::find(extensions)?.ip().to_canonical();
        if !self.trusts(known) {
            return Some(known);
        }
        let lines = headers.get_all(&self.header).iter().rev();
        for line in lines {
            for element in elements(line.to_str().unwrap_or("?")) {
                let hop = if self.header == header::FORWARDED {
                    forwarded_for(element)
                } else {
                    address(element)
                };
                let Some(hop) = hop else { return Some(known) };
                known = hop.to_canonical();
                if !self.trusts(known) {
                    return Some(known);
                }
            }
        }
        Some(known)
    }

    /// Finds the key of the client for counting: its IPv4 address, or the network of its IPv6 address.
    #[must_use]
    pub fn find_network(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        Some(self.network_of(self.find(headers, extensions)?))
    }

    /// Returns the key of an address for counting: the IPv4 address itself, or the network of an IPv6 address.
    #[must_use]
    pub fn network_of(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let host_mask = u128::MAX.checked_shr(self.ipv6_prefix.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !host_mask))
            }
            address => address,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "axum")]
fn connected(extensions: &Extensions) -> Option<SocketAddr> {
    let connected = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>();
    connected.map(|connected| connected.0)
}

#[cfg(not(feature = "axum"))]
fn connected(_extensions: &Extensions) -> Option<SocketAddr> {
    None
}

/// Returns the elements of a list from the right, without empty ones.
///
/// A comma in a quoted string does not separate elements. Reading from the right protects the entries of proxies from text that a
/// client wrote on the left, such as an unclosed quote.
fn elements(line: &str) -> impl Iterator<Item = &str> {
    split_from_the_right(line, ',')
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

fn split_from_the_right(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let separates = |(at, char): &(usize, char)| {
            if *char == '"' && !is_escaped(&text[..*at]) {
                quoted = !quoted;
            }
            *char == separator && !quoted
        };
        match { text.char_indices() }.rev().find(separates) {
            Some((at, _)) => {
                rest = Some(&text[..at]);
                Some(&text[at + 1..])
            }
            None => rest.take(),
        }
    })
}

/// Returns true if the backslashes at the end of this text escape the next character.
fn is_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Parses the parameter `for` of an element of `Forwarded`, if it is an address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = split_from_the_right(element, ';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    let value = found.next()?.trim();
    if found.next().is_some() {
        return None;
    }
    let quoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let quoted = quoted.filter(|text| !is_escaped(text));
    let node = quoted.map_or(Cow::Borrowed(value), unescaped);
    address(&node).or_else(|| address(without_obfuscated_port(&node)?))
}

/// Returns the text of a quoted string without the backslashes of quoted pairs (RFC 9110, section 5.6.4).
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut chars = text.chars();
    let next = |chars: &mut Chars<'_>| match chars.next()? {
        '\\' => chars.next(),
        char => Some(char),
    };
    iter::from_fn(|| next(&mut chars)).collect()
}

/// Removes an obfuscated port from a node of `Forwarded` (RFC 7239, section 6.3).
fn without_obfuscated_port(node: &str) -> Option<&str> {
    let (address, port) = node.rsplit_once(":_")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (!port.is_empty() && port.bytes().all(fits)).then_some(address)
}

/// Parses an address as proxies write it: alone, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok().or_else(|| {
            let address = text.parse::<SocketAddr>().ok()?;
            Some(address.ip())
        }),
    }
}

/// A network prefix in IPv6 bits; IPv4 networks are mapped to IPv6.
#[derive(Debug, Clone, Copy)]
struct Network {
    prefix: u128,
    host_mask: u128,
}

impl Network {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let invalid = || {
            ConfigError::new(
                "trusted proxy",
                text,
                "an address or a network such as 10.0.0.0/8",
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => bits.parse().ok(),
            Some(_) => None,
            None => Some(width),
        };
        let bits = bits.filter(|bits| *bits <= width).ok_or_else(invalid)?;
        let host_mask = u128::MAX.checked_shr(128 - width + bits).unwrap_or(0);
        Ok(Self {
            prefix: bits_of(address) & !host_mask,
            host_mask,
        })
    }

    fn contains(&self, address: IpAddr) -> bool {
        bits_of(address) & !self.host_mask == self.prefix
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
