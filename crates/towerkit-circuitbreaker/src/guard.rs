use std::{fmt, sync::Arc};

#[cfg(feature = "backpressure")]
use towerkit_core::Backpressure;
use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection};

use crate::{
    CircuitBreakerSnapshot,
    calls::{CallState, Calls},
    machine::Machine,
    settings::Settings,
};

/// The guard behind a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer), shared by all of its services.
#[derive(Clone)]
pub struct CircuitBreakerPolicy(Arc<Shared>);

struct Shared {
    machine: Machine,
    settings: Settings,
}

impl CircuitBreakerPolicy {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            machine: Machine::new(&settings),
            settings,
        }))
    }

    #[inline(always)]
    pub(crate) fn calls(&self) -> Calls<'_> {
        Calls {
            machine: &self.0.machine,
            settings: &self.0.settings,
        }
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.0.machine
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn snapshot(&self) -> CircuitBreakerSnapshot {
        let now = self.0.settings.clock.now();
        self.calls().look_for_hanging(|| now);
        self.0.machine.snapshot(now)
    }
}

impl Policy for CircuitBreakerPolicy {
    type CallState = CallState;

    #[inline(always)]
    fn on_response_head(&self, held: &mut CallState, so_far: &CallEnd) {
        self.calls().head(held, so_far);
    }

    #[inline(always)]
    fn finish(&self, held: CallState, end: &CallEnd) {
        self.calls().finish(held, end);
    }
}

impl<Req> Guard<Req> for CircuitBreakerPolicy {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<CallState, Rejection> {
        self.calls().admit(call)
    }

    #[inline(always)]
    fn early_rejection(&self) -> Option<Rejection> {
        self.calls().early_rejection()
    }

    #[cfg(feature = "backpressure")]
    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.held_back()
    }
}

impl fmt::Debug for CircuitBreakerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerHandle")
            .field("name", &self.0.settings.name)
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}
