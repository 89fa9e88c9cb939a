use std::{fmt, str};

use towerkit_core::{Hex, TraceIds};

use crate::{Flags, SpanId, TraceId, hex};

/// Where a call stands in its trace: the field `traceparent` (W3C trace context, level 2).
///
/// ```text
/// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span that made the call.
    pub span: SpanId,
    /// The flags of the trace.
    pub flags: Flags,
}

impl TraceParent {
    /// The length of version 00, of which every later version is an extension.
    const LENGTH: usize = 55;

    /// Reads the value of the field; `None` if the rules of section 3.2 forbid any part of it.
    ///
    /// For a later version, the part that version 00 defines is read if a dash or the end of the value follows it.
    #[inline]
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(Self::LENGTH)?;
        let [version] = hex::decode(&known[..2])?;
        let may_follow = match version {
            0x00 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let has_dashes = known[2] == b'-' && known[35] == b'-' && known[52] == b'-';
        if !may_follow || !has_dashes {
            return None;
        }
        let [flags] = hex::decode(&known[53..])?;
        Some(Self {
            trace: TraceId::from_hex(&known[3..35])?,
            span: SpanId::from_hex(&known[36..52])?,
            flags: Flags::from_bits(flags),
        })
    }

    #[inline(always)]
    pub(crate) fn ids(self) -> TraceIds {
        TraceIds {
            trace: self.trace.to_bytes(),
            span: self.span.to_bytes(),
            flags: self.flags.bits(),
        }
    }

    pub(crate) fn of_ids(ids: TraceIds) -> Option<Self> {
        Some(Self {
            trace: TraceId::from_bytes(ids.trace)?,
            span: SpanId::from_bytes(ids.span)?,
            flags: Flags::from_bits(ids.flags),
        })
    }

    /// Writes the value of the field, of version 00.
    #[inline]
    #[must_use]
    pub fn to_field(self) -> TraceParentField {
        let mut digits = *b"00-00000000000000000000000000000000-0000000000000000-00";
        digits[3..35].copy_from_slice(Hex::<32>::new(&self.trace.to_bytes()).as_bytes());
        digits[36..52].copy_from_slice(Hex::<16>::new(&self.span.to_bytes()).as_bytes());
        digits[53..].copy_from_slice(Hex::<2>::new(&[self.flags.bits()]).as_bytes());
        TraceParentField(digits)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_field().as_str())
    }
}

/// The value of a `traceparent` field, without an allocation.
#[derive(Debug, Clone, Copy)]
pub struct TraceParentField([u8; TraceParent::LENGTH]);

impl TraceParentField {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("digits and dashes are ASCII")
    }
}
