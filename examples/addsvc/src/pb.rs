//! The messages and the service of `proto/addsvc.proto`.
#![expect(
    clippy::allow_attributes_without_reason,
    missing_docs,
    reason = "tonic's generated code"
)]

tonic::include_proto!("pb");

/// The definition, encoded as a `FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/addsvc.bin"));
