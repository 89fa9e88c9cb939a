use std::time::Duration;

use towerkit_core::{
    AsGuard, Call, CallEnd, Clock, ConfigError, Deadline, Guard, Name, NoProtocol, Policy,
    PolicyLayer, Rejection, RejectionReason, True, layer_setters, policy_layer,
};

use crate::{
    TimeoutHandle,
    wire::{Format, check_header},
};

pub(crate) const GRPC_TIMEOUT: &str = "grpc-timeout";
pub(crate) const REQUEST_TIMEOUT: &str = "x-request-timeout-ms";

/// Gives each request a [`Deadline`]: the caller's, but never a later one than the server allows.
///
/// The layer reads [`grpc-timeout`] and `x-request-timeout-ms` (whole milliseconds), and takes the earlier of the two. A request that
/// already carries a [`Deadline`] keeps it if it is earlier still. A malformed value is ignored, so that the server's limit applies: no
/// header can extend a deadline. A request after its deadline is rejected with
/// [`DeadlineExceeded`](RejectionReason::DeadlineExceeded).
///
/// The layer is a guard, for use in a [`stack`](towerkit_core::stack): inside log and metrics, so that they record its rejections, and
/// outside every layer that may wait. It does not end a call at its deadline; a [`TimeoutLayer`](crate::TimeoutLayer) inside it does.
///
/// The deadline is stored in the extensions of the request, and it is the [current](Deadline::current) one while the call and its
/// body are polled. A timeout around a plain service, and a client that sends a request of its own, take it from there.
///
/// [`grpc-timeout`]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
#[derive(Debug, Clone)]
pub struct DeadlineLayer<P = NoProtocol> {
    policies: PolicyLayer<AsGuard<DeadlinePolicy, True>, P>,
}

/// The guard of a [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct DeadlinePolicy {
    name: Name,
    header: &'static str,
    clock: Clock,
    max: TimeoutHandle,
}

impl DeadlineLayer {
    /// Gives each request at most the time `max`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `max` is zero or longer than 365 days.
    pub fn new(max: Duration) -> Result<Self, ConfigError> {
        let policy = DeadlinePolicy {
            name: Name::new("deadline"),
            header: REQUEST_TIMEOUT,
            clock: Clock::default(),
            max: TimeoutHandle::new(max)?,
        };
        Ok(Self {
            policies: PolicyLayer::new(AsGuard::new(policy), NoProtocol::default()),
        })
    }
}

impl<P> DeadlineLayer<P> {
    /// Reads milliseconds from the request header `name`; `x-request-timeout-ms` by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `name` is not a header name in lower case.
    pub fn header(self, name: &'static str) -> Result<Self, ConfigError> {
        let header = check_header(name)?;
        Ok(self.with(|policy| policy.header = header))
    }

    layer_setters!(
        /// Rejections carry the name.
        name = "deadline",
        /// Deadlines are measured on it.
        clock
    );

    /// Returns a handle on the maximum time of a request, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> TimeoutHandle {
        self.policies.policy().get().max.clone()
    }

    fn with(mut self, set: impl FnOnce(&mut DeadlinePolicy)) -> Self {
        set(self.policies.policy_mut().get_mut());
        self
    }
}

policy_layer!(DeadlineLayer, AsGuard<DeadlinePolicy, True>, NoProtocol);

impl DeadlinePolicy {
    /// Returns the time of the request: the least of the caller's values and the server's maximum.
    fn time_limit<Req>(&self, call: &Call<'_, Req>) -> Duration {
        let read = |format: Format, name| call.header(name).and_then(|text| format.decode(text));
        let requested = [
            read(Format::Grpc, GRPC_TIMEOUT),
            read(Format::Millis, self.header),
        ];
        let max = self.max.timeout();
        requested.into_iter().flatten().fold(max, Duration::min)
    }
}

impl Policy for DeadlinePolicy {
    type CallState = Deadline;
    const NEEDS_END: bool = false;
    const WRAPS_POLL: bool = true;

    #[inline(always)]
    fn wrap_poll<R>(&self, deadline: &mut Deadline, poll: impl FnOnce() -> R) -> R {
        Deadline::enter(Some(deadline), poll)
    }

    #[inline(always)]
    fn finish(&self, _deadline: Deadline, _end: &CallEnd) {}
}

impl<Req> Guard<Req> for DeadlinePolicy {
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Deadline, Rejection> {
        let limit = self.time_limit(call);
        let existing = call.deadline();
        if limit.is_zero() || existing.as_ref().is_some_and(Deadline::has_passed) {
            let name = self.name.clone();
            return Err(Rejection::new(RejectionReason::DeadlineExceeded, name));
        }
        let deadline = match existing {
            Some(existing) => existing.at_most(limit),
            None => Deadline::after(&self.clock, limit),
        };
        call.set_deadline(deadline.clone());
        Ok(deadline)
    }
}
