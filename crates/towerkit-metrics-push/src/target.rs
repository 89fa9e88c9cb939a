use std::fmt;
#[cfg(unix)]
use std::path::PathBuf;

use crate::http::InfluxHttp;
use crate::{
    InvalidSetting,
    invalid::Problem,
    packer::Size,
    wire::{Tcp, Udp, Wire},
};

/// Where a [`Pusher`](crate::Pusher) sends its lines, and how: UDP, datagrams to a Unix socket, or TCP.
///
/// With the feature `http` an `InfluxHttp` becomes one by `into`.
#[derive(Debug, Clone)]
pub struct Target {
    kind: Kind,
    size: Size,
}

#[derive(Debug, Clone)]
enum Kind {
    Udp(String),
    #[cfg(unix)]
    Unix(PathBuf),
    Tcp(String),
    Http(InfluxHttp),
}

/// What fits into one Ethernet frame, with the headers of UDP over IPv4 or IPv6 and some of a tunnel.
const UDP: usize = 1432;
/// The most that UDP can send.
const UDP_MOST: usize = 65_507;
/// What Datadog advises for Unix sockets.
#[cfg(unix)]
const UNIX: usize = 8192;
/// Small enough to see progress, large enough to be quick.
const TCP: usize = 32 * 1024;
/// What carbon takes for one line; on a longer one it closes the connection.
const TCP_LINE: usize = 16 * 1024 - 1;
const HTTP: usize = 1024 * 1024;
const HTTP_LINE: usize = 64 * 1024;
const LEAST: usize = 64;
const MOST: usize = 16 * 1024 * 1024;

impl Target {
    /// Sends datagrams by UDP to `host:port`: of up to 1432 bytes, unless [`packet`](Self::packet) says otherwise.
    ///
    /// The name is looked up at every push, so that a receiver which moved is found.
    #[must_use]
    pub fn udp(address: impl Into<String>) -> Self {
        Self::of(Kind::Udp(address.into()), UDP, UDP_MOST)
    }

    /// Sends datagrams to a Unix socket: of up to 8192 bytes, unless [`packet`](Self::packet) says otherwise.
    #[cfg(unix)]
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::of(Kind::Unix(path.into()), UNIX, UDP_MOST)
    }

    /// Sends by TCP to `host:port`, over one connection that is kept: up to 32 KiB at once, unless [`packet`](Self::packet) says
    /// otherwise, and lines of up to 16 KiB.
    ///
    /// The name is looked up whenever it connects.
    #[must_use]
    pub fn tcp(address: impl Into<String>) -> Self {
        Self::of(Kind::Tcp(address.into()), TCP, TCP_LINE)
    }

    fn of(kind: Kind, packet: usize, line: usize) -> Self {
        let size = Size { packet, line };
        Self { kind, size }
    }

    /// Sends at most `bytes` at once: as one datagram, one write, or one request.
    ///
    /// A line that does not fit is left out and [counted](crate::Report::too_long).
    ///
    /// # Errors
    ///
    /// If that is below 64, or above 65,507 for datagrams and 16 MiB for others.
    pub fn packet(mut self, bytes: usize) -> Result<Self, InvalidSetting> {
        let most = match self.kind {
            Kind::Udp(_) => UDP_MOST,
            #[cfg(unix)]
            Kind::Unix(_) => UDP_MOST,
            _ => MOST,
        };
        if !(LEAST..=most).contains(&bytes) {
            return Err(InvalidSetting(Problem::Packet(bytes, most)));
        }
        self.size.packet = bytes;
        Ok(self)
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    pub(crate) fn wire(&self) -> Wire {
        match &self.kind {
            Kind::Udp(address) => Wire::Udp(Udp::new(address)),
            #[cfg(unix)]
            Kind::Unix(path) => Wire::Unix(crate::wire::Unix::new(path)),
            Kind::Tcp(address) => Wire::Tcp(Tcp::new(address)),
            Kind::Http(http) => http.wire(),
        }
    }
}

impl From<InfluxHttp> for Target {
    fn from(http: InfluxHttp) -> Self {
        Self::of(Kind::Http(http), HTTP, HTTP_LINE)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Udp(address) => write!(f, "udp {address}"),
            #[cfg(unix)]
            Kind::Unix(path) => write!(f, "unix {}", path.display()),
            Kind::Tcp(address) => write!(f, "tcp {address}"),
            Kind::Http(http) => http.fmt(f),
        }
    }
}
