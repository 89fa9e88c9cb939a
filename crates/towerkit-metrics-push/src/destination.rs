use std::fmt;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use crate::sockets::Unix;
use crate::{
    http::InfluxHttp,
    packet_buffer::SizeLimits,
    sockets::{Tcp, Udp},
    transport::Transport,
};

/// The destination of the lines of a [`Pusher`](crate::Pusher): an address for UDP or TCP, a Unix socket, or InfluxDB over HTTP.
///
/// With the feature `http` an `InfluxHttp` converts by [`Into`].
#[derive(Debug, Clone)]
pub struct Destination(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Udp(String),
    #[cfg(unix)]
    Unix(PathBuf),
    Tcp(String),
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "constructed only with the feature")
    )]
    Http(InfluxHttp),
}

/// One Ethernet frame, without the headers of UDP over IPv4 or IPv6 and of a tunnel.
const UDP: SizeLimits = SizeLimits {
    packet: 1432,
    line: 1432,
};
/// The [size that Datadog recommends](https://docs.datadoghq.com/developers/dogstatsd/high_throughput/) for Unix sockets.
#[cfg(unix)]
const UNIX: SizeLimits = SizeLimits {
    packet: 8192,
    line: 8192,
};
/// Carbon closes the connection after a line of 16 KiB.
const TCP: SizeLimits = SizeLimits {
    packet: 32 * 1024,
    line: 16 * 1024 - 1,
};
const HTTP: SizeLimits = SizeLimits {
    packet: 1024 * 1024,
    line: 64 * 1024,
};

impl Destination {
    /// Sends UDP datagrams of up to 1432 bytes to `host:port`.
    ///
    /// The host name is resolved before every push, so that a receiver that moved is found.
    #[must_use]
    pub fn udp(address: impl Into<String>) -> Self {
        Self(Kind::Udp(address.into()))
    }

    /// Sends datagrams of up to 8192 bytes to a Unix socket.
    #[cfg(unix)]
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self(Kind::Unix(path.into()))
    }

    /// Sends lines of up to 16 KiB over one TCP connection to `host:port`.
    ///
    /// The connection is kept, and the host name is resolved before each connect.
    #[must_use]
    pub fn tcp(address: impl Into<String>) -> Self {
        Self(Kind::Tcp(address.into()))
    }

    /// Returns the limits of packets and lines. A longer line is left out and [counted](crate::PusherSnapshot::too_long).
    pub(crate) fn size_limits(&self) -> SizeLimits {
        match self.0 {
            Kind::Udp(_) => UDP,
            #[cfg(unix)]
            Kind::Unix(_) => UNIX,
            Kind::Tcp(_) => TCP,
            Kind::Http(_) => HTTP,
        }
    }

    #[cfg_attr(
        not(feature = "http"),
        expect(unreachable_code, reason = "`InfluxHttp` has no values")
    )]
    pub(crate) fn transport(&self) -> Transport {
        match &self.0 {
            Kind::Udp(address) => Transport::Udp(Udp::new(address)),
            #[cfg(unix)]
            Kind::Unix(path) => Transport::Unix(Unix::new(path)),
            Kind::Tcp(address) => Transport::Tcp(Tcp::new(address)),
            Kind::Http(http) => Transport::Http(http.clone()),
        }
    }
}

#[cfg(feature = "http")]
impl From<InfluxHttp> for Destination {
    fn from(http: InfluxHttp) -> Self {
        Self(Kind::Http(http))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Udp(address) => write!(f, "udp {address}"),
            #[cfg(unix)]
            Kind::Unix(path) => write!(f, "unix {}", path.display()),
            Kind::Tcp(address) => write!(f, "tcp {address}"),
            Kind::Http(http) => http.fmt(f),
        }
    }
}
