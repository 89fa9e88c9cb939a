//! Tests of the public interface.

mod api_server;
mod behaviour;
mod faults;
mod servers;
mod sockets;
