//! The messages and the service of `proto/addsvc.proto`.
#![expect(
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "tonic's generated code"
)]

tonic::include_proto!("pb");
