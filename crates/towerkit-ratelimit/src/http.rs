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
    /// Calls whose peer is not known share a bucket, as those over a Unix socket: an axum server is to be made with
    /// `into_make_service_with_connect_info`. Where a handle takes a key, that is [`ClientAddress::network_of`] an address.
    #[must_use]
    pub fn by_client_address(quota: Quota, address: ClientAddress) -> Self {
        Self::of(quota, ByClientAddress(address))
    }
}

impl<B> KeyOf<Request<B>> for ByClientAddress {
    #[inline]
    fn tag(&self, call: &Call<'_, Request<B>>, tags: Tags<'_>) -> u64 {
        let (headers, extensions) = (call.request.headers(), call.request.extensions());
        tags.of_some(self.0.find_network(headers, extensions).as_ref())
    }
}
