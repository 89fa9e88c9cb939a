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

use crate::{Flags, SpanId, TraceId, TraceParent, TraceState, link::Parent};

/// Starts a span; the ids that OpenTelemetry gives it, where a subscriber of [`layer`] is installed.
pub(crate) fn start(
    span: &Span,
    parent: &Parent,
    state: Option<&TraceState>,
) -> Option<TraceParent> {
    // That a parent cannot be set means that nothing records the span.
    match parent {
        Parent::Remote(remote) => {
            let _ = span.set_parent(under(remote, state, true));
        }
        // A span that the thread is in comes between, unless the call was taken along from another thread.
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

/// Gives a span another name: to all subscribers, and to OpenTelemetry, where the layer does not take it from the field any more.
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

/// Whether the span that this thread is in belongs to the trace of `here`.
fn is_inside(here: &TraceParent) -> bool {
    ids_of(&Span::current()).is_some_and(|ids| ids.trace == here.trace)
}

fn under(parent: &TraceParent, state: Option<&TraceState>, is_remote: bool) -> Context {
    Context::new().with_remote_span_context(span_context(parent, state, is_remote))
}

/// A span elsewhere. It counts as recorded, because that its trace is recorded is decided already.
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

/// Makes the layer of a `tracing` subscriber that records spans with `tracer`, those of calls and all spans inside them.
///
/// What happens inside a call whose trace is not recorded is not recorded either, so that no part of it stands alone. Events are left
/// to the log, which has the ids of the call, caps them and redacts credentials: [`layer_with_events`] records them as well.
///
/// Of where in the program a span begins, its target, its thread, and the time in which it is not polled, nothing is recorded, since each
/// of them costs every span more than its own attributes do. Who wants them adds the filter [`SampledOnly`] to a layer of
/// `tracing-opentelemetry`.
pub fn layer<S, T>(tracer: T) -> Filtered<OpenTelemetryLayer<S, T>, SampledOnly, S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    T: Tracer + Send + Sync + 'static,
    T::Span: Send + Sync,
{
    filtered(tracer, SampledOnly::new())
}

/// Does as [`layer`], and records events as those of the span they are in: whatever the program logs there, as it is, with the line
/// that `towerkit-log` writes of each call.
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

/// Lets spans through that are outside of calls, or inside of calls whose trace is recorded.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampledOnly {
    events: bool,
}

impl SampledOnly {
    /// Lets no event through.
    #[must_use]
    pub const fn new() -> Self {
        Self { events: false }
    }

    /// Lets events through as it does spans.
    #[must_use]
    pub const fn events(mut self) -> Self {
        self.events = true;
        self
    }

    fn takes(self, metadata: &Metadata<'_>) -> bool {
        self.events || metadata.is_span()
    }
}

impl<S> Filter<S> for SampledOnly {
    fn enabled(&self, metadata: &Metadata<'_>, _context: &LayerContext<'_, S>) -> bool {
        self.takes(metadata) && TraceIds::decision().unwrap_or(true)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.takes(metadata) {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }
}
