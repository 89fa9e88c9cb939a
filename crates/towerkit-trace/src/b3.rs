use towerkit_core::Hex;

use crate::{Carrier, Flags, SpanId, TraceId, TraceParent, hex};

/// The B3 context of a request, from one header or from several ([B3 propagation](https://github.com/openzipkin/b3-propagation)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum B3 {
    /// Absent or malformed: a new trace.
    Absent,
    /// Only the decision to sample or not.
    Decision(bool),
    /// Where the call stands. `None` leaves to the callee whether to record.
    Context {
        /// The trace and the calling span; the flag `sampled` is set by debug as well.
        parent: TraceParent,
        /// Whether the caller has decided.
        is_decided: bool,
    },
}

impl B3 {
    /// Reads the value of the field `b3`: `{trace}-{span}[-{decision}[-{parent}]]`, or the decision alone.
    pub(crate) fn parse_single(value: &[u8]) -> Self {
        if value.len() == 1 {
            return decision(value).map_or(Self::Absent, Self::Decision);
        }
        single(value).unwrap_or(Self::Absent)
    }

    /// Reads the values of `x-b3-traceid`, `x-b3-spanid`, `x-b3-sampled` and `x-b3-flags`.
    pub(crate) fn parse_multi(
        trace: Option<&[u8]>,
        span: Option<&[u8]>,
        sampled: Option<&[u8]>,
        flags: Option<&[u8]>,
    ) -> Self {
        let decided = if flags == Some(b"1") {
            Some(true)
        } else {
            match sampled.map(multi_decision) {
                Some(None) => return Self::Absent,
                decided => decided.flatten(),
            }
        };
        match (trace, span, decided) {
            (Some(trace), Some(span), decided) => {
                context(trace, span, decided).unwrap_or(Self::Absent)
            }
            (None, None, Some(decided)) => Self::Decision(decided),
            _ => Self::Absent,
        }
    }
}

fn single(value: &[u8]) -> Option<B3> {
    let mut parts = value.split(|byte| *byte == b'-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let decided = match parts.next() {
        Some(part) => Some(decision(part)?),
        None => None,
    };
    if let Some(parent) = parts.next() {
        SpanId::from_hex(parent)?;
    }
    if parts.next().is_some() {
        return None;
    }
    context(trace, span, decided)
}

fn context(trace: &[u8], span: &[u8], decided: Option<bool>) -> Option<B3> {
    let flags = Flags::default().sampled(decided == Some(true));
    let (trace, span) = (trace_id(trace)?, SpanId::from_hex(span)?);
    let parent = TraceParent { trace, span, flags };
    let is_decided = decided.is_some();
    Some(B3::Context { parent, is_decided })
}

/// A trace id of 16 bytes, or of 8, which are the rightmost then.
fn trace_id(digits: &[u8]) -> Option<TraceId> {
    let Some(short) = hex::decode::<8>(digits) else {
        return TraceId::from_hex(digits);
    };
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&short);
    TraceId::from_bytes(bytes)
}

/// `0`, `1`, or `d` for debug, which is recorded as well.
fn decision(value: &[u8]) -> Option<bool> {
    match value {
        b"0" => Some(false),
        b"1" | b"d" => Some(true),
        _ => None,
    }
}

/// Tracers before the specification sent words.
fn multi_decision(value: &[u8]) -> Option<bool> {
    match value {
        b"0" | b"false" => Some(false),
        b"1" | b"true" => Some(true),
        _ => None,
    }
}

/// A context as B3 writes it, without an allocation.
pub(crate) struct B3Fields([u8; 51]);

impl B3Fields {
    pub(crate) fn of(parent: TraceParent) -> Self {
        let mut digits = *b"00000000000000000000000000000000-0000000000000000-0";
        digits[..32].copy_from_slice(Hex::<32>::new(&parent.trace.to_bytes()).as_bytes());
        digits[33..49].copy_from_slice(Hex::<16>::new(&parent.span.to_bytes()).as_bytes());
        digits[50] += u8::from(parent.flags.is_sampled());
        Self(digits)
    }

    pub(crate) fn set_single(&self, carrier: &mut impl Carrier) {
        carrier.set("b3", self.text());
    }

    pub(crate) fn set_multi(&self, carrier: &mut impl Carrier) {
        let text = self.text();
        carrier.set("x-b3-traceid", &text[..32]);
        carrier.set("x-b3-spanid", &text[33..49]);
        carrier.set("x-b3-sampled", &text[50..]);
        carrier.remove("x-b3-parentspanid");
        carrier.remove("x-b3-flags");
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.0).expect("digits and dashes are ASCII")
    }
}
