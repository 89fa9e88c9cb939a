use std::time::Duration;

use towerkit_core::{
    AsGuard, Call, CallEnd, Clock, Deadline, False, Guard, NoProtocol, Policy, PolicyLayer,
    Rejection, RejectionReason, policy_layer,
};

use crate::{InvalidField, InvalidTimeout, TimeoutHandle, wire::Format};

pub(crate) const GRPC_TIMEOUT: &str = "grpc-timeout";
pub(crate) const REQUEST_TIMEOUT: &str = "x-request-timeout-ms";

/// Gives each request a deadline: the one that its caller sent, and never more than the server allows.
///
/// Reads `grpc-timeout`, and `x-request-timeout-ms` with whole milliseconds; the sooner counts. A request that already carries a
/// [`Deadline`] keeps it, if that is sooner still. A value that is not written as specified counts as none, and so has the server's
/// limit: no value makes a deadline later. A request whose time is up is rejected.
///
/// It is a guard and can stand in a row: behind logs and metrics, so that they see the rejections, and before whatever may wait. It
/// does not watch the call go on: a [`TimeoutLayer`](crate::TimeoutLayer) around the service drops the call at the deadline, where
/// logs and metrics outside see that it timed out.
///
/// The deadline travels in the extensions of the request, so that a service without a wire protocol has none.
#[derive(Debug, Clone)]
pub struct DeadlineLayer<P = NoProtocol> {
    policies: PolicyLayer<AsGuard<ReadDeadline, False>, P>,
}

/// The guard behind a [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct ReadDeadline {
    name: &'static str,
    field: &'static str,
    clock: Clock,
    longest: TimeoutHandle,
}

impl DeadlineLayer {
    /// Gives each request `longest`, or less if its caller gives it less.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn new(longest: Duration) -> Result<Self, InvalidTimeout> {
        let guard = ReadDeadline {
            name: "deadline",
            field: REQUEST_TIMEOUT,
            clock: Clock::default(),
            longest: TimeoutHandle::new(longest)?,
        };
        Ok(Self {
            policies: PolicyLayer::new(AsGuard::new(guard), NoProtocol::default()),
        })
    }
}

impl<P> DeadlineLayer<P> {
    /// Reads milliseconds from the request field of this name; `x-request-timeout-ms` by default.
    ///
    /// # Errors
    ///
    /// If no field can have that name. It is written in lower case.
    pub fn field(mut self, name: &'static str) -> Result<Self, InvalidField> {
        self.policies.policy_mut().get_mut().field = InvalidField::check(name)?;
        Ok(self)
    }

    /// Names this layer in rejections; `deadline` by default.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.policies.policy_mut().get_mut().name = name;
        self
    }

    /// Sets deadlines on `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.policies.policy_mut().get_mut().clock = clock;
        self
    }

    /// Returns a handle on the longest time of a request, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> TimeoutHandle {
        self.policies.policy().get().longest.clone()
    }
}

policy_layer!(DeadlineLayer, AsGuard<ReadDeadline, False>, NoProtocol);

impl ReadDeadline {
    /// Returns the time that the caller and the server give the request.
    fn allowed<Req>(&self, call: &Call<'_, Req>) -> Duration {
        let read = |format: Format, name| call.header(name).and_then(|text| format.decode(text));
        let asked = [
            read(Format::Grpc, GRPC_TIMEOUT),
            read(Format::Millis, self.field),
        ];
        let longest = self.longest.timeout();
        asked.into_iter().flatten().fold(longest, Duration::min)
    }
}

impl Policy for ReadDeadline {
    type CallState = ();
    const NEEDS_END: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for ReadDeadline {
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let allowed = self.allowed(call);
        let earlier = call.deadline();
        if allowed.is_zero() || earlier.as_ref().is_some_and(Deadline::has_passed) {
            return Err(Rejection::new(RejectionReason::DeadlineExceeded, self.name));
        }
        call.set_deadline(match earlier {
            Some(earlier) => earlier.at_most(allowed),
            None => Deadline::after(&self.clock, allowed),
        });
        Ok(())
    }
}
