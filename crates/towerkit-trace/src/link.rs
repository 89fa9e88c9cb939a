//! How a span comes to its parent, and to its ids.

use crate::TraceParent;
#[cfg(feature = "opentelemetry")]
pub(crate) use crate::{
    otel::{rename, start},
    recorded::Recorded,
};

/// The fields that spans show: none.
#[cfg(not(feature = "opentelemetry"))]
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorded(());

#[cfg(not(feature = "opentelemetry"))]
impl Recorded {
    #[inline]
    pub(crate) fn show<Req>(&self, _call: &towerkit_core::Call<'_, Req>, _span: &tracing::Span) {}
}

/// What a span goes on from.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "opentelemetry"),
    expect(dead_code, reason = "read where spans have parents of their own")
)]
pub(crate) enum Parent {
    /// Nothing: it is the root of its trace.
    None,
    /// A call that this thread is in.
    Here(TraceParent),
    /// A span of another process.
    Remote(TraceParent),
    /// Nothing, but it is linked to a span of another process.
    Linked(TraceParent),
}

/// Starts a span; its ids, where something gives it some.
#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn start(
    _span: &tracing::Span,
    _parent: &Parent,
    _state: Option<&crate::TraceState>,
) -> Option<TraceParent> {
    None
}

/// Gives a span another name.
#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn rename(span: &tracing::Span, name: &'static str) {
    span.record("otel.name", name);
}
