use std::{fmt, sync::Arc};

#[cfg(feature = "backpressure")]
use towerkit_core::Backpressure;
use towerkit_core::{Call, End, Guard, Policy, Rejection};

use crate::{
    Snapshot,
    calls::{Calls, Held},
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

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.0.settings.clock.now();
        self.calls().look_for_hanging(|| now);
        self.0.machine.snapshot(now)
    }
}

impl Policy for CircuitBreakerPolicy {
    type Held = Held;

    #[inline(always)]
    fn head(&self, held: &mut Held, so_far: &End) {
        self.calls().head(held, so_far);
    }

    #[inline(always)]
    fn finish(&self, held: Held, end: &End) {
        self.calls().finish(held, end);
    }
}

impl<Req> Guard<Req> for CircuitBreakerPolicy {
    #[inline(always)]
    fn admit(&self, call: &mut Call<'_, Req>) -> Result<Held, Rejection> {
        self.calls().admit(call)
    }

    #[inline(always)]
    fn shut(&self) -> Option<Rejection> {
        self.calls().shut()
    }

    #[cfg(feature = "backpressure")]
    #[inline(always)]
    fn backpressure(&self) -> Option<Backpressure> {
        self.held_back()
    }
}

impl fmt::Debug for CircuitBreakerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.0.settings.name)
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}
