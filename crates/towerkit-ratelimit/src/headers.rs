use std::fmt;

use towerkit_core::{ConfigError, Headers, ProtocolKind, Rejection};

use crate::{atomic_gcra::PolicyHeader, gcra::BucketState};

const LIMIT: &str = "ratelimit";
const POLICY: &str = "ratelimit-policy";

/// The headers `RateLimit` and `RateLimit-Policy` of
/// [draft-ietf-httpapi-ratelimit-headers-11](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/), for a policy
/// of this name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RateLimitHeaders(&'static str);

impl RateLimitHeaders {
    /// Names the policy. The name becomes a string of a structured field
    /// ([RFC 9651, section 3.3.3](https://www.rfc-editor.org/rfc/rfc9651#section-3.3.3)).
    pub(crate) fn new(policy: &'static str) -> Result<Self, ConfigError> {
        let is_allowed = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if policy.is_empty() || !policy.bytes().all(is_allowed) {
            let expected = "printable ASCII without quotes and backslashes, not empty";
            return Err(ConfigError::new("policy name", policy, expected));
        }
        Ok(Self(policy))
    }

    /// Appends the headers to the response to an admitted call.
    pub(crate) fn append(
        self,
        state: &BucketState,
        policy: PolicyHeader,
        headers: &mut dyn Headers,
    ) {
        headers.append(POLICY, &self.policy(policy));
        headers.append(LIMIT, &self.limit(state));
    }

    /// Adds the headers to a rejection, but not to a trailers-only response of gRPC, in which the draft forbids them.
    pub(crate) fn add_to(
        self,
        rejection: Rejection,
        state: &BucketState,
        policy: PolicyHeader,
        kind: ProtocolKind,
    ) -> Rejection {
        if kind == ProtocolKind::Grpc {
            return rejection;
        }
        let mut limit = self.limit(state);
        // `Retry-After` may be earlier than the next token, because calls may wait in the queue of the limit.
        if let Some(wait) = rejection.retry_after() {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            limit.values[1] = limit.values[1].min(seconds.max(1));
        }
        rejection
            .with_header(POLICY, self.policy(policy).to_string())
            .with_header(LIMIT, limit.to_string())
    }

    fn policy(self, policy: PolicyHeader) -> Item {
        Item {
            name: self.0,
            parameters: ["q", "w"],
            values: [policy.quota.into(), policy.window_seconds.into()],
        }
    }

    /// Returns the remaining tokens, and the seconds until there is one more.
    fn limit(self, state: &BucketState) -> Item {
        let seconds = state.next_token().div_ceil(1_000_000_000);
        Item {
            name: self.0,
            parameters: ["r", "t"],
            values: [state.tokens().into(), seconds],
        }
    }
}

/// A string with two integer parameters. The values have at most the fifteen digits that RFC 9651 allows.
struct Item {
    name: &'static str,
    parameters: [&'static str; 2],
    values: [u64; 2],
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.parameters;
        let [a, b] = self.values;
        write!(f, "\"{}\";{first}={a};{second}={b}", self.name)
    }
}
