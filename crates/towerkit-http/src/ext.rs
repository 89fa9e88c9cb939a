use towerkit_core::LayerExt;

#[cfg(feature = "axum")]
use crate::ByMatchedPath;
use crate::{Grpc, Http};

/// Lets every layer of towerkit speak HTTP or gRPC.
pub trait HttpExt: LayerExt {
    /// Reads calls as HTTP, and those with the content type of gRPC as gRPC.
    #[must_use]
    fn http(self) -> Self::With<Http> {
        self.protocol(Http::new())
    }

    /// Reads calls as gRPC.
    #[must_use]
    fn grpc(self) -> Self::With<Grpc> {
        self.protocol(Grpc::new())
    }

    /// Reads calls as [`http`](Self::http) does, and the errors of the service as those of a client, see
    /// [`ClientErrors`](crate::ClientErrors).
    #[cfg(feature = "client")]
    #[must_use]
    fn http_client(
        self,
    ) -> Self::With<Http<crate::ByStatus, crate::Unrouted, crate::ClientErrors>> {
        self.protocol(Http::new().client())
    }

    /// Reads calls as [`grpc`](Self::grpc) does, and the errors of the service as those of a client, see
    /// [`ClientErrors`](crate::ClientErrors).
    #[cfg(feature = "client")]
    #[must_use]
    fn grpc_client(self) -> Self::With<Grpc<crate::ClientErrors>> {
        self.protocol(Grpc::new().client())
    }

    /// Reads calls as [`http`](Self::http) does, and names their operation by the route that axum matched.
    ///
    /// axum knows the route inside `Router::layer` and `Router::route_layer`.
    #[cfg(feature = "axum")]
    #[must_use]
    fn axum(
        self,
    ) -> Self::With<Http<crate::ByStatus, ByMatchedPath, crate::KnownErrors, crate::InAxum>> {
        self.protocol(Http::axum())
    }
}

impl<L: LayerExt> HttpExt for L {}
