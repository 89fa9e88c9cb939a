use std::sync::Arc;

use towerkit_core::{Call, CallEnd, Clock, Observer, Policy, ProtocolKind, TraceIds, TraceSeed};
use tracing::Span;

use crate::{
    Baggage, Flags, Sampler, SpanId, TraceContext, TraceId, TraceParent,
    context::{Carried, carry},
    link::{self, Parent, Recorded},
    propagation::{Formats, Remote, Seen, extract_baggage},
    span::{self, Kind, Shown},
    spare,
    surge::Surge,
};

/// Traces calls: the policy behind [`TraceLayer`](crate::TraceLayer).
#[derive(Debug, Clone)]
pub struct TraceObserver {
    pub(crate) kind: Kind,
    pub(crate) formats: Formats,
    pub(crate) sampler: Sampler,
    pub(crate) edge: Edge,
    pub(crate) clock: Clock,
    pub(crate) recorded: Recorded,
    pub(crate) shown: Shown,
}

/// What is done about a context that comes from outside.
#[derive(Debug, Clone)]
pub(crate) enum Edge {
    /// It is gone on from, and its decision is followed.
    Trusted,
    /// It is gone on from, and its decision to record is followed so many times a second; otherwise the sampler decides.
    Capped(Surge),
    /// A new trace begins, which is linked to it.
    Untrusted,
}

/// What is kept of one call: for one that begins a trace which is not recorded, where its ids come from.
// Two words and no enum, which would be copied in parts.
#[derive(Debug)]
pub struct TraceCallState {
    seed: TraceSeed,
    more: Option<Box<More>>,
}

/// What is kept of a call that is recorded, or that goes on from a context.
#[derive(Debug)]
pub(crate) struct More {
    ids: TraceIds,
    span: Span,
    protocol: ProtocolKind,
    /// The gRPC method that was asked for, until it is known whether there is one of that name.
    method: Option<Box<str>>,
    carried: Option<Arc<Carried>>,
}

/// Where a call stands before it has a span of its own.
struct Place {
    trace: TraceId,
    flags: Flags,
    carried: Option<Arc<Carried>>,
    parent: Parent,
}

impl Place {
    /// At the beginning of a trace.
    fn root(seed: TraceSeed, parent: Parent) -> Self {
        Self {
            trace: TraceId::of_seed(seed),
            flags: Flags::NONE.random(true),
            carried: None,
            parent,
        }
    }

    /// Inside the context of a caller, there or here.
    fn inside(context: TraceContext, parent: fn(TraceParent) -> Parent) -> Self {
        let (at, carried) = context.into_parts();
        Self {
            trace: at.trace,
            flags: at.flags,
            carried,
            parent: parent(at),
        }
    }

    fn with_baggage(mut self, baggage: Option<Baggage>) -> Self {
        if baggage.is_some() {
            let state = self.carried.and_then(|carried| carried.state.clone());
            self.carried = Some(Arc::new(Carried { state, baggage }));
        }
        self
    }
}

impl TraceObserver {
    /// Begins a trace: the path of calls that come without a context.
    #[inline(always)]
    fn begin<Req>(&self, call: &Call<'_, Req>) -> TraceCallState {
        let seed = TraceSeed::next();
        let [_, random] = seed.trace();
        let more = if self.sampler.samples(random) {
            self.record_root(call, seed)
        } else {
            None
        };
        TraceCallState { seed, more }
    }

    #[cold]
    #[inline(never)]
    fn record_root<Req>(&self, call: &Call<'_, Req>, seed: TraceSeed) -> Option<Box<More>> {
        let mut place = Place::root(seed, Parent::None);
        place.flags = place.flags.sampled(true);
        self.stand(call, seed, place)
    }

    /// Goes on from what the request says, or begins a trace.
    #[inline(never)]
    fn go_on<Req>(&self, call: &Call<'_, Req>, seen: Seen<'_>) -> TraceCallState {
        let seed = TraceSeed::next();
        let mut place = match self.formats.read(seen, call) {
            Remote::Absent => self.root(seed, None, Parent::None),
            Remote::Decision(decision) => self.root(seed, Some(decision), Parent::None),
            Remote::Context {
                context,
                is_decided,
            } => self.after(seed, context, is_decided),
        };
        if self.formats.baggage && !matches!(self.edge, Edge::Untrusted) {
            place = place.with_baggage(extract_baggage(call));
        }
        let more = self.stand(call, seed, place);
        TraceCallState { seed, more }
    }

    /// Goes on from the context of the moment, or begins a trace.
    fn go_on_here<Req>(&self, call: &Call<'_, Req>) -> TraceCallState {
        match TraceContext::current() {
            Some(context) => {
                let (seed, place) = (TraceSeed::next(), Place::inside(context, Parent::Here));
                let more = self.stand(call, seed, place);
                TraceCallState { seed, more }
            }
            None => self.begin(call),
        }
    }

    fn after(&self, seed: TraceSeed, context: TraceContext, is_decided: bool) -> Place {
        let remote = context.parent();
        if matches!(self.edge, Edge::Untrusted) {
            return self.root(seed, None, Parent::Linked(remote));
        }
        let decision = is_decided.then(|| remote.flags.is_sampled());
        let place = Place::inside(context, Parent::Remote);
        self.decided(place, decision)
    }

