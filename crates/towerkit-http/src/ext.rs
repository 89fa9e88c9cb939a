use towerkit_core::LayerExt;

#[cfg(feature = "axum")]
use crate::ByMatchedPath;
use crate::{Grpc, Http};

/// Adds the protocols of this crate to every layer of towerkit.
pub trait HttpExt: LayerExt {
    /// Reads calls as HTTP, and as gRPC those with its content type; see [`Http`].
    #[must_use]
    fn http(self) -> Self::With<Http> {
        self.protocol(Http::new())
    }

    /// Reads calls as gRPC; see [`Grpc`].
    #[must_use]
    fn grpc(self) -> Self::With<Grpc> {
        self.protocol(Grpc::new())
    }

    /// Reads calls as [`http`](Self::http) does, and errors as those of a client; see [`ClientErrors`](crate::ClientErrors).
    #[cfg(feature = "client")]
    #[must_use]
    fn http_client(
        self,
    ) -> Self::With<Http<crate::ByStatus, crate::Unmatched, crate::ClientErrors>> {
        self.protocol(Http::new().client())
    }

    /// Reads calls as [`grpc`](Self::grpc) does, and errors as those of a client; see [`ClientErrors`](crate::ClientErrors).
    #[cfg(feature = "client")]
    #[must_use]
    fn grpc_client(self) -> Self::With<Grpc<crate::ClientErrors>> {
        self.protocol(Grpc::new().client())
    }

    /// Reads calls as [`http`](Self::http) does, and names operations by axum's [`MatchedPath`](axum::extract::MatchedPath).
    ///
    /// Use it inside [`Router::layer`](axum::Router::layer) or [`Router::route_layer`](axum::Router::route_layer), where axum knows
    /// the route.
    #[cfg(feature = "axum")]
    #[must_use]
    fn axum(
        self,
    ) -> Self::With<Http<crate::ByStatus, ByMatchedPath, crate::CommonErrors, crate::AxumBodies>>
    {
        self.protocol(Http::axum())
    }
}

impl<L: LayerExt> HttpExt for L {}
