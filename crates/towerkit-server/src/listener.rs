use std::io;

use http::Extensions;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use towerkit_http::PeerAddress;

/// A source of connections, such as a [`TcpListener`] or a [`UnixListener`](tokio::net::UnixListener).
///
/// A connection is accepted in two steps, so that a slow handshake delays no other connection.
pub trait Listener: Send + 'static {
    /// The transport of a connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The rest of the work for a connection, such as a TLS handshake, within
    /// [`handshake_timeout`](crate::Server::handshake_timeout).
    type Handshake: Future<Output = io::Result<Accepted<Self::Io>>> + Send + 'static;

    /// Accepts the next connection.
    ///
    /// The server tries again after an error. Dropping the future must lose no connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Handshake>> + Send;
}

/// A connection that is ready for HTTP.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted<Io> {
    /// The transport.
    pub io: Io,
    /// The server inserts these into each request, such as the [`PeerAddress`].
    pub extensions: Extensions,
}

impl<Io> Accepted<Io> {
    /// Makes a connection without extensions.
    #[must_use]
    pub fn new(io: Io) -> Self {
        Self {
            io,
            extensions: Extensions::new(),
        }
    }
}

/// Requests get the [`PeerAddress`].
impl Listener for TcpListener {
    type Io = TcpStream;
    type Handshake = std::future::Ready<io::Result<Accepted<TcpStream>>>;

    async fn accept(&mut self) -> io::Result<Self::Handshake> {
        let (stream, peer) = Self::accept(self).await?;
        // A head must not wait for the acknowledgement of the packet before it. An error means that the client is gone.
        let _ = stream.set_nodelay(true);
        let mut accepted = Accepted::new(stream);
        accepted.extensions.insert(PeerAddress(peer));
        Ok(std::future::ready(Ok(accepted)))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;
    type Handshake = std::future::Ready<io::Result<Accepted<tokio::net::UnixStream>>>;

    async fn accept(&mut self) -> io::Result<Self::Handshake> {
        let (stream, _unnamed) = Self::accept(self).await?;
        Ok(std::future::ready(Ok(Accepted::new(stream))))
    }
}
