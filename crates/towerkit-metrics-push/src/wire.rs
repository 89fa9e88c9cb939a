//! How packets get to their receiver.

#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::{
    io::{Error, ErrorKind, Result},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

#[cfg(unix)]
use tokio::net::UnixDatagram;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket, lookup_host},
};

use crate::http::InfluxHttp;

#[derive(Debug)]
pub(crate) enum Wire {
    Udp(Udp),
    #[cfg(unix)]
    Unix(Unix),
    Tcp(Tcp),
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "there is none without the feature")
    )]
    Http(InfluxHttp),
}

/// Why a packet was not sent.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no sense in sending more.
    Stop(Error),
    /// The next packet may be better.
    Skip(Error),
}

impl Wire {
    /// Connects, if that takes a step of its own.
    pub(crate) async fn open(&mut self) -> Result<()> {
        match self {
            Self::Udp(udp) => udp.open().await,
            #[cfg(unix)]
            Self::Unix(unix) => unix.open(),
            Self::Tcp(tcp) => tcp.open().await,
            Self::Http(_) => Ok(()),
        }
    }

    /// Sends one packet.
    pub(crate) async fn send(&mut self, text: &str) -> std::result::Result<(), Failure> {
        match self {
            Self::Udp(udp) => udp.send(text).await,
            #[cfg(unix)]
            Self::Unix(unix) => unix.send(text).await,
            Self::Tcp(tcp) => tcp.send(text).await.map_err(Failure::Stop),
            Self::Http(http) => http.send(text).await,
        }
    }

    /// Returns why what was sent has not arrived, if that is known by now.
    pub(crate) fn rejected(&mut self) -> Option<Error> {
        match self {
            Self::Udp(udp) => udp.rejected(),
            Self::Tcp(tcp) => tcp.rejected(),
            _ => None,
        }
    }

    /// Whether a packet has arrived as soon as it is sent.
    pub(crate) fn is_sure(&self) -> bool {
        !matches!(self, Self::Udp(_) | Self::Tcp(_))
    }

    /// Whether a burst may overrun the receiver.
    pub(crate) fn is_unpaced(&self) -> bool {
        matches!(self, Self::Udp(_))
    }
}

#[derive(Debug)]
pub(crate) struct Udp {
    address: String,
    socket: Option<UdpSocket>,
}

impl Udp {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            socket: None,
        }
    }

    async fn open(&mut self) -> Result<()> {
        self.socket = None;
        let mut failure = None;
        for address in lookup_host(&self.address).await? {
            match connect(address).await {
                Ok(socket) => {
                    self.socket = Some(socket);
                    return Ok(());
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| ErrorKind::NotFound.into()))
    }

    async fn send(&self, text: &str) -> std::result::Result<(), Failure> {
        let socket = self.socket.as_ref().ok_or_else(closed)?;
        match socket.send(text.as_bytes()).await {
            Ok(_) => Ok(()),
            // It was an earlier datagram that was rejected; this one was not sent.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(Failure::Stop(error)),
            Err(error) => Err(Failure::Skip(error)),
        }
    }

    fn rejected(&self) -> Option<Error> {
        self.socket.as_ref()?.take_error().ok().flatten()
    }
}

async fn connect(address: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Unix {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

#[cfg(unix)]
impl Unix {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            socket: None,
        }
    }

    fn open(&mut self) -> Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        self.socket = Some(socket);
        Ok(())
    }

    async fn send(&self, text: &str) -> std::result::Result<(), Failure> {
        let socket = self.socket.as_ref().ok_or_else(closed)?;
        match socket.send(text.as_bytes()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(Failure::Skip(error)),
            Err(error) if is_gone(&error) => Err(Failure::Stop(error)),
            Err(error) => Err(Failure::Skip(error)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tcp {
    address: String,
    stream: Option<TcpStream>,
}

impl Tcp {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
        }
    }

    async fn open(&mut self) -> Result<()> {
        if !self.stream.as_ref().is_some_and(is_open) {
            self.stream = None;
            self.stream = Some(TcpStream::connect(&self.address).await?);
        }
        Ok(())
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        // Whoever gives up in the middle of a line leaves no connection to go on with.
        let mut stream = self.stream.take().ok_or(ErrorKind::NotConnected)?;
        // In one piece, lest the last byte wait for an acknowledgement.
        stream.write_all(format!("{text}\n").as_bytes()).await?;
        self.stream = Some(stream);
        Ok(())
    }

    /// A receiver that goes away with lines unread resets the connection, and one that has read them closes it.
    fn rejected(&mut self) -> Option<Error> {
        match read(self.stream.as_ref()?) {
            Err(error) if is_gone(&error) => {
                self.stream = None;
                Some(error)
            }
            _ => None,
        }
    }
}

/// Whether the other end has neither closed nor reset a connection.
fn is_open(stream: &TcpStream) -> bool {
    matches!(read(stream), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Reads what a receiver says, though it has nothing to say, until there is no more for now.
fn read(stream: &TcpStream) -> Result<()> {
    let mut said = [0; 1024];
    // One that does not stop is none of our receivers.
    for _ in 0..16 {
        if stream.try_read(&mut said)? == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn is_gone(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::NotFound
    )
}

fn closed() -> Failure {
    Failure::Stop(ErrorKind::NotConnected.into())
}
