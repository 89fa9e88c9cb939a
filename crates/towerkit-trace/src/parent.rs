use crate::TraceParent;

/// The parent of a span.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "opentelemetry"),
    expect(dead_code, reason = "read with the feature `opentelemetry`")
)]
pub(crate) enum Parent {
    /// No parent: the span is the root of its trace.
    None,
    /// The call that this thread polls.
    Here(TraceParent),
    /// A span of another process.
    Remote(TraceParent),
    /// No parent, but a link to a span of another process.
    Linked(TraceParent),
}
