//! The server over real sockets.

mod calls;
mod heads;
mod health;
mod http2;
mod limits;
mod listeners;
mod setup;
mod shutdown;
mod timeouts;
mod tls;
