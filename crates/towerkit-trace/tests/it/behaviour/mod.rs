//! Spans and contexts as a caller, a callee and a collector see them.

#[cfg(feature = "opentelemetry")]
mod chains;
mod context;
mod ends;
#[cfg(feature = "opentelemetry")]
mod fields;
#[cfg(feature = "opentelemetry")]
mod spans;
