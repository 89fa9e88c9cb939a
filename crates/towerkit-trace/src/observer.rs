use std::sync::Arc;

use towerkit_core::{Call, Clock, End, Observer, Policy, ProtocolKind, TraceIds};
use tracing::Span;

use crate::{
    Baggage, Flags, Sampler, TraceContext, TraceId, TraceParent,
    context::{Carried, carry},
    link::{self, Parent},
    propagation::{Formats, Remote, extract_baggage},
    random::Random,
    span::{self, Kind},
    surge::Surge,
};

/// Traces calls: the role behind [`TraceLayer`](crate::TraceLayer).
#[derive(Debug, Clone)]
pub struct Trace {
    pub(crate) kind: Kind,
    pub(crate) formats: Formats,
    pub(crate) sampler: Sampler,
    pub(crate) edge: Edge,
    pub(crate) clock: Clock,
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

/// What is kept of one call.
#[derive(Debug)]
pub struct TraceHeld {
    ids: TraceIds,
    /// What most calls do not have.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    span: Span,
    protocol: ProtocolKind,
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
    fn root(parent: Parent) -> Self {
        Self {
            trace: Random::with(Random::trace),
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

impl Trace {
    /// Begins a trace: the path of calls that come without a context.
    #[inline(always)]
    fn begin<Req>(&self, call: &Call<'_, Req>) -> TraceHeld {
        let (trace, span) = Random::with(|random| (random.trace(), random.span()));
        let is_sampled = self.sampler.samples(trace);
        let flags = Flags::NONE.random(true).sampled(is_sampled);
        let ids = TraceParent { trace, span, flags }.ids();
        if is_sampled {
            return record(self.kind, call, ids, None, &Parent::None);
        }
        TraceHeld { ids, more: None }
    }

    /// Goes on from what the request says, or begins a trace.
    #[inline(never)]
    fn go_on<Req>(&self, call: &Call<'_, Req>) -> TraceHeld {
        let mut place = match self.formats.extract(call) {
            Remote::Absent => self.root(None, Parent::None),
            Remote::Decision(decision) => self.root(Some(decision), Parent::None),
            Remote::Context {
                context,
                is_decided,
            } => self.after(context, is_decided),
        };
        if self.formats.baggage && !matches!(self.edge, Edge::Untrusted) {
            place = place.with_baggage(extract_baggage(call));
        }
        self.stand(call, place)
    }

    /// Goes on from the context of the moment, or begins a trace.
    fn go_on_here<Req>(&self, call: &Call<'_, Req>) -> TraceHeld {
        match TraceContext::current() {
            Some(context) => self.stand(call, Place::inside(context, Parent::Here)),
            None => self.begin(call),
        }
    }

    fn after(&self, context: TraceContext, is_decided: bool) -> Place {
        let remote = context.parent();
        if matches!(self.edge, Edge::Untrusted) {
            return self.root(None, Parent::Linked(remote));
        }
        let decision = is_decided.then(|| remote.flags.is_sampled());
        let place = Place::inside(context, Parent::Remote);
        self.decided(place, decision)
    }

    fn root(&self, decision: Option<bool>, parent: Parent) -> Place {
        self.decided(Place::root(parent), decision)
    }

    /// Follows the decision of a caller, or asks the sampler.
    fn decided(&self, mut place: Place, decision: Option<bool>) -> Place {
        let decision = decision.filter(|is_sampled| self.follows(*is_sampled));
        let is_sampled = decision.unwrap_or_else(|| self.sampler.samples(place.trace));
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

    /// Gives the call a span of its own, if its trace is recorded, and an id in any case.
    fn stand<Req>(&self, call: &Call<'_, Req>, place: Place) -> TraceHeld {
        let ids = TraceParent {
            trace: place.trace,
            span: Random::with(Random::span),
            flags: place.flags,
        }
        .ids();
        if place.flags.is_sampled() {
            return record(self.kind, call, ids, place.carried, &place.parent);
        }
        let carried = place.carried;
        let more = carried.map(|carried| More::new(Span::none(), call, Some(carried)));
        TraceHeld { ids, more }
    }

    #[inline(never)]
    fn inject<Req>(&self, call: &mut Call<'_, Req>, held: &TraceHeld) {
        let carried = held.more.as_ref().and_then(|more| more.carried.clone());
        if let Some(parent) = TraceParent::of_ids(held.ids) {
            self.formats
                .inject(&TraceContext::of_parts(parent, carried), call);
        }
    }
}

/// Begins the span of a call.
#[cold]
#[inline(never)]
fn record<Req>(
    kind: Kind,
    call: &Call<'_, Req>,
    ids: TraceIds,
    carried: Option<Arc<Carried>>,
    parent: &Parent,
) -> TraceHeld {
    // Inside its own context, in which a subscriber sees that the trace is recorded.
    let span = TraceIds::enter(Some(ids), || span::begin(kind, call));
    let state = carried.as_ref().and_then(|carried| carried.state.as_ref());
    let started = link::start(&span, parent, state).map(|started| TraceParent {
        // What the subscriber does not record, the callee need not either.
        flags: Flags::from_bits(ids.flags).sampled(started.flags.is_sampled()),
        ..started
    });
    TraceHeld {
        ids: started.map_or(ids, TraceParent::ids),
        more: Some(More::new(span, call, carried)),
    }
}

impl More {
    fn new<Req>(span: Span, call: &Call<'_, Req>, carried: Option<Arc<Carried>>) -> Box<Self> {
        let protocol = call.protocol();
        Box::new(Self {
            span,
            protocol,
            carried,
        })
    }

    fn enter<R>(&self, ids: TraceIds, poll: impl FnOnce() -> R) -> R {
        let poll = || self.span.in_scope(poll);
        match &self.carried {
            Some(carried) => carry(ids.span, carried, poll),
            None => poll(),
        }
    }
}

impl Policy for Trace {
    type Held = TraceHeld;
    const ENTERS: bool = true;

    #[inline(always)]
    fn enter<R>(&self, held: &mut TraceHeld, poll: impl FnOnce() -> R) -> R {
        TraceIds::enter(Some(held.ids), || match &held.more {
            None => poll(),
            Some(more) => more.enter(held.ids, poll),
        })
    }

    #[inline(always)]
    fn finish(&self, held: TraceHeld, end: &End) {
        if let Some(more) = held.more {
            finish(self.kind, *more, end);
        }
    }
}

#[cold]
#[inline(never)]
fn finish(kind: Kind, more: More, end: &End) {
    span::end(kind, more.protocol, more.span, end);
}

impl<Req> Observer<Req> for Trace {
    #[inline(always)]
    fn start(&self, call: &mut Call<'_, Req>) -> TraceHeld {
        if self.kind == Kind::Server {
            return if self.formats.sees_nothing(call) {
                self.begin(call)
            } else {
                self.go_on(call)
            };
        }
        let held = self.go_on_here(call);
        if self.kind == Kind::Client {
            self.inject(call, &held);
        }
        held
    }
}
