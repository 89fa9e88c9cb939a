use std::sync::Arc;

use towerkit_core::{Call, CallEnd, Clock, Observer, Policy, TraceIds, TraceSeed};
use tracing::Span;

use crate::{
    Baggage, Flags, Sampler, SpanId, TraceContext, TraceId, TraceParent,
    context::Propagated,
    link::{self, RecordedHeaders},
    parent::Parent,
    propagation::{Formats, FoundHeaders, RemoteContext, extract_baggage},
    rate_sampler::RateSampler,
    span::{self, Kind, SpanOptions},
    traced_call::TracedCall,
};

/// The observer of a [`TraceLayer`](crate::TraceLayer).
#[derive(Debug, Clone)]
pub struct TraceObserver {
    pub(crate) kind: Kind,
    pub(crate) formats: Formats,
    pub(crate) sampler: Sampler,
    pub(crate) caller_trust: CallerTrust,
    pub(crate) clock: Clock,
    pub(crate) recorded: RecordedHeaders,
    pub(crate) options: SpanOptions,
}

/// The trust in the contexts of callers.
#[derive(Debug, Clone)]
pub(crate) enum CallerTrust {
    /// The context is continued, and its decision is followed.
    Trusted,
    /// The context is continued, and its decision to sample is followed up to a number per second; beyond that, the sampler decides.
    Limited(RateSampler),
    /// A new trace begins, with a link to the context.
    Untrusted,
}

/// The state of one call: for a call that begins a trace and is not sampled, only the seed of its ids.
// Two words and no enum, which would be copied in parts.
#[derive(Debug)]
pub struct TraceCallState {
    seed: TraceSeed,
    traced_call: Option<Box<TracedCall>>,
}

/// The context that a call starts in, before it has a span of its own.
struct InheritedContext {
    trace: TraceId,
    flags: Flags,
    propagated: Option<Arc<Propagated>>,
    parent: Parent,
}

impl InheritedContext {
    /// Begins a trace.
    fn root(seed: TraceSeed, parent: Parent) -> Self {
        Self {
            trace: TraceId::of_seed(seed),
            flags: Flags::NONE.random(true),
            propagated: None,
            parent,
        }
    }

    /// Continues the context of a caller, in another process or in this one.
    fn inside(context: TraceContext, parent: fn(TraceParent) -> Parent) -> Self {
        let (at, propagated) = context.into_parts();
        Self {
            trace: at.trace,
            flags: at.flags,
            propagated,
            parent: parent(at),
        }
    }

    fn with_baggage(mut self, baggage: Option<Baggage>) -> Self {
        if baggage.is_some() {
            let state = self
                .propagated
                .and_then(|propagated| propagated.state.clone());
            self.propagated = Some(Arc::new(Propagated { state, baggage }));
        }
        self
    }
}

impl TraceObserver {
    /// Begins a trace: the path of calls without a context.
    #[inline(always)]
    fn begin<Req>(&self, call: &Call<'_, Req>) -> TraceCallState {
        let seed = TraceSeed::next();
        let [_, random] = seed.trace();
        let traced_call = if self.sampler.samples(random) {
            self.start_root(call, seed)
        } else {
            None
        };
        TraceCallState { seed, traced_call }
    }

    #[cold]
    #[inline(never)]
    fn start_root<Req>(&self, call: &Call<'_, Req>, seed: TraceSeed) -> Option<Box<TracedCall>> {
        let mut inherited = InheritedContext::root(seed, Parent::None);
        inherited.flags = inherited.flags.sampled(true);
        self.start_call(call, seed, inherited)
    }

    /// Continues the context of the request, or begins a trace.
    #[inline(never)]
    fn continue_trace<Req>(&self, call: &Call<'_, Req>, found: FoundHeaders<'_>) -> TraceCallState {
        let seed = TraceSeed::next();
        let mut inherited = match self.formats.read(found, call) {
            RemoteContext::Absent => self.root(seed, None, Parent::None),
            RemoteContext::Decision(decision) => self.root(seed, Some(decision), Parent::None),
            RemoteContext::Context {
                context,
                is_decided,
            } => self.after(seed, context, is_decided),
        };
        if self.formats.baggage && !matches!(self.caller_trust, CallerTrust::Untrusted) {
            inherited = inherited.with_baggage(extract_baggage(call));
        }
        let traced_call = self.start_call(call, seed, inherited);
        TraceCallState { seed, traced_call }
    }

    /// Continues the current context, or begins a trace.
    fn continue_current<Req>(&self, call: &Call<'_, Req>) -> TraceCallState {
        match TraceContext::current() {
            Some(context) => {
                let (seed, inherited) = (
                    TraceSeed::next(),
                    InheritedContext::inside(context, Parent::Here),
                );
                let traced_call = self.start_call(call, seed, inherited);
                TraceCallState { seed, traced_call }
            }
            None => self.begin(call),
        }
    }

    fn after(&self, seed: TraceSeed, context: TraceContext, is_decided: bool) -> InheritedContext {
        let remote = context.parent();
        if matches!(self.caller_trust, CallerTrust::Untrusted) {
            return self.root(seed, None, Parent::Linked(remote));
        }
        let decision = is_decided.then(|| remote.flags.is_sampled());
        let inherited = InheritedContext::inside(context, Parent::Remote);
        self.decided(inherited, decision)
    }

