use tokio::time::timeout;
use towerkit_core::Backpressure;

use crate::{CircuitBreakerLayer, CircuitBreakerPolicy, machine::Hold};

impl<P> CircuitBreakerLayer<P> {
    /// Makes services wait in `poll_ready` while the breaker would reject a call, instead of rejecting it; for use under a load balancer.
    ///
    /// A balancer goes by the calls in flight. An instance whose breaker rejects at once has none, so that the dead instance looks
    /// like the idle one and draws the calls. With this option it is not ready, and the balancer takes another instance: give each
    /// instance a breaker of its own. It is ready again when the breaker lets probes through, while a half-open breaker has a free
    /// place for a probe, and when a handle lets calls in.
    ///
    /// Readiness reserves nothing. Where several clones of a service are ready, a half-open breaker rejects the calls beyond its
    /// probes. Without a balancer outside, callers wait for as long as the breaker is open, and for ever if it is forced open.
    ///
    /// The wait uses tokio's timer and is polled in a runtime that has one. It looks at the [`clock`](Self::clock) when the timer
    /// fires: a clock that is moved by hand is noticed then, or with the next change of the breaker.
    #[must_use]
    pub fn backpressure(self) -> Self {
        self.with(|settings| settings.backpressure = true)
    }
}

impl CircuitBreakerPolicy {
    #[inline(always)]
    pub(crate) fn held_back(&self) -> Option<Backpressure> {
        match self.machine().closed() {
            Some(_) => None,
            None => self.held_back_if_open(),
        }
    }

    #[cold]
    fn held_back_if_open(&self) -> Option<Backpressure> {
        let now = || self.settings().clock.now();
        self.calls().look_for_hanging(now);
        let Hold { changed, time } = self.machine().hold(now)?;
        Some(match time {
            Some(time) => Backpressure::new(async move { drop(timeout(time, changed).await) }),
            None => Backpressure::new(changed),
        })
    }
}
