use std::fmt;

use towerkit_core::{ProtocolKind, Rejection};

use crate::{InvalidSetting, invalid::Problem, level::Level, meter::Taken};

const LIMIT: &str = "ratelimit";
const POLICY: &str = "ratelimit-policy";

/// The fields `RateLimitPolicy` and `RateLimitPolicy-Policy` of draft-ietf-httpapi-ratelimit-headers-11, for the policy of this name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields(&'static str);

impl Fields {
    /// Names the policy, which becomes a string of a structured field (RFC 9651, section 3.3.3).
    pub(crate) fn new(policy: &'static str) -> Result<Self, InvalidSetting> {
        let fits = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if policy.is_empty() || !policy.bytes().all(fits) {
            return Err(InvalidSetting(Problem::PolicyName(policy)));
        }
        Ok(Self(policy))
    }

    /// Adds the fields to an admitted answer.
    pub(crate) fn response_headers(self, taken: &Taken, fields: &mut dyn towerkit_core::Headers) {
        fields.append(POLICY, &self.policy(taken.advert));
        fields.append(LIMIT, &self.limit(&taken.level));
    }

    /// Adds the fields to a rejection, except where it is all trailers: there the draft forbids them.
    pub(crate) fn reject(
        self,
        rejection: Rejection,
        level: &Level,
        advert: [u64; 2],
        kind: ProtocolKind,
    ) -> Rejection {
        if kind == ProtocolKind::Grpc {
            return rejection;
        }
        let mut limit = self.limit(level);
        // Who is told to come back earlier, because calls may wait here, is not told to keep away for longer.
        if let Some(wait) = rejection.retry_after() {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            limit.2[1] = limit.2[1].min(seconds.max(1));
        }
        rejection
            .field(POLICY, self.policy(advert).to_string())
            .field(LIMIT, limit.to_string())
    }

    fn policy(self, advert: [u64; 2]) -> Item {
        Item(self.0, ["q", "w"], advert)
    }

    /// The tokens that are left, and the seconds in which there will be no more than these.
    fn limit(self, level: &Level) -> Item {
        let seconds = level.next_token().div_ceil(1_000_000_000);
        Item(self.0, ["r", "t"], [level.tokens().into(), seconds])
    }
}

/// A string with two parameters. None of the numbers has more than the fifteen digits that there may be.
struct Item(&'static str, [&'static str; 2], [u64; 2]);

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, [first, second], [a, b]) = self;
        write!(f, "\"{name}\";{first}={a};{second}={b}")
    }
}
