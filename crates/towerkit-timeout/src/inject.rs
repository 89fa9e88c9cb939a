use towerkit_core::{
    Call, End, False, Guard, GuardRole, Policy, ProtocolKind, Reason, Rejection, RowLayer, Unbound,
    row_layer,
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
/// said, is refused. A request without a deadline passes as it is.
///
/// The deadline is the one in the extensions of the outgoing request: copy it there from the incoming one.
///
/// It is a guard and can stand in a row. Inside a retry each attempt tells what is left for it.
#[derive(Debug, Clone)]
pub struct DeadlineInjectLayer<P = Unbound> {
    row: RowLayer<GuardRole<InjectDeadline, False>, P>,
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
            row: RowLayer::new(GuardRole::new(guard), Unbound::default()),
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
        self.row.role_mut().policy_mut().field = InvalidField::check(name)?;
        Ok(self)
    }

    /// Names this layer in refusals; `deadline` by default.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.row.role_mut().policy_mut().name = name;
        self
    }
}

row_layer!(DeadlineInjectLayer, GuardRole<InjectDeadline, False>, Unbound);

impl Policy for InjectDeadline {
    type Held = ();
    const FOLLOWS: bool = false;

    #[inline(always)]
    fn finish(&self, (): (), _end: &End) {}
}

impl<Req> Guard<Req> for InjectDeadline {
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        let Some(deadline) = call.deadline() else {
            return Ok(());
        };
        let (format, name) = match call.protocol() {
            ProtocolKind::Grpc => (Format::Grpc, GRPC_TIMEOUT),
            _ => (Format::Millis, self.field),
        };
        let asked = call.field(name).and_then(|text| format.decode(text));
        let left = asked.map_or(deadline.left(), |asked| deadline.left().min(asked));
        let Some(text) = format.encode(left) else {
            return Err(Rejection::new(Reason::DeadlineExceeded, self.name));
        };
        call.set_field(name, &text);
        Ok(())
    }
}
