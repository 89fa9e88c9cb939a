use std::fmt;

use towerkit_core::{Hex, TraceSeed};

use crate::hex;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Takes an id by its bytes; `None` if all are zero, which stands for no id at all.
            #[inline]
            #[must_use]
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Returns the bytes, the most significant first.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0
            }

            /// Reads lower-case hexadecimal digits.
            #[inline]
            pub(crate) fn from_hex(digits: &[u8]) -> Option<Self> {
                Self::from_bytes(hex::decode(digits)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Hex::<{ 2 * $bytes }>::new(&self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id! {
    /// The id of a trace: 16 bytes, not all zero.
    TraceId, 16
}

id! {
    /// The id of a span: 8 bytes, not all zero.
    SpanId, 8
}

impl TraceId {
    /// The trace that begins with this seed.
    #[inline]
    pub(crate) fn of_seed(seed: TraceSeed) -> Self {
        Self(seed.ids().trace)
    }

    /// The rightmost eight bytes, of which seven are random.
    #[inline]
    pub(crate) fn random(self) -> u64 {
        u128::from_be_bytes(self.0) as u64
    }
}

impl SpanId {
    /// The span of the call with this seed.
    #[inline]
    pub(crate) fn of_seed(seed: TraceSeed) -> Self {
        Self(seed.span().to_be_bytes())
    }
}

/// The flags of a `traceparent` (W3C trace context, level 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u8);

impl Flags {
    /// No flag is set.
    pub const NONE: Self = Self(0);
    const SAMPLED: u8 = 0x01;
    const RANDOM: u8 = 0x02;

    /// Takes the flags that level 2 defines; all others are cleared, as it requires of services that propagate them.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & (Self::SAMPLED | Self::RANDOM))
    }

    /// Returns the bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether the caller may have recorded the trace.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED != 0
    }

    /// Whether the rightmost seven bytes of the trace id are random.
    #[must_use]
    pub const fn is_random(self) -> bool {
        self.0 & Self::RANDOM != 0
    }

    /// Sets whether the trace is recorded.
    #[must_use]
    pub const fn sampled(self, is_sampled: bool) -> Self {
        Self(self.0 & !Self::SAMPLED | is_sampled as u8)
    }

    /// Sets whether the trace id is random.
    #[must_use]
    pub const fn random(self, is_random: bool) -> Self {
        Self(self.0 & !Self::RANDOM | (is_random as u8) << 1)
    }
}
