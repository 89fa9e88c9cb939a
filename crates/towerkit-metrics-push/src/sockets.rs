//! Datagrams over UDP and Unix sockets, and lines over TCP.

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

/// The error of a packet that was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Further packets would fail, too.
    Stop(Error),
    /// Further packets may be sent.
    Skip(Error),
}

/// Datagrams over UDP.
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

    pub(crate) async fn open(&mut self) -> Result<()> {
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

    pub(crate) async fn send(&self, text: &str) -> std::result::Result<(), SendError> {
        let socket = self.socket.as_ref().ok_or_else(closed)?;
        match socket.send(text.as_bytes()).await {
            Ok(_) => Ok(()),
            // The error is that of an earlier datagram, and this datagram was not sent.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Err(SendError::Stop(error))
            }
            Err(error) => Err(SendError::Skip(error)),
        }
    }

    /// Returns the error of an earlier datagram, such as an ICMP "port unreachable".
    pub(crate) fn take_error(&self) -> Option<Error> {
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

/// Datagrams to a Unix socket.
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

    pub(crate) fn open(&mut self) -> Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        self.socket = Some(socket);
        Ok(())
    }

    pub(crate) async fn send(&self, text: &str) -> std::result::Result<(), SendError> {
        let socket = self.socket.as_ref().ok_or_else(closed)?;
        match socket.send(text.as_bytes()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(SendError::Skip(error)),
            Err(error) if is_gone(&error) => Err(SendError::Stop(error)),
            Err(error) => Err(SendError::Skip(error)),
        }
    }
}

/// Lines over a TCP connection.
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

    pub(crate) async fn open(&mut self) -> Result<()> {
        if !self.stream.as_ref().is_some_and(is_open) {
            self.stream = None;
            self.stream = Some(TcpStream::connect(&self.address).await?);
        }
        Ok(())
    }

    pub(crate) async fn send(&mut self, text: &str) -> Result<()> {
        // A push that is dropped within a line must not leave the connection to the next one.
        let mut stream = self.stream.take().ok_or(ErrorKind::NotConnected)?;
        // One write, so that the last byte does not wait for an acknowledgement (Nagle's algorithm).
        stream.write_all(format!("{text}\n").as_bytes()).await?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Returns an error if the receiver closed the connection with unread lines, which resets it.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        match read(self.stream.as_ref()?) {
            Err(error) if is_gone(&error) => {
                self.stream = None;
                Some(error)
            }
            _ => None,
        }
    }
}

/// Returns true if the peer has neither closed nor reset the connection.
fn is_open(stream: &TcpStream) -> bool {
    matches!(read(stream), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Reads and discards the replies that are there. The line protocols have no replies.
fn read(stream: &TcpStream) -> Result<()> {
    let mut reply = [0; 1024];
    // The limit ends the loop for a peer that never stops.
    for _ in 0..16 {
        if stream.try_read(&mut reply)? == 0 {
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

fn closed() -> SendError {
    SendError::Stop(ErrorKind::NotConnected.into())
}
