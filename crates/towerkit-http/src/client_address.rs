use std::{
    borrow::Cow,
    error::Error,
    fmt, iter,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::Chars,
    sync::Arc,
};

use http::{Extensions, HeaderMap, HeaderName, header};

/// Finds the address of the client, also behind proxies: those that are trusted, and no others.
///
/// Anyone can send `X-Forwarded-For`. It is read from the right, where the nearest proxy adds what it sees, for as long as the address
/// that was found so far is a trusted proxy; the first that is not is the client. By default none is trusted and the client is the
/// peer: axum's `ConnectInfo` (with the feature `axum`), or a [`PeerAddress`].
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
#[derive(Debug, Clone)]
pub struct ClientAddress {
    trusted: Arc<[Network]>,
    field: HeaderName,
    ipv6_prefix: u8,
}

/// The address at the other end of the connection, as a server puts it into the extensions of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

impl ClientAddress {
    /// Trusts no proxy: the client is the peer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trusted: Arc::default(),
            field: X_FORWARDED_FOR,
            ipv6_prefix: 64,
        }
    }

    /// Trusts what the proxies in these networks say, and no others. A network is an address or, as in `10.0.0.0/8`, its first bits.
    ///
    /// # Errors
    ///
    /// If one of them is neither.
    pub fn trust<N: AsRef<str>>(
        mut self,
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidNetwork> {
        let networks = networks.into_iter().map(|text| Network::of(text.as_ref()));
        self.trusted = networks.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Reads `Forwarded` (RFC 7239) and not `X-Forwarded-For`, as by default. Trusted proxies must write the one that is read.
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.field = header::FORWARDED;
        self
    }

    /// Takes clients for one whose IPv6 addresses share so many bits; 64 by default, since a home or a host has as many addresses.
    ///
    /// # Errors
    ///
    /// If it is not 1 to 128.
    pub fn ipv6_prefix(mut self, bits: u8) -> Result<Self, InvalidNetwork> {
        if !(1..=128).contains(&bits) {
            return Err(InvalidNetwork(Problem::Prefix(bits)));
        }
        self.ipv6_prefix = bits;
        Ok(self)
    }

    /// Finds the address of the client; `None` if even the peer is not known.
    ///
    /// An IPv4 address that is written as IPv6 is an IPv4 address. Where a trusted proxy says what is no address, the client is that
    /// proxy; where all that is said are trusted proxies, it is the farthest.
    #[must_use]
    pub fn find(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        let mut known = peer(extensions)?.ip().to_canonical();
        if !self.trusts(known) {
            return Some(known);
        }
        let lines = headers.get_all(&self.field).iter().rev();
        for line in lines {
            for hop in elements(line.to_str().unwrap_or("?")) {
                let said = if self.field == header::FORWARDED {
                    forwarded_for(hop)
                } else {
                    address(hop)
                };
                let Some(said) = said else { return Some(known) };
                known = said.to_canonical();
                if !self.trusts(known) {
                    return Some(known);
                }
            }
        }
        Some(known)
    }

    /// Finds what stands for the client where clients are counted: an IPv4 address, or the network of an IPv6 address.
    #[must_use]
    pub fn find_network(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        Some(self.network_of(self.find(headers, extensions)?))
    }

    /// Returns what stands for this address where clients are counted.
    #[must_use]
    pub fn network_of(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let rest = u128::MAX.checked_shr(self.ipv6_prefix.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !rest))
            }
            address => address,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.holds(address))
    }
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the address at the other end of the connection, where it is known.
pub(crate) fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let peer = extensions.get().map(|PeerAddress(peer)| *peer);
    peer.or_else(|| connected(extensions))
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

/// The elements of a list, from the right, without those that are empty.
///
/// A comma in a quoted string separates nothing. Read from the right, nothing that a client wrote on the left, such as a quote that is
/// never closed, changes what a proxy added.
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

/// Whether what comes after this text is escaped by the backslashes at its end.
fn is_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Reads the parameter `for` of an element of `Forwarded`, if there is one and it is an address.
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

/// Returns a node of `Forwarded` without its port, if that is a name that hides it (RFC 7239, section 6.3).
fn without_obfuscated_port(node: &str) -> Option<&str> {
    let (address, port) = node.rsplit_once(":_")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (!port.is_empty() && port.bytes().all(fits)).then_some(address)
}

/// Reads an address as proxies write it: alone, in brackets, or with a port.
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

/// The first bits of an address, which is an IPv6 address whatever it was written as.
#[derive(Debug, Clone, Copy)]
struct Network {
    first: u128,
    rest: u128,
}

impl Network {
    fn of(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(Problem::Network(text.into()));
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
        let rest = u128::MAX.checked_shr(128 - width + bits).unwrap_or(0);
        Ok(Self {
            first: bits_of(address) & !rest,
            rest,
        })
    }

    fn holds(&self, address: IpAddr) -> bool {
        bits_of(address) & !self.rest == self.first
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidNetwork(Problem);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Network(Box<str>),
    Prefix(u8),
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::Network(text) => write!(f, "{text:?} is neither an address nor a network"),
            Problem::Prefix(bits) => write!(f, "a prefix of {bits} bits, not 1 to 128"),
        }
    }
}

impl Error for InvalidNetwork {}
