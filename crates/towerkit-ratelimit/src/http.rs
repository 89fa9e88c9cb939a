use http::Request;
use towerkit_core::Call;
use towerkit_http::ClientAddress;

use crate::{KeyOf, KeyedRateLimitLayer, Quota, Tags, meter::bare_terms};

/// Keys are the addresses of clients.
#[derive(Debug, Clone)]
pub struct ByClientAddress(ClientAddress);

bare_terms!(ByClientAddress);

impl KeyedRateLimitLayer<ByClientAddress> {
    /// Limits the calls of each client to `quota`. `address` finds the client, by default the peer; an IPv6 client is a network.
    ///
    /// The server has to tell the peer of each call: an axum server by `into_make_service_with_connect_info::<SocketAddr>()`, with the
    /// feature `axum` of `towerkit-http`, and any other by a [`PeerAddress`](towerkit_http::PeerAddress) in the extensions of the
    /// request. Calls whose peer is not known, as over a Unix socket, are rejected as
    /// [`Unavailable`](towerkit_core::RejectionReason::Unavailable), 503 over HTTP, and
    /// [`ClientAddressMissing`](towerkit_core::Event::ClientAddressMissing) is [reported](Self::events): they would share one bucket.
    ///
    /// Where a handle takes a key, that is [`ClientAddress::network_of`] an address.
    #[must_use]
    pub fn by_client_address(quota: Quota, address: ClientAddress) -> Self {
        Self::of(quota, ByClientAddress(address))
    }
}

impl<B> KeyOf<Request<B>> for ByClientAddress {
    #[inline]
    fn tag(&self, call: &Call<'_, Request<B>>, tags: Tags<'_>) -> Option<u64> {
        let (headers, extensions) = (call.request.headers(), call.request.extensions());
        let network = self.0.find_network(headers, extensions)?;
        Some(tags.of(&network))
    }
}
