//! Tests of the public interface.

mod api_server;
mod behaviour;
mod faults;
mod kube_apiserver;
mod sockets;