    fn root(&self, seed: TraceSeed, decision: Option<bool>, parent: Parent) -> Place {
        self.decided(Place::root(seed, parent), decision)
    }

    /// Follows the decision of a caller, or asks the sampler.
    fn decided(&self, mut place: Place, decision: Option<bool>) -> Place {
        let decision = decision.filter(|is_sampled| self.follows(*is_sampled));
        let is_sampled = decision.unwrap_or_else(|| self.sampler.samples(place.trace.random()));
        place.flags = place.flags.sampled(is_sampled);
        place
    }

    fn follows(&self, is_sampled: bool) -> bool {
        match &self.edge {
            Edge::Trusted => true,
            Edge::Capped(surge) => !is_sampled || surge.admits(self.clock.now()),
            Edge::Untrusted => false,
        }
    }

    /// Gives the call a span of its own, if its trace is recorded, and an id in any case: that of its seed, where it begins the trace.
    fn stand<Req>(&self, call: &Call<'_, Req>, seed: TraceSeed, place: Place) -> Option<Box<More>> {
        let own = TraceParent {
            trace: place.trace,
            span: SpanId::of_seed(seed),
            flags: place.flags,
        };
        let begins = matches!(place.parent, Parent::None | Parent::Linked(_));
        match place.carried {
            carried if place.flags.is_sampled() => {
                Some(self.record(call, own.ids(), carried, &place.parent))
            }
            None if begins => None,
            carried => Some(More::new(own.ids(), Span::none(), call, carried)),
        }
    }

    /// Begins the span of a call.
    #[cold]
    #[inline(never)]
    fn record<Req>(
        &self,
        call: &Call<'_, Req>,
        ids: TraceIds,
        carried: Option<Arc<Carried>>,
        parent: &Parent,
    ) -> Box<More> {
        // Inside its own context, in which a subscriber sees that the trace is recorded.
        let span = TraceIds::enter(Some(ids), || span::begin(self.kind, &self.shown, call));
        self.recorded.show(call, &span);
        let state = carried.as_ref().and_then(|carried| carried.state.as_ref());
        let started = link::start(&span, parent, state).map(|started| TraceParent {
            // What the subscriber does not record, the callee need not either.
            flags: Flags::from_bits(ids.flags).sampled(started.flags.is_sampled()),
            ..started
        });
        let ids = started.map_or(ids, TraceParent::ids);
        let mut more = More::new(ids, span, call, carried);
        more.method = span::unknown_method(self.kind, call);
        more
    }

    #[inline(never)]
    fn inject<Req>(&self, call: &mut Call<'_, Req>, held: &TraceCallState) {
        let carried = held.more.as_ref().and_then(|more| more.carried.clone());
        if let Some(parent) = TraceParent::of_ids(held.ids()) {
            self.formats
                .inject(&TraceContext::of_parts(parent, carried), call);
        }
    }
}

impl TraceCallState {
    fn ids(&self) -> TraceIds {
        self.more
            .as_ref()
            .map_or_else(|| self.seed.ids(), |more| more.ids)
    }
}

impl More {
    fn new<Req>(
        ids: TraceIds,
        span: Span,
        call: &Call<'_, Req>,
        carried: Option<Arc<Carried>>,
    ) -> Box<Self> {
        let protocol = call.protocol_kind();
        spare::boxed(Self {
            ids,
            span,
            protocol,
            method: None,
            carried,
        })
    }

    fn enter<R>(&self, poll: impl FnOnce() -> R) -> R {
        TraceIds::enter(Some(self.ids), || {
            let poll = || self.span.in_scope(poll);
            match &self.carried {
                Some(carried) => carry(self.ids.span, carried, poll),
                None => poll(),
            }
        })
    }
}

impl Policy for TraceObserver {
    type CallState = TraceCallState;
    const WRAPS_POLL: bool = true;

    #[inline(always)]
    fn wrap_poll<R>(&self, held: &mut TraceCallState, poll: impl FnOnce() -> R) -> R {
        match &held.more {
            None => held.seed.enter(poll),
            Some(more) => more.enter(poll),
        }
    }

    #[inline(always)]
    fn finish(&self, held: TraceCallState, end: &CallEnd) {
        if let Some(more) = held.more {
            finish(self.kind, &self.shown, more, end);
        }
    }
}

#[cold]
#[inline(never)]
fn finish(kind: Kind, shown: &Shown, mut more: Box<More>, end: &CallEnd) {
    let span = std::mem::replace(&mut more.span, Span::none());
    more.carried = None;
    if let Some(method) = more.method.take() {
        span::tell_method(&span, &method, end);
    }
    span::end(kind, shown, more.protocol, &span, end);
    drop(span);
    spare::give_back(more);
}

impl<Req> Observer<Req> for TraceObserver {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> TraceCallState {
        if self.kind == Kind::Server {
            return match self.formats.glance(call) {
                None => self.begin(call),
                Some(seen) => self.go_on(call, seen),
            };
        }
        let held = self.go_on_here(call);
        if self.kind == Kind::Client {
            self.inject(call, &held);
        }
        held
    }
}