    fn root(&self, seed: TraceSeed, decision: Option<bool>, parent: Parent) -> InheritedContext {
        self.decided(InheritedContext::root(seed, parent), decision)
    }

    /// Follows the decision of the caller, or asks the [`Sampler`].
    fn decided(&self, mut inherited: InheritedContext, decision: Option<bool>) -> InheritedContext {
        let decision = decision.filter(|is_sampled| self.follows(*is_sampled));
        let is_sampled = decision.unwrap_or_else(|| self.sampler.samples(inherited.trace.random()));
        inherited.flags = inherited.flags.sampled(is_sampled);
        inherited
    }

    fn follows(&self, is_sampled: bool) -> bool {
        match &self.caller_trust {
            CallerTrust::Trusted => true,
            CallerTrust::Limited(rate_sampler) => {
                !is_sampled || rate_sampler.admits(self.clock.now())
            }
            CallerTrust::Untrusted => false,
        }
    }

    /// Gives the call a span if its trace is sampled, and an id in any case: that of its seed if it begins the trace.
    fn start_call<Req>(
        &self,
        call: &Call<'_, Req>,
        seed: TraceSeed,
        inherited: InheritedContext,
    ) -> Option<Box<TracedCall>> {
        let own = TraceParent {
            trace: inherited.trace,
            span: SpanId::of_seed(seed),
            flags: inherited.flags,
        };
        let begins = matches!(inherited.parent, Parent::None | Parent::Linked(_));
        match inherited.propagated {
            propagated if inherited.flags.is_sampled() => {
                Some(self.record(call, own.ids(), propagated, &inherited.parent))
            }
            None if begins => None,
            propagated => Some(TracedCall::new(own.ids(), Span::none(), call, propagated)),
        }
    }

    /// Begins the span of a call.
    #[cold]
    #[inline(never)]
    fn record<Req>(
        &self,
        call: &Call<'_, Req>,
        ids: TraceIds,
        propagated: Option<Arc<Propagated>>,
        parent: &Parent,
    ) -> Box<TracedCall> {
        // In its own context, in which a subscriber sees that the trace is sampled.
        let span = TraceIds::enter(Some(ids), || span::begin(self.kind, &self.options, call));
        self.recorded.show(call, &span);
        let state = propagated
            .as_ref()
            .and_then(|propagated| propagated.state.as_ref());
        let started = link::start(&span, parent, state).map(|started| TraceParent {
            // If the subscriber does not record the span, the upstream need not either.
            flags: Flags::from_bits(ids.flags).sampled(started.flags.is_sampled()),
            ..started
        });
        let ids = started.map_or(ids, TraceParent::ids);
        let mut traced_call = TracedCall::new(ids, span, call, propagated);
        traced_call.method = span::unknown_method(self.kind, call);
        traced_call
    }

    #[inline(never)]
    fn inject<Req>(&self, call: &mut Call<'_, Req>, state: &TraceCallState) {
        let propagated = state
            .traced_call
            .as_ref()
            .and_then(|traced_call| traced_call.propagated.clone());
        if let Some(parent) = TraceParent::of_ids(state.ids()) {
            self.formats
                .inject(&TraceContext::of_parts(parent, propagated), call);
        }
    }
}

impl TraceCallState {
    fn ids(&self) -> TraceIds {
        self.traced_call
            .as_ref()
            .map_or_else(|| self.seed.ids(), |traced_call| traced_call.ids)
    }
}

impl Policy for TraceObserver {
    type CallState = TraceCallState;
    const WRAPS_POLL: bool = true;

    #[inline(always)]
    fn wrap_poll<R>(&self, state: &mut TraceCallState, poll: impl FnOnce() -> R) -> R {
        match &state.traced_call {
            None => state.seed.enter(poll),
            Some(traced_call) => traced_call.enter(poll),
        }
    }

    #[inline(always)]
    fn finish(&self, state: TraceCallState, end: &CallEnd) {
        if let Some(traced_call) = state.traced_call {
            finish(self.kind, &self.options, traced_call, end);
        }
    }
}

#[cold]
#[inline(never)]
fn finish(kind: Kind, options: &SpanOptions, mut traced_call: Box<TracedCall>, end: &CallEnd) {
    let span = std::mem::replace(&mut traced_call.span, Span::none());
    traced_call.propagated = None;
    if let Some(method) = traced_call.method.take() {
        span::record_method(&span, &method, end);
    }
    span::end(kind, options, traced_call.protocol, &span, end);
    drop(span);
    traced_call.recycle();
}

impl<Req> Observer<Req> for TraceObserver {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> TraceCallState {
        if self.kind == Kind::Server {
            return match self.formats.find_headers(call) {
                None => self.begin(call),
                Some(found) => self.continue_trace(call, found),
            };
        }
        let state = self.continue_current(call);
        if self.kind == Kind::Client {
            self.inject(call, &state);
        }
        state
    }
}
