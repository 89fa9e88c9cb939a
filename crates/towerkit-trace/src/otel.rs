use opentelemetry::{
    Context,
    trace::{self as otel, SpanContext, TraceContextExt, TraceFlags, Tracer},
};
use towerkit_core::TraceIds;
use tracing::{Metadata, Span, Subscriber, subscriber::Interest};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::{
    Layer,
    filter::Filtered,
    layer::{Context as LayerContext, Filter},
    registry::LookupSpan,
};

use crate::{Flags, SpanId, TraceId, TraceParent, TraceState, parent::Parent};

/// Starts a span, and returns the ids that OpenTelemetry gives it if a subscriber with a [`layer`] is installed.
pub(crate) fn start(
    span: &Span,
    parent: &Parent,
    state: Option<&TraceState>,
) -> Option<TraceParent> {
    // A parent cannot be set if no subscriber records the span.
    match parent {
        Parent::Remote(remote) => {
            let _ = span.set_parent(under(remote, state, true));
        }
        // The span that this thread is in becomes the parent, unless the call moved here from another thread.
        Parent::Here(here) if !is_inside(here) => {
            let _ = span.set_parent(under(here, state, false));
        }
        Parent::Linked(remote) => {
            let _ = span.set_parent(Context::new());
            span.add_link(span_context(remote, None, true));
        }
        Parent::None | Parent::Here(_) => {}
    }
    ids_of(span)
}

/// Renames a span for all subscribers, and for OpenTelemetry, whose layer reads the field only at the start.
pub(crate) fn rename(span: &Span, name: &'static str) {
    span.record("otel.name", name);
    span.context().span().update_name(name);
}

fn ids_of(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let started = context.span();
    let ids = started.span_context();
    Some(TraceParent {
        trace: TraceId::from_bytes(ids.trace_id().to_bytes())?,
        span: SpanId::from_bytes(ids.span_id().to_bytes())?,
        flags: Flags::NONE.sampled(ids.is_sampled()),
    })
}

/// Returns true if the span that this thread is in belongs to the trace of `here`.
fn is_inside(here: &TraceParent) -> bool {
    ids_of(&Span::current()).is_some_and(|ids| ids.trace == here.trace)
}

fn under(parent: &TraceParent, state: Option<&TraceState>, is_remote: bool) -> Context {
    Context::new().with_remote_span_context(span_context(parent, state, is_remote))
}

/// Returns the context of a span elsewhere, marked as sampled, because its trace is.
fn span_context(parent: &TraceParent, state: Option<&TraceState>, is_remote: bool) -> SpanContext {
    let state = state.and_then(|state| state.as_str().parse::<otel::TraceState>().ok());
    SpanContext::new(
        otel::TraceId::from_bytes(parent.trace.to_bytes()),
        otel::SpanId::from_bytes(parent.span.to_bytes()),
        TraceFlags::new(parent.flags.sampled(true).bits()),
        is_remote,
        state.unwrap_or_default(),
    )
}

/// Makes the layer of a [`tracing`] subscriber that records the spans of calls, and all spans inside them, with a [`Tracer`].
///
/// Spans inside a call that is not sampled are not recorded either, so that no part of a trace is recorded alone. Events are left to the
/// log, which adds the ids of the call, limits their length and redacts credentials; [`layer_with_events`] records them as well.
///
/// The layer records neither the source location of a span nor its target, its thread and its idle time, because each of them costs a span
/// more than its own attributes. To record them, add the filter [`SampledOnly`] to a layer of [`tracing_opentelemetry`].
pub fn layer<S, T>(tracer: T) -> Filtered<OpenTelemetryLayer<S, T>, SampledOnly, S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    filtered(tracer, SampledOnly::new())
}

/// Makes the same layer as [`layer`], which also records events in their span: all log lines of the program, unredacted, including the
/// line that `towerkit-log` writes for each call.
pub fn layer_with_events<S, T>(tracer: T) -> Filtered<OpenTelemetryLayer<S, T>, SampledOnly, S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    filtered(tracer, SampledOnly::new().events())
}

fn filtered<S, T>(
    tracer: T,
    filter: SampledOnly,
) -> Filtered<OpenTelemetryLayer<S, T>, SampledOnly, S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_target(false)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter)
}

/// A filter that passes spans outside of calls, and spans inside of sampled calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampledOnly {
    events: bool,
}

impl SampledOnly {
    /// Makes a filter that passes no events.
    #[must_use]
    pub const fn new() -> Self {
        Self { events: false }
    }

    /// Passes events under the same condition as spans.
    #[must_use]
    pub const fn events(mut self) -> Self {
        self.events = true;
        self
    }

    fn passes(self, metadata: &Metadata<'_>) -> bool {
        self.events || metadata.is_span()
    }
}

impl<S> Filter<S> for SampledOnly {
    fn enabled(&self, metadata: &Metadata<'_>, _context: &LayerContext<'_, S>) -> bool {
        self.passes(metadata) && TraceIds::decision().unwrap_or(true)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.passes(metadata) {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }
}
