//! The functions that depend on the feature `opentelemetry`: parents, ids and names of spans.

#[cfg(not(feature = "opentelemetry"))]
use crate::{TraceParent, parent::Parent};
#[cfg(feature = "opentelemetry")]
pub(crate) use crate::{
    otel::{rename, start},
    recorded_headers::RecordedHeaders,
};

/// The recorded headers of requests: none without the feature.
#[cfg(not(feature = "opentelemetry"))]
#[derive(Debug, Clone, Default)]
pub(crate) struct RecordedHeaders(());

#[cfg(not(feature = "opentelemetry"))]
impl RecordedHeaders {
    #[inline]
    pub(crate) fn show<Req>(&self, _call: &towerkit_core::Call<'_, Req>, _span: &tracing::Span) {}
}

/// Starts a span without ids of its own.
#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn start(
    _span: &tracing::Span,
    _parent: &Parent,
    _state: Option<&crate::TraceState>,
) -> Option<TraceParent> {
    None
}

/// Renames a span.
#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn rename(span: &tracing::Span, name: &'static str) {
    span.record("otel.name", name);
}
