//! A breaker around a probe, and how the tests call it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, Service};
use towerkit_circuitbreaker::{
    CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer, OpenWhen, State, Window,
};
use towerkit_core::{CarriesRejection, Clock, ManualClock, RejectionReason};
use towerkit_test::{Action, CallCounts, Probe, ProbeError};

pub(crate) const OPEN_FOR: Duration = Duration::from_secs(10);

/// A breaker around a probe, on a clock that is moved by hand.
pub(crate) struct Setup {
    pub(crate) service: CircuitBreaker<Probe>,
    pub(crate) breaker: CircuitBreakerHandle,
    pub(crate) counts: Arc<CallCounts>,
    pub(crate) hand: ManualClock,
}

impl Setup {
    pub(crate) fn new(layer: CircuitBreakerLayer) -> Self {
        let (clock, hand) = Clock::manual();
        let layer = layer.clock(clock);
        let probe = Probe::new();
        Self {
            breaker: layer.handle(),
            counts: probe.counts(),
            service: layer.layer(probe),
            hand,
        }
    }

    /// Opens at the second failure in a row.
    pub(crate) fn consecutive() -> Self {
        Self::new(consecutive())
    }

    /// The next call is a probe, of `probes`.
    pub(crate) fn half_open(probes: u16) -> Self {
        let setup = Self::new(consecutive().probes(probes).unwrap());
        setup.open();
        setup.hand.advance(OPEN_FOR);
        setup
    }

    /// Starts a call, which is admitted or rejected here, and returns its future.
    pub(crate) fn start(&self, act: Action) -> Calling {
        self.ready().call(act)
    }

    pub(crate) fn ready(&self) -> CircuitBreaker<Probe> {
        let mut service = self.service.clone();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Service::<Action>::poll_ready(&mut service, &mut cx).is_ready());
        service
    }

    pub(crate) fn call(&self, act: Action) -> Result<Action, ProbeError> {
        ended(self.start(act))
    }

    pub(crate) fn succeed(&self, times: usize) {
        for _ in 0..times {
            self.call(Action::Succeed).unwrap();
        }
    }

    pub(crate) fn fail(&self, times: usize) {
        for _ in 0..times {
            assert!(self.call(Action::Fail).unwrap_err().is_failed());
        }
    }

    pub(crate) fn open(&self) {
        self.fail(2);
        assert_eq!(self.breaker.state(), State::Open);
    }

    /// Returns the wait that a rejected call is told, and sees to it that nothing reached the service.
    pub(crate) fn rejected(&self) -> Option<Duration> {
        let (polls, started) = (self.counts.polls(), self.counts.started());
        let error = self.call(Action::Succeed).unwrap_err();
        let rejection = error.rejection().expect("a rejection");
        assert_eq!(rejection.reason(), RejectionReason::CircuitOpen);
        assert_eq!(
            (self.counts.polls(), self.counts.started()),
            (polls, started)
        );
        rejection.retry_after()
    }
}

pub(crate) type Calling = <CircuitBreaker<Probe> as Service<Action>>::Future;

pub(crate) fn consecutive() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new().open_when(OpenWhen::consecutive_failures(2).unwrap())
}

pub(crate) fn rate(rate: f64, window: impl Into<Window>, minimum: u32) -> Setup {
    let open_when = OpenWhen::failure_rate(rate, window, minimum).unwrap();
    Setup::new(CircuitBreakerLayer::new().open_when(open_when))
}

/// Polls a call of the probe to its end.
pub(crate) fn ended<T>(call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = call.as_mut().poll(&mut cx) {
            return result;
        }
    }
}

/// Makes one call, as soon as the service is ready.
pub(crate) fn call<S>(service: &mut S, act: Action) -> Result<S::Response, S::Error>
where
    S: Service<Action>,
    S::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    ended(service.call(act))
}

pub(crate) fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}
