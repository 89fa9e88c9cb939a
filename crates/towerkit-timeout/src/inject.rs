use towerkit_core::{
    AsGuard, Call, CallEnd, False, Guard, NoProtocol, Policy, PolicyLayer, ProtocolKind, Rejection,
    RejectionReason, policy_layer,
};

use crate::{
    InvalidField,
    deadline::{GRPC_TIMEOUT, REQUEST_TIMEOUT},
    wire::Format,
};

/// Tells the callee how much time is left: writes the [`Deadline`](towerkit_core::Deadline) of a request into its fields.
///
/// Over gRPC it writes `grpc-timeout`, elsewhere whole milliseconds into `x-request-timeout-ms`, rounded down. What is left is read
/// when the call is made. A smaller value that is already there stays. A call whose time is up, or which has less left than can be
/// said, is rejected. A request without a deadline passes as it is.
///
/// The deadline is the one in the extensions of the outgoing request: copy it there from the incoming one.
///
/// It is a guard and can stand in a row. Inside a retry each attempt tells what is left for it.
#[derive(Debug, Clone)]
pub struct DeadlineInjectLayer<P = NoProtocol> {
    policies: PolicyLayer<AsGuard<InjectDeadline, False>, P>,
}

/// The guard behind a [`DeadlineInjectLayer`].
#[derive(Debug, Clone)]
pub struct InjectDeadline {
    name: &'static str,
    field: &'static str,
}

impl DeadlineInjectLayer {
    /// Tells callees what is left.
    #[must_use]
    pub fn new() -> Self {
        let guard = InjectDeadline {
            name: "deadline",
            field: REQUEST_TIMEOUT,
        };
        Self {
            policies: PolicyLayer::new(AsGuard::new(guard), NoProtocol::default()),
        }
    }
}

impl Default for DeadlineInjectLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> DeadlineInjectLayer<P> {
    /// Writes milliseconds into the request field of this name; `x-request-timeout-ms` by default.
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
}

policy_layer!(DeadlineInjectLayer, AsGuard<InjectDeadline, False>, NoProtocol);

impl Policy for InjectDeadline {
    type CallState = ();
    const NEEDS_END: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for InjectDeadline {
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let Some(deadline) = call.deadline() else {
            return Ok(());
        };
        let (format, name) = match call.protocol_kind() {
            ProtocolKind::Grpc => (Format::Grpc, GRPC_TIMEOUT),
            _ => (Format::Millis, self.field),
        };
        let asked = call.header(name).and_then(|text| format.decode(text));
        let left = asked.map_or(deadline.remaining(), |asked| {
            deadline.remaining().min(asked)
        });
        let Some(text) = format.encode(left) else {
            return Err(Rejection::new(RejectionReason::DeadlineExceeded, self.name));
        };
        call.set_header(name, &text);
        Ok(())
    }
}
