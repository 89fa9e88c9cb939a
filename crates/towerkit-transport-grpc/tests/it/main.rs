//! Servers and clients over sockets, and with raw HTTP/2 on the other side.

mod client;
mod health;
mod hostile;
mod math;
mod server;
mod streams;
