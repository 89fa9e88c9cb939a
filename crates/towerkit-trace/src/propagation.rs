use crate::{
    Baggage, Carrier, TraceParent, TraceState,
    b3::{B3, B3Fields},
    baggage::BaggageList,
    context::TraceContext,
    tracestate::TraceStateList,
};

/// How the context of a trace is written into fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and `tracestate` (W3C trace context, level 2).
    W3c,
    /// The field `b3` (openzipkin/b3-propagation); its first value, if it is repeated.
    B3Single,
    /// The fields `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled` (openzipkin/b3-propagation); the first value of each, if it is repeated.
    B3Multi,
}

/// The formats that a layer speaks: all are written, and the first that is there is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Formats {
    first: Propagation,
    others: Box<[Propagation]>,
    pub(crate) baggage: bool,
}

impl Default for Formats {
    fn default() -> Self {
        Self {
            first: Propagation::W3c,
            others: Box::default(),
            baggage: false,
        }
    }
}

/// What a request says of the trace that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    /// Nothing that keeps the rules.
    Absent,
    /// Only whether to record.
    Decision(bool),
    /// The caller's context, and whether the caller has decided.
    Context {
        context: TraceContext,
        is_decided: bool,
    },
}

/// What is known of a request after a look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// It has a `traceparent`, and nothing else counts; with the value, if it is the only one.
    Parent(Option<&'a [u8]>),
    /// Several fields have to be looked for.
    Unknown,
}

impl Formats {
    /// Speaks these formats; W3C's where there is none.
    pub(crate) fn speaking(mut self, formats: &[Propagation]) -> Self {
        let (first, others) = formats.split_first().unwrap_or((&Propagation::W3c, &[]));
        self.first = *first;
        self.others = others.into();
        self
    }

    /// Looks once whether a request says anything at all.
    #[inline(always)]
    pub(crate) fn glance<'a>(&self, carrier: &'a impl Carrier) -> Option<Seen<'a>> {
        let is_plain = self.first == Propagation::W3c && self.others.is_empty() && !self.baggage;
        if !is_plain {
            return Some(Seen::Unknown);
        }
        let (mut count, mut only) = (0, None);
        carrier.for_each_value("traceparent", &mut |value| {
            count += 1;
            only = Some(value);
        });
        (count > 0).then(|| Seen::Parent(only.filter(|_| count == 1)))
    }

    /// Reads what the request says, baggage aside, after a look at it.
    pub(crate) fn read<'a>(&self, seen: Seen<'a>, carrier: &'a impl Carrier) -> Remote {
        match seen {
            Seen::Parent(parent) => w3c(parent.map(<[u8]>::trim_ascii), carrier),
            Seen::Unknown => self.extract(carrier),
        }
    }

    /// Reads what the request says, baggage aside.
    fn extract(&self, carrier: &impl Carrier) -> Remote {
        let formats = std::iter::once(&self.first).chain(&self.others);
        let mut found = formats.map(|format| format.extract(carrier));
        let found = found.find(|remote| *remote != Remote::Absent);
        found.unwrap_or(Remote::Absent)
    }

    /// Writes a context, in place of what is there.
    pub(crate) fn inject(&self, context: &TraceContext, carrier: &mut impl Carrier) {
        for format in std::iter::once(&self.first).chain(&self.others) {
            format.inject(context, carrier);
        }
        if self.baggage {
            set_or_remove(carrier, "baggage", context.baggage().map(Baggage::as_str));
        }
    }
}

impl Propagation {
    fn extract(self, carrier: &impl Carrier) -> Remote {
        match self {
            Self::W3c => extract_w3c(carrier),
            Self::B3Single => extract_b3_single(carrier),
            Self::B3Multi => extract_b3_multi(carrier),
        }
    }

    fn inject(self, context: &TraceContext, carrier: &mut impl Carrier) {
        let parent = context.parent();
        match self {
            Self::W3c => {
                carrier.set("traceparent", parent.to_field().as_str());
                set_or_remove(
                    carrier,
                    "tracestate",
                    context.state().map(TraceState::as_str),
                );
            }
            Self::B3Single => B3Fields::of(parent).set_single(carrier),
            Self::B3Multi => B3Fields::of(parent).set_multi(carrier),
        }
    }
}

/// A request that is passed on has the fields of its caller, which say nothing of this context.
fn set_or_remove(carrier: &mut impl Carrier, name: &'static str, value: Option<&str>) {
    match value {
        Some(value) => carrier.set(name, value),
        None => carrier.remove(name),
    }
}

/// Returns the first value of a field.
fn first<'a>(carrier: &'a impl Carrier, name: &str) -> Option<&'a [u8]> {
    let mut first = None;
    carrier.for_each_value(name, &mut |value| {
        first.get_or_insert(value.trim_ascii());
    });
    first
}

/// Returns the only value of a field; several are as good as none.
fn only<'a>(carrier: &'a impl Carrier, name: &str) -> Option<&'a [u8]> {
    let (mut count, mut only) = (0, None);
    carrier.for_each_value(name, &mut |value| {
        count += 1;
        only = Some(value.trim_ascii());
    });
    only.filter(|_| count == 1)
}

fn extract_w3c(carrier: &impl Carrier) -> Remote {
    w3c(only(carrier, "traceparent"), carrier)
}

fn w3c(parent: Option<&[u8]>, carrier: &impl Carrier) -> Remote {
    match parent.and_then(TraceParent::parse) {
        None => Remote::Absent,
        Some(parent) => Remote::Context {
            context: TraceContext::carrying(parent, extract_state(carrier), None),
            is_decided: true,
        },
    }
}

fn extract_state(carrier: &impl Carrier) -> Option<TraceState> {
    let mut list = TraceStateList::default();
    carrier.for_each_value("tracestate", &mut |value| list.push(value));
    list.finish()
}

pub(crate) fn extract_baggage(carrier: &impl Carrier) -> Option<Baggage> {
    let mut list = BaggageList::default();
    carrier.for_each_value("baggage", &mut |value| list.push(value));
    list.finish()
}

fn extract_b3_single(carrier: &impl Carrier) -> Remote {
    first(carrier, "b3").map_or(Remote::Absent, |value| B3::parse_single(value).into())
}

fn extract_b3_multi(carrier: &impl Carrier) -> Remote {
    let field = |name| first(carrier, name);
    let (trace, span) = (field("x-b3-traceid"), field("x-b3-spanid"));
    B3::parse_multi(trace, span, field("x-b3-sampled"), field("x-b3-flags")).into()
}

impl From<B3> for Remote {
    fn from(b3: B3) -> Self {
        match b3 {
            B3::Absent => Self::Absent,
            B3::Decision(decision) => Self::Decision(decision),
            B3::Context { parent, is_decided } => Self::Context {
                context: TraceContext::new(parent),
                is_decided,
            },
        }
    }
}

/// Reads the context of a message, such as one of a queue, and its baggage; the first of `formats` that it has counts.
#[must_use]
pub fn extract(formats: &[Propagation], carrier: &impl Carrier) -> Option<TraceContext> {
    match Formats::default().speaking(formats).extract(carrier) {
        Remote::Context { context, .. } => Some(context.with_baggage(extract_baggage(carrier))),
        Remote::Absent | Remote::Decision(_) => None,
    }
}

/// Writes a context and its baggage into a message, in all of `formats`, in place of what it has of them.
pub fn inject(formats: &[Propagation], context: &TraceContext, carrier: &mut impl Carrier) {
    let mut formats = Formats::default().speaking(formats);
    formats.baggage = true;
    formats.inject(context, carrier);
}
