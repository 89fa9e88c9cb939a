//! Spans and metrics as real receivers get them, and as they are lost, by each protocol that is compiled in.

#[cfg(all(feature = "metrics", feature = "otlp-grpc", feature = "otlp-http"))]
mod conventions;
#[cfg(feature = "otlp-grpc")]
mod killed;
#[cfg(all(feature = "metrics", feature = "otlp-grpc", feature = "otlp-http"))]
mod metrics;
mod outages;
mod protocols;
mod receiver;
mod rejections;
#[cfg(all(feature = "otlp-grpc", feature = "otlp-http", feature = "zipkin"))]
mod spans;
