use std::io::{Error, Result};

#[cfg(unix)]
use crate::sockets::Unix;
use crate::{
    http::InfluxHttp,
    sockets::{SendError, Tcp, Udp},
};

/// The way on which packets are sent.
#[derive(Debug)]
pub(crate) enum Transport {
    Udp(Udp),
    #[cfg(unix)]
    Unix(Unix),
    Tcp(Tcp),
    Http(InfluxHttp),
}

impl Transport {
    /// Connects, if that is a separate step.
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
    pub(crate) async fn send(&mut self, text: &str) -> std::result::Result<(), SendError> {
        match self {
            Self::Udp(udp) => udp.send(text).await,
            #[cfg(unix)]
            Self::Unix(unix) => unix.send(text).await,
            Self::Tcp(tcp) => tcp.send(text).await.map_err(SendError::Stop),
            Self::Http(http) => http.send(text).await,
        }
    }

    /// Returns the error that says that sent packets did not arrive, if it is known by now.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        match self {
            Self::Udp(udp) => udp.take_error(),
            Self::Tcp(tcp) => tcp.take_error(),
            _ => None,
        }
    }

    /// Returns true if a packet has arrived once [`send`](Self::send) returns.
    pub(crate) fn is_reliable(&self) -> bool {
        !matches!(self, Self::Udp(_) | Self::Tcp(_))
    }

    /// Returns true if a burst of packets may overrun the receiver, because there is no flow control.
    pub(crate) fn needs_pauses(&self) -> bool {
        matches!(self, Self::Udp(_))
    }
}
