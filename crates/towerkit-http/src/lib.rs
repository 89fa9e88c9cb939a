//! HTTP and gRPC for the layers of towerkit.
