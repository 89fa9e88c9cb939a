/// The fate of a call if its key finds no slot, because all slots that it may have are taken by keys with a state that must be kept.
///
/// Each layer documents its default; see [`KeyTable`](crate::KeyTable) for the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The call uses one state that all keys without a slot share: a token bucket, a lease or a circuit breaker.
    Share,
    /// The call is rejected as [`Overloaded`](towerkit_core::RejectionReason::Overloaded), 503 over HTTP.
    Reject,
    /// The call goes on without a slot: a circuit breaker admits it and does not count it, a local rate limit admits it without taking
    /// tokens of a key (a [total] still applies), and a rate limit on Redis asks Redis for this call alone.
    ///
    /// [total]: https://docs.rs/towerkit-ratelimit/latest/towerkit_ratelimit/struct.KeyedRateLimitLayer.html#method.total
    Bypass,
}
