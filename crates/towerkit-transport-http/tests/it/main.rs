//! Endpoints over HTTP: the behaviour as a caller sees it.

#[cfg(feature = "json")]
mod allocations;
#[cfg(all(feature = "axum", feature = "json", feature = "form"))]
mod axum;
#[cfg(all(feature = "client", feature = "json"))]
mod client;
#[cfg(all(
    feature = "client",
    feature = "form",
    feature = "json",
    feature = "protobuf",
    feature = "xml"
))]
mod codecs;
#[cfg(feature = "json")]
mod errors;
#[cfg(feature = "json")]
mod server;
#[cfg(feature = "json")]
mod sockets;
#[cfg(feature = "json")]
mod wire;
