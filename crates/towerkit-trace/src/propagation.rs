use crate::{
    Baggage, Carrier, TraceParent, TraceState,
    b3::{B3, B3Fields},
    baggage::BaggageList,
    context::TraceContext,
    tracestate::TraceStateList,
};

/// The header format of a trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and `tracestate` ([W3C Trace Context, level 2](https://www.w3.org/TR/trace-context-2/)).
    W3c,
    /// The header `b3` ([B3 propagation](https://github.com/openzipkin/b3-propagation)); its first value if it is repeated.
    B3Single,
    /// The headers `x-b3-traceid`, `x-b3-spanid` and `x-b3-sampled` ([B3 propagation](https://github.com/openzipkin/b3-propagation)); the
    /// first value of each if it is repeated.
    B3Multi,
}

/// The formats of a layer: all are written, and the first that is present is read.
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

/// The context that a request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemoteContext {
    /// Absent or malformed.
    Absent,
    /// Only the decision to sample or not.
    Decision(bool),
    /// The caller's context; `is_decided` is true if it contains a decision.
    Context {
        context: TraceContext,
        is_decided: bool,
    },
}

/// The result of a first look at the headers of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FoundHeaders<'a> {
    /// The only configured format is W3C, and there is a `traceparent`; with its value, if there is only one.
    Parent(Option<&'a [u8]>),
    /// Several headers must be read.
    Unknown,
}

impl Formats {
    /// Sets the formats; W3C for an empty list.
    pub(crate) fn with_formats(mut self, formats: &[Propagation]) -> Self {
        let (first, others) = formats.split_first().unwrap_or((&Propagation::W3c, &[]));
        self.first = *first;
        self.others = others.into();
        self
    }

    /// Returns `None` if the request has no context at all, at the cost of one look-up.
    #[inline(always)]
    pub(crate) fn find_headers<'a>(&self, carrier: &'a impl Carrier) -> Option<FoundHeaders<'a>> {
        let is_plain = self.first == Propagation::W3c && self.others.is_empty() && !self.baggage;
        if !is_plain {
            return Some(FoundHeaders::Unknown);
        }
        let (mut count, mut only) = (0, None);
        carrier.for_each_value("traceparent", &mut |value| {
            count += 1;
            only = Some(value);
        });
        (count > 0).then(|| FoundHeaders::Parent(only.filter(|_| count == 1)))
    }

    /// Reads the context of a request, without baggage, after the first look.
    pub(crate) fn read<'a>(
        &self,
        found: FoundHeaders<'a>,
        carrier: &'a impl Carrier,
    ) -> RemoteContext {
        match found {
            FoundHeaders::Parent(parent) => w3c(parent.map(<[u8]>::trim_ascii), carrier),
            FoundHeaders::Unknown => self.extract(carrier),
        }
    }

    /// Reads the context of a request, without baggage.
    fn extract(&self, carrier: &impl Carrier) -> RemoteContext {
        let formats = std::iter::once(&self.first).chain(&self.others);
        let mut found = formats.map(|format| format.extract(carrier));
        let found = found.find(|remote| *remote != RemoteContext::Absent);
        found.unwrap_or(RemoteContext::Absent)
    }

    /// Writes a context, and replaces the existing headers.
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
    fn extract(self, carrier: &impl Carrier) -> RemoteContext {
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

/// A forwarded request has the headers of its caller, which do not describe this context.
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

/// Returns the only value of a header; `None` if it is absent or repeated.
fn only<'a>(carrier: &'a impl Carrier, name: &str) -> Option<&'a [u8]> {
    let (mut count, mut only) = (0, None);
    carrier.for_each_value(name, &mut |value| {
        count += 1;
        only = Some(value.trim_ascii());
    });
    only.filter(|_| count == 1)
}

fn extract_w3c(carrier: &impl Carrier) -> RemoteContext {
    w3c(only(carrier, "traceparent"), carrier)
}

fn w3c(parent: Option<&[u8]>, carrier: &impl Carrier) -> RemoteContext {
    match parent.and_then(TraceParent::parse) {
        None => RemoteContext::Absent,
        Some(parent) => RemoteContext::Context {
            context: TraceContext::with_propagated(parent, extract_state(carrier), None),
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

fn extract_b3_single(carrier: &impl Carrier) -> RemoteContext {
    first(carrier, "b3").map_or(RemoteContext::Absent, |value| {
        B3::parse_single(value).into()
    })
}

fn extract_b3_multi(carrier: &impl Carrier) -> RemoteContext {
    let field = |name| first(carrier, name);
    let (trace, span) = (field("x-b3-traceid"), field("x-b3-spanid"));
    B3::parse_multi(trace, span, field("x-b3-sampled"), field("x-b3-flags")).into()
}

impl From<B3> for RemoteContext {
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

/// Reads the context and the [`Baggage`] of a message, for example of a queue, in the first of `formats` that it has.
#[must_use]
pub fn extract(formats: &[Propagation], carrier: &impl Carrier) -> Option<TraceContext> {
    match Formats::default().with_formats(formats).extract(carrier) {
        RemoteContext::Context { context, .. } => {
            Some(context.with_baggage(extract_baggage(carrier)))
        }
        RemoteContext::Absent | RemoteContext::Decision(_) => None,
    }
}

/// Writes a context and its [`Baggage`] into a message, in all of `formats`, and replaces existing ones.
pub fn inject(formats: &[Propagation], context: &TraceContext, carrier: &mut impl Carrier) {
    let mut formats = Formats::default().with_formats(formats);
    formats.baggage = true;
    formats.inject(context, carrier);
}
