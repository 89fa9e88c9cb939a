use std::net::IpAddr;

use http::Request;
use towerkit_core::Call;
use towerkit_http::ClientAddress;

use crate::KeyExtractor;

/// Extracts the address of the client, found by a [`ClientAddress`]; an IPv6 client is identified by its network.
///
/// The server must attach the peer address to each request: an axum server by `into_make_service_with_connect_info::<SocketAddr>()`
/// (feature `axum` of `towerkit-http`), any other server by a [`PeerAddress`](towerkit_http::PeerAddress) in the
/// [extensions](http::Extensions) of the request. A call without a peer address, for example over a Unix socket, is rejected as
/// [`Unavailable`](towerkit_core::RejectionReason::Unavailable), 503 over HTTP.
///
/// A handle that takes a key takes the [`ClientAddress::network_of`] an address.
#[derive(Debug, Clone, Default)]
pub struct ByClientAddress(ClientAddress);

impl ByClientAddress {
    /// Extracts the address that `address` finds, by default the peer of the connection.
    #[must_use]
    pub const fn new(address: ClientAddress) -> Self {
        Self(address)
    }
}

impl<B> KeyExtractor<Request<B>> for ByClientAddress {
    type Key = IpAddr;
    const REQUIRED: bool = true;

    #[inline]
    fn with_key<T>(&self, call: &Call<'_, Request<B>>, f: impl FnOnce(Option<&IpAddr>) -> T) -> T {
        let (headers, extensions) = (call.request.headers(), call.request.extensions());
        f(self.0.find_network(headers, extensions).as_ref())
    }
}
