use towerkit_core::{
    AsGuard, Call, CallEnd, ConfigError, False, Guard, Name, NoProtocol, Policy, PolicyLayer,
    ProtocolKind, Rejection, RejectionReason, layer_setters, policy_layer,
};

use crate::{
    deadline::{GRPC_TIMEOUT, REQUEST_TIMEOUT},
    wire::{Format, check_header},
};

/// Sends the time that is left until the [`Deadline`](towerkit_core::Deadline) of a request to the upstream.
///
/// Over gRPC the layer writes `grpc-timeout`, otherwise `x-request-timeout-ms` in whole milliseconds, rounded down. A smaller value that
/// the header already has stays. A request after its deadline, or with a time that rounds down to zero, is rejected with
/// [`DeadlineExceeded`](RejectionReason::DeadlineExceeded). A request without a deadline is sent unchanged.
///
/// The deadline is that in the extensions of the outgoing request or, without one, the [current](towerkit_core::Deadline::current)
/// deadline, which a [`DeadlineLayer`](crate::DeadlineLayer) sets while it polls the incoming call.
///
/// The layer is a guard, for use in a [`stack`](towerkit_core::stack). Inside a retry, each attempt sends its own remaining time.
#[derive(Debug, Clone)]
pub struct DeadlineInjectLayer<P = NoProtocol> {
    policies: PolicyLayer<AsGuard<DeadlineInjectPolicy, False>, P>,
}

/// The guard of a [`DeadlineInjectLayer`].
#[derive(Debug, Clone)]
pub struct DeadlineInjectPolicy {
    name: Name,
    header: &'static str,
}

impl DeadlineInjectLayer {
    /// Sends deadlines to the upstream.
    #[must_use]
    pub fn new() -> Self {
        let policy = DeadlineInjectPolicy {
            name: Name::new("deadline"),
            header: REQUEST_TIMEOUT,
        };
        Self {
            policies: PolicyLayer::new(AsGuard::new(policy), NoProtocol::default()),
        }
    }
}

impl Default for DeadlineInjectLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> DeadlineInjectLayer<P> {
    /// Writes milliseconds into the request header `name`; `x-request-timeout-ms` by default.
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
        name = "deadline"
    );

    fn with(mut self, set: impl FnOnce(&mut DeadlineInjectPolicy)) -> Self {
        set(self.policies.policy_mut().get_mut());
        self
    }
}

policy_layer!(DeadlineInjectLayer, AsGuard<DeadlineInjectPolicy, False>, NoProtocol);

impl Policy for DeadlineInjectPolicy {
    type CallState = ();
    const NEEDS_END: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for DeadlineInjectPolicy {
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let Some(deadline) = call.deadline() else {
            return Ok(());
        };
        let (format, name) = match call.protocol_kind() {
            ProtocolKind::Grpc => (Format::Grpc, GRPC_TIMEOUT),
            _ => (Format::Millis, self.header),
        };
        let existing = call.header(name).and_then(|text| format.decode(text));
        let left = deadline.remaining();
        let Some(text) = format.encode(existing.map_or(left, |existing| left.min(existing))) else {
            let name = self.name.clone();
            return Err(Rejection::new(RejectionReason::DeadlineExceeded, name));
        };
        call.set_header(name, &text);
        Ok(())
    }
}
